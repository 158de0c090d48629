//! The user's own images: a folder for each class.

mod tree;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::batches::augmentation::Augmentation;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::images::file_images::FileImages;
use crate::images::image_set::{ImageSet, MAX_CLASSES};
use crate::images::preprocessing::{Preprocessing, STRETCHED};
use crate::name::DatasetName;
use crate::options::LoadOptions;
use crate::progress::LoadProgress;
use crate::rng::{KeyedRng, Purpose};
use crate::sets::definition::{Classes, Definition, Loaded, Origin, Statistics};
use crate::sets::stored_images::{StoredImages, TestImages, measured};
use tree::{ImageFiles, ImageTree, LeftOut};

/// Images have three channels (red, green, blue) and by default 32x32 pixels.
const PREPROCESSING: Preprocessing =
    Preprocessing { channels: 3, height: STRETCHED, width: STRETCHED, padding: 0 };

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
fn load(options: &LoadOptions, progress: &dyn Fn(LoadProgress)) -> Result<Loaded, DataError> {
    let root = FOLDER.data_dir(options)?;
    let tree = ImageTree::of(root)?;
    let ImageTree { training, test, .. } = &tree;
    let mut left_out = LeftOut::default();
    let classes = tree.training_classes(&mut left_out)?;
    check_classes(training, &classes, 2)?;
    let names: Vec<String> = classes.keys().cloned().collect();
    let read = |folder: &Path, classes| read(folder, &names, classes, options.side(), progress);
    let train = read(training, classes)?;
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
            TestImages::Read(read(folder, classes)?)
        }
    };
    let stored = StoredImages {
        definition: &FOLDER,
        files: Vec::new(),
        train,
        test,
        class_names: Some(names.clone()),
    };
    let mut loaded = stored.into_loaded(options)?;
    loaded.dataset.preprocessing = preprocessing(options.side());
    loaded.dataset.augmentation = augmentation(options.side());
    loaded.dataset.notes.extend(left_out.notes(root));
    Ok(loaded)
}

/// Reads the images on which a network is to be evaluated: all of `DIR/test/CLASS/..`, or all of `DIR/CLASS/..`
/// without such a folder.
pub(crate) fn load_for_evaluation(
    options: &LoadOptions,
    progress: &dyn Fn(LoadProgress),
) -> Result<Dataset, DataError> {
    let root = FOLDER.data_dir(options)?;
    let tree = ImageTree::to_evaluate(root)?;
    let mut left_out = LeftOut::default();
    let (path, classes) = match &tree.test {
        Some(test) => (test, ImageTree::test_classes(test, &mut left_out)?),
        None => (&tree.training, tree.training_classes(&mut left_out)?),
    };
    check_classes(path, &classes, 1)?;
    let names: Vec<String> = classes.keys().cloned().collect();
    let test = read(path, &names, classes, options.side(), progress)?;
    let limit = options.limit_test.unwrap_or(usize::MAX);
    let preprocessing = preprocessing(options.side());
    let Preprocessing { channels, height, width, .. } = preprocessing;
    Ok(Dataset {
        name: FOLDER.name,
        normalization: measured(&test)?,
        train: ImageSet::new(channels, height, width, names.len(), Vec::new(), Vec::new())?,
        test: options.wants_test().then(|| test.truncated(limit)),
        preprocessing,
        augmentation: augmentation(options.side()),
        class_names: names,
        notes: left_out.notes(root),
    })
}

fn preprocessing(side: usize) -> Preprocessing {
    Preprocessing { height: side, width: side, ..PREPROCESSING }
}

/// Returns the usual augmentation of images of this size.
fn augmentation(side: usize) -> Augmentation {
    if side > STRETCHED { Augmentation::ResizedCropFlip } else { FOLDER.augmentation }
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

/// Reads the images in a fixed random order, so that the first images come from all classes. Images larger than 32x32 stay
/// in their files.
fn read(
    folder: &Path,
    names: &[String],
    mut classes: ImageFiles,
    side: usize,
    progress: &dyn Fn(LoadProgress),
) -> Result<ImageSet, DataError> {
    let mut labels = Vec::new();
    let files = names.iter().enumerate().flat_map(|(label, name)| {
        let files = classes.remove(name).unwrap_or_default();
        labels.resize(labels.len() + files.len(), label as u16);
        files
    });
    if side > STRETCHED {
        let images = FileImages::new(folder, files, side, progress)?;
        let order = KeyedRng::new(Purpose::Order, 0, 0, 0).permutation(labels.len());
        let images = images.subset(order.iter().copied());
        let labels = order.into_iter().map(|index| labels[index]).collect();
        return Ok(ImageSet::in_files(images, labels, names.len()));
    }
    let files: Vec<PathBuf> = files.collect();
    let order = KeyedRng::new(Purpose::Order, 0, 0, 0).permutation(files.len());
    let images: Vec<Result<Vec<u8>, DataError>> =
        order.par_iter().map(|&index| PREPROCESSING.read(&files[index])).collect();
    let Preprocessing { channels, height, width, .. } = PREPROCESSING;
    let mut pixels = Vec::with_capacity(files.len() * channels * height * width);
    for image in images {
        pixels.extend(image?);
    }
    let labels = order.into_iter().map(|index| labels[index]).collect();
    ImageSet::new(channels, height, width, names.len(), pixels, labels)
}
