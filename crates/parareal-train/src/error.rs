//! Errors of training.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parareal::exec::ExecError;
use parareal::net::NetError;
use parareal_run::{FORMAT_VERSION, OLDEST_FORMAT};
use parareal_text::{OneLine, one_line};
use thiserror::Error;

use crate::{BatchIndex, Launcher, SourceError};

/// Reason why a run cannot start or has failed. Every message is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting with an invalid value.
    #[error("invalid value `{found}` for {name}: {expected}")]
    Setting {
        /// The key of the setting.
        name: &'static str,
        /// The value.
        found: String,
        /// The expected value, such as "expected a whole number", or the reason for the refusal, and what to do.
        expected: String,
    },
    /// A batch with fewer samples than there are micro-batches of all replicas.
    #[error(
        "invalid value {}: the last batch of an epoch has {smallest} of the {samples} training samples, fewer than \
         one per {}",
        if *accumulate > 1 { format!("`{accumulate}` for accumulate") } else { format!("`{replicas}` for replicas") },
        match (*replicas, *accumulate) {
            (_, 1) => "replica",
            (1, _) => "micro-batch",
            _ => "micro-batch of each replica",
        }
    )]
    SmallBatch {
        /// The number of replicas.
        replicas: usize,
        /// The number of micro-batches of a replica.
        accumulate: usize,
        /// Number of samples in the smallest batch.
        smallest: usize,
        /// Number of training samples.
        samples: usize,
    },
    /// A device that does not exist.
    #[error("device `{name}` not found{hint}; available: {present}")]
    NoDevice {
        /// The requested device.
        name: String,
        /// The reason, if known.
        hint: String,
        /// The available devices.
        present: String,
    },
    /// An output folder that is not empty.
    #[error("{path} is not an empty folder", path = OneLine(path))]
    OutputNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that holds no run.
    #[error("{path} is not the folder of a run: {message}", path = OneLine(path))]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// Description of what is missing.
        message: String,
    },
    /// Processes that were started together, but are not ranks of one MPI program.
    #[error(
        "{processes} processes were started together, but MPI does not connect them; start ranks with the mpirun or \
         mpiexec of the MPI that this program was built with, or with srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH)"
    )]
    OtherLauncher {
        /// The number of processes.
        processes: usize,
        /// Their launcher.
        launcher: Launcher,
    },
    /// A run that another process is working on.
    #[error("another process is training in {path}; wait for it, or stop it", path = OneLine(path))]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint of a format that this program does not read.
    #[error(
        "{path}: the checkpoint has format {found}, but this version reads formats {OLDEST_FORMAT} \
         to {FORMAT_VERSION}; use the version that saved it",
        path = OneLine(path)
    )]
    CheckpointFormat {
        /// The manifest of the checkpoint.
        path: PathBuf,
        /// The format in the manifest.
        found: u32,
    },
    /// A damaged file or folder of a run.
    #[error("{path} is damaged: {message}", path = OneLine(path))]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// Description of the damage.
        message: String,
    },
    /// Saved weights that are missing or belong to a different network.
    #[error("{path}: {message}", path = OneLine(path))]
    Weights {
        /// The file or folder.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },
    /// A file that would be overwritten.
    #[error("{path} already exists", path = OneLine(path))]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write {path}: {}", one_line(message), path = OneLine(path))]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },
    /// A picture that cannot be drawn.
    #[error("cannot draw {path}: {message}", path = OneLine(path))]
    Picture {
        /// The file.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },
    /// A network that cannot be built or cut as requested, or weights that do not fit it.
    #[error(transparent)]
    Network(#[from] NetError),
    /// A loss that is infinite or NaN.
    #[error(
        "the loss is {loss} at step {step} with learning rate {learning_rate:?}: the run has \
         diverged; try a smaller learning rate or larger batches"
    )]
    Diverged {
        /// The step, from 1.
        step: usize,
        /// Its learning rate.
        learning_rate: f64,
        /// The loss.
        loss: f64,
    },
    /// Weights or optimizer state that are infinite or NaN.
    #[error(
        "`{}` is not finite after step {step} with learning rate {learning_rate:?}: the run has \
         diverged; try a smaller learning rate or larger batches",
        one_line(name)
    )]
    WeightsDiverged {
        /// The first such tensor.
        name: String,
        /// The step, from 1.
        step: usize,
        /// Its learning rate.
        learning_rate: f64,
    },
    /// An output or a loss for the test or validation samples that is infinite or NaN.
    #[error(
        "the {} for the {samples} samples {} not finite after step {step} (loss {loss}): the run \
         has diverged; try a smaller learning rate or larger batches",
        if *is_output { "outputs" } else { "loss" },
        if *is_output { "are" } else { "is" },
    )]
    EvaluationDiverged {
        /// True if an output is not finite, false if only the loss is not finite.
        is_output: bool,
        /// The samples: "test" or "validation".
        samples: &'static str,
        /// The step, from 1.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// A set of samples that is empty or missing.
    #[error("no {samples} samples: expected at least 1")]
    NoSamples {
        /// The samples: "validation", or "evaluation".
        samples: &'static str,
    },
    /// A failure of a source of batches.
    #[error("{index}: {}", one_line(&error.to_string()))]
    Source {
        /// The batch.
        index: BatchIndex,
        /// The source's own error.
        error: SourceError,
    },
    /// A batch that the network or the loss does not accept, or that is not the requested one.
    #[error("{index}: {}", one_line(message))]
    Batch {
        /// The batch.
        index: BatchIndex,
        /// Description of the problem.
        message: String,
    },
    /// An error of the task: it has no batches, or cannot evaluate the network.
    #[error("{error}")]
    Task {
        /// The task's own error.
        error: Box<dyn std::error::Error + Send + Sync>,
        /// True for invalid input, false for a failure at run time.
        bad_input: bool,
    },
    /// A failure of an executor.
    #[error(transparent)]
    Executor(#[from] ExecError),
    /// The executor `mpi` in a program that was built without MPI.
    #[error("invalid value `mpi` for executor: this program was built without MPI")]
    WithoutMpi,
    /// A folder that is not visible on a rank.
    #[error(
        "{path} does not exist on this rank; use a folder on a file system that all ranks share",
        path = OneLine(path)
    )]
    NotShared {
        /// The folder.
        path: PathBuf,
    },
    /// Ranks that were started with different values.
    #[error(
        "{name} is {} on rank 0 but {} on rank {rank}; start all ranks with the same settings",
        first.as_deref().unwrap_or("not set"),
        other.as_deref().unwrap_or("not set")
    )]
    RanksDiffer {
        /// Name of the value.
        name: String,
        /// Value on rank 0.
        first: Option<String>,
        /// Value on the other rank.
        other: Option<String>,
        /// The other rank.
        rank: usize,
    },
    /// A rank that sends no heartbeats.
    #[error(
        "rank {rank}{} has not responded for {} s: it is stopped, or its machine cannot be reached",
        process.as_ref().map_or_else(String::new, |(id, machine)| format!(" (process {id} on {})", one_line(machine))),
        timeout.as_secs()
    )]
    SilentRank {
        /// The rank.
        rank: usize,
        /// Its process ID and its machine; `None` if it never responded.
        process: Option<(u32, String)>,
        /// The time without a heartbeat.
        timeout: Duration,
    },
    /// An MPI that hangs after all ranks have called [`ProcessGroup::finish`](crate::ProcessGroup::finish), when their work
    /// is done.
    #[error(
        "MPI_Finalize has not returned within {seconds} s after all ranks had finished: nothing is lost, but the launcher \
         may report an error"
    )]
    Finalize {
        /// The limit in seconds.
        seconds: u64,
    },
    /// An MPI call that does not return, although all ranks were about to make it. The process should end by
    /// [`ProcessGroup::exit`](crate::ProcessGroup::exit).
    #[error("{call} has not returned within {seconds} s: MPI hangs, or a rank is stopped")]
    MpiHangs {
        /// Name of the MPI function.
        call: &'static str,
        /// The limit in seconds.
        seconds: u64,
    },
    /// Samples that are not the same on all ranks.
    #[error("the {samples} differ between ranks 0 and {rank}; start all ranks with the same data")]
    RanksData {
        /// The samples that differ, such as "training samples".
        samples: String,
        /// The first rank whose data differs from the data of rank 0.
        rank: usize,
    },
    /// A setting whose value differs from its value in the run to be resumed.
    #[error(
        "{} is {}, but {} in {path}; resume the run with that value, or start a new run",
        one_line(name),
        one_line(now),
        one_line(before),
        path = OneLine(path)
    )]
    OtherRun {
        /// The folder of the run.
        path: PathBuf,
        /// Name of the setting.
        name: String,
        /// Value of the setting in the run to be resumed.
        before: String,
        /// Current value of the setting.
        now: String,
    },
    /// Data that differ from the data of the run to be resumed.
    #[error(
        "the {what} differ from those that the run in {path} was started with; resume it with the \
         same data, or start a new run",
        path = OneLine(path)
    )]
    OtherData {
        /// The folder of the run.
        path: PathBuf,
        /// The samples that differ.
        what: &'static str,
    },
    /// A `config.toml` that is damaged, or that another program wrote.
    #[error("{path} is not the configuration of a run: {}", one_line(message), path = OneLine(path))]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Description of the problem.
        message: String,
    },
    /// A run that has already trained for more epochs than requested.
    #[error(
        "invalid value `{epochs}` for epochs: expected at least {done}, the current epoch of the run"
    )]
    TooFewEpochs {
        /// Requested number of epochs.
        epochs: usize,
        /// Epoch of the run's last checkpoint.
        done: usize,
    },
    /// An error that is known to all processes of a run and reported by this one.
    #[error("{}{error}", rank.map_or_else(String::new, |rank| format!("rank {rank}: ")))]
    Agreed {
        /// The rank that has the error; `None` if all ranks have it.
        rank: Option<usize>,
        /// The error.
        error: Box<TrainError>,
        /// True if the errors of all failed ranks are invalid input.
        bad_input: bool,
    },
    /// An error that is known to all processes of a run and reported by another one.
    #[error("{message}")]
    Elsewhere {
        /// The error, with the rank that has it.
        message: String,
        /// True for invalid input.
        bad_input: bool,
    },
    /// A file that could not be read or written.
    #[error("cannot {action} {path}: {source}", path = OneLine(path))]
    File {
        /// The failed action: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl TrainError {
    /// Returns true for invalid input, and false for a failure at run time.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Diverged { .. }
            | Self::WeightsDiverged { .. }
            | Self::EvaluationDiverged { .. }
            | Self::SilentRank { .. }
            | Self::Finalize { .. }
            | Self::MpiHangs { .. }
            | Self::File { .. }
            | Self::Source { .. }
            | Self::Picture { .. } => false,
            Self::Agreed { bad_input, .. }
            | Self::Elsewhere { bad_input, .. }
            | Self::Task { bad_input, .. } => *bad_input,
            Self::Executor(error) => matches!(
                error,
                ExecError::Layout(_)
                    | ExecError::NoDevice
                    | ExecError::NoEffect { .. }
                    | ExecError::Setting { .. }
            ),
            _ => true,
        }
    }

    /// Creates the error of a setting with an invalid value.
    pub fn setting(name: &'static str, found: impl ToString, expected: impl Into<String>) -> Self {
        let (found, expected) = (one_line(&found.to_string()), one_line(&expected.into()));
        Self::Setting { name, found, expected }
    }

    /// Creates the error of a setting whose value differs from its value in the run to be resumed.
    pub(crate) fn other_run(folder: &Path, name: &str, before: String, now: String) -> Self {
        Self::OtherRun { path: folder.to_path_buf(), name: name.into(), before, now }
    }

    /// Creates the error of a file that is not the configuration of a run.
    pub(crate) fn configuration(path: &Path, message: &str) -> Self {
        Self::Configuration { path: path.to_path_buf(), message: message.into() }
    }

    /// Returns the step in or after which the run diverged; `None` for other errors.
    pub(crate) fn diverged_at(&self) -> Option<usize> {
        match self {
            Self::Diverged { step, .. }
            | Self::WeightsDiverged { step, .. }
            | Self::EvaluationDiverged { step, .. } => Some(*step),
            _ => None,
        }
    }

    /// Creates the error of ranks that cannot continue together.
    pub(crate) fn ranks(message: &str) -> Self {
        Self::Executor(ExecError::Ranks(message.into()))
    }

    /// Returns a function that creates the error of a file which could not be read or written.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }

    /// Returns true for a damaged checkpoint, as opposed to one that is temporarily unreadable.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Weights { .. })
    }

    /// Creates the error of a file or folder of a run that is damaged.
    pub fn damaged(path: &Path, message: impl Into<String>) -> Self {
        // Parsers may quote unknown input with line breaks.
        Self::Damaged { path: path.to_path_buf(), message: one_line(&message.into()) }
    }

    /// Creates the error of saved weights that are missing or belong to a different network.
    pub fn weights(path: &Path, message: impl Into<String>) -> Self {
        // Parsers may quote unknown input with line breaks.
        Self::Weights { path: path.to_path_buf(), message: one_line(&message.into()) }
    }
}
