//! Initial weights from another run.

use parareal::net::{FeedForward, StateDict};
use parareal_models::ImageNetwork;
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::{InitialWeights, checkpoint, spread_units};

use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::nested;
use crate::network::NetworkConfig;
use crate::{Config, Settings, UnitInit, VisionError};

/// Reads the initial weights of a configuration from the last checkpoint of another run. Returns `None` if
/// the configuration names no run.
///
/// The moving average of the weights is used if the checkpoint has one. If the other run has other cuts, only
/// its units, preprocessing and postprocessing are used, and interfaces are initialized as in a new run. The
/// units of a shallower network are spread over the stages.
///
/// # Errors
/// If the run is missing or damaged, its network is deeper or has another width, or its images have other
/// channels or classes.
pub(crate) fn initial_weights(
    config: &Config,
    images: &ImageRecord,
) -> Result<Option<InitialWeights>, VisionError> {
    let Some(run) = &config.init_from else { return Ok(None) };
    let before = NetworkConfig::of(&Settings::of_run(run)?)?;
    let saved = checkpoint::open(run, CheckpointChoice::Latest, CHECK_MANIFEST)?;
    let saved_images = ImageRecord::of_saved(run, &saved)?;
    let (theirs, ours) = (before.net.depth(), config.network.net.depth());
    let [their_kind, our_kind] = [&before.net, &config.network.net].map(ImageNetwork::unit_kind);
    if their_kind != our_kind {
        let expected = format!("expected a run of a network of {our_kind} units, got {their_kind}");
        return Err(VisionError::setting("init-from", run.display(), expected));
    }
    if theirs > ours {
        let expected = format!("expected a run with at most {ours} layers, got {theirs}");
        return Err(VisionError::setting("init-from", run.display(), expected));
    }
    if !before.net.has_ends_of(&config.network.net) {
        let (theirs, ours) = (before.net.name(), config.network.net.name());
        let expected = format!("expected a run of {ours}, got {theirs}");
        return Err(VisionError::setting("init-from", run.display(), expected));
    }
    let [before_last, last] = [&before.net, &config.network.net].map(ImageNetwork::last_channels);
    for (what, theirs, ours) in [
        ("channels after the first convolution", before.net.width(), config.network.net.width()),
        ("channels after the last unit", before_last, last),
        ("channels of the images", saved_images.channels, images.channels),
    ] {
        if theirs != ours {
            let expected = format!("expected a run with {ours} {what}, got {theirs}");
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
    let units = config.network.net.units();
    let whose = if theirs < ours {
        weights = deepened(&weights, &before, config, images)?;
        let how = match config.init_units {
            UnitInit::Repeat => "repeated",
            UnitInit::Interpolate => "interpolated",
        };
        format!("{how} from the {} units", before.net.units())
    } else {
        if !before.has_modules_of(&config.network) {
            weights = weights.units_only();
        }
        "those".into()
    };
    let has_interfaces = weights.interface_tensors().next().is_some();
    let new = match config.network.cuts.subnetworks() - 1 {
        interfaces if interfaces == 0 || has_interfaces => String::new(),
        1 => "; the interface has new initial weights".into(),
        count => format!("; the {count} interfaces have new initial weights"),
    };
    let note =
        format!("weights of {units} units are {whose} of {} at step {step}{new}", run.display());
    Ok(Some(InitialWeights { weights, note }))
}

/// Spreads the weights of a shallower network over the network of a configuration. Interfaces of the
/// shallower network are kept if their shapes are the same.
fn deepened(
    weights: &StateDict,
    before: &NetworkConfig,
    config: &Config,
    images: &ImageRecord,
) -> Result<StateDict, VisionError> {
    let [shallow, deep] = [&before.net, &config.network.net].map(ImageNetwork::stage_units);
    let model = config.model(images.channels, images.class_names.len());
    let initial = model.build(config.run.seed)?.state_dict();
    let sources = nested::unit_sources(shallow, deep, config.init_units);
    let (scales, kind) = (nested::residual_scales(shallow, deep), before.net.unit_kind());
    let scale = |unit: usize, name: &str| match nested::scales_residual(kind, name) {
        true => scales[unit],
        false => 1.0,
    };
    Ok(spread_units(weights, &initial, &sources, scale)?)
}
