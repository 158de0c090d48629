//! The real files, where they are at hand.
//!
//! They are looked for in `PARAREAL_DATA_DIR`, else in the folder `shared/data` beside the
//! checkout; without them a test passes with a note.

use std::path::PathBuf;

use parareal_data::DatasetName::{Cifar10, Mnist, Svhn};
use parareal_data::{
    DataError, Dataset, DatasetName, FileFault, InspectedFile, Inspection, LoadOptions,
    Normalization, inspect,
};

fn data_dir() -> PathBuf {
    std::env::var_os("PARAREAL_DATA_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    )
}

/// What was read, or nothing where files are missing; any other fault is a failure.
fn present<T>(name: DatasetName, result: Result<T, DataError>) -> Option<T> {
    match result {
        Ok(read) => Some(read),
        Err(DataError::File(error)) if error.fault == FileFault::Missing => {
            eprintln!("skipped: set PARAREAL_DATA_DIR to a folder that holds {name} ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn load(name: DatasetName) -> Option<Dataset> {
    let options = LoadOptions { data_dir: Some(data_dir()), ..Default::default() };
    present(name, Dataset::load(name, &options))
}

fn inspection(name: DatasetName) -> Option<Inspection> {
    present(name, inspect(name, Some(&data_dir())))
}

/// Checks that the constants of a set are those of its training images up to `tolerance`.
fn assert_normalization(dataset: &Dataset, tolerance: f32) {
    let Normalization { mean, deviation } = Normalization::measured(&dataset.train).unwrap();
    let known = &dataset.normalization;
    eprintln!("{}: mean {mean:.4?}, deviation {deviation:.4?}", dataset.name);
    let close = |(one, other): (&f32, &f32)| (one - other).abs() < tolerance;
    assert!(mean.iter().zip(&known.mean).all(close), "{mean:?}");
    assert!(deviation.iter().zip(&known.deviation).all(close), "{deviation:?}");
}

/// Checks that every image shows something and comes once.
fn assert_images(dataset: &Dataset) {
    let sets = [Some(&dataset.train), dataset.test.as_ref()];
    let mut images: Vec<&[u8]> = sets
        .into_iter()
        .flatten()
        .flat_map(|set| (0..set.len()).map(|index| set.image(index)))
        .collect();
    assert!(images.iter().all(|image| image.iter().any(|pixel| pixel != &image[0])));
    let count = images.len();
    images.sort_unstable();
    images.dedup();
    assert!(images.len() + count / 100 > count, "{} of {count} images differ", images.len());
}

#[test]
fn cifar10() {
    let Some(dataset) = load(Cifar10) else { return };
    let test = dataset.test.as_ref().unwrap();
    assert_eq!(dataset.train.labels()[..10], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
    assert_eq!(test.labels()[..10], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]);
    let names = "airplane automobile bird cat deer dog frog horse ship truck";
    assert_eq!(dataset.class_names, names.split(' ').collect::<Vec<_>>());
    // A whole set has no note, a subset has one.
    let whole = (dataset.train.len(), test.len()) == (50_000, 10_000);
    assert_eq!(dataset.notes.is_empty(), whole, "{:?}", dataset.notes);
    assert_normalization(&dataset, 0.01);
    assert_images(&dataset);
}

#[test]
fn svhn() {
    let Some(dataset) = load(Svhn) else { return };
    assert_eq!(dataset.train.labels()[..10], [1, 9, 2, 3, 2, 5, 9, 3, 3, 1]);
    let whole = (dataset.train.len(), dataset.test.as_ref().unwrap().len()) == (73_257, 26_032);
    assert_eq!(dataset.notes.is_empty(), whole, "{:?}", dataset.notes);
    assert_normalization(&dataset, 0.03);
    assert_images(&dataset);
}

#[test]
fn inspections() {
    for name in [Mnist, Cifar10, Svhn] {
        let Some(inspection) = inspection(name) else { continue };
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
            // Files that were unpacked are the canonical ones in another form.
            let compressed = |file: &&InspectedFile| file.path.extension() == Some("gz".as_ref());
            for file in inspection.files.iter().filter(compressed) {
                assert!(file.checksum.as_ref().unwrap().matches(), "{file:?}");
            }
        }
    }
}
