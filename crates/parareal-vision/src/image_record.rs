//! Description of the images that a run is trained on, as recorded in its checkpoints.

use std::path::Path;

use parareal_data::{
    DataError, Dataset, DatasetName, ImageSet, LoadOptions, MAX_CLASSES, Normalization,
    Preprocessing,
};
use parareal_export::TrainedNetwork;
use parareal_run::Manifest;
use parareal_train::TrainError;
use parareal_train::checkpoint::{CheckManifest, Saved};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{NetworkConfig, Settings, VisionError};

/// Description of the images of a run, and the preprocessing that other images need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The name of the data set. Recorded since format 4, as is `padding`.
    #[serde(default)]
    pub(crate) dataset: String,
    /// [`Dataset::fingerprint`]: SHA-256 over all images and labels, or over the names and lengths of the files of images that
    /// are not held in memory.
    pub(crate) fingerprint: String,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Width of the black border. `height` and `width` include it.
    #[serde(default)]
    pub(crate) padding: usize,
    pub(crate) class_names: Vec<String>,
    /// Mean of each channel, for values from 0 to 1.
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

    /// Reads the record of an exported network.
    ///
    /// # Errors
    /// If the record is not valid; the text describes the fault.
    pub(crate) fn of_export(trained: &TrainedNetwork) -> Result<Self, &'static str> {
        let TrainedNetwork { net, images, .. } = trained;
        let record = Self {
            dataset: images.dataset.clone(),
            fingerprint: String::new(),
            channels: net.in_channels(),
            height: net.image_size(),
            width: net.image_size(),
            padding: images.padding,
            class_names: images.class_names.clone(),
            mean: images.mean.clone(),
            deviation: images.deviation.clone(),
        };
        record.check()?;
        Ok(record)
    }

    /// Converts the record to TOML.
    pub(crate) fn to_table(&self) -> Table {
        Table::try_from(self).expect("strings, numbers and lists of them are TOML")
    }

    /// Reads the record of a checkpoint.
    ///
    /// # Errors
    /// If the record is not valid; the text describes the fault.
    pub(crate) fn from_table(table: &Table) -> Result<Self, String> {
        let record: Self = table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_string())?;
        record.check()?;
        Ok(record)
    }

    /// Reads the record of a checkpoint of the run in a folder.
    pub(crate) fn of_saved(run: &Path, saved: &Saved) -> Result<Self, VisionError> {
        Self::from_table(&saved.data).map_err(|message| TrainError::damaged(run, message).into())
    }

    fn check(&self) -> Result<(), &'static str> {
        let Self { channels, height, width, padding, class_names, mean, deviation, .. } = self;
        let sides = [height, width]
            .into_iter()
            .all(|side| (1..=LoadOptions::MAX_IMAGE_SIZE).contains(side));
        let inside = [height, width].into_iter().all(|side| *padding < side.div_ceil(2));
        if !matches!(channels, 1 | 3)
            || !sides
            || !inside
            || !(1..=MAX_CLASSES).contains(&class_names.len())
        {
            return Err("invalid shape or number of classes of the images");
        }
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let lengths = [mean.len(), deviation.len()] == [*channels; 2];
        if !lengths || !finite(mean) || !finite(deviation) || deviation.iter().any(|&d| d <= 0.0) {
            return Err("invalid mean or deviation of the images");
        }
        Ok(())
    }

    /// Checks that `images` are the images of the run in a folder. `self` is the record of that run.
    pub(crate) fn check_same(&self, run: &Path, images: &Self) -> Result<(), VisionError> {
        let path = run.to_path_buf();
        if self.fingerprint != images.fingerprint {
            return Err(VisionError::OtherImages { path, dataset: images.dataset.clone() });
        }
        if !self.has_classes_of(&images.dataset, &images.class_names) {
            let (theirs, ours) = (self.class_names.clone(), images.class_names.clone());
            return Err(VisionError::OtherClasses { path, theirs, ours });
        }
        Ok(())
    }

    /// Adds the name and the padding, which a manifest of format 3 does not record, from the name
    /// of the data set.
    fn complete_format_3(&mut self, dataset: Option<&str>) {
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

    /// Returns a set of one image, with label 0.
    pub(crate) fn set_of_one(&self, pixels: Vec<u8>) -> Result<ImageSet, DataError> {
        let Self { channels, height, width, .. } = *self;
        ImageSet::new(channels, height, width, self.class_names.len(), pixels, vec![0])
    }

    /// Returns true if labels mean the same as in a data set of this name with these classes.
    ///
    /// Classes that have [fixed numbers](DatasetName::has_fixed_classes) are compared by their
    /// number only; all others are compared by name.
    pub(crate) fn has_classes_of(&self, dataset: &str, class_names: &[String]) -> bool {
        let name = dataset.parse::<DatasetName>();
        match self.dataset == dataset && name.is_ok_and(DatasetName::has_fixed_classes) {
            true => self.class_names.len() == class_names.len(),
            false => self.class_names == class_names,
        }
    }

    /// Converts a data set to the class numbers and the normalization of this record.
    ///
    /// # Errors
    /// If the images have another size or number of channels, or classes that this record does not have.
    pub(crate) fn adapt(&self, mut dataset: Dataset) -> Result<Dataset, VisionError> {
        let (theirs, ours) = (dataset.preprocessing, self.preprocessing());
        let size = |of: Preprocessing| format!("{}x{}x{}", of.channels, of.height, of.width);
        if size(theirs) != size(ours) {
            let expected = format!(
                "its images have shape {} (channels, rows, columns), but the network expects {}",
                size(theirs),
                size(ours)
            );
            return Err(VisionError::setting("dataset", dataset.name, expected));
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

/// Completes and checks the manifests of runs that classify images.
pub(crate) const CHECK_MANIFEST: CheckManifest<'static> = &check_manifest;

fn check_manifest(manifest: &mut Manifest) -> Result<(), String> {
    let mut images = ImageRecord::from_table(&manifest.data)?;
    if manifest.format_version == 3 {
        let dataset = manifest.configuration.get("dataset").and_then(|name| name.as_str());
        images.complete_format_3(dataset);
        manifest.data = images.to_table();
    }
    if manifest.format_version < 5 {
        let settings = Settings::of_table(&manifest.configuration);
        let network = settings.and_then(|settings| NetworkConfig::of(&settings));
        let cuts = network.map_err(|error| error.to_string())?.cuts;
        manifest.units = Some(cuts.units());
        manifest.cuts = Some(cuts.positions().to_vec());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        fingerprint = ""
        channels = 1
        height = 32
        width = 32
        class_names = ["a", "b"]
        mean = [0.5]
        deviation = [0.25]
    "#;

    #[test]
    fn a_record_round_trips_through_a_table() {
        let record = ImageRecord::from_table(&GOOD.parse().unwrap()).unwrap();
        assert_eq!(ImageRecord::from_table(&record.to_table()).unwrap(), record);
    }

    #[test]
    fn impossible_records_are_refused() {
        for (from, to, expected) in [
            ("channels = 1", "channels = 0", "invalid shape or number of classes of the images"),
            (
                "width = 32",
                "width = 32\npadding = 16",
                "invalid shape or number of classes of the images",
            ),
            (
                "height = 32",
                "height = 4000000000",
                "invalid shape or number of classes of the images",
            ),
            ("[\"a\", \"b\"]", "[]", "invalid shape or number of classes of the images"),
            ("mean = [0.5]", "mean = []", "invalid mean or deviation of the images"),
            ("deviation = [0.25]", "deviation = [0.0]", "invalid mean or deviation"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let table = GOOD.replacen(from, to, 1).parse().unwrap();
            let message = ImageRecord::from_table(&table).unwrap_err();
            assert!(message.contains(expected), "{to}: {message}");
        }
    }
}
