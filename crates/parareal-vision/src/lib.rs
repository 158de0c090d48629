//! Classification of images with parareal networks: the library of the `parareal` command.
//!
//! - [`Settings`] come from flags and files. [`Config::resolve`] completes them from a [`Recipe`] and checks
//!   them.
//! - [`ClassificationRun::create`] loads the images and creates the folder of a run,
//!   [`ClassificationRun::resume`] resumes a run bit for bit, and [`ClassificationRun::train`] trains it.
//! - [`evaluate`] evaluates the weights of a run, [`export()`] writes them for other programs, and a [`Predictor`]
//!   classifies image files with them.
//! - [`range_test`] trains with growing learning rates, to find a suitable one.
//! - [`plan`] and [`suggest`] predict the duration of a step, and a [`Bench`] measures it.
//!
//! This crate never writes to a terminal.
//!
//! # Features
//!
//! None is enabled by default.
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` | subnetworks on the ranks of an MPI program |
//! | `wgpu`, `vulkan`, `metal`, `cuda`, `rocm` | devices other than the CPU, through Burn's backends |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bench;
mod classification_run;
mod coarse_cost;
mod config;
mod contact_sheet;
mod details;
mod error;
mod evaluate;
mod evaluation_pass;
mod export;
#[doc(hidden)]
pub mod fuzzing;
mod image_batch;
mod image_record;
mod image_task;
mod initial_weights;
mod nested;
mod network;
mod optimizer;
mod placement;
mod plan;
mod predict;
mod preparation;
mod random_batch;
mod range_test;
mod recorded;
mod resume;
mod scores;
mod settings;
mod weight_source;

pub use bench::{Bench, BenchRow, Benched, Clock, Milliseconds, Predicted, Virtual};
pub use classification_run::ClassificationRun;
pub use coarse_cost::{CoarseCost, CostBasis};
pub use config::Config;
pub use contact_sheet::contact_sheet;
pub use error::VisionError;
pub use evaluate::{Evaluation, evaluate, evaluate_with};
pub use export::{ExportFormat, ExportSource, Exported, export, export_pytorch};
pub use image_task::ImageTask;
pub use network::{Cutting, NetworkConfig};
pub use optimizer::OptimizerConfig;
pub use parareal::plan::{Link, Schedule};
pub use parareal_export::OnnxInput;
pub use parareal_models::{
    Architecture, CoarseKind, CostError, DEFAULT_IMAGE_SIZE, PAPER_BATCH, PAPER_CLASSES,
    PAPER_DEPTH, PAPER_EPOCHS, PAPER_IMAGES, PAPER_ROWS, PAPER_SECONDS, PAPER_WIDTH, Passes,
    Precision, Summary, UnitKind,
};
pub use placement::PlacementTime;
pub use plan::{
    Bound, CostSource, Costs, Machine, PlanSettings, Planned, Suggestion, plan, suggest,
    suggest_here,
};
pub use predict::{ClassProbability, Prediction, Predictor};
pub use preparation::Preparation;
pub use range_test::range_test;
pub use settings::{
    CutsSetting, DEFAULT_DATA_DIR, DecayKind, Definition, Heading, Input, OptimizerKind, Recipe,
    Recompute, Settings, UnitInit, WorkerCount,
};
pub use weight_source::weight_file;

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
