//! Weights of one run as the initial ones of another.

use parareal::net::FeedForward;
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::{InitialWeights, checkpoint};

use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::network::NetworkConfig;
use crate::{Config, Settings, VisionError};

/// Reads the weights of the run that a configuration starts from, if it does: of its last checkpoint, the
/// moving average where there is one. A run of a network that is cut otherwise gives the units, the
/// preprocessing and the postprocessing; interfaces are initialized as in a new run.
///
/// # Errors
/// Where there is no such run, it is damaged, or its network has other units or classes.
pub(crate) fn initial_weights(
    config: &Config,
    images: &ImageRecord,
) -> Result<Option<InitialWeights>, VisionError> {
    let Some(run) = &config.init_from else { return Ok(None) };
    let before = NetworkConfig::of(&Settings::of_run(run)?)?;
    let saved = checkpoint::open(run, CheckpointChoice::Latest, CHECK_MANIFEST)?;
    let saved_images = ImageRecord::of_saved(run, &saved)?;
    for (what, theirs, ours) in [
        ("layers", before.net.depth(), config.network.net.depth()),
        ("channels after the first convolution", before.net.width(), config.network.net.width()),
        ("channels of the images", saved_images.channels, images.channels),
    ] {
        if theirs != ours {
            let expected = format!("a run with {ours} {what} is expected, it has {theirs}");
            return Err(VisionError::setting("init-from", run.display(), expected));
        }
    }
    if !saved_images.has_classes_of(&images.dataset, &images.class_names) {
        return Err(VisionError::OtherClasses {
            path: run.clone(),
            theirs: saved_images.class_names,
            ours: images.class_names.clone(),
        });
    }
    let step = saved.position.step;
    let mut weights = saved.into_weights();
    let interfaces = config.network.cuts.subnetworks() - 1;
    let new = if before.has_settings_of(&config.network) {
        String::new()
    } else {
        weights = weights.units_only();
        match interfaces {
            0 => String::new(),
            1 => "; the interface starts anew".into(),
            count => format!("; the {count} interfaces start anew"),
        }
    };
    let units = config.network.net.units();
    let note =
        format!("weights of {units} units are those of {} at step {step}{new}", run.display());
    Ok(Some(InitialWeights { weights, note }))
}
