//! Image sets and the order in which a training run sees them.
//!
//! The crate gives images as plain vectors and knows nothing of tensors, devices or terminals:
//!
//! * [`Dataset::load`] reads MNIST, CIFAR-10, CIFAR-100 or SVHN from their canonical files or a
//!   person's own images from a folder for each class, or draws the built-in [`shapes`];
//!   [`inspect()`] tells what is in such files;
//! * [`fetch`](mod@fetch) gets the canonical files, and is the only part that touches the network;
//! * [`ImageSet`] holds the images of one split as they are stored (8 bits, NCHW);
//! * [`Batches`] turns a set into normalized `f32` batches, shuffled and augmented for training,
//!   in stored order for evaluation.
//!
//! Everything random is keyed: the drawing of an image by (seed, split, index), the order of an
//! epoch by (seed, epoch), the augmentation of an image by (seed, epoch, index). No result depends
//! on the batch size, on the number of threads, on the machine's word size or on its mathematical
//! library, so that two runs with the same seed see the same numbers.
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
//!     assert_eq!(batch.images.len(), batch.shape.iter().product::<usize>());
//! }
//! # Ok::<(), parareal_data::DataError>(())
//! ```

mod archive;
mod augment;
mod batch;
mod canvas;
mod cifar;
mod class_names;
mod dataset;
mod error;
pub mod fetch;
mod file;
mod fingerprint;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod held_out;
mod idx;
mod image_set;
mod image_tree;
mod inspect;
mod jpeg;
mod mat;
mod mnist;
mod normalization;
mod order;
mod outline;
mod png;
mod preprocessing;
mod records;
pub mod shapes;
mod size_limit;
mod source;
mod stream;
mod svhn;
mod text;

pub use augment::Augmentation;
pub use batch::{Batch, Batches};
pub use dataset::{Dataset, DatasetName, LoadOptions};
pub use error::{DataError, FileError, FileFault, OneLine, one_line};
pub use fingerprint::in_hexadecimal;
pub use image_set::ImageSet;
pub use inspect::{Checksum, InspectedFile, Inspection, SplitCounts, inspect};
pub use normalization::Normalization;
pub use order::epoch_order;
pub use preprocessing::Preprocessing;
pub use text::without_byte_order_mark;
