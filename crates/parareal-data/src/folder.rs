//! A person's own images: a folder for each class.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::augment::Augmentation;
use crate::dataset::{DatasetName, LoadOptions};
use crate::error::DataError;
use crate::image_set::ImageSet;
use crate::image_tree::{Classes, Layout, LeftOut};
use crate::normalization::Normalization;
use crate::order::shuffled;
use crate::preprocessing::Preprocessing;
use crate::source::{Loaded, Source, Stored, TestImages};
use crate::stream::{Purpose, Stream};

/// Images are red, green and blue, and scaled to 32x32 pixels.
const PREPROCESSING: Preprocessing =
    Preprocessing { channels: 3, height: 32, width: 32, padding: 0 };

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
    recognized_by: &[],
};

/// Reads `DIR/CLASS/..`, or `DIR/train/CLASS/..` with `DIR/test/CLASS/..`, as [`Layout`] finds them.
pub(crate) fn load(options: &LoadOptions) -> Result<Loaded, DataError> {
    let Some(root) = options.data_dir.as_deref() else {
        let Source { name: dataset, files, origin, .. } = SOURCE;
        return Err(DataError::NoDataDir { dataset, files, origin });
    };
    let layout = Layout::of(root)?;
    let Layout { training, test, .. } = &layout;
    let mut left_out = LeftOut::default();
    let classes = layout.training_classes(&mut left_out)?;
    let wrong = |message: String| DataError::Folder { path: training.clone(), message };
    if !(2..=MOST_CLASSES).contains(&classes.len()) {
        let found = match classes.len() {
            1 => "1 folder".to_string(),
            found => format!("{found} folders"),
        };
        return Err(wrong(format!(
            "it has {found} with PNG or JPEG files: from 2 to {MOST_CLASSES} are expected, one for each \
             class"
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
            let classes = Layout::test_classes(folder, &mut left_out)?;
            if let Some(other) = classes.keys().find(|name| !names.contains(name)) {
                let message = format!("its class {other:?} is not among the training images");
                return Err(DataError::Folder { path: folder.clone(), message });
            }
            TestImages::Read(read(&names, classes)?)
        }
    };
    let stored = Stored {
        source: &SOURCE,
        files: Vec::new(),
        train,
        test,
        preprocessing: PREPROCESSING,
        normalization,
        augmentation: Augmentation::CropFlip { padding: 4 },
        class_names: names,
    };
    let mut loaded = stored.into_loaded(options)?;
    loaded.dataset.notes.extend(left_out.notes(root));
    Ok(loaded)
}

/// The images in a random order that is always the same, so that the first ones are of all classes.
fn read(names: &[String], mut classes: Classes) -> Result<ImageSet, DataError> {
    let files = names.iter().enumerate().flat_map(|(label, name)| {
        let files = classes.remove(name).unwrap_or_default();
        files.into_iter().map(move |path| (label as u8, path))
    });
    let files: Vec<(u8, PathBuf)> = files.collect();
    let order = shuffled(files.len(), &mut Stream::new(Purpose::Order, 0, 0, 0));
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
