//! Checkpoints: all that a run needs to go on, in a folder for each, valid as a whole or not at all.

mod image_record;
mod keep;
mod manifest;
mod read;
pub(crate) mod shard;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use parareal::net::NamedTensor;
use parareal_data::in_hexadecimal;
use parareal_kernels::SimdLevel;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::folder::{replace, write_synced};
use crate::notes::Notes;
use crate::usage::Times;
use crate::{Settings, Team, TrainError};
use keep::{DIVERGED, clear, folder_of, list, rotate, set_one_aside, step_of, sync_folder};
use manifest::{Entry, Kind, Manifest};

pub(crate) use image_record::ImageRecord;
pub(crate) use keep::{check_begun, name_of, path_of, set_aside};
pub(crate) use manifest::{FORMAT_VERSION, OLDEST_FORMAT, Position};
pub use read::Which;
pub(crate) use read::{Newest, Saved, newest, open, read_with};

const MANIFEST: &str = "manifest.json";
/// The manifest's SHA-256, as `sha256sum --check` reads it.
const MANIFEST_SUM: &str = "manifest.sha256";
const MANIFEST_SUM_LEN: u64 = 64 + 2 + MANIFEST.len() as u64 + 1;
const BEST: &str = "best.json";

/// The folder `checkpoints` of a run, and what belongs where in it.
pub(crate) struct Store {
    folder: PathBuf,
    configuration: Settings,
    images: ImageRecord,
    /// For each subnetwork that is written here its number, from 0, and the names of its tensors.
    names: Vec<(usize, Vec<String>)>,
    /// How many are kept besides the best.
    keep: usize,
    /// Each writes what it holds, and the first of them all else.
    team: Team,
}

/// The checkpoint with the smallest error so far, of the validation images if there are some,
/// otherwise of the test images.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) step: usize,
    pub(crate) error: f64,
}

/// What an executor holds that a checkpoint keeps.
pub(crate) struct State {
    pub(crate) weights: Vec<NamedTensor>,
    pub(crate) optimizer: Vec<NamedTensor>,
    /// The moving average of the weights; nothing where there is none.
    pub(crate) average: Vec<NamedTensor>,
    /// What the run has taken so far.
    pub(crate) times: Times,
}

impl Store {
    pub(crate) fn new(
        run: &Path,
        configuration: Settings,
        images: ImageRecord,
        names: Vec<(usize, Vec<String>)>,
        keep: usize,
        team: Team,
    ) -> Self {
        Self { folder: folder_of(run), configuration, images, names, keep, team }
    }

    /// Saves a run behind a step: written beside, synced, and valid by one renaming when every rank
    /// has written what it holds. What does not keep it from that is noted.
    pub(crate) fn save(
        &self,
        position: Position,
        state: State,
        notes: &mut Notes,
    ) -> Result<(), TrainError> {
        let name = name_of(position.step);
        let (target, partial) = (self.folder.join(&name), self.folder.join(format!(".{name}")));
        let times = state.times.clone();
        let cleared = if self.team.leads() { clear(&partial) } else { Ok(()) };
        let written = self.team.agree(cleared).and_then(|()| {
            let files = self.team.collect(self.write_shards(&partial, state))?;
            self.team.agree(match self.team.leads() {
                true => self.complete(&partial, position, times, files, notes).and_then(|()| {
                    self.place(&partial, &target, notes)?;
                    self.tidy(position, notes)
                }),
                false => Ok(()),
            })
        });
        if written.is_err() && self.team.leads() {
            // Half a checkpoint on a full disk is of no use; what is left of it harms nobody.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    /// Writes the subnetworks that are held here.
    fn write_shards(&self, partial: &Path, state: State) -> Result<Vec<Entry>, TrainError> {
        if !self.names.is_empty() && !partial.is_dir() {
            return Err(TrainError::NotShared { path: partial.to_path_buf() });
        }
        let beside = self.names_beside(&state.optimizer);
        let [weights, optimizer, average] =
            [state.weights, state.optimizer, state.average].map(by_name);
        let mut files = Vec::new();
        for ((index, names), beside) in self.names.iter().zip(&beside) {
            let mut parts =
                vec![(Kind::Weights, names, &weights), (Kind::Optimizer, beside, &optimizer)];
            if !average.is_empty() {
                parts.push((Kind::Average, names, &average));
            }
            for (holds, names, tensors) in parts {
                let (subnetwork, tensors_in) = (index + 1, names.len());
                let name = holds.file_name(subnetwork);
                let path = partial.join(&name);
                let bytes = shard::encode(names, tensors)
                    .map_err(|error| TrainError::weights(&path, error))?;
                write_synced(&path, &bytes)?;
                let (sha256, bytes) = (in_hexadecimal(&Sha256::digest(&bytes)), bytes.len() as u64);
                files.push(Entry { subnetwork, holds, name, bytes, sha256, tensors: tensors_in });
            }
        }
        Ok(files)
    }

    /// Writes what says that a checkpoint is whole.
    fn complete(
        &self,
        partial: &Path,
        position: Position,
        times: Times,
        files: Vec<Vec<Entry>>,
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
            images: self.images.clone(),
            files,
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("numbers and names are JSON");
        write_synced(&partial.join(MANIFEST), &text)?;
        write_synced(&partial.join(MANIFEST_SUM), sum_of(&text).as_bytes())?;
        sync_folder(partial, notes)
    }

    /// Gives the folder its name. Nothing else has it: a run goes on from its newest checkpoint that
    /// can be used, and sets those after it aside.
    fn place(&self, partial: &Path, target: &Path, notes: &mut Notes) -> Result<(), TrainError> {
        if target.exists() {
            set_one_aside(target, "damaged")?;
        }
        fs::rename(partial, target).map_err(TrainError::file("create", target))?;
        sync_folder(&self.folder, notes)
    }

    /// Sets the checkpoint of a position aside that gives no finite loss: nobody can go on from it.
    pub(crate) fn set_diverged_aside(&self, position: Position) -> Result<(), TrainError> {
        set_one_aside(&self.folder.join(name_of(position.step)), DIVERGED).map(drop)
    }

    /// For each subnetwork the names of what optimizers remember of its tensors.
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

    /// The best checkpoint so far, if there is one.
    pub(crate) fn best(&self) -> Option<Best> {
        read::best(&self.folder)
    }

    /// Remembers that the checkpoint behind this step is the best so far.
    pub(crate) fn set_best(&self, best: Best, notes: &mut Notes) -> Result<(), TrainError> {
        let text = serde_json::to_vec(&best).expect("numbers are JSON");
        replace(&self.folder.join(BEST), &text)?;
        sync_folder(&self.folder, notes)
    }

    /// Removes what is neither among the last checkpoints of a run at this position nor the best. A
    /// process that was killed may not have come to that.
    pub(crate) fn tidy(&self, position: Position, notes: &mut Notes) -> Result<(), TrainError> {
        let best = self.best().map(|best| best.step);
        rotate(&self.folder, position.step, self.keep, best, notes)
    }
}

fn by_name(tensors: Vec<NamedTensor>) -> HashMap<String, TensorData> {
    tensors.into_iter().map(|tensor| (tensor.name, tensor.data)).collect()
}

/// What [`MANIFEST_SUM`] says of a manifest.
pub(crate) fn sum_of(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", in_hexadecimal(&Sha256::digest(manifest)))
}
