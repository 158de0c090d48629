//! Comparison of the configuration file of a run with the configuration that its checkpoints record.

use std::path::Path;

use parareal_train::Resources;
use parareal_train::checkpoint::Saved;
use parareal_train::folder::config_file;

use crate::{Config, Settings, VisionError};

/// Checks that the settings in the `config.toml` of a run are those of its checkpoint. Settings that may change when a run is
/// resumed may differ.
///
/// # Errors
/// If another setting differs ([`VisionError::ConfigFile`]): the file was edited, and the weights belong to another network
/// or another run.
pub(crate) fn check_unedited(
    run: &Path,
    settings: &Settings,
    saved: &Saved,
) -> Result<(), VisionError> {
    let complete = |settings: Settings| {
        let config = Config::resolve(settings, &Resources::alone())?;
        Ok::<_, VisionError>(config.with_absolute_paths().settings())
    };
    let found = complete(settings.clone())?;
    let expected = complete(Settings::of_table(&saved.configuration)?)?;
    for definition in Settings::definitions().iter().filter(|definition| !definition.may_change) {
        let [found, expected] = [&found, &expected].map(|settings| definition.toml(settings));
        if found != expected {
            let shown = |value: Option<toml::Value>| {
                value.map_or_else(|| "not set".to_string(), |value| value.to_string())
            };
            let message = format!(
                "{} is {}, but {} in the checkpoints of the run; restore that value, or start a new run",
                definition.key,
                shown(found),
                shown(expected)
            );
            return Err(VisionError::ConfigFile { path: config_file(run)?, message });
        }
    }
    Ok(())
}
