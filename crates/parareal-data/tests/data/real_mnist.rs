//! The canonical MNIST files, where they are at hand.
//!
//! They are looked for in the folder `mnist` of `PARAREAL_DATA_DIR`, else of the folder
//! `shared/data` beside the checkout; without them the test passes with a note.

#![allow(clippy::print_stderr)]

use std::path::PathBuf;

use parareal_data::{
    DataError, Dataset, DatasetName, FileFault, ImageSet, LoadOptions, Normalization,
};

/// The canonical data set, or nothing where its files are absent; any other fault is a failure.
fn mnist() -> Option<Dataset> {
    let data_dir = std::env::var_os("PARAREAL_DATA_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let options = LoadOptions { data_dir: Some(data_dir), ..Default::default() };
    match Dataset::load(DatasetName::Mnist, &options) {
        Ok(dataset) => Some(dataset),
        Err(DataError::File(error)) if error.fault == FileFault::Missing => {
            eprintln!("skipped: set PARAREAL_DATA_DIR to a folder that holds mnist/ ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Checks that the two outermost rows and columns of every image are black.
fn assert_border_is_black(set: &ImageSet) {
    let inside = 2..30;
    for index in 0..set.len() {
        for (place, &pixel) in set.image(index).iter().enumerate() {
            let in_border = !(inside.contains(&(place / 32)) && inside.contains(&(place % 32)));
            assert!(!in_border || pixel == 0, "image {index} has a border pixel of {pixel}");
        }
    }
}

#[test]
fn the_canonical_files_are_read_in_full() {
    let Some(Dataset { train, test, normalization, .. }) = mnist() else { return };
    let test = test.expect("the test images were asked for");
    assert_eq!((train.len(), test.len()), (60_000, 10_000));
    for set in [&train, &test] {
        assert_eq!((set.channels(), set.height(), set.width(), set.classes()), (1, 32, 32, 10));
        assert_border_is_black(set);
        assert!((0..set.len()).all(|index| set.image(index).iter().any(|&pixel| pixel > 127)));
    }
    assert_eq!(train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(test.labels()[..5], [7, 2, 1, 0, 4]);
    assert_eq!(normalization, Normalization::measured(&train).unwrap());
}
