//! What the data sets kept in files have in common: folders, limits, held-out images, notes.

use std::path::PathBuf;

use crate::augment::Augmentation;
use crate::dataset::{Dataset, DatasetName, LoadOptions};
use crate::error::{DataError, FileError, FileFault};
use crate::held_out;
use crate::image_set::ImageSet;
use crate::normalization::Normalization;
use crate::preprocessing::Preprocessing;

/// A data set that is kept in files.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: DatasetName,
    /// The names its folder may have; the first is the usual one.
    pub(crate) folders: &'static [&'static str],
    /// Its files in words, by their place below `DIR`.
    pub(crate) files: &'static str,
    /// Where the canonical files come from.
    pub(crate) origin: &'static str,
    /// Number of training images of the canonical files.
    pub(crate) training_images: usize,
    /// Number of test images of the canonical files.
    pub(crate) test_images: usize,
    /// The canonical files that are published.
    pub(crate) published: &'static [Published],
    /// Addresses of folders that they lie in, to be tried in this order; each ends in `/`.
    pub(crate) addresses: &'static [&'static str],
    /// Files and folders by which the folder of the data set is recognized, whatever it is called.
    pub(crate) recognized_by: &'static [&'static str],
}

/// A canonical file as it is published.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) name: &'static str,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its MD5 sum in hexadecimal digits.
    pub(crate) md5: &'static str,
}

/// The images of the files of a [`Source`], all of them.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) source: &'static Source,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) train: ImageSet,
    pub(crate) test: TestImages,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) normalization: Normalization,
    pub(crate) augmentation: Augmentation,
    pub(crate) class_names: Vec<String>,
}

/// What became of the test images.
#[derive(Debug)]
pub(crate) enum TestImages {
    /// They were read.
    Read(ImageSet),
    /// They are there; nobody asked for them.
    Unread,
    /// There is no file of them.
    Absent,
}

/// A data set, and what it was read from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) dataset: Dataset,
    pub(crate) files: Vec<PathBuf>,
    /// What the files should be; none for a set that has no files.
    pub(crate) source: Option<&'static Source>,
}

impl Source {
    /// The folder of the data set: the first of its names that exists in the data folder, or the data
    /// folder itself, where it has that name or the files are in it.
    pub(crate) fn directory(&self, options: &LoadOptions) -> Result<PathBuf, DataError> {
        let Self { name, folders, files, origin, .. } = *self;
        let data_dir = options.data_dir.as_deref().ok_or(DataError::NoDataDir {
            dataset: name,
            files,
            origin,
        })?;
        let mut directories = folders.iter().map(|folder| data_dir.join(folder));
        let existing = directories.clone().find(|directory| directory.is_dir());
        let is_there = |name: &&str| {
            data_dir.join(name).exists() || data_dir.join(format!("{name}.gz")).exists()
        };
        let is_called = data_dir.file_name().is_some_and(|own| folders.iter().any(|&f| own == f));
        let is_itself = || is_called || self.recognized_by.iter().any(is_there);
        match existing {
            None if !is_itself() => Ok(directories.next().unwrap_or_else(|| data_dir.to_owned())),
            existing => Ok(existing.unwrap_or_else(|| data_dir.to_owned())),
        }
    }

    /// Whether test images are asked for.
    pub(crate) fn wants_test(options: &LoadOptions) -> bool {
        options.limit_test != Some(0)
    }
}

impl Stored {
    /// Holds out test images where there are none, applies the limits, writes the notes.
    ///
    /// The images that are held out depend on the files alone and not on the limits: images that
    /// some run was trained on are never the test images of another one.
    pub(crate) fn into_loaded(self, options: &LoadOptions) -> Result<Loaded, DataError> {
        let Self {
            source,
            files,
            train,
            test,
            preprocessing,
            normalization,
            augmentation,
            class_names,
        } = self;
        let mut notes = Vec::new();
        notes.extend(source.subset_note(&train, &test));
        let (train, test) = match test {
            TestImages::Read(test) => (train, Some(test)),
            TestImages::Unread => (train, None),
            TestImages::Absent => {
                let all = train.len();
                if all < 2 {
                    let path = files.first().cloned().unwrap_or_default();
                    let expected = "at least 2 images, because there is no test file and a part of \
                                    the training images is held out instead";
                    return Err(Box::new(FileError {
                        path,
                        fault: FileFault::Count,
                        expected: expected.to_owned(),
                        found: format!("only {all}"),
                        origin: source.origin,
                    })
                    .into());
                }
                let (train, test) = held_out::split(train);
                notes.push(format!(
                    "{} has no test images here: {} of the {all} training images, every tenth of \
                     each class in a random order that is always the same, are held out for that",
                    source.name,
                    test.len(),
                ));
                (train, Some(test))
            }
        };
        let dataset = Dataset {
            name: source.name,
            train: train.truncated(options.limit_train.unwrap_or(usize::MAX)),
            test: test
                .filter(|_| Source::wants_test(options))
                .map(|test| test.truncated(options.limit_test.unwrap_or(usize::MAX))),
            preprocessing,
            normalization,
            augmentation,
            class_names,
            notes,
        };
        Ok(Loaded { dataset, files, source: Some(source) })
    }
}

impl Source {
    /// Says that the files hold fewer images than the canonical ones, where they do.
    fn subset_note(&self, train: &ImageSet, test: &TestImages) -> Option<String> {
        let mut fewer = train.len() < self.training_images;
        let mut counts = format!("{} of {} training images", train.len(), self.training_images);
        if let TestImages::Read(test) = test {
            fewer |= test.len() < self.test_images;
            counts += &format!(" and {} of {} test images", test.len(), self.test_images);
        }
        fewer.then(|| {
            format!(
                "{} is a subset here, {counts}: results on it are not results on the whole set",
                self.name
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SOURCE: Source = Source {
        name: DatasetName::Svhn,
        folders: &["first", "second"],
        files: "DIR/first/a",
        origin: "nowhere",
        training_images: 20,
        test_images: 2,
        published: &[],
        addresses: &[],
        recognized_by: &["a"],
    };

    /// So many images of one pixel.
    fn set(len: usize) -> ImageSet {
        ImageSet::new(1, 1, 1, 1, vec![0; len], vec![0; len]).unwrap()
    }

    fn loaded(
        train: usize,
        test: TestImages,
        limit_train: Option<usize>,
        limit_test: Option<usize>,
    ) -> Result<Dataset, DataError> {
        let stored = Stored {
            source: &SOURCE,
            files: vec!["a".into()],
            train: set(train),
            test,
            preprocessing: Preprocessing { channels: 1, height: 1, width: 1, padding: 0 },
            normalization: Normalization { mean: vec![0.0], deviation: vec![1.0] },
            augmentation: Augmentation::None,
            class_names: vec!["thing".into()],
        };
        let options = LoadOptions { data_dir: None, limit_train, limit_test };
        stored.into_loaded(&options).map(|loaded| loaded.dataset)
    }

    #[test]
    fn the_first_folder_that_exists_is_taken() {
        let data_dir = tempfile::TempDir::new().unwrap();
        let options =
            LoadOptions { data_dir: Some(data_dir.path().to_owned()), ..Default::default() };
        for (made, taken) in [("none", "first"), ("second", "second"), ("first", "first")] {
            std::fs::create_dir(data_dir.path().join(made)).unwrap();
            assert_eq!(SOURCE.directory(&options).unwrap(), data_dir.path().join(taken));
        }
    }

    #[test]
    fn the_folder_of_the_files_may_be_given_itself() {
        let parent = tempfile::TempDir::new().unwrap();
        for (folder, file, is_itself) in
            [("first", "b", true), ("mine", "a.gz", true), ("other", "b", false)]
        {
            let folder = parent.path().join(folder);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(file), "").unwrap();
            let options = LoadOptions { data_dir: Some(folder.clone()), ..Default::default() };
            let taken = if is_itself { folder } else { folder.join("first") };
            assert_eq!(SOURCE.directory(&options).unwrap(), taken);
        }
    }

    #[test]
    fn whole_sets_need_no_notes() {
        let dataset = loaded(20, TestImages::Read(set(2)), None, None).unwrap();
        assert_eq!((dataset.train.len(), dataset.test.unwrap().len()), (20, 2));
        assert!(dataset.notes.is_empty(), "{:?}", dataset.notes);
        let dataset = loaded(20, TestImages::Unread, Some(1), Some(0)).unwrap();
        assert_eq!((dataset.train.len(), dataset.test), (1, None));
        assert!(dataset.notes.is_empty(), "{:?}", dataset.notes);
    }

    #[test]
    fn a_subset_is_told_with_its_numbers() {
        for (train, test, part) in [
            (19, TestImages::Read(set(2)), "19 of 20 training images and 2 of 2 test images"),
            (20, TestImages::Read(set(1)), "20 of 20 training images and 1 of 2 test images"),
            (19, TestImages::Unread, "19 of 20 training images:"),
        ] {
            let notes = loaded(train, test, Some(1), None).unwrap().notes;
            assert!(notes.len() == 1 && notes[0].contains(part), "{notes:?}");
            assert_eq!(notes[0].lines().count(), 1);
        }
    }

    #[test]
    fn training_images_are_the_same_whatever_is_asked_of_the_held_out_ones() {
        let dataset = loaded(20, TestImages::Absent, None, None).unwrap();
        assert_eq!((dataset.train.len(), dataset.test.unwrap().len()), (18, 2));
        assert!(dataset.notes.len() == 1 && dataset.notes[0].contains("2 of the 20"));
        let dataset = loaded(20, TestImages::Absent, None, Some(0)).unwrap();
        assert_eq!((dataset.train.len(), dataset.test), (18, None));
        let dataset = loaded(20, TestImages::Absent, Some(5), Some(1)).unwrap();
        assert_eq!((dataset.train.len(), dataset.test.unwrap().len()), (5, 1));
        let error = loaded(1, TestImages::Absent, None, None).unwrap_err();
        assert_eq!(error.file().unwrap().fault, FileFault::Count);
        assert_eq!(error.to_string().lines().count(), 1);
    }
}
