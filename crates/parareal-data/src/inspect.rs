//! A close look at the files of a data set.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use crate::dataset::{self, DatasetName, LoadOptions};
use crate::error::{DataError, FileError};
use crate::file::DataFile;
use crate::fingerprint::in_hexadecimal;
use crate::image_set::ImageSet;
use crate::source::Source;

/// What is in the files of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Which set it is.
    pub name: DatasetName,
    /// The files that hold it; none for a built-in set.
    pub files: Vec<InspectedFile>,
    /// The images to train on.
    pub train: SplitCounts,
    /// The images to judge the training by; where the files have none, those that are held out.
    pub test: Option<SplitCounts>,
    /// What each class is called.
    pub class_names: Vec<String>,
    /// What a person should know about the images, as in [`Dataset`](crate::Dataset).
    pub notes: Vec<String>,
    /// What identifies the contents, as [`Dataset::fingerprint`](crate::Dataset::fingerprint).
    pub fingerprint: String,
}

/// A file of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes as it is stored.
    pub bytes: u64,
    /// Its MD5 sum, where one of the canonical file of its name is published.
    pub checksum: Option<Checksum>,
}

/// The MD5 sum of a file in hexadecimal digits, beside that of the canonical file of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// That of the file.
    pub found: String,
    /// That of the canonical file.
    pub published: &'static str,
}

impl Checksum {
    /// Whether the file is the canonical one.
    pub fn matches(&self) -> bool {
        self.found == self.published
    }
}

/// How many images a split has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitCounts {
    /// Number of images.
    pub images: usize,
    /// Number of images of each class.
    pub per_class: Vec<usize>,
}

impl SplitCounts {
    fn of(set: &ImageSet) -> Self {
        let mut per_class = vec![0; set.classes()];
        for &label in set.labels() {
            per_class[usize::from(label)] += 1;
        }
        Self { images: set.len(), per_class }
    }
}

/// Reads a whole data set as [`Dataset::load`](crate::Dataset::load) does, and tells what is there.
///
/// That the files are not the canonical ones is no error as long as they can be loaded; it shows in
/// [`Checksum::matches`] and [`Inspection::notes`].
///
/// # Errors
///
/// Those of [`Dataset::load`](crate::Dataset::load).
pub fn inspect(name: DatasetName, data_dir: Option<&Path>) -> Result<Inspection, DataError> {
    let options = LoadOptions { data_dir: data_dir.map(Path::to_owned), ..Default::default() };
    let loaded = dataset::load(name, &options)?;
    let look = |path| loaded.source.map(|source| InspectedFile::new(path, source));
    let files = loaded.files.into_iter().filter_map(look).collect::<Result<_, _>>()?;
    let dataset = loaded.dataset;
    Ok(Inspection {
        name,
        files,
        train: SplitCounts::of(&dataset.train),
        test: dataset.test.as_ref().map(SplitCounts::of),
        fingerprint: dataset.fingerprint(),
        class_names: dataset.class_names,
        notes: dataset.notes,
    })
}

impl InspectedFile {
    fn new(path: PathBuf, source: &Source) -> Result<Self, Box<FileError>> {
        let published = source
            .published
            .iter()
            .find(|file| path.file_name().is_some_and(|name| name == file.name))
            .map(|file| file.md5);
        let expected = "a file that can be read twice".to_owned();
        let file = DataFile { path, expected, origin: source.origin };
        let (bytes, found) = sum(&file, published.is_some())?;
        let checksum = published.zip(found).map(|(published, found)| Checksum { found, published });
        Ok(Self { path: file.path, bytes, checksum })
    }
}

/// The length of a file and, where asked for, its MD5 sum.
fn sum(file: &DataFile, with_sum: bool) -> Result<(u64, Option<String>), Box<FileError>> {
    let io_error = |error| file.io_error(&error, "");
    let bytes = fs::metadata(&file.path).map_err(io_error)?.len();
    let found = if with_sum { Some(md5(&file.path).map_err(io_error)?) } else { None };
    Ok((bytes, found))
}

/// The MD5 sum of a file in hexadecimal digits.
pub(crate) fn md5(path: &Path) -> io::Result<String> {
    let (mut reader, mut hash) = (File::open(path)?, Md5::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(in_hexadecimal(&hash.finalize())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
