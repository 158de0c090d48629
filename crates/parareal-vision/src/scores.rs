//! Loss and errors computed from scores on the host.

use burn::tensor::Tensor;
use parareal_run::Tally;
use parareal_train::task::Score;

/// Sums over the images of an evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) first: Tally,
    /// Number of images whose class is not among the five with the highest scores.
    outside_five: usize,
    /// True if all scores of all images are finite.
    pub(crate) finite: bool,
}

impl Default for Summary {
    fn default() -> Self {
        Self { first: Tally::default(), outside_five: 0, finite: true }
    }
}

impl Summary {
    pub(crate) fn add(&mut self, scores: &Scores, labels: &[u16]) {
        self.first.add(labels.len(), Some(scores.wrong(labels)), scores.loss(labels));
        self.outside_five += scores.outside(5, labels);
        self.finite &= scores.are_finite();
    }

    /// Returns the result for all images added so far; `None` if there are none.
    pub(crate) fn score(&self) -> Option<Score> {
        Some(Score {
            loss: self.first.mean_loss()?,
            error: self.first.error(),
            top5_error: self.top5_error(),
            is_finite: self.finite,
        })
    }

    /// Returns the fraction of images whose class is not among the five most likely ones; `None` if there are
    /// no images.
    pub(crate) fn top5_error(&self) -> Option<f64> {
        let images = self.first.samples;
        (images > 0).then(|| self.outside_five as f64 / images as f64)
    }
}

/// Scores of a batch, `[batch, classes]`.
pub(crate) struct Scores {
    values: Vec<f32>,
    classes: usize,
}

impl Scores {
    pub(crate) fn read(output: Tensor<2>) -> Self {
        let classes = output.dims()[1].max(1);
        let values = output
            .into_data()
            .convert::<f32>()
            .try_to_vec()
            .expect("the values were converted to f32");
        Self { values, classes }
    }

    /// Returns true if all scores are finite.
    pub(crate) fn are_finite(&self) -> bool {
        self.values.iter().all(|score| score.is_finite())
    }

    /// Returns the number of images whose class does not have the highest score. An image with a NaN score
    /// counts as wrong.
    pub(crate) fn wrong(&self, labels: &[u16]) -> usize {
        let images = self.values.chunks_exact(self.classes).zip(labels);
        images.filter(|(scores, label)| best(scores) != Some(usize::from(**label))).count()
    }

    /// Returns the number of images whose class is not among the `count` classes with the highest scores.
    /// Among equal scores, the lower class number ranks higher. An image with a NaN score counts as wrong.
    pub(crate) fn outside(&self, count: usize, labels: &[u16]) -> usize {
        let is_outside = |scores: &[f32], label: u16| {
            let Some(&own) = scores.get(usize::from(label)) else { return true };
            let before = scores.iter().take(usize::from(label)).filter(|&&score| score == own);
            let higher = scores.iter().filter(|&&score| score > own).count() + before.count();
            higher >= count || scores.iter().any(|score| score.is_nan())
        };
        let images = self.values.chunks_exact(self.classes).zip(labels);
        images.filter(|(scores, label)| is_outside(scores, **label)).count()
    }

    /// Returns the probabilities of all classes for the first image.
    pub(crate) fn probabilities(&self) -> impl Iterator<Item = f64> {
        probabilities(self.values.get(..self.classes).unwrap_or_default())
    }

    /// Returns the most likely class of each image with its probability; `None` for an image with a NaN
    /// score.
    pub(crate) fn answers(&self) -> impl Iterator<Item = Option<(usize, f64)>> {
        self.values.chunks_exact(self.classes).map(|scores| {
            let answer = best(scores)?;
            Some((answer, probabilities(scores).nth(answer)?))
        })
    }

    /// Returns the mean cross entropy.
    pub(crate) fn loss(&self, labels: &[u16]) -> f64 {
        let images = self.values.chunks_exact(self.classes).zip(labels);
        let total: f64 = images.map(|(scores, &label)| cross_entropy(scores, label)).sum();
        total / labels.len().max(1) as f64
    }
}

fn probabilities(scores: &[f32]) -> impl Iterator<Item = f64> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = move |score: f32| (f64::from(score) - f64::from(highest)).exp();
    let total: f64 = scores.iter().copied().map(shifted).sum();
    scores.iter().map(move |&score| shifted(score) / total)
}

/// Returns the class with the highest score, the lowest class number if several scores are equal; `None` if a
/// score is NaN.
fn best(scores: &[f32]) -> Option<usize> {
    let mut best = None;
    for (class, &score) in scores.iter().enumerate() {
        if score.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((class, score));
        }
    }
    best.map(|(class, _)| class)
}

fn cross_entropy(scores: &[f32], label: u16) -> f64 {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = |score: f32| f64::from(score) - f64::from(highest);
    let total: f64 = scores.iter().map(|&score| shifted(score).exp()).sum();
    match scores.get(usize::from(label)) {
        Some(&own) => total.ln() - shifted(own),
        None => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_images_have_no_mean() {
        let evaluated = Summary::default();
        assert_eq!(
            (evaluated.first.mean_loss(), evaluated.first.error(), evaluated.top5_error()),
            (None, None, None)
        );
    }

    #[test]
    fn scores_that_are_not_finite_are_noticed() {
        for (score, finite) in [(1.0, true), (f32::NAN, false), (f32::NEG_INFINITY, false)] {
            let mut evaluated = Summary::default();
            evaluated.add(&Scores { values: vec![0.0, score], classes: 2 }, &[0]);
            assert_eq!(evaluated.finite, finite);
        }
    }

    #[test]
    fn predictions_are_the_highest_scores() {
        let values = vec![0.0, 2.0, 1.0, 5.0, 5.0, 1.0, f32::NAN, 9.0, 1.0];
        let scores = Scores { values, classes: 3 };
        assert_eq!(scores.wrong(&[1, 0, 1]), 1);
        assert_eq!(scores.wrong(&[2, 1, 1]), 3);
        for labels in [[1, 0, 1], [2, 1, 1], [0, 0, 0]] {
            assert_eq!(scores.outside(1, &labels), scores.wrong(&labels));
        }
        // Among equal scores, the first ranks higher.
        assert_eq!(scores.outside(2, &[0, 1, 1]), 2);
        assert_eq!(scores.outside(2, &[2, 2, 1]), 2);
        assert_eq!(scores.outside(3, &[0, 2, 1]), 1);
        let answers: Vec<_> =
            scores.answers().map(|answer| answer.map(|(class, _)| class)).collect();
        assert_eq!(answers, [Some(1), Some(0), None]);
        let even = Scores { values: vec![100.0; 8], classes: 4 };
        assert!((even.loss(&[3, 0]) - 4f64.ln()).abs() < 1e-12);
    }
}
