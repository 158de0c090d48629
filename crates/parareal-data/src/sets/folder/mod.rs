//! The user's own images: a folder for each class.

mod tree;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::batches::augmentation::Augmentation;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::images::image_set::ImageSet;
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::rng::{KeyedRng, Purpose};
use crate::sets::definition::{Classes, Definition, Loaded, Origin, Statistics};
use crate::sets::stored_images::{StoredImages, TestImages, measured};
use tree::{ImageFiles, ImageTree, LeftOut};

/// Images have three channels (red, green, blue) and are resized to 32x32 pixels.
const PREPROCESSING: Preprocessing =
    Preprocessing { channels: 3, height: 32, width: 32, padding: 0 };

/// Maximum number of classes, since a label is a byte.
const MAX_CLASSES: usize = 256;

/// Definition of folders of images.
pub(crate) static FOLDER: Definition = Definition {
    name: DatasetName::Folder,
    origin: Origin::Own {
        files: "a folder of PNG or JPEG files for each class, in DIR or in DIR/train and DIR/test",
    },
    classes: Classes::Folders,
    preprocessing: PREPROCESSING,
    statistics: Statistics::Measured,
    augmentation: Augmentation::CropFlip { padding: 4 },
    load,
};

/// Reads `DIR/CLASS/..`, or `DIR/train/CLASS/..` with `DIR/test/CLASS/..`, as [`ImageTree`] finds
/// them.
fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let root = FOLDER.data_dir(options)?;
    let tree = ImageTree::of(root)?;
    let ImageTree { training, test, .. } = &tree;
    let mut left_out = LeftOut::default();
    let classes = tree.training_classes(&mut left_out)?;
    check_classes(training, &classes, 2)?;
    let names: Vec<String> = classes.keys().cloned().collect();
    let train = read(&names, classes)?;
    if train.len() < 2 * names.len() && test.is_none() {
        let (images, least) = (train.len(), 2 * names.len());
        let message = format!(
            "expected at least {least} images of the {} classes, because some images are held out \
             as test images, found {images}",
            names.len()
        );
        return Err(DataError::Folder { path: training.clone(), message });
    }
    let test = match test {
        None => TestImages::Absent,
        Some(_) if !options.wants_test() => TestImages::Unread,
        Some(folder) => {
            let classes = ImageTree::test_classes(folder, &mut left_out)?;
            if let Some(other) = classes.keys().find(|name| !names.contains(name)) {
                let other = other.escape_debug();
                let message = format!("the training images have no class `{other}`");
                return Err(DataError::Folder { path: folder.clone(), message });
            }
            TestImages::Read(read(&names, classes)?)
        }
    };
    let stored = StoredImages {
        definition: &FOLDER,
        files: Vec::new(),
        train,
        test,
        class_names: Some(names),
    };
    let mut loaded = stored.into_loaded(options)?;
    loaded.dataset.notes.extend(left_out.notes(root));
    Ok(loaded)
}

/// Reads the images on which a network is to be evaluated: all of `DIR/test/CLASS/..`, or all of `DIR/CLASS/..`
/// without such a folder.
pub(crate) fn load_for_evaluation(options: &LoadOptions) -> Result<Dataset, DataError> {
    let root = FOLDER.data_dir(options)?;
    let tree = ImageTree::to_evaluate(root)?;
    let mut left_out = LeftOut::default();
    let (path, classes) = match &tree.test {
        Some(test) => (test, ImageTree::test_classes(test, &mut left_out)?),
        None => (&tree.training, tree.training_classes(&mut left_out)?),
    };
    check_classes(path, &classes, 1)?;
    let names: Vec<String> = classes.keys().cloned().collect();
    let test = read(&names, classes)?;
    let limit = options.limit_test.unwrap_or(usize::MAX);
    let Preprocessing { channels, height, width, .. } = PREPROCESSING;
    Ok(Dataset {
        name: FOLDER.name,
        normalization: measured(&test)?,
        train: ImageSet::new(channels, height, width, names.len(), Vec::new(), Vec::new())?,
        test: options.wants_test().then(|| test.truncated(limit)),
        preprocessing: PREPROCESSING,
        augmentation: FOLDER.augmentation,
        class_names: names,
        notes: left_out.notes(root),
    })
}

/// Checks that the folder at `path` has at least `least` classes, and no more than a label can tell apart.
fn check_classes(path: &Path, classes: &ImageFiles, least: usize) -> Result<(), DataError> {
    let found = classes.len();
    if (least..=MAX_CLASSES).contains(&found) {
        return Ok(());
    }
    let message = format!(
        "expected {least} to {MAX_CLASSES} folders with PNG or JPEG files, one for each class, \
         found {found}"
    );
    Err(DataError::Folder { path: path.to_path_buf(), message })
}

/// Reads the images in a fixed random order, so that the first images come from all classes.
fn read(names: &[String], mut classes: ImageFiles) -> Result<ImageSet, DataError> {
    let files = names.iter().enumerate().flat_map(|(label, name)| {
        let files = classes.remove(name).unwrap_or_default();
        files.into_iter().map(move |path| (label as u8, path))
    });
    let files: Vec<(u8, PathBuf)> = files.collect();
    let order = KeyedRng::new(Purpose::Order, 0, 0, 0).permutation(files.len());
    let images: Vec<Result<Vec<u8>, DataError>> =
        order.par_iter().map(|&index| PREPROCESSING.read(&files[index].1)).collect();
    let Preprocessing { channels, height, width, .. } = PREPROCESSING;
    let mut pixels = Vec::with_capacity(files.len() * channels * height * width);
    for image in images {
        pixels.extend(image?);
    }
    let labels = order.into_iter().map(|index| files[index].0).collect();
    ImageSet::new(channels, height, width, names.len(), pixels, labels)
}
