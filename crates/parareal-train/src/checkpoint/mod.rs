//! Checkpoints: saved states from which a run can be resumed. A checkpoint is a folder that is written
//! atomically.

mod read;
mod retention;
pub(crate) mod tensors;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use parareal::net::NamedTensor;
use parareal_kernels::SimdLevel;
use parareal_run::names::{BEST, MANIFEST, MANIFEST_SUM};
use parareal_run::{Best, FORMAT_VERSION, FileEntry, FileKind, Manifest, Position, Times, names};
use parareal_text::in_hexadecimal;
use sha2::{Digest, Sha256};
use toml::Table;

use crate::folder::{replace, write_synced};
use crate::notes::Notes;
use crate::prepared::Prepared;
use crate::{ProcessGroup, Task, TrainError};
use retention::{DIVERGED, clear, folder_of, list, rotate, set_one_aside, step_of, sync_folder};

pub use read::{CheckManifest, CheckpointChoice, Newest, Saved, open};
pub(crate) use read::{newest, read_with};
pub use retention::path_of;
pub(crate) use retention::{check_begun, set_aside};

const MANIFEST_SUM_LEN: u64 = 64 + 2 + MANIFEST.len() as u64 + 1;

/// The folder `checkpoints` of a run.
pub(crate) struct Store {
    folder: PathBuf,
    configuration: Table,
    data: Table,
    /// Number of units of the network.
    units: usize,
    cuts: Vec<usize>,
    /// Index (from 0) and tensor names of each subnetwork that this process writes.
    names: Vec<(usize, Vec<String>)>,
    /// Number of checkpoints that are kept in addition to the best one.
    keep: usize,
    /// The processes of the run. Each process writes its own subnetworks, and the root process writes everything
    /// else.
    group: ProcessGroup,
}

/// State of an executor, with the times of the run.
pub(crate) struct State {
    pub(crate) weights: Vec<NamedTensor>,
    pub(crate) optimizer: Vec<NamedTensor>,
    /// The moving average of the weights; empty if the run has none.
    pub(crate) average: Vec<NamedTensor>,
    /// Times of the run so far.
    pub(crate) times: Times,
    /// Checksum of the last batch, if the task records it.
    pub(crate) last_batch: Option<String>,
}

/// Key of the checksum of the last batch in the description of the data.
pub(crate) const LAST_BATCH: &str = "last-batch";

impl Store {
    /// Creates the store of a run. `names` contains the index (from 0) and the tensor names of each subnetwork
    /// that this process writes.
    pub(crate) fn new<T: Task>(run: &Prepared<T>, names: Vec<(usize, Vec<String>)>) -> Self {
        let Prepared { output, configuration, config, task, group, .. } = run;
        let cuts = &task.model().cuts;
        Self {
            folder: folder_of(output),
            configuration: configuration.table().clone(),
            data: task.data(),
            units: cuts.units(),
            cuts: cuts.positions().to_vec(),
            names,
            keep: config.keep_checkpoints,
            group: group.clone(),
        }
    }

    /// Saves a checkpoint after a step. The checkpoint is written to a hidden folder and synced. After every rank
    /// has written its subnetworks, a single rename makes it valid. Nonfatal errors become notes.
    pub(crate) fn save(
        &self,
        position: Position,
        state: State,
        notes: &mut Notes,
    ) -> Result<(), TrainError> {
        let name = names::checkpoint(position.step);
        let (target, partial) = (self.folder.join(&name), self.folder.join(format!(".{name}")));
        let times = state.times.clone();
        let mut data = self.data.clone();
        if let Some(checksum) = &state.last_batch {
            data.insert(LAST_BATCH.into(), checksum.clone().into());
        }
        let cleared = if self.group.is_root() { clear(&partial) } else { Ok(()) };
        let written = self.group.agree(cleared).and_then(|()| {
            let files = self.group.gather(self.write_shards(&partial, state))?;
            self.group.agree(match self.group.is_root() {
                true => {
                    self.complete(&partial, position, times, data, files, notes).and_then(|()| {
                        self.place(&partial, &target, notes)?;
                        self.tidy(position, notes)
                    })
                }
                false => Ok(()),
            })
        });
        if written.is_err() && self.group.is_root() {
            // A partial checkpoint is useless and takes space. If it cannot be removed, it does no other harm.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    /// Writes the subnetworks of this process.
    fn write_shards(&self, partial: &Path, state: State) -> Result<Vec<FileEntry>, TrainError> {
        if !self.names.is_empty() && !partial.is_dir() {
            return Err(TrainError::NotShared { path: partial.to_path_buf() });
        }
        let beside = self.names_beside(&state.optimizer);
        let [weights, optimizer, average] =
            [state.weights, state.optimizer, state.average].map(by_name);
        let mut files = Vec::new();
        for ((index, names), beside) in self.names.iter().zip(&beside) {
            let mut parts = vec![
                (FileKind::Weights, names, &weights),
                (FileKind::Optimizer, beside, &optimizer),
            ];
            if !average.is_empty() {
                parts.push((FileKind::Average, names, &average));
            }
            for (holds, names, held) in parts {
                let (subnetwork, tensors) = (index + 1, names.len());
                let name = holds.file_name(subnetwork);
                let path = partial.join(&name);
                let bytes = tensors::encode(names, held)
                    .map_err(|error| TrainError::weights(&path, error))?;
                write_synced(&path, &bytes)?;
                let (sha256, bytes) = (sha256(&bytes), bytes.len() as u64);
                files.push(FileEntry { subnetwork, holds, name, bytes, sha256, tensors });
            }
        }
        Ok(files)
    }

    /// Writes the manifest, which marks the checkpoint as complete.
    fn complete(
        &self,
        partial: &Path,
        position: Position,
        times: Times,
        data: Table,
        files: Vec<Vec<FileEntry>>,
        notes: &mut Notes,
    ) -> Result<(), TrainError> {
        let mut files = files.concat();
        files.sort_by_key(|file| file.subnetwork);
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            position,
            times,
            configuration: self.configuration.clone(),
            simd: Some(SimdLevel::current().name().into()),
            data,
            units: Some(self.units),
            cuts: Some(self.cuts.clone()),
            files,
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("numbers and names are JSON");
        write_synced(&partial.join(MANIFEST), &text)?;
        write_synced(&partial.join(MANIFEST_SUM), sum_of(&text).as_bytes())?;
        sync_folder(partial, notes)
    }

    /// Renames the folder to its final name. The name is normally free, because a resumed run renames all
    /// checkpoints after its own step.
    fn place(&self, partial: &Path, target: &Path, notes: &mut Notes) -> Result<(), TrainError> {
        if target.exists() {
            set_one_aside(target, "damaged")?;
        }
        fs::rename(partial, target).map_err(TrainError::file("create", target))?;
        sync_folder(&self.folder, notes)
    }

    /// Renames the checkpoint at a position because its evaluation was not finite, so that no run resumes from
    /// it.
    pub(crate) fn set_diverged_aside(&self, position: Position) -> Result<(), TrainError> {
        set_one_aside(&self.folder.join(names::checkpoint(position.step)), DIVERGED).map(drop)
    }

    /// Returns the names of the optimizer's tensors for each subnetwork.
    fn names_beside(&self, optimizer: &[NamedTensor]) -> Vec<Vec<String>> {
        let owners = self.names.iter().enumerate();
        let owners =
            owners.flat_map(|(index, (_, names))| names.iter().map(move |name| (name, index)));
        let owners: HashMap<&String, usize> = owners.collect();
        let mut names = vec![Vec::new(); self.names.len()];
        for tensor in optimizer {
            let mut dots = tensor.name.rmatch_indices('.').map(|(dot, _)| dot);
            let owner = dots.find_map(|dot| owners.get(&tensor.name[..dot].to_string()));
            if let Some(&owner) = owner {
                names[owner].push(tensor.name.clone());
            }
        }
        names
    }

    /// Returns the best checkpoint so far, if any.
    pub(crate) fn best(&self) -> Option<Best> {
        read::best(&self.folder)
    }

    /// Records the best checkpoint so far.
    pub(crate) fn set_best(&self, best: Best, notes: &mut Notes) -> Result<(), TrainError> {
        let text = serde_json::to_vec(&best).expect("numbers are JSON");
        replace(&self.folder.join(BEST), &text)?;
        sync_folder(&self.folder, notes)
    }

    /// Removes all checkpoints up to this position except the most recent ones and the best one. This is also
    /// called at the end of a run, because a killed process may have left old checkpoints.
    pub(crate) fn tidy(&self, position: Position, notes: &mut Notes) -> Result<(), TrainError> {
        let best = self.best().map(|best| best.step);
        rotate(&self.folder, position.step, self.keep, best, notes)
    }
}

fn by_name(tensors: Vec<NamedTensor>) -> HashMap<String, TensorData> {
    tensors.into_iter().map(|tensor| (tensor.name, tensor.data)).collect()
}

/// Returns the content of [`MANIFEST_SUM`] for a manifest.
pub(crate) fn sum_of(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", sha256(manifest))
}

/// Returns the SHA-256 of some bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    in_hexadecimal(&Sha256::digest(bytes))
}
