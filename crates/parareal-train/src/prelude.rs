//! Imports for a program that trains a network of its own, from this crate and from `parareal`.
//!
//! ```
//! use parareal_train::prelude::*;
//! ```

pub use parareal;
pub use parareal::prelude::*;

pub use crate::checkpoint::CheckpointChoice;
pub use crate::{
    BatchIndex, CheckpointEvery, DeviceName, Distillation, EpochRecord, Evaluation, ExecutorKind,
    InitialWeights, LinkDtype, Model, Objective, Observer, Outcome, Pass, ProcessGroup, Schedule,
    Sgd, Source, SourceError, StepRecord, StepTimeline, TensorDataset, TrainError, Trainer,
    accuracy, from_fn,
};
