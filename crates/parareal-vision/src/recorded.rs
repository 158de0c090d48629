//! A checkpoint of a run, with the configuration that the run and its checkpoints record.

use std::path::Path;

use parareal_train::Resources;
use parareal_train::checkpoint::{self, CheckpointChoice, Saved};
use parareal_train::folder::config_file;

use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::resume::first_fixed_difference;
use crate::{Config, Settings, VisionError};

/// Reads a checkpoint of a run, the configuration of the run, and the description of its images.
///
/// # Errors
/// If the folder is not the folder of a run, the checkpoint is missing or damaged, or [`check_unedited`] fails.
pub(crate) fn open(
    run: &Path,
    choice: CheckpointChoice,
) -> Result<(Config, Saved, ImageRecord), VisionError> {
    let settings = Settings::of_run(run)?;
    let config = Config::resolve(settings.clone(), &Resources::alone())?;
    let saved = checkpoint::open(run, choice, CHECK_MANIFEST)?;
    check_unedited(run, settings, &saved)?;
    let images = ImageRecord::of_saved(run, &saved)?;
    Ok((config, saved, images))
}

/// Checks that the settings in the `config.toml` of a run are those of its checkpoint. Settings that may change when a run is
/// resumed may differ.
///
/// # Errors
/// If another setting differs ([`VisionError::ConfigFile`]): the file was edited, and the weights belong to another network
/// or another run.
pub(crate) fn check_unedited(
    run: &Path,
    settings: Settings,
    saved: &Saved,
) -> Result<(), VisionError> {
    let complete = |settings: Settings| {
        let config = Config::resolve(settings, &Resources::alone())?;
        Ok::<_, VisionError>(config.with_absolute_paths().settings())
    };
    let found = complete(settings)?;
    let expected = complete(Settings::of_table(&saved.configuration)?)?;
    let Some((key, [found, expected])) = first_fixed_difference(&found, &expected) else {
        return Ok(());
    };
    let message = format!(
        "{key} is {found}, but {expected} in the checkpoints of the run; restore that value, or start a new run"
    );
    Err(VisionError::ConfigFile { path: config_file(run)?, message })
}
