//! Batches of stored images: order, augmentation, normalization.

pub(crate) mod augmentation;
pub(crate) mod batch;
pub(crate) mod order;
