//! The readers of files, given what a file holds: for the fuzz targets and the test that goes through
//! their corpora. No part of the interface.

use crate::error::DataError;
use crate::formats::error::FileError;
use crate::formats::file::DataFile;
use crate::formats::image::decode;
use crate::formats::records::RecordFormat;
use crate::formats::size_limit::SizeLimit;
use crate::sets::{cifar, mnist, svhn};

/// Limits that small inputs reach: the canonical files' own take a compressed input megabytes.
const MOST_IMAGES: usize = 50;
const MOST_ARCHIVE_BYTES: u64 = 1 << 18;
const IMAGE_LIMIT: SizeLimit = SizeLimit { memory: 1 << 20, ..SizeLimit::FILES };

/// A file with this name and these contents is read as one of MNIST's, of images or of labels.
pub fn idx(contents: &[u8]) -> Result<(), DataError> {
    either(mnist::TRAINING.formats(), |format| {
        let file = file("idx", format.in_words());
        format.read_from(&file, &mut file.unpacked(contents, u64::MAX)?)
    })
}

/// As records of CIFAR-10 or CIFAR-100.
pub fn cifar(contents: &[u8]) -> Result<(), DataError> {
    either([&cifar::FILES_10, &cifar::FILES_100], |set| {
        let format = RecordFormat { most: MOST_IMAGES, ..set.training_format() };
        let file = file("cifar.bin", format.in_words());
        format.read(&file, &mut file.unpacked(contents, 2 * format.most_bytes())?)
    })
}

/// As the archive of CIFAR-10 or CIFAR-100.
pub fn archive(contents: &[u8]) -> Result<(), DataError> {
    either([&cifar::FILES_10, &cifar::FILES_100], |set| {
        let file = file("cifar.tar.gz", "an archive of images".to_owned());
        set.read_archive(&file, &mut file.unpacked(contents, MOST_ARCHIVE_BYTES)?, true)
    })
}

/// As a file of SVHN.
pub fn matlab(contents: &[u8]) -> Result<(), DataError> {
    let file = file("svhn.mat", "a MATLAB file of images".to_owned());
    let mut reader = file.unpacked(contents, svhn::most_bytes(MOST_IMAGES))?;
    svhn::read_from(&file, &mut reader, MOST_IMAGES).map(drop)
}

/// As an image file, PNG or JPEG.
pub fn image(contents: &[u8]) -> Result<(), DataError> {
    match decode(contents, IMAGE_LIMIT) {
        Ok(_) => Ok(()),
        Err(message) => Err(DataError::Image { path: "image".into(), message }),
    }
}

/// Whether one of two ways to read succeeds, and otherwise why the second one does not.
fn either<W, T>(
    [first, second]: [W; 2],
    read: impl Fn(W) -> Result<T, Box<FileError>>,
) -> Result<(), DataError> {
    read(first).or_else(|_| read(second))?;
    Ok(())
}

fn file(name: &str, expected: String) -> DataFile {
    DataFile { path: name.into(), expected, origin: "nowhere" }
}
