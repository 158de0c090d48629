//! Export of the weights of a run to one file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoint::{self, CheckManifest, CheckpointChoice, tensors};
use crate::{OutputFile, TrainError, folder};

/// Result of an export.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// The file.
    #[serde(serialize_with = "folder::path_as_text")]
    pub path: PathBuf,
    /// The step of the checkpoint, from 1.
    pub step: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// Size of the file in bytes.
    pub bytes: usize,
}

/// Writes all parameters and running statistics of a checkpoint, or their moving average if it has
/// one, to a safetensors file. Tensors have the names of the serial network and PyTorch's layouts.
///
/// # Errors
/// If there is no such checkpoint, it is damaged, or the file cannot be written.
pub fn export(
    run: &Path,
    choice: CheckpointChoice,
    check: CheckManifest<'_>,
    output: &OutputFile,
) -> Result<Exported, TrainError> {
    let saved = checkpoint::open(run, choice, check)?;
    let step = saved.position.step;
    let weights = saved.into_weights().into_tensors();
    let mut names: Vec<String> = weights.keys().cloned().collect();
    names.sort();
    let bytes =
        tensors::encode(&names, &weights).map_err(|error| TrainError::weights(run, error))?;
    output.write(&bytes)?;
    let path = output.path().to_path_buf();
    Ok(Exported { path, step, tensors: names.len(), bytes: bytes.len() })
}
