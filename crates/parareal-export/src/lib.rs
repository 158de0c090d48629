//! Trained networks as files: safetensors with metadata, ONNX, and a Python module for PyTorch; and weights of torchvision and
//! timm as networks.

#[doc(hidden)]
pub mod fuzzing;
mod metadata;
mod onnx;
mod pretrained;
mod pytorch;
mod safetensors;
mod trained;

pub use onnx::{OnnxInput, to_onnx};
pub use pretrained::{Differences, OtherClasses, Pretrained, from_pretrained, pretrained_sizes};
pub use pytorch::to_pytorch;
pub use safetensors::{from_safetensors, read_tensors, to_safetensors};
pub use trained::{ImageDescription, TrainedNetwork};

use parareal_models::UnitKind;
use thiserror::Error;

/// A network that cannot be exported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A weight that the network does not have, or that does not fit it.
    #[error("the weight `{name}` {what}")]
    Weight {
        /// Name of the weight.
        name: String,
        /// Description of the fault.
        what: &'static str,
    },
    /// A kind of unit that the format has no operations for.
    #[error("units of the kind {0} cannot be exported")]
    Unit(UnitKind),
}

/// A file that is not an exported network, or whose weights are not those of a network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The content is not a safetensors file.
    #[error("not a safetensors file: {}", .0.escape_debug())]
    Format(String),
    /// The file has no metadata of this library.
    #[error("the file has no metadata of parareal")]
    NoMetadata,
    /// A key of the metadata is missing.
    #[error("the metadata of the file have no `{0}`")]
    MissingKey(&'static str),
    /// The value of a key is not valid.
    #[error("invalid value `{}` of `{key}` in the metadata of the file", shortened(value))]
    InvalidKey {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A tensor does not consist of floats of 32 or 16 bits.
    #[error("the tensor `{}` has the type {found}, expected F32, F16 or BF16", name.escape_debug())]
    Type {
        /// Name of the tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// Neither torchvision nor timm has this network.
    #[error(
        "torchvision and timm have no {network}: expected resnet50, resnet101, resnet152, vgg16 for images of at least \
         224x224 pixels, vit-tiny or vit-small"
    )]
    NoCounterpart {
        /// The network.
        network: String,
    },
    /// The tensors are not those of the network.
    #[error(transparent)]
    Differences(Box<Differences>),
    /// The tensors are too small for the network.
    #[error(
        "the tensors of the file have {elements} elements, fewer than the parameters of {network}"
    )]
    TooFew {
        /// The network.
        network: String,
        /// Number of elements of all tensors.
        elements: usize,
    },
}

/// Largest number of characters of a value in a message.
const SHOWN: usize = 60;

/// Returns a value for a message, on one line.
fn shortened(value: &str) -> String {
    let end = if value.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("{}{end}", value.chars().take(SHOWN).collect::<String>().escape_debug())
}
