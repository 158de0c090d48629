//! The built-in shapes: identical on all machines, balanced, and too hard for a linear classifier.

#![allow(clippy::print_stderr)]

use parareal_data::shapes::{self, CLASS_NAMES, Split};
use parareal_data::{
    Augmentation, Batch, Batches, Dataset, DatasetName, LoadOptions, Normalization,
};

const CLASSES: usize = CLASS_NAMES.len();

fn load(limit_train: Option<usize>, limit_test: Option<usize>) -> Dataset {
    let options = LoadOptions { limit_train, limit_test, ..Default::default() };
    Dataset::load(DatasetName::Shapes, &options).unwrap()
}

#[test]
fn the_default_set_has_the_stated_size_and_constants() {
    let Dataset { train, test, normalization, .. } = load(None, None);
    let test = test.unwrap();
    assert_eq!((train.len(), test.len()), (shapes::TRAINING_IMAGES, shapes::TEST_IMAGES));
    for set in [&train, &test] {
        assert_eq!((set.channels(), set.height(), set.width(), set.classes()), (3, 32, 32, 10));
        let count = |class| set.labels().iter().filter(|&&label| label == class).count();
        assert!((0..10).all(|class| count(class) == set.len() / CLASSES));
    }
    assert_eq!(normalization, Normalization::measured(&train).unwrap());
}

#[test]
fn limits_take_the_first_images_and_may_exceed_the_set() {
    let small = load(Some(15), Some(0));
    assert!(small.test.is_none());
    let large = load(Some(25), Some(5));
    assert_eq!(large.train.clone().truncated(15), small.train);
    assert_eq!(large.normalization, small.normalization);
    let test = large.test.unwrap();
    for (split, set) in [(Split::Training, &large.train), (Split::Test, &test)] {
        for index in 0..set.len() {
            let (image, label) = shapes::draw(shapes::SEED, split, index);
            assert_eq!((&set.image(index).unwrap()[..], set.label(index)), (&image[..], label));
        }
    }
    assert_eq!(load(None, Some(shapes::TEST_IMAGES + 10)).test.unwrap().len(), 1_010);
}

#[test]
fn pixels_do_not_depend_on_the_machine() {
    // FNV-1a hash over one image of each class. If it changes, all published results change.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for index in 0..CLASSES {
        for byte in shapes::draw(1, Split::Training, index).0 {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(hash, 0x5a99_5d31_466f_6a70, "found {hash:#018x}");
}

/// Softmax regression: one row of weights for each class, the last weight being the bias.
struct Linear {
    rows: Vec<Vec<f32>>,
}

impl Linear {
    fn new(inputs: usize) -> Self {
        Self { rows: vec![vec![0.0; inputs + 1]; CLASSES] }
    }

    fn scores(&self, image: &[f32]) -> [f32; CLASSES] {
        std::array::from_fn(|class| {
            let (weights, bias) = self.rows[class].split_at(image.len());
            // Eight separate sums can be vectorized. A single sum would be slow, because the
            // compiler must not change the order of its terms.
            let mut sums = [0.0; 8];
            for (pixels, weights) in image.chunks_exact(8).zip(weights.chunks_exact(8)) {
                for lane in 0..8 {
                    sums[lane] += pixels[lane] * weights[lane];
                }
            }
            bias[0] + sums.iter().sum::<f32>()
        })
    }

    /// Takes a step of gradient descent on the cross entropy of a batch. Returns the mean cross
    /// entropy.
    fn step(&mut self, batch: &Batch, rate: f32) -> f32 {
        let inputs = batch.images.len() / batch.labels.len();
        let share = 1.0 / batch.labels.len() as f32;
        let images = || batch.images.chunks_exact(inputs).zip(&batch.labels);
        let scores: Vec<_> = images().map(|(image, _)| self.scores(image)).collect();
        let mut loss = 0.0;
        for ((image, &label), scores) in images().zip(scores) {
            let highest = scores.iter().copied().fold(f32::MIN, f32::max);
            let powers = scores.map(|score| (score - highest).exp());
            let total: f32 = powers.iter().sum();
            loss -= share * (powers[usize::from(label)] / total).max(1e-30).ln();
            for (class, row) in self.rows.iter_mut().enumerate() {
                let target = if class == usize::from(label) { 1.0 } else { 0.0 };
                let change = rate * share * (target - powers[class] / total);
                for (weight, &pixel) in row.iter_mut().zip(image) {
                    *weight += change * pixel;
                }
                row[inputs] += change;
            }
        }
        loss
    }

    /// Returns the percentage of images whose label has the highest score.
    fn accuracy(&self, batch: &Batch) -> f32 {
        let inputs = batch.images.len() / batch.labels.len();
        let right =
            batch.images.chunks_exact(inputs).zip(&batch.labels).filter(|(image, label)| {
                let scores = self.scores(image);
                let own = scores[usize::from(**label)];
                scores.iter().filter(|&&score| score >= own).count() == 1
            });
        100.0 * right.count() as f32 / batch.labels.len() as f32
    }
}

#[test]
fn a_linear_classifier_fails() {
    /// Enough epochs for the accuracy on the test images to stop rising.
    const EPOCHS: usize = 40;

    let Dataset { train, test, normalization, .. } = load(Some(5_000), Some(1_000));
    let test = test.unwrap();
    let whole =
        |set| Batches::evaluation(set, &normalization, 10_000).unwrap().next().unwrap().unwrap();
    let (seen, unseen) = (whole(&train), whole(&test));
    let mut linear = Linear::new(seen.images.len() / seen.labels.len());
    let mut best = 0.0_f32;
    for epoch in 0..EPOCHS {
        // The step size decreases in the second half of the training.
        let rate = 0.004 * (2.0 * (EPOCHS - epoch) as f32 / EPOCHS as f32).min(1.0);
        let batches =
            Batches::training(&train, &normalization, Augmentation::None, 32, 1, epoch).unwrap();
        let count = batches.len() as f32;
        let loss: f32 = batches.map(|batch| linear.step(&batch.unwrap(), rate)).sum();
        let accuracy = linear.accuracy(&unseen);
        best = best.max(accuracy);
        if epoch % 10 == 9 {
            eprintln!("epoch {epoch}: loss {:.3}, {accuracy:.1} % of test images", loss / count);
        }
    }
    let known = linear.accuracy(&seen);
    eprintln!("linear classifier: {known:.1} % of training, at best {best:.1} % of test images");
    assert!(known > 20.0, "the classifier has learnt nothing: {known} %");
    assert!(best < 60.0, "a linear classifier tells {best} % of the shapes");
}
