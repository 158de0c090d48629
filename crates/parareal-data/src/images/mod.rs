//! Images of one size in memory: their pixels and labels, preprocessing and normalization.

pub(crate) mod held_out;
pub(crate) mod image_set;
pub(crate) mod normalization;
pub(crate) mod preprocessing;
