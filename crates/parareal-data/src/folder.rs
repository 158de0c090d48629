//! A person's own images: a folder for each class.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::augment::Augmentation;
use crate::dataset::{DatasetName, LoadOptions};
use crate::error::DataError;
use crate::image_file::read_image;
use crate::image_set::ImageSet;
use crate::normalization::Normalization;
use crate::order::shuffled;
use crate::source::{Loaded, Source, Stored, TestImages};
use crate::stream::{Purpose, Stream};

/// Images are red, green and blue, and scaled to this side.
const CHANNELS: usize = 3;
const SIDE: usize = 32;

/// A label is a byte.
const MOST_CLASSES: usize = 256;

static SOURCE: Source = Source {
    name: DatasetName::Folder,
    folders: &[],
    files: "a folder for each class, of PNG and JPEG files, in it or in DIR/train and DIR/test",
    origin: "you",
    training_images: 0,
    test_images: 0,
    published: &[],
    addresses: &[],
};

/// Reads `DIR/CLASS/..`, or `DIR/train/CLASS/..` with `DIR/test/CLASS/..` (or `val`).
pub(crate) fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let Some(root) = options.data_dir.as_deref() else {
        let Source { name: dataset, files, origin, .. } = SOURCE;
        return Err(DataError::NoDataDir { dataset, files, origin });
    };
    let split = root.join("train");
    let (training, test) = match split.is_dir() {
        true => {
            let test = ["test", "val"].map(|name| root.join(name));
            (split, test.into_iter().find(|folder| folder.is_dir()))
        }
        false => (root.to_path_buf(), None),
    };
    let mut foreign = 0;
    let classes = classes(&training, &mut foreign)?;
    let wrong = |message: String| DataError::Folder { path: training.clone(), message };
    if !(2..=MOST_CLASSES).contains(&classes.len()) {
        let found = classes.len();
        return Err(wrong(format!(
            "it has {found} folders with PNG or JPEG files: from 2 to {MOST_CLASSES} are expected, \
             one for each class"
        )));
    }
    let names: Vec<String> = classes.keys().cloned().collect();
    let train = read(&names, classes)?;
    if train.len() < 2 * names.len() && test.is_none() {
        let (images, least) = (train.len(), 2 * names.len());
        let message = format!(
            "it has {images} images of {} classes: at least {least} are expected, some of which are \
             held out as test images",
            names.len()
        );
        return Err(wrong(message));
    }
    let normalization = normalization(&train)?;
    let test = match test {
        None => TestImages::Absent,
        Some(_) if !Source::wants_test(options) => TestImages::Unread,
        Some(folder) => {
            let classes = self::classes(&folder, &mut foreign)?;
            if let Some(other) = classes.keys().find(|name| !names.contains(name)) {
                let message = format!("its class {other:?} is not among the training images");
                return Err(DataError::Folder { path: folder, message });
            }
            TestImages::Read(read(&names, classes)?)
        }
    };
    let stored = Stored {
        source: &SOURCE,
        files: Vec::new(),
        train,
        test,
        normalization,
        augmentation: Augmentation::CropFlip { padding: 4 },
        class_names: names,
    };
    let mut loaded = stored.into_loaded(options)?;
    if foreign > 0 {
        let remark =
            format!("{foreign} files that are not called .png, .jpg or .jpeg are left out");
        loaded.dataset.notes.push(remark);
    }
    Ok(loaded)
}

/// The image files of each class in the order of their names, by the name of their folder; folders
/// without any are none. Counts files of other kinds.
fn classes(
    folder: &Path,
    foreign: &mut usize,
) -> Result<BTreeMap<String, Vec<PathBuf>>, DataError> {
    let mut classes = BTreeMap::new();
    for (name, path) in entries(folder)? {
        if !path.is_dir() {
            continue;
        }
        let (images, others): (Vec<_>, Vec<_>) =
            entries(&path)?.into_iter().partition(|(_, path)| is_image(path));
        *foreign += others.len();
        if !images.is_empty() {
            classes.insert(name, images.into_iter().map(|(_, path)| path).collect());
        }
    }
    Ok(classes)
}

/// What is in a folder by names, in their order, but for what is hidden.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let wrong = |error: std::io::Error| DataError::Folder {
        path: folder.to_path_buf(),
        message: format!("it cannot be read: {error}"),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') {
            found.push((name.escape_debug().to_string(), path));
        }
    }
    found.sort();
    Ok(found)
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// The images in a random order that is always the same, so that the first ones are of all classes.
fn read(
    names: &[String],
    mut classes: BTreeMap<String, Vec<PathBuf>>,
) -> Result<ImageSet, DataError> {
    let files = names.iter().enumerate().flat_map(|(label, name)| {
        let files = classes.remove(name).unwrap_or_default();
        files.into_iter().map(move |path| (label as u8, path))
    });
    let files: Vec<(u8, PathBuf)> = files.collect();
    let order = shuffled(files.len(), &mut Stream::new(Purpose::Order, 0, 0, 0));
    let images: Vec<Result<Vec<u8>, DataError>> =
        order.par_iter().map(|&index| read_image(&files[index].1, CHANNELS, SIDE, SIDE)).collect();
    let mut pixels = Vec::with_capacity(files.len() * CHANNELS * SIDE * SIDE);
    for image in images {
        pixels.extend(image?);
    }
    let labels = order.into_iter().map(|index| files[index].0).collect();
    ImageSet::new(CHANNELS, SIDE, SIDE, names.len(), pixels, labels)
}

/// What is measured; a channel that is the same everywhere is only moved.
fn normalization(train: &ImageSet) -> Result<Normalization, DataError> {
    let mut measured = Normalization::measured(train)?;
    for deviation in &mut measured.deviation {
        if *deviation == 0.0 {
            *deviation = 1.0;
        }
    }
    Ok(measured)
}
