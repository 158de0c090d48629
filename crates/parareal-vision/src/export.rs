//! Export of weights.

use std::fs;
use std::path::{Path, PathBuf};

use parareal_export::{
    ExportError, ImageDescription, OnnxInput, TrainedNetwork, to_onnx, to_pytorch, to_safetensors,
};
use parareal_models::Architecture;
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::{Format, OutputFile, Resources, TrainError, checkpoint, folder};
use serde::Serialize;

use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::weight_source::{read_export, read_pretrained};
use crate::{Config, Settings, VisionError};

/// Format of exported weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// All tensors with their names, as a safetensors file.
    Safetensors,
    /// The evaluation network, as an ONNX file.
    Onnx(OnnxInput),
}

/// Result of an export.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// The file or folder.
    #[serde(serialize_with = "folder::path_as_text")]
    pub path: PathBuf,
    /// The step of the checkpoint, from 1.
    pub step: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// Size in bytes.
    pub bytes: usize,
}

/// Weights to export.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ExportSource<'a> {
    /// A checkpoint of the run in a folder, or its moving average.
    Run(&'a Path, CheckpointChoice),
    /// A safetensors file that was exported before.
    File(&'a Path),
    /// A safetensors file with the weights of a serial network under the names of torchvision or timm.
    Pretrained {
        /// The file.
        path: &'a Path,
        /// The network.
        network: Architecture,
        /// Height and width of its images in pixels.
        image_size: usize,
    },
}

impl ExportSource<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Run(path, _) | Self::File(path) | Self::Pretrained { path, .. } => path,
        }
    }

    fn read(&self) -> Result<TrainedNetwork, VisionError> {
        match *self {
            Self::Run(run, choice) => trained_network(run, choice),
            Self::File(path) => read_export(path),
            Self::Pretrained { path, network, image_size } => {
                read_pretrained(path, network, image_size)
            }
        }
    }
}

/// Writes all parameters and running statistics to a file.
///
/// # Errors
/// If the weights cannot be read, do not fit the network, or the file cannot be written.
pub fn export(
    source: ExportSource<'_>,
    format: ExportFormat,
    output: &OutputFile,
) -> Result<Exported, VisionError> {
    let trained = source.read()?;
    let failed = |error: ExportError| TrainError::weights(source.path(), error.to_string());
    let bytes = match format {
        ExportFormat::Safetensors => to_safetensors(&trained),
        ExportFormat::Onnx(input) => to_onnx(&trained, input),
    };
    let bytes = bytes.map_err(failed)?;
    output.write(&bytes)?;
    Ok(Exported {
        path: output.path().to_path_buf(),
        step: trained.step,
        tensors: trained.weights.tensors().len(),
        bytes: bytes.len(),
    })
}

/// Writes a folder with the weights, `model.safetensors`, and a Python module that builds the network in PyTorch,
/// `model.py`. The folder is created if it does not exist.
///
/// # Errors
/// As [`export`]; also if there are files of these names and `overwrite` is false.
pub fn export_pytorch(
    source: ExportSource<'_>,
    folder: &Path,
    overwrite: bool,
) -> Result<Exported, VisionError> {
    let trained = source.read()?;
    let failed = |error: ExportError| TrainError::weights(source.path(), error.to_string());
    let (weights, module) = (to_safetensors(&trained), to_pytorch(&trained));
    let (weights, module) = (weights.map_err(failed)?, module.map_err(failed)?);
    fs::create_dir_all(folder).map_err(TrainError::file("create", folder))?;
    let file = |name, format| OutputFile::new(&folder.join(name), &[format], overwrite);
    let weight_file = file("model.safetensors", Format::Safetensors)?;
    let module_file = file("model.py", Format::Python)?;
    weight_file.write(&weights)?;
    module_file.write(module.as_bytes())?;
    Ok(Exported {
        path: folder.to_path_buf(),
        step: trained.step,
        tensors: trained.weights.tensors().len(),
        bytes: weights.len() + module.len(),
    })
}

/// Reads a checkpoint of a run as a network that can be exported.
fn trained_network(run: &Path, choice: CheckpointChoice) -> Result<TrainedNetwork, VisionError> {
    let config = Config::resolve(Settings::of_run(run)?, &Resources::alone())?;
    let saved = checkpoint::open(run, choice, CHECK_MANIFEST)?;
    let images = ImageRecord::of_saved(run, &saved)?;
    let net = config.model(images.channels, images.class_names.len()).network;
    let step = saved.position.step;
    let images = ImageDescription {
        dataset: images.dataset,
        padding: images.padding,
        class_names: images.class_names,
        mean: images.mean,
        deviation: images.deviation,
    };
    Ok(TrainedNetwork { net, weights: saved.into_weights(), images, step })
}
