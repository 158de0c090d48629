//! Sources of weights: a run, or a file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use parareal::net::StateDict;
use parareal_data::DatasetName;
use parareal_export::{
    ImageDescription, ImportError, Pretrained, TrainedNetwork, from_pretrained, from_safetensors,
    read_tensors,
};
use parareal_models::{Architecture, ImageNetwork};
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::{Resources, checkpoint};

use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::network::NetworkConfig;
use crate::{Config, Settings, VisionError};

/// Largest file of weights, in bytes. The networks here have at most a few hundred million parameters of four bytes.
const MAX_BYTES: u64 = 8 << 30;

/// Largest number of names in a message.
const NAMED: usize = 3;

/// Returns true if a path names a file of weights instead of the folder of a run: it is no folder, and exists or ends in
/// `.safetensors`.
pub fn is_weight_file(path: &Path) -> bool {
    let has_ending = path.extension().is_some_and(|ending| ending == "safetensors");
    !path.is_dir() && (has_ending || path.exists())
}

/// Weights of a network of this library, with the images that it was trained on.
pub(crate) struct WeightSource {
    pub(crate) net: ImageNetwork,
    pub(crate) weights: StateDict,
    /// Name of the data set.
    pub(crate) dataset: String,
    pub(crate) class_names: Vec<String>,
    /// The step after which the weights were saved.
    pub(crate) step: usize,
}

impl WeightSource {
    /// Reads the last checkpoint of a run.
    ///
    /// # Errors
    /// If the run is missing or damaged.
    pub(crate) fn of_run(run: &Path) -> Result<Self, VisionError> {
        let NetworkConfig { net, .. } = NetworkConfig::of(&Settings::of_run(run)?)?;
        let saved = checkpoint::open(run, CheckpointChoice::Latest, CHECK_MANIFEST)?;
        let images = ImageRecord::of_saved(run, &saved)?;
        let step = saved.position.step;
        let net = net.with_in_channels(images.channels).with_classes(images.class_names.len());
        Ok(Self {
            net,
            weights: saved.into_weights(),
            dataset: images.dataset,
            class_names: images.class_names,
            step,
        })
    }

    fn of_export(trained: TrainedNetwork) -> Self {
        let TrainedNetwork { net, weights, images, step } = trained;
        Self { net, weights, dataset: images.dataset, class_names: images.class_names, step }
    }
}

/// The content of a file of weights.
pub(crate) enum WeightFile {
    /// A file that `parareal export` has written.
    Exported(WeightSource),
    /// Weights under the names of torchvision or timm.
    Pretrained(StateDict, Vec<String>),
}

impl WeightFile {
    /// Reads a safetensors file with weights of the network of a configuration.
    ///
    /// # Errors
    /// If the file cannot be read, or has weights of another network.
    pub(crate) fn read(
        path: &Path,
        config: &Config,
        channels: usize,
        classes: usize,
    ) -> Result<Self, VisionError> {
        let bytes = read(path)?;
        match from_safetensors(&bytes) {
            Ok(trained) => Ok(Self::Exported(WeightSource::of_export(trained))),
            Err(ImportError::NoMetadata) => {
                let tensors = read_tensors(&bytes).map_err(|error| fault(path, error))?;
                let model = config.model(channels, classes);
                let expected = model.build(config.run.seed)?.state_dict().units_only();
                let found = from_pretrained(&model.network, tensors);
                let (weights, notes) =
                    fit(&model.network, expected, found).map_err(|message| fault(path, message))?;
                Ok(Self::Pretrained(weights, notes))
            }
            Err(error) => Err(fault(path, error)),
        }
    }
}

/// Reads a file with the weights of a serial network under the names of torchvision or timm, with the normalization of
/// ImageNet. The classes are numbered.
///
/// # Errors
/// If the file cannot be read, or has weights of another network.
pub(crate) fn read_pretrained(
    path: &Path,
    network: Architecture,
    image_size: usize,
) -> Result<TrainedNetwork, VisionError> {
    let settings = Settings {
        dataset: Some(DatasetName::Folder),
        data_dir: Some(".".into()),
        network: Some(network),
        image_size: Some(image_size),
        subnetworks: Some(1),
        ..Settings::default()
    };
    let config = Config::resolve(settings, &Resources::alone())?;
    let tensors = read_tensors(&read(path)?).map_err(|error| fault(path, error))?;
    let found = from_pretrained(&config.network.net, tensors);
    let len = |name: &str, dimension: usize| {
        found.tensors.get(name).and_then(|data| data.shape().as_slice().get(dimension).copied())
    };
    let classes = len("postprocessing.linear.bias", 0).or(len("postprocessing.linear3.bias", 0));
    let channels = len("preprocessing.conv.weight", 1).or(len("preprocessing.weight", 1));
    let (classes, channels) = (classes.unwrap_or(1000), channels.unwrap_or(3));
    let model = config.model(channels, classes);
    let expected = model.build(config.run.seed)?.state_dict();
    let cuts = expected.cuts().clone();
    let (weights, _) =
        fit(&model.network, expected, found).map_err(|message| fault(path, message))?;
    Ok(TrainedNetwork {
        net: model.network,
        weights: StateDict::new(cuts, weights.into_tensors()),
        images: ImageDescription {
            dataset: DatasetName::Folder.to_string(),
            padding: 0,
            class_names: (0..classes).map(|class| class.to_string()).collect(),
            mean: vec![0.485, 0.456, 0.406],
            deviation: vec![0.229, 0.224, 0.225],
        },
        step: 0,
    })
}

/// Reads a file that `export` has written.
///
/// # Errors
/// If the file cannot be read, or is not such a file.
pub(crate) fn read_export(path: &Path) -> Result<TrainedNetwork, VisionError> {
    from_safetensors(&read(path)?).map_err(|error| fault(path, error))
}

/// Reads a safetensors file.
///
/// # Errors
/// If the file cannot be read, is larger than [`MAX_BYTES`], or does not begin like a safetensors file, of which no more
/// than the beginning is read.
fn read(path: &Path) -> Result<Vec<u8>, VisionError> {
    let cannot_read = |error: io::Error| fault(path, error);
    // Before the file is opened: that of a pipe waits for a writer.
    let metadata = fs::metadata(path).map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err(fault(path, "expected a safetensors file"));
    }
    let length = metadata.len();
    let mut file = File::open(path).map_err(cannot_read)?;
    let mut bytes = Vec::new();
    // The length of the header.
    file.by_ref().take(8).read_to_end(&mut bytes).map_err(cannot_read)?;
    let header = bytes.as_slice().try_into().map_or(u64::MAX, u64::from_le_bytes);
    if header > length.saturating_sub(8) {
        return Err(fault(path, "not a safetensors file, or one that is not complete"));
    }
    if length > MAX_BYTES {
        let (length, most) = (length >> 30, MAX_BYTES >> 30);
        return Err(fault(
            path,
            format!("expected a file of at most {most} GiB, got {length} GiB"),
        ));
    }
    file.take(length - 8).read_to_end(&mut bytes).map_err(cannot_read)?;
    Ok(bytes)
}

fn fault(path: &Path, message: impl ToString) -> VisionError {
    VisionError::WeightFile { path: path.to_path_buf(), message: message.to_string() }
}

/// Compares the tensors of a file with those of the serial network. A last linear layer for another number of classes is
/// replaced with a new one.
///
/// # Errors
/// If a tensor is missing, left over, or of another shape.
fn fit(
    net: &ImageNetwork,
    expected: StateDict,
    mut found: Pretrained,
) -> Result<(StateDict, Vec<String>), String> {
    let mut notes = Vec::new();
    if found.has_class_token {
        notes.push(
            "the class token is left out: the scores differ from those of the original network"
                .into(),
        );
    }
    let last = ["postprocessing.linear3", "postprocessing.linear"];
    let cuts = expected.cuts().clone();
    let mut tensors = expected.into_tensors();
    let mut missing = Vec::new();
    let mut is_new_head = false;
    for (name, own) in &mut tensors {
        let is_last = last
            .iter()
            .any(|layer| ["weight", "bias"].iter().any(|part| *name == format!("{layer}.{part}")));
        match found.tensors.remove(name) {
            Some(data) if data.shape() == own.shape() => *own = data,
            Some(_) if is_last => is_new_head = true,
            Some(data) => {
                missing.push(format!(
                    "{name} of shape {:?}, got {:?}",
                    own.shape().as_slice(),
                    data.shape().as_slice()
                ));
            }
            None => missing.push(name.clone()),
        }
    }
    let mut left_over = found.left_over;
    left_over.extend(found.tensors.into_keys());
    left_over.sort();
    missing.sort();
    if missing.is_empty() && left_over.is_empty() {
        if is_new_head {
            notes.push(format!("the last linear layer is new: it has {} classes", net.classes()));
        }
        return Ok((StateDict::new(cuts, tensors).units_only(), notes));
    }
    let mut message =
        format!("expected the weights of {} under the names of torchvision or timm", net.name());
    if !missing.is_empty() {
        message += &format!("; missing: {}", listed(&missing));
    }
    if !left_over.is_empty() {
        message += &format!("; not part of this network: {}", listed(&left_over));
    }
    Err(message)
}

/// Joins names, of which at most [`NAMED`] are spelled out.
fn listed(names: &[String]) -> String {
    let first: Vec<_> =
        names.iter().take(NAMED).map(|name| name.escape_debug().to_string()).collect();
    let first = first.join(", ");
    match names.len().checked_sub(NAMED) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}
