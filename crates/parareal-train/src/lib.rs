//! Training of parareal networks of any kind, with checkpoints, resuming and evaluation.
//!
//! # A first run
//!
//! A [`Model`] is a network with its cuts, a loss and an optimizer. The network consists of layers of Burn
//! ([`Sequential`](parareal::net::Sequential)), or of your own types
//! ([`FeedForward`](parareal::net::FeedForward)). A [`Trainer`] trains it on samples in memory
//! ([`TensorDataset`]) or on batches that a function computes ([`from_fn`]). The [`prelude`] exports what is
//! needed, including the crates `burn` and `parareal`, so a program needs no other dependency.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::AdamWConfig;
//! use parareal_train::prelude::*;
//!
//! fn linear(from: usize, to: usize, init: &Init) -> Linear {
//!     LinearConfig::new(from, to).init(init.device())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runs = tempfile::tempdir()?;
//! # let folder = runs.path().join("mine");
//! # let samples = |offset: f32| {
//! #     let device = Device::flex();
//! #     let points: Vec<[f32; 2]> =
//! #         (0..64).map(|i| [(i as f32 + offset).sin(), (1.7 * (i as f32 + offset)).cos()]).collect();
//! #     let classes: Vec<i64> = points.iter().map(|[x, y]| i64::from(x > y)).collect();
//! #     let data = burn::tensor::TensorData::new(points.concat(), [64, 2]);
//! #     (Tensor::<2>::from_data(data, &device), Tensor::<1, Int>::from_data(&classes[..], &device))
//! # };
//! // Points in a plane `[64, 2]`, and their classes `[64]`.
//! let (inputs, targets) = samples(0.0);
//! let (other_inputs, other_targets) = samples(0.5);
//!
//! // Two features become eight, pass through four residual units, and become the scores of two classes.
//! let network = Sequential::stem(inputs.clone(), |init| layer(linear(2, 8, init), Linear::forward))
//!     .units(4, |_, init| {
//!         layer(linear(8, 8, init), |linear, x: Tensor<2>| x.clone() + linear.forward(x).tanh())
//!     })
//!     .head(|init| layer(linear(8, 2, init), Linear::forward))?;
//! let cuts = Cuts::even(4, 2)?;
//! let model = Model::new(network, cuts, CrossEntropy::default(), AdamWConfig::new().init());
//! let trainer = Trainer::new(model, TensorDataset::new(inputs, targets)?)
//!     .validation(TensorDataset::new(other_inputs, other_targets)?)
//!     .metric("accuracy", accuracy)
//!     .epochs(5)
//!     .batch_size(16)
//!     .learning_rate(Schedule::cosine(0.01));
//! let outcome = trainer.train(&folder)?;
//! assert_eq!((outcome.epochs, outcome.steps), (5, 20));
//!
//! let best = trainer.evaluate(&folder, CheckpointChoice::Best)?;
//! println!("loss {}, accuracy {}", best.loss, best.metrics["accuracy"]);
//! let network = trainer.load(&folder, CheckpointChoice::Best)?;
//! let scores = network.forward(samples(0.25).0);
//! # assert_eq!(scores.dims(), [64, 2]);
//! # Ok(())
//! # }
//! ```
//!
//! Longer examples are in the folder `examples`: `signals` (convolutions and layer normalization; stopped and
//! resumed), `regression` (mean squared error, coarse networks written by hand), and `sentences` (token embeddings,
//! encoder layers with a mask, dropout).
//!
//! [`Trainer`] lists all settings with their defaults. The loss is a mean over the samples of a batch: replicas and
//! batches of different sizes are weighted accordingly. The optimizer is any of Burn's that is a `ModuleOptimizer`
//! (Adam, AdamW, LAMB, RMSprop, SGD and others; [L-BFGS is not](Model::new)).
//!
//! # The folder of a run
//!
//! [`Trainer::train`] fills a new folder: `config.toml` (the settings), `metrics.jsonl` (one object for each
//! step, each epoch and the end), event files for TensorBoard, and [`checkpoints`](checkpoint) with the weights,
//! the state of the optimizer and the moving average. Checkpoints are saved after each epoch, and [more often on
//! request](Trainer::checkpoint_every). The most recent checkpoints and the best one are kept. The best
//! checkpoint has the lowest validation loss, unless [`Trainer::best`] sets another objective.
//!
//! [`Trainer::train_with`] also takes an [`Observer`], which receives the progress, and a function that stops the
//! run, such as one that returns a flag set by a signal handler. This crate does not write to the terminal, but
//! an observer may. A closure as an observer receives each epoch; your own type can also receive steps and notes:
//!
//! ```
//! use parareal_train::prelude::*;
//!
//! # fn run<N: Coarsen<Output = Tensor<2>>>(trainer: &Trainer<N, CrossEntropy>) -> Result<(), TrainError> {
//! let mut print = |epoch: &EpochRecord| {
//!     println!("epoch {}: loss {:.4}, {:.4?}", epoch.epoch, epoch.train_loss, epoch.metrics);
//! };
//! trainer.train_with("runs/mine", &mut print, &|| false)?;
//! # Ok(())
//! # }
//! # use burn::tensor::Tensor;
//! ```
//!
//! [`Trainer::timeline`] writes the timeline of one step: the activities of each worker, and the times in which it
//! waited.
//!
//! # Resuming
//!
//! [`Trainer::resume`] continues from the newest checkpoint, bit for bit as if the run had not been interrupted
//! ([with the same executor, threads and devices](Trainer::resume_with)): the order of the samples follows from
//! the seed and the epoch, the learning rate from the epoch and the step. The program builds the same trainer
//! again; epochs, patience, executor, workers, threads, devices and replicas may change. If the seed, batch size,
//! learning rate, cuts, parameters or samples differ, resuming fails with an error that names the difference. The
//! trainer cannot inspect an optimizer, a loss or a function: record their settings with [`Trainer::setting`], so
//! that resuming compares them as well.
//!
//! # Your own data
//!
//! A [`Source`] is a function of the seed, the epoch and the step. It may read files or draw random numbers, as
//! long as the same [`BatchIndex`] always gives the same batch. [`Pass::order`] shuffles its samples, and
//! [`Pass::batches`] lists the batches that a run requests. Checkpoints record checksums of the first batches and
//! of the last one. The checksums are compared when a run is resumed.
//!
//! # Initial weights
//!
//! [`Trainer::initial_weights`] starts from the weights of another run, such as one of the serial network.
//! [`Trainer::distillation`] then trains the modules at each interface on their own, on the states of that
//! network, before the first step. [`spread_units`] computes the weights of a deeper network from the weights of
//! a shallower one.
//!
//! # Several devices, replicas and ranks
//!
//! [`Trainer::devices`] and [`Trainer::workers`] spread the subnetworks over devices and threads,
//! [`Trainer::replicas`] splits each batch over copies of the network. On the ranks of an MPI program, all ranks make
//! the same calls:
//!
//! ```no_run
//! # use burn::tensor::{Int, Tensor};
//! # use parareal_train::prelude::*;
//! # fn run<N>(trainer: Trainer<N, CrossEntropy>) -> Result<(), TrainError>
//! # where N: Coarsen<Output = Tensor<2>> {
//! let group = ProcessGroup::join()?;
//! let trainer = trainer.executor(ExecutorKind::Mpi).group(group.clone());
//! trainer.train("runs/mine")?;
//! group.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! Only rank 0 writes shared files and computes the metrics that control the run. The configuration and checksums
//! of the batches are compared across ranks. The methods that train, resume and evaluate are collective;
//! [`Trainer::load`] is not. An error on a single rank does not end the other ranks; end them with
//! [`ProcessGroup::abort`]. [`ProcessGroup::join_watched`] also ends them if one is stopped.
//!
//! # Tasks
//!
//! Below the trainer is the interface that the `parareal` command uses. A [`Task`] is a model with its batches and its
//! evaluation. A [`RunConfig`] sets the length of the run, the update, the executor and the devices. [`Run::create`]
//! creates the folder of a new run, [`Run::resume`] resumes one, and [`Run::train`] trains it. The crate does not
//! depend on images, a particular network or a particular loss.
//!
//! # Features
//!
//! No feature is enabled by default.
//!
//! | feature | effect |
//! | --- | --- |
//! | `mpi` | subnetworks on the ranks of an MPI program ([`ExecutorKind::Mpi`], [`ProcessGroup::join`]) |
//! | `wgpu`, `vulkan`, `metal`, `cuda`, `rocm` | devices other than the CPU, through Burn's backends |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod checkpoint;
mod checkpoint_every;
mod checksum;
mod config_record;
#[cfg(feature = "mpi")]
mod cores;
mod data;
mod device;
mod distillation;
mod error;
mod executor;
mod executor_kind;
mod feasibility;
mod finished;
mod finite_check;
pub mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod learning_rate;
mod log;
mod metrics;
mod nested;
mod notes;
mod objective;
mod observer;
mod outcome;
mod output;
mod placement;
mod prefetch;
pub mod prelude;
mod prepared;
mod process_group;
mod range_test;
mod resumed;
mod run;
mod run_config;
mod run_distillation;
mod schedule;
mod shared_error;
pub mod task;
mod tensorboard;
mod timeline;
mod traffic;
mod trainer;
mod training;

pub use parareal;
pub use parareal_kernels::Sgd;
pub use parareal_run::{
    DistillationRecord, EpochRecord, FileEntry, FileKind, InterfaceRecord, Manifest, Position,
    StepRecord, SubnetworkSeconds, SubnetworkUsage, Tally, Times, Traffic, Usage, WorkerUsage,
};
pub use toml::Table;

pub use checkpoint_every::CheckpointEvery;
pub use config_record::ConfigRecord;
pub use data::{BatchIndex, FromFn, Pass, Source, SourceError, TensorDataset, from_fn};
pub use device::DeviceName;
pub use distillation::{Distillation, Distilled};
pub use error::TrainError;
pub use executor::kept_units;
pub use executor_kind::{ExecutorKind, LinkDtype};
pub use feasibility::{check_environment, check_threads};
pub use learning_rate::{Decay, LearningRate};
pub use nested::{UnitSource, spread_units};
pub use objective::Objective;
pub use observer::Observer;
pub use outcome::Outcome;
pub use output::{Format, OutputFile};
pub use placement::{MAX_THREADS, Placement, WorkerRequest, rank_layout};
pub use prefetch::{Prefetched, prefetch};
pub use process_group::{Launcher, ProcessGroup, Resources};
pub use range_test::{FallingRange, RangeTest, RangeTestEnd, RangeTestResult, RangeTestStep};
pub use run::{InitialWeights, Resume, Run, RunFolder, Start};
pub use run_config::RunConfig;
pub use schedule::Schedule;
pub use shared_error::SharedError;
pub use task::{Model, Task};
pub use timeline::{StepTimeline, TimelineFile};
pub use trainer::{Evaluation, Trainer, accuracy};

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
