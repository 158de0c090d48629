//! Options for loading a data set.

use std::path::PathBuf;

use crate::images::preprocessing::STRETCHED;

/// Location and limits of the images to load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Data folder, with a subfolder for each data set that is read from files. The built-in shapes
    /// need no data folder.
    pub data_dir: Option<PathBuf>,
    /// Height and width of the images; 32 by default. A folder of images can have other sizes, from 32 to 1024.
    ///
    /// Images of 32x32 pixels are held in memory, and files of other sizes are resized without keeping their aspect ratio. Larger
    /// images stay in their files and are decoded for each batch ([`ImageSet`](crate::ImageSet)). They are resized so that the
    /// shorter side has 256/224 of the image size, and their center is used
    /// ([`Preprocessing::read`](crate::Preprocessing::read)), or a random part of them
    /// ([`Augmentation::ResizedCropFlip`](crate::Augmentation::ResizedCropFlip)).
    pub image_size: Option<usize>,
    /// Number of training images to take from the start of the set, at least 1; all by default.
    pub limit_train: Option<usize>,
    /// Number of test images to take from the start of the set, 0 for no test set; all by default.
    pub limit_test: Option<usize>,
}

impl LoadOptions {
    /// Largest height and width of images.
    pub const MAX_IMAGE_SIZE: usize = 1024;

    /// Returns true if the images of a folder can have this height and width.
    pub fn accepts_image_size(size: usize) -> bool {
        (STRETCHED..=Self::MAX_IMAGE_SIZE).contains(&size) && size.is_multiple_of(4)
    }

    /// Height and width of the images.
    pub(crate) fn side(&self) -> usize {
        self.image_size.unwrap_or(STRETCHED)
    }

    /// Returns true if test images are to be loaded.
    pub(crate) fn wants_test(&self) -> bool {
        self.limit_test != Some(0)
    }
}
