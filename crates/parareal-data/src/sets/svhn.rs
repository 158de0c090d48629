//! SVHN: digits cut from photographs of house numbers, in MATLAB files.
//!
//! A file has two arrays, in which the first dimension changes fastest:
//!
//! * `X`: the images as bytes, `[rows, columns, channels, n]`;
//! * `y`: the labels as numbers of any type, `[n, 1]`. Labels are from 1 to 10, where 10 is the
//!   digit 0.

use std::io::BufRead;

use crate::batches::augmentation::Augmentation;
use crate::error::DataError;
use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;
use crate::formats::mat::{self, Array, Storage};
use crate::images::image_set::ImageSet;
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::sets::definition::{
    Classes, Definition, Loaded, Origin, Publication, PublishedFile, Statistics,
};
use crate::sets::stored_images::{StoredImages, TestImages};

/// Rows and columns of an image.
const SIDE: usize = 32;

/// Channels of an image: red, green and blue.
const CHANNELS: usize = 3;

/// Bytes of an image.
const IMAGE_LEN: usize = CHANNELS * SIDE * SIDE;

/// Number of digits.
const CLASSES: usize = 10;

/// Definition of SVHN, without the 531,131 extra images.
pub(crate) static SVHN: Definition = Definition {
    name: DatasetName::Svhn,
    origin: Origin::Published(&PUBLICATION),
    classes: Classes::Numbered(CLASSES),
    preprocessing: Preprocessing { channels: CHANNELS, height: SIDE, width: SIDE, padding: 0 },
    // As commonly published for the 73,257 training images.
    statistics: Statistics::Constant {
        mean: &[0.4377, 0.4438, 0.4728],
        deviation: &[0.1980, 0.2010, 0.1970],
    },
    augmentation: Augmentation::None,
    load: |options, _| load(options),
};

static PUBLICATION: Publication = Publication {
    citation: "Y. Netzer et al., SVHN, format 2; http://ufldl.stanford.edu/housenumbers/",
    files: &[
        PublishedFile {
            name: "train_32x32.mat",
            bytes: 182_040_794,
            md5: "e26dedcc434d2e4c54c9b2d4a06d8373",
        },
        PublishedFile {
            name: "test_32x32.mat",
            bytes: 64_275_384,
            md5: "eb5a983be6a315427106f1b703d9c1e5",
        },
    ],
    // The authors publish the second address. Files from either address are checked.
    addresses: &[
        "https://ufldl.stanford.edu/housenumbers/",
        "http://ufldl.stanford.edu/housenumbers/",
    ],
    folders: &["svhn"],
    recognized_by: &[TRAINING_FILE],
    accepted: "DIR/svhn/train_32x32.mat and DIR/svhn/test_32x32.mat",
    training_images: 73_257,
    test_images: 26_032,
};

const TRAINING_FILE: &str = "train_32x32.mat";
const TEST_FILE: &str = "test_32x32.mat";

/// Reads SVHN from the folder `svhn` of the data folder.
fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let Publication { citation, training_images, test_images, .. } = PUBLICATION;
    let directory = PUBLICATION.directory(SVHN.data_dir(options)?);
    let expected = description(training_images);
    let file = DataFile::require(&directory, &[TRAINING_FILE], &expected, citation)?;
    let train = read(&file, training_images)?;
    let mut files = vec![file.path];
    let expected = description(test_images);
    let test = match DataFile::find(&directory, &[TEST_FILE], &expected, citation)? {
        None => TestImages::Absent,
        Some(_) if !options.wants_test() => TestImages::Unread,
        Some(file) => {
            let images = read(&file, test_images)?;
            files.push(file.path);
            TestImages::Read(images)
        }
    };
    StoredImages { definition: &SVHN, files, train, test, class_names: None }.into_loaded(options)
}

fn description(max: usize) -> String {
    format!(
        "a MATLAB file (version 5) with bytes X [{SIDE}, {SIDE}, {CHANNELS}, n] and numbers \
         y [n, 1] of 1 to {max} SVHN images"
    )
}

/// Reads the images and labels of a file.
fn read(file: &DataFile, max: usize) -> Result<ImageSet, DataError> {
    read_from(file, &mut file.open(max_bytes(max))?, max)
}

/// Maximum length of a file of `images` images, in bytes.
pub(crate) fn max_bytes(images: usize) -> u64 {
    // A label takes at most eight bytes; the rest is for headers and other variables.
    let spare = 1 << 20;
    images as u64 * (IMAGE_LEN as u64 + 8) + spare
}

/// Like [`read`], but for the given contents of the file.
pub(crate) fn read_from(
    file: &DataFile,
    reader: &mut dyn BufRead,
    max: usize,
) -> Result<ImageSet, DataError> {
    let mut pixels = None;
    let mut labels = None;
    mat::read(file, reader, &mut |array| {
        let twice = match array.name.as_str() {
            "X" => pixels.replace(read_pixels(file, array, max)?).is_some(),
            "y" => labels.replace(read_labels(file, array, max)?).is_some(),
            _ => false,
        };
        if twice {
            let found = format!("{} twice", array.name);
            return Err(file.error(FileFault::Foreign, found));
        }
        Ok(())
    })?;
    let missing = |name| file.error(FileFault::Truncated, format!("no array {name}"));
    let pixels: Vec<u8> = pixels.ok_or_else(|| missing("X"))?;
    let labels: Vec<u16> = labels.ok_or_else(|| missing("y"))?;
    let images = pixels.len() / IMAGE_LEN;
    if images != labels.len() {
        let found = format!("{images} images and {} labels", labels.len());
        return Err(file.error(FileFault::Count, found).into());
    }
    ImageSet::new(CHANNELS, SIDE, SIDE, CLASSES, pixels, labels)
}

/// Reads images and transposes them to `[n, channels, rows, columns]`, the last dimension changing
/// fastest.
fn read_pixels(
    file: &DataFile,
    array: &mut Array<'_>,
    max: usize,
) -> Result<Vec<u8>, Box<FileError>> {
    if array.storage != Storage::UInt8 {
        let found = format!("X of type {:?}", array.storage);
        return Err(file.error(FileFault::Foreign, found));
    }
    // The last dimension is not stored if it is 1.
    let (side, channels) = (SIDE as u32, CHANNELS as u32);
    let count = match array.dimensions[..] {
        [rows, columns, depth] if [rows, columns, depth] == [side, side, channels] => 1,
        [rows, columns, depth, count] if [rows, columns, depth] == [side, side, channels] => count,
        _ => 0,
    };
    check_dimensions(file, array, count as usize, IMAGE_LEN, max)?;
    let mut pixels = Vec::new();
    let mut image = [0; IMAGE_LEN];
    for _ in 0..count {
        array.fill(&mut image)?;
        for plane in image.chunks_exact(SIDE * SIDE) {
            for row in 0..SIDE {
                pixels.extend(plane.iter().skip(row).step_by(SIDE));
            }
        }
    }
    pixels.shrink_to_fit();
    Ok(pixels)
}

/// Reads labels and converts them to digits.
fn read_labels(
    file: &DataFile,
    array: &mut Array<'_>,
    max: usize,
) -> Result<Vec<u16>, Box<FileError>> {
    let count = match array.dimensions[..] {
        [count, 1] => count as usize,
        _ => 0,
    };
    let (storage, order) = (array.storage, array.order);
    check_dimensions(file, array, count, storage.size(), max)?;
    let mut labels = Vec::new();
    let mut bytes = vec![0; storage.size()];
    for index in 0..count {
        array.fill(&mut bytes)?;
        let number = storage.number(&bytes, order);
        let label = (1..=10_u16).find(|&label| f64::from(label) == number).ok_or_else(|| {
            let expected = "labels from 1 to 10 (10 is the digit 0)".to_owned();
            let found = format!("label {number} at image {index}");
            file.with_expected(expected).error(FileFault::Label, found)
        })?;
        labels.push(label % 10);
    }
    Ok(labels)
}

/// Checks that an array has 1 to `max` items and that its length is `count` times `item_len` bytes.
fn check_dimensions(
    file: &DataFile,
    array: &Array<'_>,
    count: usize,
    item_len: usize,
    max: usize,
) -> Result<(), Box<FileError>> {
    let Array { name, dimensions, len, .. } = array;
    if !(1..=max).contains(&count) {
        let found = format!("{name} with dimensions {dimensions:?}");
        return Err(file.error(FileFault::Dimensions, found));
    }
    if *len != count as u64 * item_len as u64 {
        let found = format!("{name} with dimensions {dimensions:?} in {len} bytes");
        return Err(file.error(FileFault::Dimensions, found));
    }
    Ok(())
}
