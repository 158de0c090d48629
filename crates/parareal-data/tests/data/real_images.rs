//! Tests with the real files, in the folder given by `PARAREAL_DATA_DIR`.

#![allow(clippy::print_stderr, reason = "shows the constants that were measured")]

use parareal_data::DatasetName::{Cifar10, Mnist, Svhn};
use parareal_data::{
    Dataset, DatasetName, ImageSet, InspectedFile, LoadOptions, Normalization, inspect,
};
use parareal_testing::real_images;

/// Loads a data set whose files are in the given folder.
fn load(name: DatasetName, folder: &str) -> Dataset {
    let options = LoadOptions { data_dir: Some(real_images(&[folder])), ..Default::default() };
    Dataset::load(name, &options).unwrap()
}

/// Checks that the normalization constants of a set match its training images up to `tolerance`.
fn assert_normalization(dataset: &Dataset, tolerance: f32) {
    let Normalization { mean, deviation } = Normalization::measured(&dataset.train).unwrap();
    let known = &dataset.normalization;
    eprintln!("{}: mean {mean:.4?}, deviation {deviation:.4?}", dataset.name);
    let close = |(one, other): (&f32, &f32)| (one - other).abs() < tolerance;
    assert!(mean.iter().zip(&known.mean).all(close), "{mean:?}");
    assert!(deviation.iter().zip(&known.deviation).all(close), "{deviation:?}");
}

/// Checks that every image has contents and occurs once.
fn assert_images(dataset: &Dataset) {
    let sets = [Some(&dataset.train), dataset.test.as_ref()];
    let mut images: Vec<_> = sets
        .into_iter()
        .flatten()
        .flat_map(|set| (0..set.len()).map(|index| set.image(index).unwrap()))
        .collect();
    assert!(images.iter().all(|image| image.iter().any(|pixel| pixel != &image[0])));
    let count = images.len();
    images.sort_unstable();
    images.dedup();
    assert!(images.len() + count / 100 > count, "{} of {count} images differ", images.len());
}

/// Checks that the two outermost rows and columns of every image are black.
fn assert_border_is_black(set: &ImageSet) {
    let inside = 2..30;
    for index in 0..set.len() {
        for (place, &pixel) in set.image(index).unwrap().iter().enumerate() {
            let in_border = !(inside.contains(&(place / 32)) && inside.contains(&(place % 32)));
            assert!(!in_border || pixel == 0, "image {index} has a border pixel of {pixel}");
        }
    }
}

#[test]
#[ignore = "needs real images: set PARAREAL_DATA_DIR"]
fn mnist_has_all_images_with_a_black_border() {
    let Dataset { train, test, normalization, .. } = load(Mnist, "mnist");
    let test = test.expect("the test images were asked for");
    assert_eq!((train.len(), test.len()), (60_000, 10_000));
    for set in [&train, &test] {
        assert_eq!((set.channels(), set.height(), set.width(), set.classes()), (1, 32, 32, 10));
        assert_border_is_black(set);
        assert!(
            (0..set.len()).all(|index| set.image(index).unwrap().iter().any(|&pixel| pixel > 127))
        );
    }
    assert_eq!(train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(test.labels()[..5], [7, 2, 1, 0, 4]);
    assert_eq!(normalization, Normalization::measured(&train).unwrap());
}

#[test]
#[ignore = "needs real images: set PARAREAL_DATA_DIR"]
fn cifar_10_has_the_known_labels_and_constants() {
    let dataset = load(Cifar10, "cifar-10");
    let test = dataset.test.as_ref().unwrap();
    assert_eq!(dataset.train.labels()[..10], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
    assert_eq!(test.labels()[..10], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]);
    let names = "airplane automobile bird cat deer dog frog horse ship truck";
    assert_eq!(dataset.class_names, names.split(' ').collect::<Vec<_>>());
    // A complete set has no note; a subset has one.
    let whole = (dataset.train.len(), test.len()) == (50_000, 10_000);
    assert_eq!(dataset.notes.is_empty(), whole, "{:?}", dataset.notes);
    assert_normalization(&dataset, 0.01);
    assert_images(&dataset);
}

#[test]
#[ignore = "needs real images: set PARAREAL_DATA_DIR"]
fn svhn_has_the_known_labels_and_constants() {
    let dataset = load(Svhn, "svhn");
    assert_eq!(dataset.train.labels()[..10], [1, 9, 2, 3, 2, 5, 9, 3, 3, 1]);
    let whole = (dataset.train.len(), dataset.test.as_ref().unwrap().len()) == (73_257, 26_032);
    assert_eq!(dataset.notes.is_empty(), whole, "{:?}", dataset.notes);
    assert_normalization(&dataset, 0.03);
    assert_images(&dataset);
}

#[test]
#[ignore = "needs real images: set PARAREAL_DATA_DIR"]
fn inspections_count_every_class_and_know_the_files_of_mnist() {
    let data_dir = real_images(&["mnist", "cifar-10", "svhn"]);
    for name in [Mnist, Cifar10, Svhn] {
        let inspection = inspect(name, Some(&data_dir)).unwrap();
        let test = inspection.test.as_ref().unwrap();
        for split in [&inspection.train, test] {
            assert_eq!(split.per_class.iter().sum::<usize>(), split.images);
            assert!(split.per_class.iter().all(|&count| count > 0), "{split:?}");
        }
        if name == Mnist {
            assert_eq!(inspection.files.len(), 4);
            assert_eq!(inspection.train.per_class[..3], [5_923, 6_742, 5_958]);
            assert_eq!(inspection.notes, [""; 0]);
            // Computed with NumPy from the same files.
            let fingerprint = "a243b349219d43156ae24c4ce568830c65d7f3503ec4e4950b7ba1ad8985dc9d";
            assert_eq!(inspection.fingerprint, fingerprint);
            // Only compressed files can have the published checksum.
            let compressed = |file: &&InspectedFile| file.path.extension() == Some("gz".as_ref());
            for file in inspection.files.iter().filter(compressed) {
                assert!(file.checksum.as_ref().unwrap().matches(), "{file:?}");
            }
        }
    }
}
