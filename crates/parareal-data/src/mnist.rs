//! MNIST: handwritten digits from four IDX files.

use std::path::{Path, PathBuf};

use crate::augment::Augmentation;
use crate::class_names;
use crate::dataset::{DatasetName, LoadOptions};
use crate::error::{DataError, FileError, FileFault};
use crate::idx::{self, IdxFormat, IdxItems};
use crate::image_set::{ImageSet, first_outside};
use crate::normalization::Normalization;
use crate::preprocessing::Preprocessing;
use crate::source::{Loaded, Published, Source, Stored, TestImages};

/// Where the canonical files come from.
const ORIGIN: &str = "Y. LeCun, C. Cortes, C. Burges, MNIST; \
                      e.g. https://ossci-datasets.s3.amazonaws.com/mnist/";

/// Rows and columns of a stored image.
const STORED_SIDE: usize = 28;

/// The border makes the side (32) one that can be halved five times.
const PREPROCESSING: Preprocessing =
    Preprocessing { channels: 1, height: 32, width: 32, padding: (32 - STORED_SIDE) / 2 };

/// Number of digits.
const CLASSES: usize = 10;

/// Mean of the 60,000 padded training images (over 28x28 pixels it would be 0.1307).
const MEAN: f32 = 0.100_036_93;

/// Standard deviation of the 60,000 padded training images (over 28x28 pixels: 0.3081).
const DEVIATION: f32 = 0.275_217_35;

/// The set as a whole.
pub(crate) static SOURCE: Source = Source {
    name: DatasetName::Mnist,
    folders: &["mnist"],
    files: "DIR/mnist/train-images-idx3-ubyte and the other three IDX files (plain or .gz)",
    origin: ORIGIN,
    training_images: TRAINING.most as usize,
    test_images: TEST.most as usize,
    published: &[
        Published {
            name: "train-images-idx3-ubyte.gz",
            bytes: 9_912_422,
            md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        },
        Published {
            name: "train-labels-idx1-ubyte.gz",
            bytes: 28_881,
            md5: "d53e105ee54ea40749a09fcbcd1e9432",
        },
        Published {
            name: "t10k-images-idx3-ubyte.gz",
            bytes: 1_648_877,
            md5: "9fb629c4189551a2d022fa330f9573f3",
        },
        Published {
            name: "t10k-labels-idx1-ubyte.gz",
            bytes: 4_542,
            md5: "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ],
    addresses: &[
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ],
    recognized_by: &TRAINING.images,
};

/// The two files of a split, each under its usual name and the one with a dot.
pub(crate) struct Split {
    images: [&'static str; 2],
    labels: [&'static str; 2],
    image_words: &'static str,
    label_words: &'static str,
    /// Number of images of the canonical files.
    most: u32,
}

pub(crate) const TRAINING: Split = Split {
    images: ["train-images-idx3-ubyte", "train-images.idx3-ubyte"],
    labels: ["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"],
    image_words: "MNIST training images",
    label_words: "MNIST training labels",
    most: 60_000,
};

const TEST: Split = Split {
    images: ["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"],
    labels: ["t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"],
    image_words: "MNIST test images",
    label_words: "MNIST test labels",
    most: 10_000,
};

/// Reads MNIST from the folder `mnist` of the data folder.
pub(crate) fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let directory = SOURCE.directory(options)?;
    let mut files = Vec::new();
    let train = TRAINING.load(&directory, &mut files)?;
    let test = if Source::wants_test(options) {
        TestImages::Read(TEST.load(&directory, &mut files)?)
    } else {
        TestImages::Unread
    };
    Stored {
        source: &SOURCE,
        files,
        train,
        test,
        preprocessing: PREPROCESSING,
        normalization: Normalization { mean: vec![MEAN], deviation: vec![DEVIATION] },
        augmentation: Augmentation::None,
        class_names: class_names::numbers(CLASSES),
    }
    .into_loaded(options)
}

impl Split {
    /// What the file of images and that of labels must be.
    pub(crate) fn formats(&self) -> [IdxFormat; 2] {
        let images = IdxFormat {
            what: self.image_words,
            item: &[STORED_SIDE as u32, STORED_SIDE as u32],
            most: self.most,
            origin: ORIGIN,
        };
        [images, IdxFormat { what: self.label_words, item: &[], ..images }]
    }

    fn load(&self, directory: &Path, files: &mut Vec<PathBuf>) -> Result<ImageSet, DataError> {
        let [of_images, of_labels] = self.formats();
        let images = idx::read(directory, &self.images, of_images)?;
        let labels = idx::read(directory, &self.labels, of_labels)?;
        check_labels(&images, &labels)?;
        files.extend([images.file.path, labels.file.path]);
        let Preprocessing { channels, height, width, .. } = PREPROCESSING;
        let pixels = PREPROCESSING.pad(&images.bytes);
        ImageSet::new(channels, height, width, CLASSES, pixels, labels.bytes)
    }
}

/// Checks that there is a label for each image and that each is a digit.
fn check_labels(images: &IdxItems, labels: &IdxItems) -> Result<(), Box<FileError>> {
    let error =
        |fault, expected, found: String| labels.file.with_expected(expected).error(fault, found);
    if images.count != labels.count {
        let file = images.file.path.file_name().unwrap_or_default().to_string_lossy();
        let expected = format!("{} labels, as many as {file} has images", images.count);
        return Err(error(FileFault::Count, expected, format!("{} labels", labels.count)));
    }
    if let Some((index, label)) = first_outside(&labels.bytes, CLASSES) {
        let expected = format!("labels from 0 to {}", CLASSES - 1);
        return Err(error(FileFault::Label, expected, format!("label {label} at image {index}")));
    }
    Ok(())
}
