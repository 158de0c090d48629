//! Kinds of executors, and element types of messages.

use std::fmt;
use std::str::FromStr;

use crate::error::TrainError;

/// Kind of executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorKind {
    /// The subnetworks on parallel workers.
    Threads,
    /// One graph on one device.
    Sequential,
    /// The subnetworks on the ranks of an MPI program.
    Mpi,
}

/// Element type of the tensors that ranks send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDtype {
    /// No conversion.
    F32,
    /// Rounded to bfloat16, which halves the bytes.
    Bf16,
}

macro_rules! named {
    ($type:ty, $setting:literal, $expected:literal, $($name:literal => $value:path),*) => {
        impl FromStr for $type {
            type Err = TrainError;

            fn from_str(text: &str) -> Result<Self, TrainError> {
                match text {
                    $($name => Ok($value),)*
                    _ => Err(TrainError::setting($setting, text, $expected)),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($value => $name,)*
                })
            }
        }
    };
}

named!(
    ExecutorKind, "executor", "expected threads, sequential or mpi",
    "threads" => Self::Threads, "sequential" => Self::Sequential, "mpi" => Self::Mpi
);
named!(LinkDtype, "link-dtype", "expected f32 or bf16", "f32" => Self::F32, "bf16" => Self::Bf16);
