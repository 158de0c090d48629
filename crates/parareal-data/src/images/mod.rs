//! Images of one size, in memory or in files: their pixels and labels, preprocessing and normalization.

pub(crate) mod crop;
pub(crate) mod decoders;
pub(crate) mod file_images;
pub(crate) mod held_out;
pub(crate) mod image_set;
pub(crate) mod normalization;
pub(crate) mod preprocessing;
pub(crate) mod resample;
