//! Batches of stored images: order, augmentation, normalization.

pub(crate) mod augmentation;
pub(crate) mod batch;
pub(crate) mod erasing;
pub(crate) mod mixing;
pub(crate) mod order;
pub(crate) mod trivial_augment;
