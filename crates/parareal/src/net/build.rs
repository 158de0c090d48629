//! Building subnetworks from the specification of a network.

use std::collections::HashMap;
use std::ops::Range;

use burn::module::Module;

use super::cuts::Cuts;
use super::error::NetError;
use super::feed_forward::{Coarsen, FeedForward, Layer};
use super::init::Init;
use super::random_modules::refuse_random;
use super::subnetwork::{Subnetwork, SubnetworkOf};
use super::subnetwork_tensors::{Identity, check_unshared};

/// Builds only the subnetwork with this index, from 0.
///
/// # Errors
/// If the cuts are for a different network, there is no such subnetwork, the shapes of the modules do not fit
/// together, or the modules contain one of Burn's random layers.
pub fn build_subnetwork<N: Coarsen>(
    network: &N,
    cuts: &Cuts,
    index: usize,
    init: &Init,
) -> Result<SubnetworkOf<N>, NetError> {
    check_units(network, cuts)?;
    if index >= cuts.subnetworks() {
        return Err(NetError::NoSuchSubnetwork { index, subnetworks: cuts.subnetworks() });
    }
    let preprocessing = (index == 0)
        .then(|| initialized(&init.scope("preprocessing"), |init| network.preprocessing(init)))
        .transpose()?;
    let scope = init.scope("units");
    let unit = |unit| initialized(&scope.scope(unit), |init| network.unit(unit, init));
    let units = cuts.units_of(index).map(unit).collect::<Result<_, _>>()?;
    let postprocessing = (index + 1 == cuts.subnetworks())
        .then(|| initialized(&init.scope("postprocessing"), |init| network.postprocessing(init)))
        .transpose()?;
    bridge(network, cuts, index, preprocessing, units, postprocessing, init)
}

/// Builds some of the subnetworks.
///
/// # Errors
/// As [`build_subnetwork`], or if one of these subnetworks shares a parameter with any other subnetwork of
/// the network.
pub(crate) fn build_subnetworks<N: Coarsen>(
    network: &N,
    cuts: &Cuts,
    indices: Range<usize>,
    init: &Init,
) -> Result<Vec<SubnetworkOf<N>>, NetError> {
    let build = |index| build_subnetwork(network, cuts, index, init);
    let built = indices.clone().map(build).collect::<Result<Vec<_>, _>>()?;
    check_unshared(&built)?;
    let others = (0..indices.start).chain(indices.end..cuts.subnetworks());
    if others.clone().next().is_none() {
        return Ok(built);
    }
    // A parameter that has the same id when its subnetwork is built again is stored in the specification.
    // Only such a parameter can also be in a subnetwork that another process builds.
    let mut kept = HashMap::new();
    for subnetwork in &built {
        let again = build(subnetwork.index())?.identities();
        let pairs = subnetwork.identities().into_iter().zip(again);
        let same = pairs.filter(|(first, again)| first.id == again.id);
        kept.extend(same.map(|(first, _)| (first.id, first.name)));
    }
    if kept.is_empty() {
        return Ok(built);
    }
    for index in others {
        for Identity { id, name, .. } in build(index)?.identities() {
            if let Some(own) = kept.get(&id) {
                return Err(NetError::SharedParameter { first: own.clone(), second: name });
            }
        }
    }
    Ok(built)
}

/// Assembles a subnetwork from its modules of the serial network, and builds the modules that a cut adds.
pub(super) fn bridge<N: Coarsen>(
    network: &N,
    cuts: &Cuts,
    index: usize,
    preprocessing: Option<N::Preprocessing>,
    units: Vec<N::Unit>,
    postprocessing: Option<N::Postprocessing>,
    init: &Init,
) -> Result<SubnetworkOf<N>, NetError> {
    let scope = init.scope("interfaces").scope(index);
    let interface = (index > 0).then(|| cuts.interface(index));
    let preprocessing = match (preprocessing, &interface) {
        (None, Some(interface)) => initialized(&scope.scope("preprocessing"), |init| {
            network.interface_preprocessing(interface, init)
        })?,
        (Some(given), _) => given,
        (None, None) => {
            initialized(&init.scope("preprocessing"), |init| network.preprocessing(init))?
        }
    };
    let coarse = interface.map(|interface| {
        initialized(&scope.scope("coarse"), |init| network.coarse(&interface, init))
    });
    let coarse = coarse.transpose()?;
    let first_unit = cuts.units_of(index).start;
    let seed = init.seed();
    let subnetwork =
        Subnetwork::new(preprocessing, units, coarse, postprocessing, index, first_unit, seed);
    check_shapes(network, &subnetwork)?;
    Ok(subnetwork)
}

/// Builds a module with the initial weights of a scope.
///
/// # Errors
/// [`NetError::RandomLayer`], [`NetError::HiddenLayer`].
pub(super) fn initialized<M: Module>(
    init: &Init,
    build: impl FnOnce(&Init) -> M,
) -> Result<M, NetError> {
    let module = init.initialize(build(init));
    refuse_random(&module, |path| init.name_of(path))?;
    Ok(module)
}

/// Infers every shape of a subnetwork and compares it with what the network declares.
fn check_shapes<N: Coarsen>(network: &N, subnetwork: &SubnetworkOf<N>) -> Result<(), NetError> {
    let naming = subnetwork.naming();
    let refused =
        |local: String| move |source| NetError::Refused { module: naming.global(&local), source };
    let units = subnetwork.unit_range();
    let shape = |position| network.state_shape(position);

    let expected = shape(units.start);
    let found = subnetwork
        .preprocessing
        .output_shape(&network.input_shape())
        .map_err(refused("preprocessing".into()))?;
    if found != expected {
        return Err(match subnetwork.index() {
            0 => NetError::Preprocessing { expected, found },
            interface => NetError::InterfacePreprocessing { interface, expected, found },
        });
    }
    for (local, unit) in subnetwork.units.iter().enumerate() {
        let index = units.start + local;
        let found = unit.output_shape(&shape(index)).map_err(refused(format!("units.{local}")))?;
        let expected = shape(index + 1);
        if found != expected {
            return Err(NetError::Unit { unit: index, expected, found });
        }
    }
    if let Some(coarse) = &subnetwork.coarse {
        let found = coarse.output_shape(&shape(units.start)).map_err(refused("coarse".into()))?;
        let expected = shape(units.end);
        if found != expected {
            return Err(NetError::Coarse { interface: subnetwork.index(), expected, found });
        }
    }
    if let Some(postprocessing) = &subnetwork.postprocessing {
        postprocessing.output_shape(&shape(units.end)).map_err(refused("postprocessing".into()))?;
    }
    Ok(())
}

pub(super) fn check_units<N: FeedForward>(network: &N, cuts: &Cuts) -> Result<(), NetError> {
    match network.units() {
        0 => Err(NetError::NoUnits),
        found if found != cuts.units() => {
            Err(NetError::OtherNetwork { expected: cuts.units(), found })
        }
        _ => Ok(()),
    }
}
