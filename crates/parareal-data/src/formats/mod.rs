//! File formats, independent of data sets: finding, decompressing and checking files under limits.

pub(crate) mod archive;
pub(crate) mod class_names;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod header;
pub(crate) mod idx;
pub(crate) mod image;
mod jpeg;
pub(crate) mod mat;
mod png;
pub(crate) mod records;
pub(crate) mod size_limit;
