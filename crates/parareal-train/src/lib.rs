//! Training of parareal networks: configuration, loop, metrics and the folder of a run.
//!
//! [`Settings`] come from flags and files, [`Config::resolve`] completes them from a [`Recipe`]
//! and refuses what cannot be, [`Run::prepare`] loads the images and makes the folder of the run,
//! [`Run::train`] fills it: `config.toml`, `metrics.jsonl` and `checkpoints/`. [`evaluate`]
//! judges the weights in such a folder. An [`Observer`] is told how it goes; nothing here writes
//! to a terminal.

mod checkpoint;
mod config;
mod device;
mod error;
mod evaluate;
mod executor;
mod folder;
mod metrics;
mod network;
mod recipe;
mod run;
mod scores;
mod settings;
mod usage;

pub use config::Config;
pub use device::DeviceName;
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use executor::ExecutorKind;
pub use metrics::{EpochRecord, StepRecord};
pub use network::NetworkConfig;
pub use parareal_models::resnet::Summary;
pub use recipe::Recipe;
pub use run::{Observer, Outcome, Run};
pub use settings::Settings;
pub use usage::Usage;
