//! Sources of weights: a run, or a file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use parareal::net::{Init, PararealNetwork, StateDict};
use parareal_data::{DatasetName, MAX_CLASSES};
use parareal_export::{
    ImageDescription, ImportError, OtherClasses, Pretrained, TrainedNetwork, from_pretrained,
    from_safetensors, pretrained_sizes, read_tensors,
};
use parareal_models::{Architecture, ImageNetwork};
use parareal_run::names::CONFIG;
use parareal_train::Resources;
use parareal_train::checkpoint::CheckpointChoice;

use crate::export::MODEL_WEIGHTS;
use crate::image_record::ImageRecord;
use crate::recorded;
use crate::{Config, Settings, VisionError};

/// Largest file of weights, in bytes. The networks here have a few hundred million parameters of four bytes at most.
const MAX_BYTES: u64 = 8 << 30;

/// Returns the file of weights that a path names, or `None` if it names the folder of a run.
///
/// A path names a file if it is one, if it ends in `.safetensors`, or if it is a folder that `export_pytorch` has written.
pub fn weight_file(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        let file = path.join(MODEL_WEIGHTS);
        return (file.is_file() && !path.join(CONFIG).exists()).then_some(file);
    }
    let has_ending = path.extension().is_some_and(|ending| ending == "safetensors");
    (has_ending || path.exists()).then(|| path.to_path_buf())
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
        let (config, saved, images) = recorded::open(run, CheckpointChoice::Latest)?;
        let step = saved.position.step;
        let net = config
            .network
            .net
            .with_in_channels(images.channels)
            .with_classes(images.class_names.len());
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
    /// Weights under the names of torchvision or timm, and notes about them.
    Pretrained(StateDict, Vec<String>),
}

impl WeightFile {
    /// Reads a safetensors file with weights of the network of a configuration. The last linear layer of a file under the
    /// names of torchvision or timm may have other classes.
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
            Ok(trained) => {
                check(&trained).map_err(|message| fault(path, message))?;
                Ok(Self::Exported(WeightSource::of_export(trained)))
            }
            Err(ImportError::NoMetadata) => {
                let model = config.model(channels, classes);
                let initial = model.build(config.run.seed)?.state_dict().units_only();
                let tensors = read_tensors(&bytes).map_err(|error| fault(path, error))?;
                let other = OtherClasses::NewClassifier;
                let found = from_pretrained(&model.network, initial.tensors(), tensors, other)
                    .map_err(|error| fault(path, error))?;
                let notes = notes(&model.network, &found);
                let weights = StateDict::new(initial.cuts().clone(), found.tensors).units_only();
                Ok(Self::Pretrained(weights, notes))
            }
            Err(error) => Err(fault(path, error)),
        }
    }
}

/// Notes on what is not as in the file.
fn notes(net: &ImageNetwork, found: &Pretrained) -> Vec<String> {
    let token = "the class token is left out: the scores differ from those of the original network";
    let classifier = format!("the last linear layer is new: it has {} classes", net.classes());
    let notes = [
        found.has_class_token.then(|| token.to_owned()),
        found.has_new_classifier.then_some(classifier),
    ];
    notes.into_iter().flatten().collect()
}

/// Reads a file with the weights of a serial network under the names of torchvision or timm, with the normalization that
/// both use for this network. The classes are numbered. Also returns notes on what is not as in the file.
///
/// # Errors
/// If the file cannot be read, or has weights of another network.
pub(crate) fn read_pretrained(
    path: &Path,
    network: Architecture,
    image_size: usize,
) -> Result<(TrainedNetwork, Vec<String>), VisionError> {
    let settings = Settings {
        dataset: Some(DatasetName::Folder),
        data_dir: Some(".".into()),
        network: Some(network),
        image_size: Some(image_size),
        subnetworks: Some(1),
        ..Settings::default()
    };
    let config = Config::resolve(settings, &Resources::alone())?;
    let bytes = read(path)?;
    if from_safetensors(&bytes).is_ok() {
        return Err(fault(path, "it is an exported network; leave the name of its network out"));
    }
    let tensors = read_tensors(&bytes).map_err(|error| fault(path, error))?;
    let (classes, channels) = pretrained_sizes(&config.network.net, &tensors);
    // Other numbers are reported as tensors of another shape.
    let classes = classes.filter(|classes| (1..=MAX_CLASSES).contains(classes)).unwrap_or(1000);
    let channels = channels.filter(|&channels| channels == 1).unwrap_or(3);
    let model = config.model(channels, classes);
    let initial = model.build(config.run.seed)?.state_dict();
    let found = from_pretrained(&model.network, initial.tensors(), tensors, OtherClasses::Refuse)
        .map_err(|error| fault(path, error))?;
    let notes = notes(&model.network, &found);
    let (mean, deviation) = normalization(network, channels);
    let images = ImageDescription {
        dataset: DatasetName::Folder.to_string(),
        padding: 0,
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        mean,
        deviation,
    };
    let weights = StateDict::new(initial.cuts().clone(), found.tensors);
    Ok((TrainedNetwork { net: model.network, weights, images, step: 0 }, notes))
}

/// Mean and standard deviation with which torchvision and timm normalize images for this network: those of ImageNet, and
/// 0.5 for vision transformers. For images of one channel, the mean of the three.
fn normalization(network: Architecture, channels: usize) -> (Vec<f32>, Vec<f32>) {
    let (mean, deviation) = match network {
        Architecture::Vit { .. } => (vec![0.5; 3], vec![0.5; 3]),
        _ => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
    };
    match channels {
        1 => (vec![mean.iter().sum::<f32>() / 3.0], vec![deviation.iter().sum::<f32>() / 3.0]),
        _ => (mean, deviation),
    }
}

/// Reads a file that `export` has written.
///
/// # Errors
/// If the file cannot be read, is not such a file, or its weights or metadata are not those of its network.
pub(crate) fn read_export(path: &Path) -> Result<TrainedNetwork, VisionError> {
    let trained = from_safetensors(&read(path)?).map_err(|error| fault(path, error))?;
    check(&trained).map_err(|message| fault(path, message))?;
    Ok(trained)
}

/// Checks names and shapes of the weights, and the description of the images.
fn check(trained: &TrainedNetwork) -> Result<(), String> {
    ImageRecord::of_export(trained)?;
    let TrainedNetwork { net, weights, .. } = trained;
    let init = Init::new(0, &Device::flex());
    let built = PararealNetwork::build(net, weights.cuts(), &init);
    built.and_then(|built| built.load(weights)).map_err(|error| error.to_string())?;
    Ok(())
}

/// Reads a safetensors file.
///
/// # Errors
/// If the file cannot be read, is larger than [`MAX_BYTES`], or does not begin like a safetensors file; then only its
/// beginning is read.
fn read(path: &Path) -> Result<Vec<u8>, VisionError> {
    let cannot_read = |error: io::Error| fault(path, error);
    // Opening a pipe would wait for a writer.
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
        return Err(fault(path, format!("not a complete safetensors file{}", conversion(path))));
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

/// Returns advice on files of other formats.
fn conversion(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("pt" | "pth" | "bin") => {
            "; in Python, `safetensors.torch.save_file(state_dict, path)` writes one"
        }
        _ => "",
    }
}

fn fault(path: &Path, message: impl ToString) -> VisionError {
    VisionError::WeightFile { path: path.to_path_buf(), message: message.to_string() }
}
