//! Initial weights from another run.

use std::path::Path;

use parareal::net::{FeedForward, StateDict};
use parareal_models::ImageNetwork;
use parareal_train::{InitialWeights, UnitSource, spread_units};

use crate::image_record::ImageRecord;
use crate::nested;
use crate::weight_source::{WeightFile, WeightSource, weight_file};
use crate::{Config, UnitInit, VisionError};

/// Reads the initial weights of a configuration from the last checkpoint of another run, or from a file. Returns `None`
/// if the configuration names neither.
///
/// The moving average of the weights is used if the checkpoint has one. If the other network has other cuts, only
/// its units, preprocessing and postprocessing are used, and interfaces are initialized as in a new run. The
/// units of a shallower network are spread over the stages. A safetensors file is one that `export` has written, or has
/// the weights of a serial network under the names of torchvision or timm.
///
/// # Errors
/// If the run or the file is missing or damaged, its network is deeper or has another width, its images have other
/// channels or classes, the network of a distillation is cut, or there are no units to interpolate.
pub(crate) fn initial_weights(
    config: &Config,
    images: &ImageRecord,
) -> Result<Option<InitialWeights>, VisionError> {
    let Some(path) = &config.init_from else {
        check_interpolation(config, "requires the units of a shallower run; set `init-from`")?;
        return Ok(None);
    };
    let Some(file) = weight_file(path) else {
        return from_source(WeightSource::of_run(path)?, path, config, images).map(Some);
    };
    let classes = images.class_names.len();
    match WeightFile::read(&file, config, images.channels, classes)? {
        WeightFile::Exported(source) => from_source(source, path, config, images).map(Some),
        WeightFile::Pretrained(weights, notes) => {
            check_interpolation(config, NOT_SHALLOWER)?;
            let whose =
                format!("weights are those of {}{}", path.display(), new_interfaces(config, false));
            let note = [whose].into_iter().chain(notes).collect::<Vec<_>>().join("; ");
            Ok(Some(InitialWeights { weights, note }))
        }
    }
}

/// Checks that the network of a configuration can start from these weights, and returns them for it.
fn from_source(
    source: WeightSource,
    path: &Path,
    config: &Config,
    images: &ImageRecord,
) -> Result<InitialWeights, VisionError> {
    let WeightSource { net: before, mut weights, dataset, class_names, step } = source;
    let net = &config.network.net;
    let refuse =
        |expected: String| Err(VisionError::setting("init-from", path.display(), expected));
    let what = if weight_file(path).is_some() { "file" } else { "run" };
    let (theirs, ours) = (before.depth(), net.depth());
    let [their_kind, our_kind] = [&before, net].map(ImageNetwork::unit_kind);
    if their_kind != our_kind {
        return refuse(format!(
            "expected a {what} of a network of {our_kind} units, got {their_kind}"
        ));
    }
    if theirs > ours {
        return refuse(format!("expected a {what} with at most {ours} layers, got {theirs}"));
    }
    if !before.has_ends_of(net) {
        return refuse(format!("expected a {what} of {}, got {}", net.name(), before.name()));
    }
    for (size, theirs, ours) in [
        ("channels after the first convolution", before.width(), net.width()),
        ("channels after the last unit", before.last_channels(), net.last_channels()),
        ("channels of the images", before.in_channels(), images.channels),
    ] {
        if theirs != ours {
            return refuse(format!("expected a {what} with {ours} {size}, got {theirs}"));
        }
    }
    if theirs == ours {
        check_interpolation(config, NOT_SHALLOWER)?;
    }
    let subnetworks = weights.cuts().subnetworks();
    if config.distill.is_some() && subnetworks > 1 {
        return refuse(format!(
            "expected a {what} of a serial network, whose states `distill` needs, got one of {subnetworks} subnetworks"
        ));
    }
    if !images.has_classes_of(&dataset, &class_names) {
        return Err(VisionError::OtherClasses {
            path: path.to_path_buf(),
            theirs: class_names,
            ours: images.class_names.clone(),
        });
    }
    let whose = if theirs < ours {
        let sources =
            nested::unit_sources(before.stage_units(), net.stage_units(), config.init_units);
        if !sources.iter().any(|source| matches!(source, UnitSource::Between { .. })) {
            check_interpolation(config, NOTHING_BETWEEN)?;
        }
        weights = deepened(&weights, &before, config, images, &sources)?;
        spread_text(&sources, before.units(), config.init_units)
    } else {
        if !config.network.has_modules_of(&before, weights.cuts()) {
            weights = weights.units_only();
        }
        format!("weights of {} units are those", net.units())
    };
    let new = new_interfaces(config, weights.interface_tensors().next().is_some());
    let note = format!("{whose} of {} at step {step}{new}", path.display());
    Ok(InitialWeights { weights, note })
}

/// Says how the units of a deeper network are initialized from those of a network of `before` units.
fn spread_text(sources: &[UnitSource], before: usize, init: UnitInit) -> String {
    let is_initial = |source: &&UnitSource| **source == UnitSource::Initial;
    let how = match init {
        UnitInit::Repeat => "repeated",
        UnitInit::Interpolate => "interpolated",
    };
    match (sources.len(), sources.iter().filter(is_initial).count()) {
        (units, 0) => format!("weights of {units} units are {how} from the {before} units"),
        (units, new) if units - new == before => {
            format!("{new} units are new, with residual 0; weights of the other {before} are those")
        }
        (units, new) => format!(
            "{new} units are new, with residual 0; weights of the other {} are {how} from the {before} units",
            units - new
        ),
    }
}

/// Checks that no interpolation of units is requested, for initial weights that add no units. `expected` is the advice of the
/// error.
fn check_interpolation(config: &Config, expected: &str) -> Result<(), VisionError> {
    match config.init_units {
        UnitInit::Interpolate => {
            Err(VisionError::setting("init-units", config.init_units, expected))
        }
        UnitInit::Repeat => Ok(()),
    }
}

/// Advice if units are to be interpolated and the network of `init-from` has as many layers.
const NOT_SHALLOWER: &str =
    "the network of `init-from` has as many layers; expected a shallower one, or leave it unset";

/// Advice if units are to be interpolated and there are none to interpolate between.
const NOTHING_BETWEEN: &str = "a stage of the network of `init-from` that becomes deeper must have at least two units beside its first; \
                               expected a deeper network, or leave it unset";

/// Returns the end of a note on interfaces with new initial weights.
fn new_interfaces(config: &Config, has_interfaces: bool) -> String {
    match config.network.cuts.subnetworks() - 1 {
        interfaces if interfaces == 0 || has_interfaces => String::new(),
        1 => "; the interface has new initial weights".into(),
        count => format!("; the {count} interfaces have new initial weights"),
    }
}

/// Spreads the weights of a shallower network over the network of a configuration. Interfaces of the
/// shallower network are kept if they have the same coarse networks, at cuts before corresponding units.
fn deepened(
    weights: &StateDict,
    before: &ImageNetwork,
    config: &Config,
    images: &ImageRecord,
    sources: &[UnitSource],
) -> Result<StateDict, VisionError> {
    let [shallow, deep] = [before, &config.network.net].map(ImageNetwork::stage_units);
    let model = config.model(images.channels, images.class_names.len());
    let initial = model.build(config.run.seed)?.state_dict();
    // A cut between two copies of a unit corresponds to none.
    let counterpart = |unit: usize| match sources[unit] {
        UnitSource::Unit(source) if sources[unit - 1] != sources[unit] => Some(source),
        _ => None,
    };
    // Tensors of different kinds of coarse networks can have the same names and shapes.
    let keeps_interfaces = config.network.has_interfaces_of(before, weights.cuts(), counterpart);
    let weights = if keeps_interfaces { weights.clone() } else { weights.clone().units_only() };
    let (scales, kind) = (nested::residual_scales(shallow, deep), before.unit_kind());
    let scale = |unit: usize, name: &str| match nested::scales_residual(kind, name) {
        true => scales[unit],
        false => 1.0,
    };
    Ok(spread_units(&weights, &initial, sources, scale)?)
}
