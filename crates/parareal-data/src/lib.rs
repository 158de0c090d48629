//! Image sets and the order in which a training run sees them.
//!
//! The crate returns images as plain vectors and does not depend on tensors, devices or terminals:
//!
//! * [`Dataset::load`] loads a data set ([`DatasetName`] lists all of them): it reads canonical
//!   files, reads the user's own images from a folder for each class, or draws the built-in
//!   [`shapes`];
//! * [`inspect()`] counts the images of a data set and computes checksums;
//! * [`fetch`](mod@fetch) downloads the canonical files, and is the only part that uses the
//!   network;
//! * [`ImageSet`] holds the images of one split as they are stored (8 bits, NCHW), or knows the files from which larger ones
//!   are decoded for each batch;
//! * [`Batches`] turns a set into normalized `f32` batches, shuffled and augmented for training,
//!   in stored order for evaluation.
//!
//! Random numbers are keyed: an image is drawn from (seed, split, index), an epoch is ordered by
//! (seed, epoch), and an image is augmented by (seed, epoch, index). Only [`Mixing`] depends on the batch: it is keyed by
//! (seed, epoch, batch). Otherwise results do not depend on the batch size; none depend on the number of threads, the machine's word size or its math library. Two runs with
//! the same seed therefore see the same numbers.
//!
//! ```
//! use parareal_data::{Augmentation, Batches, Dataset, DatasetName, LoadOptions};
//!
//! let options = LoadOptions { limit_train: Some(20), limit_test: Some(10), ..Default::default() };
//! let dataset = Dataset::load(DatasetName::Shapes, &options)?;
//! let augmentation = Augmentation::CropFlip { padding: 2 };
//! let batches = Batches::training(&dataset.train, &dataset.normalization, augmentation, 8, 1, 0)?;
//! assert_eq!(batches.len(), 3);
//! for batch in batches {
//!     let batch = batch?;
//!     assert_eq!(batch.images.len(), batch.shape.iter().product::<usize>());
//! }
//! # Ok::<(), parareal_data::DataError>(())
//! ```

mod batches;
mod dataset;
mod error;
pub mod fetch;
mod fingerprint;
mod formats;
#[doc(hidden)]
pub mod fuzzing;
mod images;
mod inspect;
mod load;
mod md5;
mod name;
mod options;
mod progress;
mod rng;
mod sets;

pub use batches::augmentation::Augmentation;
pub use batches::batch::{Batch, Batches, MixedLabels};
pub use batches::erasing::RandomErasing;
pub use batches::mixing::Mixing;
pub use batches::order::epoch_order;
pub use dataset::Dataset;
pub use error::DataError;
pub use formats::error::{FileError, FileFault};
pub use images::image_set::{ImageSet, MAX_CLASSES};
pub use images::normalization::Normalization;
pub use images::preprocessing::Preprocessing;
pub use inspect::{Checksum, InspectedFile, Inspection, SplitCounts, inspect, inspect_with};
pub use name::DatasetName;
pub use options::LoadOptions;
pub use progress::{LoadProgress, LoadStage};
pub use sets::shapes;

/// Tests of the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
