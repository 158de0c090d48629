//! Prelude for programs that train their own networks, with items of this crate and of `parareal`.
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
