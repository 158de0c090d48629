//! Readers of file contents for the fuzz targets and the tests of their corpora. Not part of the public
//! interface.

use std::path::Path;

use parareal_train::{Resources, TrainError};

use crate::image_record::CHECK_MANIFEST;
use crate::{Config, Settings, VisionError};

/// Reads a configuration file and completes it.
///
/// # Panics
/// If the configuration changes when it is written and read back.
pub fn settings(contents: &[u8]) -> Result<(), VisionError> {
    let path = Path::new("config.toml");
    let settings = Settings::parse(path, contents)?;
    let complete = Config::resolve(settings, &Resources::alone())?.settings();
    let again = Settings::parse(path, complete.to_toml().as_bytes())?;
    assert_eq!(again, complete);
    Ok(())
}

/// Reads a checkpoint ([`parareal_train::fuzzing::checkpoint`]).
pub fn checkpoint(contents: &[u8]) -> Result<(), TrainError> {
    parareal_train::fuzzing::checkpoint(contents, CHECK_MANIFEST)
}
