//! The folder of a training run: the names of its files, and the schema of their contents.
//!
//! ```text
//! config.toml                      the complete configuration
//! metrics.jsonl                    one object per line: the distillation, each step, each epoch, the end ([`Line`])
//! evaluations/step-NNNNNNNN.json   details of an evaluation ([`EvaluationRecord`])
//! checkpoints/step-NNNNNNNN/       the state after a step ([`Manifest`])
//! checkpoints/best.json            the best checkpoint so far ([`Best`])
//! ```
//!
//! Writers and readers of these files use the same types. The crate itself does no file access.

mod evaluation;
mod manifest;
mod metrics;
pub mod names;
mod usage;

pub use evaluation::{CONFUSION_CLASSES, EvaluationRecord, Mistake};
pub use manifest::{Best, FORMAT_VERSION, FileEntry, FileKind, Manifest, OLDEST_FORMAT, Position};
pub use metrics::{
    DistillationRecord, EndRecord, EpochRecord, InterfaceRecord, Line, StepRecord, Tally, Traffic,
};
pub use usage::{SubnetworkSeconds, SubnetworkUsage, Times, Usage, WorkerUsage};

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
