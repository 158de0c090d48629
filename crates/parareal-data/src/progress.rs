//! Progress of loading a data set.

/// Progress of a stage of loading a folder of images that are not held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// The current stage.
    pub stage: LoadStage,
    /// Number of files that are done.
    pub done: usize,
    /// Number of files of this stage.
    pub total: usize,
}

/// Stages of loading a folder of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadStage {
    /// The headers of the files are read.
    Index,
    /// The images are decoded.
    Decode,
}
