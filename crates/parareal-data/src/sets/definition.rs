//! Definition of a data set: its files, classes, preprocessing and augmentation.

use std::path::{Path, PathBuf};

use crate::batches::augmentation::Augmentation;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::images::normalization::Normalization;
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::progress::LoadProgress;

/// A function that loads a data set and reports its progress.
pub(crate) type Load = fn(&LoadOptions, &dyn Fn(LoadProgress)) -> Result<Loaded, DataError>;

/// Everything that is known about a data set before it is loaded.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: DatasetName,
    pub(crate) origin: Origin,
    pub(crate) classes: Classes,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) statistics: Statistics,
    /// The usual augmentation of its training images.
    pub(crate) augmentation: Augmentation,
    /// Loads the set; the limit on training images is at least 1.
    pub(crate) load: Load,
}

/// The origin of the images of a data set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// The program draws them.
    Drawn,
    /// Published files.
    Published(&'static Publication),
    /// Files of the user.
    Own {
        /// Description of the expected files, with their paths below `DIR`.
        files: &'static str,
    },
}

/// The canonical files of a data set.
#[derive(Debug)]
pub(crate) struct Publication {
    /// Authors, title and address.
    pub(crate) citation: &'static str,
    /// The files, each with its checksum.
    pub(crate) files: &'static [PublishedFile],
    /// Addresses of folders that hold the files, in the order in which they are tried; each ends in
    /// `/`.
    pub(crate) addresses: &'static [&'static str],
    /// Possible names of the data set's folder, the usual one first.
    pub(crate) folders: &'static [&'static str],
    /// Files and folders that identify the data set's folder, whatever its name.
    pub(crate) recognized_by: &'static [&'static str],
    /// Description of the accepted files, with their paths below `DIR`.
    pub(crate) accepted: &'static str,
    /// Number of training images in the canonical files.
    pub(crate) training_images: usize,
    /// Number of test images in the canonical files.
    pub(crate) test_images: usize,
}

/// A canonical file as published.
#[derive(Debug)]
pub(crate) struct PublishedFile {
    pub(crate) name: &'static str,
    /// Length of the file in bytes.
    pub(crate) bytes: u64,
    /// MD5 sum in hexadecimal digits.
    pub(crate) md5: &'static str,
}

/// The classes of a data set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Classes {
    /// Fixed class numbers with these names, starting at class 0.
    Named(&'static [&'static str]),
    /// This many fixed class numbers. They serve as names unless a file of the set names the
    /// classes.
    Numbered(usize),
    /// One class for each folder of images, numbered in the order of the folder names.
    Folders,
}

/// Mean and standard deviation of each channel of the training images, for pixels scaled to [0, 1].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Statistics {
    /// Constants of the set.
    Constant { mean: &'static [f32], deviation: &'static [f32] },
    /// Measured on the training images when they are loaded.
    Measured,
}

/// A data set, with the paths of the files that it was read from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) dataset: Dataset,
    pub(crate) files: Vec<PathBuf>,
}

impl Definition {
    /// Returns the canonical files; `None` for a set that is not published as files.
    pub(crate) fn publication(&self) -> Option<&'static Publication> {
        match self.origin {
            Origin::Published(publication) => Some(publication),
            Origin::Drawn | Origin::Own { .. } => None,
        }
    }

    /// Returns the data folder of a set that is read from files.
    ///
    /// # Errors
    ///
    /// [`DataError::NoDataDir`] if no data folder was given.
    pub(crate) fn data_dir<'a>(&self, options: &'a LoadOptions) -> Result<&'a Path, DataError> {
        let (files, citation) = match self.origin {
            Origin::Drawn => ("none", None),
            Origin::Published(publication) => (publication.accepted, Some(publication.citation)),
            Origin::Own { files } => (files, None),
        };
        let missing = DataError::NoDataDir { dataset: self.name, files, citation };
        options.data_dir.as_deref().ok_or(missing)
    }
}

impl Publication {
    /// Returns the folder of the data set.
    ///
    /// This is the first of `folders` that exists in the data folder. If none exists, it is the
    /// data folder itself if it has such a name or holds the files, and otherwise the path of the
    /// first of `folders`.
    pub(crate) fn directory(&self, data_dir: &Path) -> PathBuf {
        let mut directories = self.folders.iter().map(|folder| data_dir.join(folder));
        let existing = directories.clone().find(|directory| directory.is_dir());
        let is_there = |name: &&str| {
            data_dir.join(name).exists() || data_dir.join(format!("{name}.gz")).exists()
        };
        let is_called =
            data_dir.file_name().is_some_and(|own| self.folders.iter().any(|&f| own == f));
        let is_itself = || is_called || self.recognized_by.iter().any(is_there);
        match existing {
            None if !is_itself() => directories.next().unwrap_or_else(|| data_dir.to_owned()),
            existing => existing.unwrap_or_else(|| data_dir.to_owned()),
        }
    }
}

impl Classes {
    /// Returns the names of the classes, as far as they are known without the files of the set.
    pub(crate) fn names(self) -> Vec<String> {
        match self {
            Self::Named(names) => names.iter().copied().map(str::to_owned).collect(),
            Self::Numbered(count) => (0..count).map(|class| class.to_string()).collect(),
            Self::Folders => Vec::new(),
        }
    }

    /// Returns true if a class number has the same meaning wherever the set is loaded.
    pub(crate) fn are_fixed(self) -> bool {
        !matches!(self, Self::Folders)
    }
}

impl Statistics {
    /// Returns the constants of the set; `None` if they are measured.
    pub(crate) fn normalization(self) -> Option<Normalization> {
        match self {
            Self::Constant { mean, deviation } => {
                Some(Normalization { mean: mean.to_vec(), deviation: deviation.to_vec() })
            }
            Self::Measured => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) static PUBLICATION: Publication = Publication {
        citation: "nowhere",
        files: &[],
        addresses: &[],
        folders: &["first", "second"],
        recognized_by: &["a"],
        accepted: "DIR/first/a",
        training_images: 20,
        test_images: 2,
    };

    #[test]
    fn the_first_folder_that_exists_is_taken() {
        let data_dir = tempfile::TempDir::new().unwrap();
        for (made, taken) in [("none", "first"), ("second", "second"), ("first", "first")] {
            std::fs::create_dir(data_dir.path().join(made)).unwrap();
            assert_eq!(PUBLICATION.directory(data_dir.path()), data_dir.path().join(taken));
        }
    }

    #[test]
    fn the_folder_of_the_files_itself_is_accepted() {
        let parent = tempfile::TempDir::new().unwrap();
        for (folder, file, is_itself) in
            [("first", "b", true), ("mine", "a.gz", true), ("other", "b", false)]
        {
            let folder = parent.path().join(folder);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(file), "").unwrap();
            let taken = if is_itself { folder.clone() } else { folder.join("first") };
            assert_eq!(PUBLICATION.directory(&folder), taken);
        }
    }
}
