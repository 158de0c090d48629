//! A loaded data set.

use crate::batches::augmentation::Augmentation;
use crate::error::DataError;
use crate::images::image_set::ImageSet;
use crate::images::normalization::Normalization;
use crate::images::preprocessing::Preprocessing;
use crate::name::DatasetName;

/// A loaded data set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dataset {
    /// Name of the set.
    pub name: DatasetName,
    /// Training images, at least one unless the set was [loaded for evaluation](Self::load_for_evaluation).
    pub train: ImageSet,
    /// Test images, with the same shape and classes as `train`; `None` if none were requested.
    pub test: Option<ImageSet>,
    /// Size, channels and padding of each image.
    pub preprocessing: Preprocessing,
    /// Mean and standard deviation of each channel over the full training set.
    ///
    /// They do not depend on the limits, so that a network trained on some images can be evaluated
    /// on others.
    ///
    /// For CIFAR and SVHN they are the commonly published values, rounded to four digits. For MNIST
    /// and the built-in shapes they were measured once on the full training set. For a folder of
    /// images they are measured when it is loaded: on all training images, or on the first thousand in a fixed random order if
    /// the images are larger than 32x32.
    pub normalization: Normalization,
    /// The usual augmentation of the training images: none for the built-in shapes and for digits,
    /// crops with a padding of 4 and horizontal flips for CIFAR and folders of images, resized crops and flips for images
    /// larger than 32x32.
    pub augmentation: Augmentation,
    /// Class names, indexed by label.
    pub class_names: Vec<String>,
    /// Notes about the images, one line each, for example that the files hold fewer images than the
    /// canonical ones or that some training images were held out as test images.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Renumbers the classes by the positions of their names in `names`. Not every name needs to
    /// have images.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownClass`] for a class that is not among the first [`MAX_CLASSES`](crate::MAX_CLASSES) `names`,
    /// [`DataError::Shape`] for more names than that.
    pub fn with_classes(self, names: &[String]) -> Result<Self, DataError> {
        let numbers = self.class_names.iter().map(|class| {
            let number = names.iter().position(|name| name == class);
            let unknown =
                || DataError::UnknownClass { class: class.clone(), known: names.to_vec() };
            number.and_then(|number| number.try_into().ok()).ok_or_else(unknown)
        });
        let numbers = numbers.collect::<Result<Vec<u16>, _>>()?;
        let relabeled = |set: ImageSet| set.relabeled(&numbers, names.len());
        Ok(Self {
            train: relabeled(self.train)?,
            test: self.test.map(relabeled).transpose()?,
            class_names: names.to_vec(),
            ..self
        })
    }
}
