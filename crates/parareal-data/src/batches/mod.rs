//! From images as they are stored to batches: order, augmentation, normalization.

pub(crate) mod augmentation;
pub(crate) mod batch;
pub(crate) mod order;
