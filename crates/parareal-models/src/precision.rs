use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, FloatDType, Tensor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The precision of states: of what the units of a network receive and return, and of its gradients.
///
/// Parameters, running statistics and computations are in single precision. In bfloat16, states take half of the
/// memory and of the messages between ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16: 16 bits with the range of 32-bit floats.
    Bf16,
}

/// An unknown name of a precision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected f32 or bf16")]
pub struct PrecisionError;

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// Number of bytes of a value.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<u16>(),
        }
    }

    /// The name in settings, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(name: &str) -> Result<Self, PrecisionError> {
        Self::ALL.into_iter().find(|precision| precision.name() == name).ok_or(PrecisionError)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Precision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Precision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Rounds a state to bfloat16 if `bfloat16` is true.
pub(crate) fn narrowed(state: Tensor<4>, bfloat16: bool) -> Tensor<4> {
    if bfloat16 { state.cast(FloatDType::BF16) } else { state }
}

/// Converts a state in bfloat16 to single precision.
pub(crate) fn widened(state: Tensor<4>) -> Tensor<4> {
    if state.dtype() == DType::BF16 { state.cast(FloatDType::F32) } else { state }
}

/// Applies a function in single precision to a state, and rounds the result to the precision of the state.
pub(crate) fn in_f32(state: Tensor<4>, function: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let is_narrow = state.dtype() == DType::BF16;
    narrowed(function(widened(state)), is_narrow)
}
