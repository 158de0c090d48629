//! Export of weights.

use std::fs;
use std::path::{Path, PathBuf};

use parareal_export::{
    ExportError, ImageDescription, OnnxInput, TrainedNetwork, to_onnx, to_pytorch, to_safetensors,
};
use parareal_models::Architecture;
use parareal_run::names::CONFIG;
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::{Format, OutputFile, TrainError, folder};
use serde::Serialize;

use crate::VisionError;
use crate::recorded;
use crate::weight_source::{read_export, read_pretrained};

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
    /// What is not as in the source: a class token that was left out.
    pub notes: Vec<String>,
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

    /// Reads the weights, with notes on what is not as in the source.
    fn read(&self) -> Result<(TrainedNetwork, Vec<String>), VisionError> {
        match *self {
            Self::Run(run, choice) => Ok((trained_network(run, choice)?, Vec::new())),
            Self::File(path) => Ok((read_export(path)?, Vec::new())),
            Self::Pretrained { path, network, image_size } => {
                read_pretrained(path, network, image_size)
            }
        }
    }

    fn failed(&self, error: ExportError) -> VisionError {
        TrainError::weights(self.path(), error.to_string()).into()
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
    let (trained, notes) = source.read()?;
    let bytes = match format {
        ExportFormat::Safetensors => to_safetensors(&trained),
        ExportFormat::Onnx(input) => to_onnx(&trained, input),
    };
    let bytes = bytes.map_err(|error| source.failed(error))?;
    output.write(&bytes)?;
    Ok(exported(output.path(), &trained, bytes.len(), notes))
}

/// Name of the weights in the folder that [`export_pytorch`] writes.
pub(crate) const MODEL_WEIGHTS: &str = "model.safetensors";
/// Name of the Python module in this folder.
const MODEL_MODULE: &str = "model.py";

/// Writes a folder with the weights, `model.safetensors`, and a Python module that builds the network in PyTorch,
/// `model.py`. The folder is created if it does not exist.
///
/// # Errors
/// As [`export`]; also if the path is a file or the folder of a run, or if there are files of these names and `overwrite` is
/// false.
pub fn export_pytorch(
    source: ExportSource<'_>,
    folder: &Path,
    overwrite: bool,
) -> Result<Exported, VisionError> {
    let refuse = |path: &Path, message: String| {
        Err(TrainError::Output { path: path.to_path_buf(), message }.into())
    };
    if folder.exists() && !folder.is_dir() {
        return refuse(folder, "it is a file; expected a folder".into());
    }
    if folder.join(CONFIG).exists() {
        return refuse(folder, "it is the folder of a run; expected another folder".into());
    }
    let (trained, notes) = source.read()?;
    let weights = to_safetensors(&trained).map_err(|error| source.failed(error))?;
    let module = to_pytorch(&trained).map_err(|error| source.failed(error))?;
    if let Err(error) = fs::create_dir_all(folder) {
        return refuse(folder, error.to_string());
    }
    let mut files = Vec::new();
    let contents = [(MODEL_MODULE, Format::Python), (MODEL_WEIGHTS, Format::Safetensors)];
    for (name, format) in contents {
        let path = folder.join(name);
        if path.is_dir() {
            return refuse(&path, "it is a folder; expected a file".into());
        }
        files.push(OutputFile::new(&path, &[format], overwrite)?);
    }
    for (file, content) in files.iter().zip([module.as_bytes(), &weights]) {
        file.write(content)?;
    }
    Ok(exported(folder, &trained, weights.len() + module.len(), notes))
}

fn exported(path: &Path, trained: &TrainedNetwork, bytes: usize, notes: Vec<String>) -> Exported {
    let tensors = trained.weights.tensors().len();
    Exported { path: path.to_path_buf(), step: trained.step, tensors, bytes, notes }
}

/// Reads a checkpoint of a run as a network that can be exported.
fn trained_network(run: &Path, choice: CheckpointChoice) -> Result<TrainedNetwork, VisionError> {
    let (config, saved, images) = recorded::open(run, choice)?;
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
