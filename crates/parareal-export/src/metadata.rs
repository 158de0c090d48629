//! Metadata of exported files: what another program needs to know to use the weights.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

use burn::tensor::TensorData;
use parareal::net::{Cuts, FeedForward, StateDict};
use parareal_models::{Architecture, ArchitectureError, CoarseKind, ImageNetwork};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ImageDescription, ImportError, TrainedNetwork};

/// Largest width, image size and number of channels of a network in a file.
const MAX_NUMBER: usize = 16_384;

/// The key that files of other programs do not have.
pub(crate) const VERSION: &str = "parareal-version";
const NETWORK: &str = "network";
const WIDTH: &str = "width";
const IMAGE_SIZE: &str = "image-size";
const CUTS: &str = "cuts";
const COARSE_UNIT: &str = "coarse-unit";
const COARSE_UNITS: &str = "coarse-units";
const CHANNELS: &str = "channels";
const CLASSES: &str = "classes";
const CLASS_NAMES: &str = "class-names";
const PADDING: &str = "padding";
const MEAN: &str = "mean";
const DEVIATION: &str = "deviation";
const DATASET: &str = "dataset";
const STEP: &str = "step";

impl TrainedNetwork {
    /// The metadata of exported files. Lists are JSON.
    ///
    /// | key | value |
    /// | --- | --- |
    /// | `format` | `pt`, as in files of other programs: layouts are PyTorch's |
    /// | `parareal-version` | version of this crate |
    /// | `network`, `width`, `image-size` | the network |
    /// | `cuts` | number of units before each cut |
    /// | `coarse-unit`, `coarse-units` | the rule for the kind of coarse units, and their number if it was set |
    /// | `classes`, `class-names` | number and names of the classes |
    /// | `channels`, `padding`, `mean`, `deviation` | channels of the images, their border and their normalization |
    /// | `dataset`, `step` | where the weights come from |
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let Self { net, weights, images, step } = self;
        let mut metadata = BTreeMap::new();
        let mut insert = |key: &str, value: String| metadata.insert(key.to_owned(), value);
        insert("format", "pt".into());
        insert(VERSION, env!("CARGO_PKG_VERSION").into());
        insert(NETWORK, net.architecture().to_string());
        insert(WIDTH, net.width().to_string());
        insert(IMAGE_SIZE, net.image_size().to_string());
        insert(CUTS, json(weights.cuts().positions()));
        insert(COARSE_UNIT, net.coarse_kind().to_string());
        if let Some(units) = net.coarse_units() {
            insert(COARSE_UNITS, units.to_string());
        }
        insert(CLASSES, net.classes().to_string());
        insert(CLASS_NAMES, json(&images.class_names));
        insert(CHANNELS, net.in_channels().to_string());
        insert(PADDING, images.padding.to_string());
        insert(MEAN, json(&images.mean));
        insert(DEVIATION, json(&images.deviation));
        insert(DATASET, images.dataset.clone());
        insert(STEP, step.to_string());
        metadata
    }

    /// Combines the tensors of a file with its metadata.
    ///
    /// # Errors
    /// If a key is missing or its value is not valid, or the network has more parameters than the file.
    pub(crate) fn from_metadata(
        metadata: &HashMap<String, String>,
        tensors: HashMap<String, TensorData>,
    ) -> Result<Self, ImportError> {
        let file = Metadata(metadata);
        let images = ImageDescription {
            dataset: file.text(DATASET)?.to_owned(),
            padding: file.parsed(PADDING)?,
            class_names: file.list(CLASS_NAMES)?,
            mean: file.list(MEAN)?,
            deviation: file.list(DEVIATION)?,
        };
        let names: HashSet<_> = images.class_names.iter().collect();
        let is_text = images.class_names.iter().all(|name| !name.contains(char::is_control));
        if names.len() != images.class_names.len() || names.is_empty() || !is_text {
            return Err(file.invalid(CLASS_NAMES));
        }
        if file.parsed::<usize>(CLASSES)? != names.len() {
            return Err(file.invalid(CLASSES));
        }
        // Nothing large is computed or built for a file that is too small for it.
        let elements: usize = tensors.values().map(TensorData::num_elements).sum();
        let network = file.parsed::<Architecture>(NETWORK)?;
        let widening = match network {
            Architecture::WideResNet { widening, .. } => widening,
            _ => 1,
        };
        for (key, number, range) in [
            (NETWORK, network.depth(), 1..=elements),
            (NETWORK, widening, 1..=MAX_NUMBER),
            (WIDTH, file.parsed(WIDTH)?, 1..=MAX_NUMBER),
            (IMAGE_SIZE, file.parsed(IMAGE_SIZE)?, 1..=MAX_NUMBER),
            (CHANNELS, file.parsed(CHANNELS)?, 1..=MAX_NUMBER),
            (COARSE_UNITS, file.parsed_or(COARSE_UNITS, 0)?, 0..=elements),
        ] {
            if !range.contains(&number) {
                return Err(file.invalid(key));
            }
        }
        let net = ImageNetwork::sized(network, file.parsed(IMAGE_SIZE)?)
            .map_err(|error| match error {
                ArchitectureError::ImageSize { .. } => file.invalid(IMAGE_SIZE),
                _ => file.invalid(NETWORK),
            })?
            .with_width(file.parsed(WIDTH)?)
            .with_in_channels(file.parsed(CHANNELS)?)
            .with_classes(images.class_names.len())
            .with_coarse_kind(file.parsed::<CoarseKind>(COARSE_UNIT)?)
            .with_coarse_units(match metadata.contains_key(COARSE_UNITS) {
                true => Some(file.parsed(COARSE_UNITS)?),
                false => None,
            });
        let cuts = Cuts::new(net.units(), file.list(CUTS)?).map_err(|_| file.invalid(CUTS))?;
        // Each coarse unit counts as one parameter at first, so that not too many are listed.
        let coarse = cuts.interfaces().map(|interface| net.coarse_choice(&interface).units);
        let least = coarse.fold(net.parameters(), usize::saturating_add);
        if least > elements || net.cut_parameters(&cuts) > elements {
            return Err(ImportError::TooFew { network: net.name(), elements });
        }
        let weights = StateDict::new(cuts, tensors);
        Ok(Self { net, weights, images, step: file.parsed(STEP)? })
    }
}

/// The metadata of a file.
struct Metadata<'a>(&'a HashMap<String, String>);

impl Metadata<'_> {
    fn text(&self, key: &'static str) -> Result<&str, ImportError> {
        self.0.get(key).map(String::as_str).ok_or(ImportError::MissingKey(key))
    }

    fn parsed<T: FromStr>(&self, key: &'static str) -> Result<T, ImportError> {
        self.text(key)?.parse().map_err(|_| self.invalid(key))
    }

    fn parsed_or<T: FromStr>(&self, key: &'static str, default: T) -> Result<T, ImportError> {
        if self.0.contains_key(key) { self.parsed(key) } else { Ok(default) }
    }

    fn list<T: DeserializeOwned>(&self, key: &'static str) -> Result<Vec<T>, ImportError> {
        serde_json::from_str(self.text(key)?).map_err(|_| self.invalid(key))
    }

    fn invalid(&self, key: &'static str) -> ImportError {
        let value = self.0.get(key).cloned().unwrap_or_default();
        ImportError::InvalidKey { key, value }
    }
}

/// Returns a list as JSON.
pub(crate) fn json<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).expect("numbers and text are JSON")
}
