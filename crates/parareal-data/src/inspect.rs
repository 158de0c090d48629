//! Counts and checksums of the files of a data set.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::formats::error::FileError;
use crate::formats::file::DataFile;
use crate::images::file_images;
use crate::images::image_set::ImageSet;
use crate::load::load;
use crate::md5;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::progress::LoadProgress;
use crate::sets;
use crate::sets::definition::{Loaded, Publication};

/// Summary of the contents of a data set, with checksums of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Name of the set.
    pub name: DatasetName,
    /// The files that were read; none for a built-in set or a folder of images.
    pub files: Vec<InspectedFile>,
    /// Counts of the training images.
    pub train: SplitCounts,
    /// Counts of the test images, which are held out of the training images if the files have none.
    pub test: Option<SplitCounts>,
    /// Class names, indexed by label.
    pub class_names: Vec<String>,
    /// Notes about the images, as in [`Dataset`](crate::Dataset).
    pub notes: Vec<String>,
    /// Checksum of the contents; see [`Dataset::fingerprint`](crate::Dataset::fingerprint).
    pub fingerprint: String,
}

/// A file of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Length of the stored file in bytes, before any decompression.
    pub bytes: u64,
    /// MD5 sums; `None` if no sum is published for a file of this name.
    pub checksum: Option<Checksum>,
}

/// MD5 sums of a file and of the canonical file with the same name, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// MD5 sum of the file.
    pub found: String,
    /// MD5 sum of the canonical file.
    pub published: &'static str,
}

impl Checksum {
    /// Returns true if the file is the canonical one.
    pub fn matches(&self) -> bool {
        self.found == self.published
    }
}

/// Image counts of a split.
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

/// Reads a whole data set as [`Dataset::load`](crate::Dataset::load) does, and reports its contents.
///
/// Images that are not held in memory are decoded as well, to find damaged files.
///
/// Files other than the canonical ones are not an error as long as they can be loaded;
/// [`Checksum::matches`] and [`Inspection::notes`] report them.
///
/// # Errors
///
/// The errors of [`Dataset::load`](crate::Dataset::load).
pub fn inspect(name: DatasetName, data_dir: Option<&Path>) -> Result<Inspection, DataError> {
    let options = LoadOptions { data_dir: data_dir.map(Path::to_owned), ..Default::default() };
    inspect_with(name, &options, &|_| {})
}

/// Inspects a data set with these options as [`inspect`] does. `progress` is called from time to time while a folder of
/// images larger than 32x32 is indexed and decoded.
///
/// # Errors
///
/// Those of [`inspect`].
pub fn inspect_with(
    name: DatasetName,
    options: &LoadOptions,
    progress: &dyn Fn(LoadProgress),
) -> Result<Inspection, DataError> {
    let Loaded { dataset, files } = load(name, options, progress)?;
    let sets = [Some(&dataset.train), dataset.test.as_ref()];
    let in_files: Vec<_> = sets.into_iter().flatten().filter_map(ImageSet::files).collect();
    file_images::check(&in_files, progress)?;
    let files = match sets::definition(name).publication() {
        None => Vec::new(),
        Some(publication) => {
            let inspect = |path| InspectedFile::new(path, publication);
            files.into_iter().map(inspect).collect::<Result<_, _>>()?
        }
    };
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
    fn new(path: PathBuf, publication: &Publication) -> Result<Self, Box<FileError>> {
        let published = publication
            .files
            .iter()
            .find(|file| path.file_name().is_some_and(|name| name == file.name))
            .map(|file| file.md5);
        let expected = "a file that can be read twice".to_owned();
        let file = DataFile { path, expected, origin: publication.citation };
        let (bytes, found) = sum(&file, published.is_some())?;
        let checksum = published.zip(found).map(|(published, found)| Checksum { found, published });
        Ok(Self { path: file.path, bytes, checksum })
    }
}

/// Returns the length of a file and, if requested, its MD5 sum.
fn sum(file: &DataFile, with_sum: bool) -> Result<(u64, Option<String>), Box<FileError>> {
    let io_error = |error| file.io_error(&error, "");
    let bytes = fs::metadata(&file.path).map_err(io_error)?.len();
    let found = if with_sum { Some(md5::of_file(&file.path).map_err(io_error)?) } else { None };
    Ok((bytes, found))
}
