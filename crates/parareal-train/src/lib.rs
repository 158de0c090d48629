//! Trainer for parareal networks of any kind.
//!
//! A [`Task`] is what is trained: a [`Model`] (network, cuts, loss, optimizer) and its data. A [`RunConfig`]
//! says for how long and on what. [`Run::create`] makes the folder of a new run, [`Run::resume`] goes on with
//! one, bit for bit, and [`Run::train`] fills it: `config.toml`, `metrics.jsonl`, TensorBoard events and
//! [`checkpoints`](checkpoint). The processes of a run are a [`ProcessGroup`]: one process, or the ranks of an
//! MPI program. An [`Observer`] receives the progress; nothing here writes to a terminal.
//!
//! The crate knows nothing of images, of a particular network or of a particular loss.

pub mod checkpoint;
mod config_record;
#[cfg(feature = "mpi")]
mod cores;
mod device;
mod error;
mod executor;
mod executor_kind;
mod export;
mod feasibility;
mod finished;
mod finite_check;
pub mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod metrics;
mod notes;
mod observer;
mod outcome;
mod output;
mod placement;
mod prefetch;
mod prepared;
mod process_group;
mod resumed;
mod run;
mod run_config;
mod schedule;
mod shared_error;
pub mod task;
mod tensorboard;
mod timeline;
mod traffic;
mod training;

pub use config_record::ConfigRecord;
pub use device::DeviceName;
pub use error::TrainError;
pub use executor_kind::{ExecutorKind, LinkDtype};
pub use export::{Exported, export};
pub use feasibility::check_threads;
pub use observer::Observer;
pub use outcome::Outcome;
pub use output::{Format, OutputFile};
pub use placement::{MAX_THREADS, WorkerRequest, rank_layout};
pub use prefetch::{Prefetched, prefetch};
pub use process_group::{ProcessGroup, Resources};
pub use run::{InitialWeights, Resume, Run, RunFolder, Start};
pub use run_config::RunConfig;
pub use schedule::{CheckpointEvery, Decay, LearningRate};
pub use shared_error::SharedError;
pub use task::{Model, Task};
pub use timeline::TimelineFile;
