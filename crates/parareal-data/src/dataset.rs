//! A data set in memory.

use crate::batches::augmentation::Augmentation;
use crate::error::DataError;
use crate::images::image_set::ImageSet;
use crate::images::normalization::Normalization;
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;

/// A data set in memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dataset {
    /// Name of the set.
    pub name: DatasetName,
    /// The images to train on, at least one.
    pub train: ImageSet,
    /// The images to evaluate on, of the same shape and classes as `train`; `None` if none were
    /// requested.
    pub test: Option<ImageSet>,
    /// Size, channels and padding of each image.
    pub preprocessing: Preprocessing,
    /// Constants of the set: those of its full training images for any limits, so that a network
    /// trained on some images can be evaluated on others.
    ///
    /// They are the commonly published ones, rounded to four digits, or were measured on these
    /// images; the tests compare the published ones with the subsets at hand. Those of a folder of
    /// images are measured when it is loaded.
    pub normalization: Normalization,
    /// The usual augmentation of the training images: none for the built-in shapes and for digits,
    /// crops with a padding of 4 and mirroring for photographs.
    pub augmentation: Augmentation,
    /// Name of each class, from class 0 on.
    pub class_names: Vec<String>,
    /// Remarks about the images, one line each, for instance that the files hold fewer images than
    /// the canonical ones or that test images were held out of the training images.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Renumbers the classes by their names, as in `names`, some of which may have no images.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownClass`] for a class that is not among `names`.
    pub fn with_classes(self, names: &[String]) -> Result<Self, DataError> {
        let numbers = self.class_names.iter().map(|class| {
            let number = names.iter().position(|name| name == class);
            let unknown =
                || DataError::UnknownClass { class: class.clone(), known: names.to_vec() };
            number.and_then(|number| number.try_into().ok()).ok_or_else(unknown)
        });
        let numbers = numbers.collect::<Result<Vec<u8>, _>>()?;
        let relabeled = |set: ImageSet| set.relabeled(&numbers, names.len());
        Ok(Self {
            train: relabeled(self.train)?,
            test: self.test.map(relabeled).transpose()?,
            class_names: names.to_vec(),
            ..self
        })
    }
}
