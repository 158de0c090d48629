//! Conversion of the images stored in files to a data set: held-out test images, limits and notes.

use std::path::PathBuf;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::formats::error::{FileError, FileFault};
use crate::images::held_out;
use crate::images::image_set::ImageSet;
use crate::images::normalization::Normalization;
use crate::options::LoadOptions;
use crate::sets::definition::{Definition, Loaded};

/// All images in the files of a data set.
#[derive(Debug)]
pub(crate) struct StoredImages {
    pub(crate) definition: &'static Definition,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) train: ImageSet,
    pub(crate) test: TestImages,
    /// Class names from the files; `None` to use the names in the definition.
    pub(crate) class_names: Option<Vec<String>>,
}

/// State of the test images.
#[derive(Debug)]
pub(crate) enum TestImages {
    /// They were read.
    Read(ImageSet),
    /// They exist but were not requested.
    Unread,
    /// No file holds them.
    Absent,
}

impl StoredImages {
    /// Holds out test images if there are none, applies the limits and writes the notes.
    ///
    /// Which images are held out depends on the files alone, not on the limits. Training images of
    /// one run are therefore never test images of another.
    pub(crate) fn into_loaded(self, options: &LoadOptions) -> Result<Loaded, DataError> {
        let normalization = match self.definition.statistics.normalization() {
            Some(constants) => constants,
            None => measured(&self.train)?,
        };
        let mut notes = Vec::new();
        notes.extend(self.subset_note());
        let Self { definition, files, train, test, class_names } = self;
        let (train, test) = match test {
            TestImages::Read(test) => (train, Some(test)),
            TestImages::Unread => (train, None),
            TestImages::Absent => {
                let all = train.len();
                if all < 2 {
                    return Err(too_few(definition, &files, all).into());
                }
                let (train, test) = held_out::split(train);
                notes.push(format!(
                    "{} has no test images here: {} of the {all} training images are held out \
                     instead, every tenth of each class in a fixed random order",
                    definition.name,
                    test.len(),
                ));
                (train, Some(test))
            }
        };
        let dataset = Dataset {
            name: definition.name,
            train: train.truncated(options.limit_train.unwrap_or(usize::MAX)),
            test: test
                .filter(|_| options.wants_test())
                .map(|test| test.truncated(options.limit_test.unwrap_or(usize::MAX))),
            preprocessing: definition.preprocessing,
            normalization,
            augmentation: definition.augmentation,
            class_names: class_names.unwrap_or_else(|| definition.classes.names()),
            notes,
        };
        Ok(Loaded { dataset, files })
    }

    /// Returns a note if the files hold fewer images than the canonical ones.
    fn subset_note(&self) -> Option<String> {
        let publication = self.definition.publication()?;
        let (train, whole) = (self.train.len(), publication.training_images);
        let mut fewer = train < whole;
        let mut counts = format!("{train} of {whole} training images");
        if let TestImages::Read(test) = &self.test {
            fewer |= test.len() < publication.test_images;
            counts += &format!(" and {} of {} test images", test.len(), publication.test_images);
        }
        fewer.then(|| {
            format!(
                "this is a subset of {} ({counts}): results are not comparable with those on the \
                 whole data set",
                self.definition.name
            )
        })
    }
}

/// Number of images in files that are measured. Reading all of them would take as long as an epoch.
const MEASURED: usize = 1_000;

/// Measures the statistics of images, of the first ones if they are in files. The deviation of a constant channel is set to 1.
pub(crate) fn measured(images: &ImageSet) -> Result<Normalization, DataError> {
    let mut measured = match images.files() {
        Some(_) => Normalization::measured(&images.clone().truncated(MEASURED))?,
        None => Normalization::measured(images)?,
    };
    for deviation in &mut measured.deviation {
        if *deviation == 0.0 {
            *deviation = 1.0;
        }
    }
    Ok(measured)
}

/// Creates the error for too few training images to hold some of them out.
fn too_few(definition: &Definition, files: &[PathBuf], images: usize) -> Box<FileError> {
    let expected = "at least 2 images, because there is no test file and some training images are \
                    held out instead";
    Box::new(FileError {
        path: files.first().cloned().unwrap_or_default(),
        fault: FileFault::Count,
        expected: expected.to_owned(),
        found: format!("only {images}"),
        origin: definition.publication().map_or("you", |publication| publication.citation),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::augmentation::Augmentation;
    use crate::images::preprocessing::Preprocessing;
    use crate::name::DatasetName;
    use crate::sets::definition::tests::PUBLICATION;
    use crate::sets::definition::{Classes, Origin, Statistics};

    static DEFINITION: Definition = Definition {
        name: DatasetName::Svhn,
        origin: Origin::Published(&PUBLICATION),
        classes: Classes::Named(&["thing"]),
        preprocessing: Preprocessing { channels: 1, height: 1, width: 1, padding: 0 },
        statistics: Statistics::Constant { mean: &[0.0], deviation: &[1.0] },
        augmentation: Augmentation::None,
        load: |_, _| unreachable!(),
    };

    /// `len` images of one pixel.
    fn set(len: usize) -> ImageSet {
        ImageSet::new(1, 1, 1, 1, vec![0; len], vec![0; len]).unwrap()
    }

    fn loaded(
        train: usize,
        test: TestImages,
        limit_train: Option<usize>,
        limit_test: Option<usize>,
    ) -> Result<Dataset, DataError> {
        let stored = StoredImages {
            definition: &DEFINITION,
            files: vec!["a".into()],
            train: set(train),
            test,
            class_names: None,
        };
        let options = LoadOptions { limit_train, limit_test, ..Default::default() };
        stored.into_loaded(&options).map(|loaded| loaded.dataset)
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
    fn a_subset_is_noted_with_its_numbers() {
        for (train, test, part) in [
            (19, TestImages::Read(set(2)), "19 of 20 training images and 2 of 2 test images"),
            (20, TestImages::Read(set(1)), "20 of 20 training images and 1 of 2 test images"),
            (19, TestImages::Unread, "19 of 20 training images)"),
        ] {
            let notes = loaded(train, test, Some(1), None).unwrap().notes;
            assert!(notes.len() == 1 && notes[0].contains(part), "{notes:?}");
            assert_eq!(notes[0].lines().count(), 1);
        }
    }

    #[test]
    fn training_images_do_not_depend_on_the_held_out_ones() {
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
