//! MNIST: handwritten digits from four IDX files.

use std::path::{Path, PathBuf};

use crate::batches::augmentation::Augmentation;
use crate::error::DataError;
use crate::formats::error::{FileError, FileFault};
use crate::formats::idx::{self, IdxFormat, IdxItems};
use crate::images::image_set::{ImageSet, first_outside};
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::sets::definition::{
    Classes, Definition, Loaded, Origin, Publication, PublishedFile, Statistics,
};
use crate::sets::stored_images::{StoredImages, TestImages};

/// Authors, title and address.
const CITATION: &str = "Y. LeCun, C. Cortes, C. Burges, MNIST; \
                      e.g. https://ossci-datasets.s3.amazonaws.com/mnist/";

/// Rows and columns of a stored image.
const STORED_SIDE: usize = 28;

/// The border enlarges the images to 32x32 pixels, a size that can be halved five times.
const PREPROCESSING: Preprocessing =
    Preprocessing { channels: 1, height: 32, width: 32, padding: (32 - STORED_SIDE) / 2 };

/// Number of digits.
const CLASSES: usize = 10;

/// Definition of MNIST.
pub(crate) static MNIST: Definition = Definition {
    name: DatasetName::Mnist,
    origin: Origin::Published(&PUBLICATION),
    classes: Classes::Numbered(CLASSES),
    preprocessing: PREPROCESSING,
    // Measured on the 60,000 padded training images. Without the border they would be 0.1307 and
    // 0.3081.
    statistics: Statistics::Constant { mean: &[0.100_036_93], deviation: &[0.275_217_35] },
    augmentation: Augmentation::None,
    load: |options, _| load(options),
};

static PUBLICATION: Publication = Publication {
    citation: CITATION,
    files: &[
        PublishedFile {
            name: "train-images-idx3-ubyte.gz",
            bytes: 9_912_422,
            md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        },
        PublishedFile {
            name: "train-labels-idx1-ubyte.gz",
            bytes: 28_881,
            md5: "d53e105ee54ea40749a09fcbcd1e9432",
        },
        PublishedFile {
            name: "t10k-images-idx3-ubyte.gz",
            bytes: 1_648_877,
            md5: "9fb629c4189551a2d022fa330f9573f3",
        },
        PublishedFile {
            name: "t10k-labels-idx1-ubyte.gz",
            bytes: 4_542,
            md5: "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ],
    addresses: &[
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ],
    folders: &["mnist"],
    recognized_by: &TRAINING.images,
    accepted: "DIR/mnist/train-images-idx3-ubyte and the other three IDX files (plain or .gz)",
    training_images: TRAINING.max as usize,
    test_images: TEST.max as usize,
};

/// The two files of a split. Each has two possible names: the usual one and one with a dot.
pub(crate) struct Split {
    images: [&'static str; 2],
    labels: [&'static str; 2],
    image_words: &'static str,
    label_words: &'static str,
    /// Number of images in the canonical files.
    max: u32,
}

pub(crate) const TRAINING: Split = Split {
    images: ["train-images-idx3-ubyte", "train-images.idx3-ubyte"],
    labels: ["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"],
    image_words: "MNIST training images",
    label_words: "MNIST training labels",
    max: 60_000,
};

const TEST: Split = Split {
    images: ["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"],
    labels: ["t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"],
    image_words: "MNIST test images",
    label_words: "MNIST test labels",
    max: 10_000,
};

/// Reads MNIST from the folder `mnist` of the data folder.
fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let directory = PUBLICATION.directory(MNIST.data_dir(options)?);
    let mut files = Vec::new();
    let train = TRAINING.load(&directory, &mut files)?;
    let test = if options.wants_test() {
        TestImages::Read(TEST.load(&directory, &mut files)?)
    } else {
        TestImages::Unread
    };
    StoredImages { definition: &MNIST, files, train, test, class_names: None }.into_loaded(options)
}

impl Split {
    /// Returns the formats of the image file and the label file.
    pub(crate) fn formats(&self) -> [IdxFormat; 2] {
        let images = IdxFormat {
            what: self.image_words,
            item: &[STORED_SIDE as u32, STORED_SIDE as u32],
            max: self.max,
            origin: CITATION,
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
        let labels = labels.bytes.into_iter().map(u16::from).collect();
        ImageSet::new(channels, height, width, CLASSES, pixels, labels)
    }
}

/// Checks that there are as many labels as images, and that all labels are digits.
fn check_labels(images: &IdxItems, labels: &IdxItems) -> Result<(), Box<FileError>> {
    let error =
        |fault, expected, found: String| labels.file.with_expected(expected).error(fault, found);
    if images.count != labels.count {
        let file = images.file.path.file_name().unwrap_or_default().to_string_lossy();
        let expected = format!("{} labels, one for each image in {file}", images.count);
        return Err(error(FileFault::Count, expected, format!("{} labels", labels.count)));
    }
    if let Some((index, label)) = first_outside(&labels.bytes, CLASSES) {
        let expected = format!("labels from 0 to {}", CLASSES - 1);
        return Err(error(FileFault::Label, expected, format!("label {label} at image {index}")));
    }
    Ok(())
}
