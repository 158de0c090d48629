//! The weights of a run as one file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoint::{self, CheckManifest, CheckpointChoice, tensors};
use crate::{OutputFile, TrainError, folder};

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// The file.
    #[serde(serialize_with = "folder::path_as_text")]
    pub path: PathBuf,
    /// The step behind which the weights were saved, from 1.
    pub step: usize,
    /// Tensors in it.
    pub tensors: usize,
    /// Its size.
    pub bytes: usize,
}

/// Writes all parameters and running statistics of a checkpoint, or their moving average where it
/// has one, into a safetensors file, under the names that they have in the whole network and in
/// PyTorch's layouts.
///
/// # Errors
/// [`TrainError`] where there is no such checkpoint, it is damaged, or the file cannot be written.
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
