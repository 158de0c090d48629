//! The images that a run was trained on, as far as other images must be like them.

use parareal_data::{DataError, Dataset, DatasetName, ImageSet, Normalization, Preprocessing};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// The images that a run has seen, and what has to be done with others before it sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The name of the data set. Since format 4, as is `padding`.
    #[serde(default)]
    pub(crate) dataset: String,
    /// SHA-256 over all images and labels.
    pub(crate) fingerprint: String,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Width of the black border, which is part of `height` and `width`.
    #[serde(default)]
    pub(crate) padding: usize,
    pub(crate) class_names: Vec<String>,
    /// Of each channel, of values from 0 to 1.
    pub(crate) mean: Vec<f32>,
    pub(crate) deviation: Vec<f32>,
}

impl ImageRecord {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let Dataset { name, preprocessing, normalization, class_names, .. } = dataset;
        let Preprocessing { channels, height, width, padding } = *preprocessing;
        Self {
            dataset: name.to_string(),
            fingerprint: dataset.fingerprint(),
            channels,
            height,
            width,
            padding,
            class_names: class_names.clone(),
            mean: normalization.mean.clone(),
            deviation: normalization.deviation.clone(),
        }
    }

    /// Adds what a manifest of format 3 leaves to the name of the data set.
    pub(super) fn complete_format_3(&mut self, dataset: Option<&str>) {
        let name = dataset.and_then(|name| name.parse().ok()).unwrap_or(DatasetName::Shapes);
        self.padding = if name == DatasetName::Mnist { 2 } else { 0 };
        self.dataset = name.to_string();
    }

    pub(crate) fn preprocessing(&self) -> Preprocessing {
        let Self { channels, height, width, padding, .. } = *self;
        Preprocessing { channels, height, width, padding }
    }

    pub(crate) fn normalization(&self) -> Normalization {
        Normalization { mean: self.mean.clone(), deviation: self.deviation.clone() }
    }

    /// An image in these classes, with any label.
    pub(crate) fn set_of_one(&self, pixels: Vec<u8>) -> Result<ImageSet, DataError> {
        let Self { channels, height, width, .. } = *self;
        ImageSet::new(channels, height, width, self.class_names.len(), pixels, vec![0])
    }

    /// Returns true if labels mean the same as in a data set of this name with these classes.
    ///
    /// Classes that have [fixed numbers](DatasetName::has_fixed_classes) are compared by number,
    /// whatever they are called; all others are compared by name.
    pub(crate) fn has_classes_of(&self, dataset: &str, class_names: &[String]) -> bool {
        let name = dataset.parse::<DatasetName>();
        match self.dataset == dataset && name.is_ok_and(DatasetName::has_fixed_classes) {
            true => self.class_names.len() == class_names.len(),
            false => self.class_names == class_names,
        }
    }

    /// Gives the images of a data set the class numbers and the normalization of these.
    ///
    /// # Errors
    /// Where they have another size or other channels, or classes that these do not have.
    pub(crate) fn adapt(&self, mut dataset: Dataset) -> Result<Dataset, TrainError> {
        let (theirs, ours) = (dataset.preprocessing, self.preprocessing());
        let size = |of: Preprocessing| format!("{}x{}x{}", of.channels, of.height, of.width);
        if size(theirs) != size(ours) {
            let expected = format!(
                "its images have {} values (channels, rows, columns), the network takes {}",
                size(theirs),
                size(ours)
            );
            return Err(TrainError::setting("dataset", dataset.name, expected));
        }
        if self.has_classes_of(dataset.name.as_str(), &dataset.class_names) {
            dataset.class_names.clone_from(&self.class_names);
        } else {
            dataset = dataset.with_classes(&self.class_names)?;
        }
        dataset.normalization = self.normalization();
        Ok(dataset)
    }
}
