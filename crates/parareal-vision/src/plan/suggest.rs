use parareal::net::FeedForward;
use parareal_models::resnet::CoarseKind;

use super::{Bound, Costs, PlanSettings, Planned, plan};
use crate::VisionError;
use crate::network::{Cutting, NetworkConfig};

/// More subnetworks than these are not tried.
const MAX_SUBNETWORKS: usize = 64;
/// Up to this number of devices more subnetworks than devices are tried.
const MANY: usize = 24;

/// The shortest step that was found, and what was tried.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// For each number of subnetworks that was tried the fastest that fits, or the fastest where none
    /// does.
    pub tried: Vec<Planned>,
    /// Which of them is the best that fits.
    pub best: usize,
    /// What bounds it.
    pub bound: Bound,
    /// The best that fits with as many coarse units as the rule of its kind asks for, where the best of
    /// all has fewer.
    pub by_rule: Option<Planned>,
}

/// Tries numbers of subnetworks, kinds and numbers of coarse units, each with balanced cuts, and takes
/// the one with the shortest predicted step of those that fit into the memory of a device.
///
/// Of kinds of coarse units it tries the recommended and the paper's, of numbers `N_c` 1 and what the
/// rule of the kind asks for ([`ResNet::coarse_choice`](parareal_models::resnet::ResNet::coarse_choice)):
/// a unit more never makes a step shorter, so none between them can be the fastest. What a smaller
/// coarse network costs in accuracy no prediction knows; the best by the rule is given beside it. Kind
/// and number that were asked for stay as they are.
///
/// # Errors
/// Where costs are missing, or nothing fits into so many bytes.
pub fn suggest(
    network: &NetworkConfig,
    costs: &Costs,
    settings: &PlanSettings,
    memory: Option<f64>,
) -> Result<Suggestion, VisionError> {
    let devices = settings.devices.unwrap_or(1);
    let fits = |planned: &Planned| memory.is_none_or(|most| planned.memory() <= most);
    let most = network.net.units().min(MAX_SUBNETWORKS).min(devices.max(MANY));
    // A subnetwork more or less of many changes little.
    let counts = (1..=most).filter(|&n| n <= 12 || n % 3 == 0 || n == devices);
    let (mut tried, mut by_rule) = (Vec::new(), Vec::new());
    // Of all, whether they fit or not.
    let (mut least, mut shortest) = (f64::INFINITY, f64::INFINITY);
    for count in counts {
        let all = candidates(network, costs, count)
            .into_iter()
            .map(|candidate| plan(candidate, costs, settings))
            .collect::<Result<Vec<_>, _>>()?;
        for planned in &all {
            least = least.min(planned.memory());
            shortest = shortest.min(planned.prediction.makespan());
        }
        let fitting = || all.iter().filter(|planned| fits(planned));
        tried.extend(fastest(fitting()).or_else(|| fastest(all.iter())).cloned());
        let ruled = |planned: &&Planned| planned.network.coarse_units == network.coarse_units;
        by_rule.extend(fastest(fitting().filter(ruled)).cloned());
    }
    let Some(best) = fastest(tried.iter().filter(|planned| fits(planned))) else {
        let expected = format!(
            "the least that a device has to hold is {:.2} GB: take more devices, {}or costs of fewer \
             images a step",
            least / 1e9,
            if settings.recompute.is_none() { "`recompute`, " } else { "" }
        );
        return Err(VisionError::setting("memory-gb", memory.unwrap_or_default() / 1e9, expected));
    };
    let step = |planned: &Planned| planned.prediction.makespan();
    let bound = match shortest < step(best) {
        true => Bound::Memory,
        false => best.bound(),
    };
    let by_rule = fastest(by_rule.iter()).filter(|planned| step(planned) > step(best)).cloned();
    let best = tried.iter().position(|planned| std::ptr::eq(planned, best)).unwrap_or(0);
    Ok(Suggestion { tried, best, bound, by_rule })
}

/// All coarse networks that are tried for so many subnetworks.
fn candidates(network: &NetworkConfig, costs: &Costs, count: usize) -> Vec<NetworkConfig> {
    let mut kinds = match network.coarse_kind {
        CoarseKind::Auto => costs.kinds(&network.net),
        kind => vec![kind],
    };
    // Nothing bridges what is not cut.
    if count == 1 {
        kinds.truncate(1);
    }
    // The number of the rule, and one where that is fewer.
    let numbers = |kind: CoarseKind| {
        let is_open = network.coarse_units.is_none() && costs.know_any_number();
        let one = is_open && count > 1 && kind.default_units(count) > 1;
        [Some(network.coarse_units), one.then_some(Some(1))].into_iter().flatten()
    };
    let all = kinds.iter().flat_map(|&kind| numbers(kind).map(move |number| (kind, number)));
    all.filter_map(|(kind, number)| {
        let net = network.net.clone().with_coarse_kind(kind).with_coarse_units(number);
        let cuts = net.default_cuts(count).ok()?;
        let (coarse_kind, coarse_units, cutting) = (kind, number, Cutting::Balanced);
        let coarse_times = None;
        Some(NetworkConfig { net, cuts, coarse_kind, coarse_units, cutting, coarse_times })
    })
    .collect()
}

fn fastest<'a>(all: impl Iterator<Item = &'a Planned>) -> Option<&'a Planned> {
    all.min_by(|a, b| a.prediction.makespan().total_cmp(&b.prediction.makespan()))
}
