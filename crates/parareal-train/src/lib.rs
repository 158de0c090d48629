//! Training of parareal networks: configuration, loop, metrics and the folder of a run.
//!
//! [`Settings`] come from flags and files. [`Config::resolve`] completes them from a [`Recipe`] and
//! refuses what cannot be, and [`Config::balance`] measures where to cut if that was asked for.
//! [`Run::prepare`] loads the images and makes the folder of the run, [`Run::train`] fills it:
//! `config.toml`, `metrics.jsonl` and `checkpoints/`. [`Run::resume`] goes on with one, bit for bit.
//! [`evaluate`] judges the weights in such a folder, [`export`] writes them as one file, a [`Predictor`]
//! applies them to other images. [`plan`] and [`suggest`] predict a step, a [`Bench`] measures one. An
//! [`Observer`] is told how it goes; nothing here writes to a terminal.

mod ahead;
mod bench;
mod checkpoint;
mod coarse_cost;
mod config;
mod continued;
#[cfg(feature = "mpi")]
mod cores;
mod details;
mod device;
mod error;
mod evaluate;
mod executor;
mod export;
mod feasibility;
mod finished;
mod finite;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod initial;
mod log;
mod metrics;
mod network;
mod notes;
mod outcome;
mod output;
mod picture;
mod placed;
mod plan;
mod predict;
mod run;
mod run_config;
mod schedule;
mod scores;
mod sent;
mod settings;
mod sheet;
mod team;
mod tensorboard;
mod training;
mod usage;

pub use bench::{Bench, BenchRow, Benched, Clock, Milliseconds, Predicted, Virtual};
pub use checkpoint::Which;
pub use coarse_cost::{CoarseCost, CostBasis};
pub use config::Config;
pub use device::DeviceName;
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use executor::{ExecutorKind, LinkType};
pub use export::{Exported, export};
pub use metrics::{EpochRecord, StepRecord};
pub use network::{Cutting, NetworkConfig};
pub use outcome::Outcome;
pub use output::{Format, OutputFile};
pub use parareal::plan::{Link, Schedule};
pub use parareal_models::resnet::{
    CoarseKind, PAPER_BATCH, PAPER_CLASSES, PAPER_DEPTH, PAPER_EPOCHS, PAPER_HOURS, PAPER_IMAGES,
    PAPER_ROWS, Passes, Summary,
};
pub use picture::TimelineFile;
pub use plan::{
    Bound, CostSource, Costs, Machine, PlanSettings, Planned, Suggestion, plan, suggest,
};
pub use predict::{Answer, Prediction, Predictor};
pub use run::{Observer, Run};
pub use run_config::RunConfig;
pub use schedule::{CheckpointEvery, Decay, LearningRate};
pub use sent::Sent;
pub use settings::{
    CutsSetting, DEFAULT_DATA_DIR, DecayKind, Definition, Heading, Input, Recipe, Recompute,
    Settings,
};
pub use sheet::contact_sheet;
pub use team::{Place, Team};
pub use usage::{SubnetworkUsage, Usage, WorkerUsage};
