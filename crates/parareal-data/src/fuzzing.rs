//! Entry points of the fuzz targets, and of the test that reads their corpora. Each entry point
//! calls one reader on the contents of a file. They are not part of the public interface.

use std::io::Cursor;

use crate::error::DataError;
use crate::formats::error::FileError;
use crate::formats::file::DataFile;
use crate::formats::header;
use crate::formats::image::decode;
use crate::formats::records::RecordFormat;
use crate::formats::size_limit::SizeLimit;
use crate::sets::{cifar, mnist, svhn};

/// Limits that small inputs can exceed. To exceed the limits of the canonical files, an input would
/// need megabytes of compressed data.
const MAX_IMAGES: usize = 50;
const MAX_ARCHIVE_BYTES: u64 = 1 << 18;
const IMAGE_LIMIT: SizeLimit = SizeLimit { memory: 1 << 20, ..SizeLimit::FILES };

/// Reads the contents as an MNIST file of images or labels.
pub fn idx(contents: &[u8]) -> Result<(), DataError> {
    either(mnist::TRAINING.formats(), |format| {
        let file = file("idx", format.description());
        format.read_from(&file, &mut file.unpacked(contents, u64::MAX)?)
    })
}

/// Reads the contents as records of CIFAR-10 or CIFAR-100.
pub fn cifar(contents: &[u8]) -> Result<(), DataError> {
    either([&cifar::FILES_10, &cifar::FILES_100], |set| {
        let format = RecordFormat { max: MAX_IMAGES, ..set.training_format() };
        let file = file("cifar.bin", format.description());
        format.read(&file, &mut file.unpacked(contents, 2 * format.max_bytes())?)
    })
}

/// Reads the contents as the archive of CIFAR-10 or CIFAR-100.
pub fn archive(contents: &[u8]) -> Result<(), DataError> {
    either([&cifar::FILES_10, &cifar::FILES_100], |set| {
        let file = file("cifar.tar.gz", "an archive of images".to_owned());
        set.read_archive(&file, &mut file.unpacked(contents, MAX_ARCHIVE_BYTES)?, true)
    })
}

/// Reads the contents as a file of SVHN.
pub fn matlab(contents: &[u8]) -> Result<(), DataError> {
    let file = file("svhn.mat", "a MATLAB file of images".to_owned());
    let mut reader = file.unpacked(contents, svhn::max_bytes(MAX_IMAGES))?;
    svhn::read_from(&file, &mut reader, MAX_IMAGES).map(drop)
}

/// Decodes the contents as a PNG or JPEG file, and reads its header.
///
/// # Panics
///
/// If the header of a file that can be decoded is refused, or states another size.
pub fn image(contents: &[u8]) -> Result<(), DataError> {
    let header = header::parse(Cursor::new(contents), IMAGE_LIMIT);
    match decode(contents, IMAGE_LIMIT) {
        Ok(image) => {
            let header = header.expect("a decoded image has a header");
            let [width, height] = [image.width(), image.height()].map(|side| side as usize);
            let is_same = [(width, height), (height, width)];
            assert!(is_same.contains(&(header.width, header.height)), "{header:?}");
            Ok(())
        }
        Err(message) => Err(DataError::Image { path: "image".into(), message }),
    }
}

/// Tries to read in two ways, and returns the second error if both fail.
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
