//! CIFAR-10 and CIFAR-100: small photographs, in their binary versions.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::batches::augmentation::Augmentation;
use crate::error::DataError;
use crate::formats::error::{FileError, FileFault};
use crate::formats::file::DataFile;
use crate::formats::records::{Label, RecordFormat, Records, SIDE};
use crate::formats::{archive, class_names};
use crate::images::image_set::ImageSet;
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::sets::definition::{
    Classes, Definition, Loaded, Origin, Publication, PublishedFile, Statistics,
};
use crate::sets::stored_images::{StoredImages, TestImages};

const PREPROCESSING: Preprocessing =
    Preprocessing { channels: 3, height: SIDE, width: SIDE, padding: 0 };

/// CIFAR-10.
pub(crate) static CIFAR_10: Definition = Definition {
    name: DatasetName::Cifar10,
    origin: Origin::Published(&PUBLICATION_10),
    classes: Classes::Named(&[
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]),
    preprocessing: PREPROCESSING,
    // As commonly published for the 50,000 training images.
    statistics: Statistics::Constant {
        mean: &[0.4914, 0.4822, 0.4465],
        deviation: &[0.2470, 0.2435, 0.2616],
    },
    augmentation: Augmentation::CropFlip { padding: 4 },
    load: |options, _| FILES_10.load(options),
};

static PUBLICATION_10: Publication = Publication {
    citation: "A. Krizhevsky, CIFAR-10; https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    files: &[PublishedFile {
        name: "cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        md5: "c32a1d4ab5d03f1284b67883e8d87530",
    }],
    addresses: &["https://www.cs.toronto.edu/~kriz/"],
    folders: &["cifar-10", "cifar10"],
    recognized_by: &["cifar-10-binary.tar", "cifar-10-batches-bin", "data_batch_1.bin"],
    accepted: "DIR/cifar-10/cifar-10-binary.tar.gz or the .bin files in it (plain or .gz)",
    training_images: 50_000,
    test_images: 10_000,
};

pub(crate) static FILES_10: Files = Files {
    definition: &CIFAR_10,
    publication: &PUBLICATION_10,
    archive: "cifar-10-binary.tar",
    folder: "cifar-10-batches-bin",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    class_names: "batches.meta.txt",
    what: "CIFAR-10 images",
    labels: &[Label { what: "label", classes: 10 }],
};

/// CIFAR-100.
pub(crate) static CIFAR_100: Definition = Definition {
    name: DatasetName::Cifar100,
    origin: Origin::Published(&PUBLICATION_100),
    classes: Classes::Numbered(100),
    preprocessing: PREPROCESSING,
    // As commonly published for the 50,000 training images.
    statistics: Statistics::Constant {
        mean: &[0.5071, 0.4865, 0.4409],
        deviation: &[0.2673, 0.2564, 0.2762],
    },
    augmentation: Augmentation::CropFlip { padding: 4 },
    load: |options, _| FILES_100.load(options),
};

static PUBLICATION_100: Publication = Publication {
    citation: "A. Krizhevsky, CIFAR-100; https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    files: &[PublishedFile {
        name: "cifar-100-binary.tar.gz",
        bytes: 168_513_733,
        md5: "03b5dce01913d631647c71ecec9e9cb8",
    }],
    addresses: &["https://www.cs.toronto.edu/~kriz/"],
    folders: &["cifar-100", "cifar100"],
    recognized_by: &["cifar-100-binary.tar", "cifar-100-binary", "train.bin"],
    accepted: "DIR/cifar-100/cifar-100-binary.tar.gz or the .bin files in it (plain or .gz)",
    training_images: 50_000,
    test_images: 10_000,
};

pub(crate) static FILES_100: Files = Files {
    definition: &CIFAR_100,
    publication: &PUBLICATION_100,
    archive: "cifar-100-binary.tar",
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: "test.bin",
    class_names: "fine_label_names.txt",
    what: "CIFAR-100 images",
    labels: &[
        Label { what: "coarse label", classes: 20 },
        Label { what: "fine label", classes: 100 },
    ],
};

/// The files of CIFAR-10 or CIFAR-100.
pub(crate) struct Files {
    definition: &'static Definition,
    publication: &'static Publication,
    /// Name of the archive of all files, without `.gz`.
    archive: &'static str,
    /// Name of the folder in the archive.
    folder: &'static str,
    /// Names of the files of training images, in order.
    train: &'static [&'static str],
    /// Name of the file of test images.
    test: &'static str,
    /// Name of the file of class names.
    class_names: &'static str,
    /// Description of the images.
    what: &'static str,
    labels: &'static [Label],
}

/// Contents of the files.
#[derive(Default)]
pub(crate) struct Found {
    files: Vec<PathBuf>,
    /// The records of each file of training images.
    train: Vec<Records>,
    test: Option<Records>,
    has_test: bool,
    names: Option<Vec<String>>,
}

impl Files {
    /// Reads the set from its folder in the data folder.
    fn load(&self, options: &LoadOptions) -> Result<Loaded, DataError> {
        let directory = self.publication.directory(self.definition.data_dir(options)?);
        let wants_test = options.wants_test();
        let found = if let Some(directory) = self.loose_in(&directory)? {
            self.read_loose(&directory, wants_test)?
        } else if let Some(file) = self.archive_in(&directory)? {
            self.read_archive(&file, &mut file.open(self.max_archive_bytes())?, wants_test)?
        } else {
            return Err(self.nothing_in(&directory).into());
        };
        let images = |Records { pixels, labels }: Records| {
            ImageSet::new(3, SIDE, SIDE, self.classes(), pixels, labels)
        };
        let stored = StoredImages {
            definition: self.definition,
            files: found.files,
            train: images(Records::joined(found.train))?,
            test: match found.test {
                Some(test) => TestImages::Read(images(test)?),
                None if found.has_test => TestImages::Unread,
                None => TestImages::Absent,
            },
            class_names: found.names,
        };
        stored.into_loaded(options)
    }

    /// Returns `directory` or its subfolder `self.folder`, whichever has any of the image files.
    fn loose_in(&self, directory: &Path) -> Result<Option<PathBuf>, Box<FileError>> {
        let names: Vec<&str> = self.train.iter().copied().chain([self.test]).collect();
        for directory in [directory.to_owned(), directory.join(self.folder)] {
            if DataFile::find(&directory, &names, self.what, self.publication.citation)?.is_some() {
                return Ok(Some(directory));
            }
        }
        Ok(None)
    }

    fn read_loose(&self, directory: &Path, wants_test: bool) -> Result<Found, Box<FileError>> {
        let origin = self.publication.citation;
        let mut found = Found::default();
        let mut read = |file: DataFile, format: &RecordFormat| {
            // Leaves room to detect records beyond the maximum number.
            let limit = format.max_bytes() + 2 * format.record_len() as u64;
            let records = format.read(&file, &mut file.open(limit)?)?;
            found.files.push(file.path);
            Ok::<_, Box<FileError>>(records)
        };
        let format = self.training_format();
        for name in self.train {
            let file = DataFile::require(directory, &[name], &format.description(), origin)?;
            found.train.push(read(file, &format)?);
        }
        let format = self.test_format();
        let test = DataFile::find(directory, &[self.test], &format.description(), origin)?;
        found.has_test = test.is_some();
        if let Some(file) = test.filter(|_| wants_test) {
            found.test = Some(read(file, &format)?);
        }
        let expected = class_names::description(self.classes());
        if let Some(file) = DataFile::find(directory, &[self.class_names], &expected, origin)? {
            let mut reader = file.open(class_names::MAX_BYTES + 1)?;
            found.names = Some(class_names::read(&file, &mut reader, self.classes())?);
            found.files.push(file.path);
        }
        Ok(found)
    }

    pub(crate) fn read_archive(
        &self,
        file: &DataFile,
        reader: &mut dyn Read,
        wants_test: bool,
    ) -> Result<Found, Box<FileError>> {
        let (training, test) = (self.training_format(), self.test_format());
        let member = |name: &str, what: String| {
            file.with_expected(format!("its entry {}/{name} to be {what}", self.folder))
        };
        let mut train: Vec<Option<Records>> = self.train.iter().map(|_| None).collect();
        let mut found = Found { files: vec![file.path.clone()], ..Found::default() };
        let mut visit = |path: &str, reader: &mut dyn Read| {
            let Some((folder, name)) = path.split_once('/') else { return Ok(()) };
            if folder != self.folder {
                return Ok(());
            }
            let twice = if let Some(index) = self.train.iter().position(|known| *known == name) {
                let file = member(name, training.description());
                train[index].replace(training.read(&file, reader)?).is_some()
            } else if name == self.test {
                if wants_test {
                    found.test = Some(test.read(&member(name, test.description()), reader)?);
                }
                std::mem::replace(&mut found.has_test, true)
            } else if name == self.class_names {
                let file = member(name, class_names::description(self.classes()));
                found.names.replace(class_names::read(&file, reader, self.classes())?).is_some()
            } else {
                false
            };
            if twice {
                let file = member(name, "present once".to_owned());
                return Err(file.error(FileFault::Foreign, "it twice"));
            }
            Ok(())
        };
        archive::read(file, reader, &mut visit)?;
        for (name, records) in self.train.iter().zip(train) {
            let missing = || {
                let file = member(name, training.description());
                file.error(FileFault::Missing, "no such entry")
            };
            found.train.push(records.ok_or_else(missing)?);
        }
        Ok(found)
    }

    fn archive_in(&self, directory: &Path) -> Result<Option<DataFile>, Box<FileError>> {
        let expected = format!("an archive of {} in the folder {}", self.what, self.folder);
        DataFile::find(directory, &[self.archive], &expected, self.publication.citation)
    }

    /// Maximum length of the unpacked archive in bytes, with room for names and headers.
    fn max_archive_bytes(&self) -> u64 {
        let spare = 1 << 20;
        let training = self.train.len() as u64 * self.training_format().max_bytes();
        training + self.test_format().max_bytes() + spare
    }

    fn nothing_in(&self, directory: &Path) -> Box<FileError> {
        let Self { archive, train, test, what, .. } = self;
        DataFile {
            path: directory.join(train[0]),
            expected: format!(
                "{what} in {} and {test}, each plain or gzip-compressed (.gz), or all of them in \
                 {archive}.gz",
                train.join(", ")
            ),
            origin: self.publication.citation,
        }
        .error(FileFault::Missing, "no such file in any form")
    }

    pub(crate) fn training_format(&self) -> RecordFormat {
        let max = self.publication.training_images / self.train.len();
        RecordFormat { what: self.what, labels: self.labels, max }
    }

    fn test_format(&self) -> RecordFormat {
        let max = self.publication.test_images;
        RecordFormat { what: self.what, labels: self.labels, max }
    }

    /// Number of classes of the last label byte.
    fn classes(&self) -> usize {
        self.labels.last().map_or(0, |label| label.classes)
    }
}
