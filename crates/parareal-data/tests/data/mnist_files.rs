//! Loading MNIST from small valid and invalid files that the tests write.

use std::fs;
use std::path::Path;

use parareal_data::{DataError, Dataset, DatasetName, FileFault, LoadOptions};
use tempfile::TempDir;

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Returns an IDX file of `count` images. Every pixel of image `i` is `i + 1`.
fn images(count: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28];
    bytes.extend((1..=count).flat_map(|value| [value; 28 * 28]));
    bytes
}

/// Returns an IDX file of labels.
fn labels(labels: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8], labels].concat()
}

/// Creates a data folder with three training images and two test images.
fn data_dir() -> TempDir {
    let data_dir = TempDir::new().unwrap();
    fs::create_dir(data_dir.path().join("mnist")).unwrap();
    let contents = [images(3), labels(&[4, 9, 0]), images(2), labels(&[7, 7])];
    for (file, content) in FILES.into_iter().zip(contents) {
        fs::write(data_dir.path().join("mnist").join(file), content).unwrap();
    }
    data_dir
}

fn load(
    data_dir: &Path,
    limit_train: Option<usize>,
    limit_test: Option<usize>,
) -> Result<Dataset, DataError> {
    let options = LoadOptions {
        data_dir: Some(data_dir.to_owned()),
        limit_train,
        limit_test,
        ..Default::default()
    };
    Dataset::load(DatasetName::Mnist, &options)
}

/// Replaces the contents of `file` in the data folder, and returns the resulting fault and message.
fn fault(file: &str, content: &[u8]) -> (FileFault, String) {
    let data_dir = data_dir();
    fs::write(data_dir.path().join("mnist").join(file), content).unwrap();
    let error = load(data_dir.path(), None, None).unwrap_err();
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(file) && text.contains("ossci-datasets"), "{text}");
    (error.file().unwrap().fault, text)
}

#[test]
fn images_have_their_labels_and_a_black_border() {
    let data_dir = data_dir();
    let dataset = load(data_dir.path(), None, None).unwrap();
    assert_eq!(dataset.train.labels(), [4, 9, 0]);
    assert_eq!(dataset.test.unwrap().labels(), [7, 7]);
    for index in 0..3 {
        for (place, &pixel) in dataset.train.image(index).unwrap().iter().enumerate() {
            let inside = (2..30).contains(&(place / 32)) && (2..30).contains(&(place % 32));
            assert_eq!(usize::from(pixel), if inside { index + 1 } else { 0 });
        }
    }
}

#[test]
fn limits_take_the_first_images_and_may_drop_the_test_set() {
    let data_dir = data_dir();
    let dataset = load(data_dir.path(), Some(2), Some(1)).unwrap();
    assert_eq!(dataset.train.labels(), [4, 9]);
    assert_eq!(dataset.test.unwrap().len(), 1);
    let dataset = load(data_dir.path(), Some(usize::MAX), Some(usize::MAX)).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.unwrap().len()), (3, 2));

    for file in &FILES[2..] {
        fs::remove_file(data_dir.path().join("mnist").join(file)).unwrap();
    }
    assert!(load(data_dir.path(), None, Some(0)).unwrap().test.is_none());
    let error = load(data_dir.path(), None, None).unwrap_err();
    assert_eq!(error.file().unwrap().fault, FileFault::Missing);
}

#[test]
fn faulty_files_are_refused_by_name() {
    let (found, text) = fault(FILES[1], &labels(&[4, 9]));
    assert_eq!(found, FileFault::Count);
    assert!(text.contains("expected 3 labels") && text.contains("found 2 labels"), "{text}");
    let (found, text) = fault(FILES[3], &labels(&[7, 10]));
    assert_eq!(found, FileFault::Label);
    assert!(text.contains("label 10 at image 1"), "{text}");
    assert_eq!(fault(FILES[0], &images(3)[..999]).0, FileFault::Truncated);
    assert_eq!(fault(FILES[2], &[images(2), vec![0]].concat()).0, FileFault::Trailing);
    assert_eq!(fault(FILES[1], &images(3)).0, FileFault::Foreign);

    // The header states 2^24 + 3 images, more than the canonical file has.
    let mut huge = images(3);
    huge[4] = 1;
    assert_eq!(fault(FILES[0], &huge).0, FileFault::Dimensions);
}
