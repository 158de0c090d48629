//! Sources of batches.

mod dataset;
mod from_fn;
mod permutation;
mod source;

pub use dataset::TensorDataset;
pub(crate) use dataset::without_graph;
pub use from_fn::{FromFn, from_fn};
pub use source::{BatchIndex, Pass, Source, SourceError};
