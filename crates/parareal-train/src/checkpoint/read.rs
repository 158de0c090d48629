//! Reading checkpoints, which are untrusted until they are checked.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use burn::tensor::TensorData;
use parareal::net::{Cuts, StateDict};
use parareal_run::names::{self, BEST, MANIFEST, MANIFEST_SUM};
use parareal_run::{
    Best, FORMAT_VERSION, FileEntry, FileKind, Manifest, OLDEST_FORMAT, Position, Times,
};
use parareal_text::without_byte_order_mark;
use toml::Table;

use super::{MANIFEST_SUM_LEN, check_begun, folder_of, list, sha256, step_of, sum_of, tensors};
use crate::folder::config_file;
use crate::{ProcessGroup, TrainError};

/// Largest size of a manifest, in bytes. The manifest of a thousand subnetworks takes a tenth of it.
const LONGEST_MANIFEST: u64 = 16 << 20;
/// Largest size of `best.json`, in bytes.
const LONGEST_BEST: u64 = 1 << 10;

/// A checkpoint that was read.
pub struct Saved {
    /// Progress of the run.
    pub position: Position,
    /// Configuration of the run.
    pub configuration: Table,
    /// Description of the run's data.
    pub data: Table,
    /// Times of the run so far.
    pub(crate) times: Times,
    /// Vector instructions of the machine that saved the checkpoint, if known.
    pub(crate) simd: Option<String>,
    /// Cuts of the network that all tensors belong to.
    pub(crate) cuts: Cuts,
    pub(crate) weights: HashMap<String, TensorData>,
    pub(crate) optimizer: HashMap<String, TensorData>,
    /// The moving average of the weights; empty if the run has none.
    pub(crate) average: HashMap<String, TensorData>,
}

impl Saved {
    /// Returns the weights that evaluations use: the moving average if there is one.
    #[must_use]
    pub fn into_weights(self) -> StateDict {
        let is_averaged = !self.average.is_empty();
        StateDict::new(self.cuts, if is_averaged { self.average } else { self.weights })
    }
}

/// Selects a checkpoint of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckpointChoice {
    /// The last checkpoint.
    #[default]
    Latest,
    /// The best checkpoint by the [`Objective`](crate::Objective) of the run. The default objective of a
    /// [`Trainer`](crate::Trainer) is the lowest validation loss. The objective of the `parareal` command is the
    /// lowest error of the validation samples, or of the test samples if there are no validation samples.
    Best,
    /// The checkpoint after this step.
    Step(usize),
}

impl FromStr for CheckpointChoice {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "latest" => Ok(Self::Latest),
            "best" => Ok(Self::Best),
            _ => text.parse().map(Self::Step).map_err(|_| {
                let expected = "expected latest, best, or the number of a step";
                TrainError::setting("checkpoint", text, expected)
            }),
        }
    }
}

impl fmt::Display for CheckpointChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Best => f.write_str("best"),
            Self::Step(step) => step.fmt(f),
        }
    }
}

/// Opens one checkpoint of a run.
///
/// # Errors
/// If the checkpoint is missing or damaged.
pub fn open(
    run: &Path,
    choice: CheckpointChoice,
    check: CheckManifest<'_>,
) -> Result<Saved, TrainError> {
    let folder = folder_of(run);
    let steps = list(&folder)?;
    let wanted = match choice {
        CheckpointChoice::Latest => steps.last().map(|(step, _)| *step),
        CheckpointChoice::Best => best(&folder).map(|best| best.step),
        CheckpointChoice::Step(step) => Some(step),
    };
    match steps.iter().find(|(step, _)| Some(*step) == wanted) {
        Some((_, path)) => read(path, None, check),
        None if steps.is_empty() => {
            config_file(run)?;
            check_begun(run)?;
            let message = "it has no checkpoint".into();
            Err(TrainError::NoRun { path: run.to_path_buf(), message })
        }
        None => {
            let there: Vec<String> = steps.iter().map(|(step, _)| step.to_string()).collect();
            let expected = format!("not found; available steps: {}", there.join(", "));
            Err(TrainError::setting("checkpoint", choice, expected))
        }
    }
}

/// Function that completes the manifest of an earlier version, and rejects a manifest that the task cannot have
/// written.
///
/// Manifests before version 5 do not record the cuts ([`Manifest::units`], [`Manifest::cuts`]). The function must
/// add them.
pub type CheckManifest<'a> = &'a dyn Fn(&mut Manifest) -> Result<(), String>;

/// The checkpoint to resume from.
pub struct Newest {
    /// The newest valid checkpoint; `None` if nothing was saved.
    pub saved: Option<Saved>,
    /// Steps and errors of damaged checkpoints that are newer.
    pub(crate) damaged: Vec<(usize, TrainError)>,
}

/// Finds the newest valid checkpoint of a run. Each process reads the subnetworks that it holds.
///
/// # Errors
/// If there are checkpoints but all are damaged. The error describes the newest one.
pub(crate) fn newest(
    group: &ProcessGroup,
    run: &Path,
    held: &Range<usize>,
    check: CheckManifest<'_>,
) -> Result<Newest, TrainError> {
    let folder = folder_of(run);
    let steps: Vec<usize> = group.on_root(|| {
        Ok::<_, TrainError>(list(&folder)?.into_iter().map(|(step, _)| step).collect())
    })?;
    let mut damaged = Vec::new();
    for step in steps.into_iter().rev() {
        let own = match read(&folder.join(names::checkpoint(step)), Some(held), check) {
            Err(error) if !error.is_damage() => Err(error),
            own => Ok(own),
        };
        // An unreadable file or a lost rank does not mean that the checkpoint is damaged.
        let own = group.agree(own)?;
        // A checkpoint is used only if all processes can read it.
        match group.agree(own) {
            Ok(saved) => return Ok(Newest { saved: Some(saved), damaged }),
            Err(error) if matches!(error, TrainError::Executor(_)) => return Err(error),
            Err(error) => damaged.push((step, error)),
        }
    }
    match damaged.is_empty() {
        true => Ok(Newest { saved: None, damaged }),
        false => Err(damaged.swap_remove(0).1),
    }
}

/// Returns the best checkpoint as recorded; `None` without a valid record.
pub(super) fn best(folder: &Path) -> Option<Best> {
    let text = bounded(&folder.join(BEST), LONGEST_BEST).ok()?;
    serde_json::from_slice(without_byte_order_mark(&text)).ok()
}

fn read(
    folder: &Path,
    held: Option<&Range<usize>>,
    check: CheckManifest<'_>,
) -> Result<Saved, TrainError> {
    let saved = read_with(folder, &bounded, held, check)?;
    match step_of(folder) {
        Some(step) if step != saved.position.step => {
            let message = format!("its manifest is for step {}", saved.position.step);
            Err(TrainError::damaged(folder, message))
        }
        _ => Ok(saved),
    }
}

/// Function that reads a file up to a number of bytes, and one byte more if the file is longer.
pub(crate) type Load<'a> = &'a dyn Fn(&Path, u64) -> Result<Vec<u8>, TrainError>;

/// Reads the files of a checkpoint: all of them, or those of the subnetworks in `held`.
pub(crate) fn read_with(
    folder: &Path,
    load: Load<'_>,
    held: Option<&Range<usize>>,
    check: CheckManifest<'_>,
) -> Result<Saved, TrainError> {
    let path = folder.join(MANIFEST);
    let text = load(&path, LONGEST_MANIFEST)?;
    let mut manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| damaged(&path, &error))?;
    if !(OLDEST_FORMAT..=FORMAT_VERSION).contains(&manifest.format_version) {
        let found = manifest.format_version;
        return Err(TrainError::CheckpointFormat { path, found });
    }
    let path_of_sum = folder.join(MANIFEST_SUM);
    if load(&path_of_sum, MANIFEST_SUM_LEN)? != sum_of(&text).as_bytes() {
        let message = format!("it does not match the SHA-256 in {MANIFEST_SUM}");
        return Err(TrainError::damaged(&path, message));
    }
    let checked = manifest.check().map_err(str::to_string);
    if let Err(wrong) = checked.and_then(|()| check(&mut manifest)) {
        return Err(TrainError::damaged(&path, wrong));
    }
    let (mut weights, mut optimizer, mut average) =
        (HashMap::new(), HashMap::new(), HashMap::new());
    // Entries with the number 0, which is not valid, are read as well, so that their names are checked.
    let wanted = |entry: &&FileEntry| {
        held.is_none_or(|held| entry.subnetwork == 0 || held.contains(&(entry.subnetwork - 1)))
    };
    for entry in manifest.files.iter().filter(wanted) {
        let tensors = match entry.holds {
            FileKind::Weights => &mut weights,
            FileKind::Optimizer => &mut optimizer,
            FileKind::Average => &mut average,
        };
        read_file(folder, entry, load, tensors)?;
    }
    // The state of an optimizer for a parameter is a scalar, or has the shape of the parameter, except that dimensions
    // may have length 1 (the means of Adafactor).
    for (name, data) in &optimizer {
        // Names of optimizer state may contain dots as well, so the longest matching name of a parameter is used.
        let mut dots = name.rmatch_indices('.').map(|(dot, _)| dot);
        let parameter = dots.find_map(|dot| weights.get(&name[..dot]));
        let fits = |parameter: &TensorData| {
            let (own, theirs) = (data.shape().as_slice(), parameter.shape().as_slice());
            let mut lengths = own.iter().zip(theirs);
            own.len() == theirs.len() && lengths.all(|(own, theirs)| own == theirs || *own == 1)
        };
        if data.shape().rank() > 0 && !parameter.is_some_and(fits) {
            let message = format!("`{name}` does not belong to any parameter");
            return Err(TrainError::damaged(folder, message));
        }
    }
    let fits = |(name, data): (&String, &TensorData)| {
        average.get(name).is_some_and(|average: &TensorData| average.shape() == data.shape())
    };
    if !average.is_empty() && !weights.iter().all(fits) {
        let message = "the moving average does not belong to the weights";
        return Err(TrainError::damaged(folder, message));
    }
    let Manifest { position, times, configuration, simd, data, units, cuts, .. } = manifest;
    let (Some(units), Some(cuts)) = (units, cuts) else {
        return Err(TrainError::damaged(&path, "it does not record the cuts"));
    };
    let cuts = Cuts::new(units, cuts).map_err(|error| damaged(&path, &error))?;
    Ok(Saved { position, configuration, data, times, simd, cuts, weights, optimizer, average })
}

fn read_file(
    folder: &Path,
    entry: &FileEntry,
    load: Load<'_>,
    into: &mut HashMap<String, TensorData>,
) -> Result<(), TrainError> {
    // Only the expected names are accepted, so that a manifest cannot refer to files outside of its folder.
    if entry.name != entry.holds.file_name(entry.subnetwork) {
        let message = format!("it names a file `{}`", entry.name.escape_default());
        return Err(TrainError::damaged(&folder.join(MANIFEST), message));
    }
    let path = folder.join(&entry.name);
    let wrong = |message: String| Err(TrainError::damaged(&path, message));
    let bytes = load(&path, entry.bytes)?;
    if bytes.len() as u64 != entry.bytes {
        let (found, expected) = (bytes.len(), entry.bytes);
        return wrong(format!("it has {found} of {expected} bytes"));
    }
    if sha256(&bytes) != entry.sha256 {
        return wrong("it does not match the SHA-256 in the manifest".into());
    }
    let before = into.len();
    tensors::decode(&bytes, into).map_err(|error| damaged(&path, &error))?;
    match into.len() - before {
        count if count == entry.tensors => Ok(()),
        count => wrong(format!("it has {count} tensors instead of {}", entry.tensors)),
    }
}

/// Reads a file up to `most` bytes, and one byte more if it is longer.
fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, TrainError> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) if is_missing(&error) => {
            let message = format!("missing from the checkpoint: {error}");
            Err(TrainError::weights(path, message))
        }
        Err(error) => Err(TrainError::file("read", path)(error)),
    }
}

/// Returns true if the file is missing, or its path does not refer to a file.
fn is_missing(error: &io::Error) -> bool {
    use ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory)
}

fn damaged(path: &Path, error: &impl ToString) -> TrainError {
    TrainError::damaged(path, error.to_string())
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
