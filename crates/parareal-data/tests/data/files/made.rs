//! Creates files in the formats of the data sets.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use parareal_data::{DataError, Dataset, DatasetName, FileFault, LoadOptions};
use tempfile::TempDir;

/// A data folder that contains the folder of one data set.
pub(crate) struct Folder {
    data_dir: TempDir,
    folder: &'static str,
}

impl Folder {
    pub(crate) fn new(folder: &'static str) -> Self {
        let data_dir = TempDir::new().unwrap();
        fs::create_dir_all(data_dir.path().join(folder)).unwrap();
        Self { data_dir, folder }
    }

    /// Adds or replaces a file.
    pub(crate) fn with(self, name: &str, bytes: &[u8]) -> Self {
        self.write(name, bytes);
        self
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
    }

    pub(crate) fn without(self, name: &str) -> Self {
        fs::remove_file(self.file(name)).unwrap();
        self
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data_dir.path().join(self.folder).join(name)
    }

    pub(crate) fn load(&self, name: DatasetName) -> Result<Dataset, DataError> {
        self.load_some(name, None, None)
    }

    pub(crate) fn load_some(
        &self,
        name: DatasetName,
        limit_train: Option<usize>,
        limit_test: Option<usize>,
    ) -> Result<Dataset, DataError> {
        let data_dir = Some(self.data_dir().to_owned());
        Dataset::load(
            name,
            &LoadOptions { data_dir, limit_train, limit_test, ..Default::default() },
        )
    }

    /// Returns the fault of `file` and the message, which must be one line and name the file.
    pub(crate) fn fault(&self, name: DatasetName, file: &str) -> (FileFault, String) {
        let error = self.load(name).unwrap_err();
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(file) && text.contains("canonical file comes from"), "{text}");
        (error.file().unwrap().fault, text)
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns an archive of files.
pub(crate) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &contents[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Returns the pixels `[3, 32, 32]` of image `number`. Any 251 consecutive images are different.
pub(crate) fn image(number: usize) -> Vec<u8> {
    (0..3 * 32 * 32).map(|place| ((7 * place + 31 * number + place / 32) % 251) as u8).collect()
}

/// Returns records of CIFAR-10 with these labels, and images starting at number `first`.
pub(crate) fn cifar10(labels: &[u8], first: usize) -> Vec<u8> {
    let record = |(index, &label)| [vec![label], image(first + index)].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

/// Returns records of CIFAR-100 with these coarse and fine labels, and images starting at number
/// `first`.
pub(crate) fn cifar100(labels: &[[u8; 2]], first: usize) -> Vec<u8> {
    let record = |(index, label): (usize, &[u8; 2])| [&label[..], &image(first + index)].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

/// The byte order and compression of a MATLAB file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mat {
    pub(crate) big_endian: bool,
    pub(crate) compressed: bool,
}

pub(crate) const CLASS_STRUCT: u8 = 2;
pub(crate) const CLASS_CHAR: u8 = 4;
pub(crate) const CLASS_DOUBLE: u8 = 6;
pub(crate) const CLASS_UINT8: u8 = 9;

pub(crate) const INT8: u32 = 1;
pub(crate) const UINT8: u32 = 2;
pub(crate) const UINT16: u32 = 4;
pub(crate) const INT32: u32 = 5;
pub(crate) const UINT32: u32 = 6;
pub(crate) const DOUBLE: u32 = 9;

impl Mat {
    pub(crate) fn all() -> [Self; 4] {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(big_endian, compressed)| Self { big_endian, compressed })
    }

    pub(crate) fn header(self) -> Vec<u8> {
        let mut header = b"MATLAB 5.0 MAT-file, made for a test".to_vec();
        header.resize(124, b' ');
        header.extend(if self.big_endian { [1, 0, b'M', b'I'] } else { [0, 1, b'I', b'M'] });
        header
    }

    pub(crate) fn word(self, word: u32) -> [u8; 4] {
        if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    /// Returns an element, which is packed into its tag if it is short.
    pub(crate) fn element(self, kind: u32, contents: &[u8]) -> Vec<u8> {
        let len = contents.len() as u32;
        let mut element = match len {
            1..=4 => self.word(len << 16 | kind).to_vec(),
            _ => [self.word(kind), self.word(len)].concat(),
        };
        element.extend(contents);
        element.resize(element.len().next_multiple_of(8), 0);
        element
    }

    /// Returns the contents of an array element.
    pub(crate) fn array_contents(
        self,
        name: &str,
        class: u8,
        dimensions: &[u32],
        kind: u32,
        numbers: &[u8],
    ) -> Vec<u8> {
        let flags = [self.word(class.into()), self.word(0)].concat();
        let dimensions: Vec<u8> = dimensions.iter().flat_map(|&len| self.word(len)).collect();
        [
            self.element(UINT32, &flags),
            self.element(INT32, &dimensions),
            self.element(INT8, name.as_bytes()),
            self.element(kind, numbers),
        ]
        .concat()
    }

    /// Returns a variable with the given contents of its array element.
    pub(crate) fn variable(self, contents: &[u8]) -> Vec<u8> {
        let array = [&self.word(14), &self.word(contents.len() as u32), contents].concat();
        if !self.compressed {
            return array;
        }
        let packed = zlib(&array);
        [&self.word(15), &self.word(packed.len() as u32), &packed[..]].concat()
    }

    pub(crate) fn array(
        self,
        name: &str,
        class: u8,
        dimensions: &[u32],
        kind: u32,
        numbers: &[u8],
    ) -> Vec<u8> {
        self.variable(&self.array_contents(name, class, dimensions, kind, numbers))
    }

    /// Returns integers in their stored form.
    pub(crate) fn numbers(self, kind: u32, numbers: &[u8]) -> Vec<u8> {
        let bytes = |&number: &u8| {
            let mut bytes = match kind {
                7 => f32::from(number).to_le_bytes().to_vec(),
                DOUBLE => f64::from(number).to_le_bytes().to_vec(),
                _ => {
                    let size = match kind {
                        1 | 2 => 1,
                        3 | 4 => 2,
                        5 | 6 => 4,
                        _ => 8,
                    };
                    u64::from(number).to_le_bytes()[..size].to_vec()
                }
            };
            if self.big_endian {
                bytes.reverse();
            }
            bytes
        };
        numbers.iter().flat_map(bytes).collect()
    }

    /// Returns the variable X with images starting at number `first`.
    pub(crate) fn images(self, count: usize, first: usize) -> Vec<u8> {
        let dimensions = [32, 32, 3, count as u32];
        self.array("X", CLASS_UINT8, &dimensions, UINT8, &column_major(count, first))
    }

    /// Returns the variable y.
    pub(crate) fn labels(self, kind: u32, labels: &[u8]) -> Vec<u8> {
        let dimensions = [labels.len() as u32, 1];
        self.array("y", CLASS_DOUBLE, &dimensions, kind, &self.numbers(kind, labels))
    }

    /// Returns a file of SVHN with these labels (10 for the digit 0), and images starting at
    /// `first`.
    pub(crate) fn svhn(self, labels: &[u8], first: usize) -> Vec<u8> {
        let images = self.images(labels.len(), first);
        [self.header(), images, self.labels(UINT8, labels)].concat()
    }
}

/// Returns images as `[row, column, channel, n]`, with the row changing fastest.
pub(crate) fn column_major(count: usize, first: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in first..first + count {
        let image = image(number);
        for plane in image.chunks_exact(32 * 32) {
            for column in 0..32 {
                bytes.extend((0..32).map(|row| plane[32 * row + column]));
            }
        }
    }
    bytes
}
