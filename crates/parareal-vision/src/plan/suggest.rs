use parareal::net::FeedForward;
use parareal_models::resnet::CoarseKind;

use super::{Bound, Costs, PlanSettings, Planned, plan};
use crate::VisionError;
use crate::network::{Cutting, NetworkConfig};

/// Largest number of subnetworks that is tried.
const MAX_SUBNETWORKS: usize = 64;
/// Numbers of subnetworks up to this one are tried even if there are fewer devices.
const MANY: usize = 24;

/// The configuration with the shortest predicted step, and all configurations that were tried.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// For each number of subnetworks, the fastest configuration that fits in memory, or the fastest of all
    /// if none fits.
    pub tried: Vec<Planned>,
    /// Index in `tried` of the fastest configuration that fits.
    pub best: usize,
    /// Bound of the fastest configuration that fits.
    pub bound: Bound,
    /// The fastest configuration that fits and whose number of coarse units follows from the rule; `None` if
    /// there is none, or it is as fast as the best configuration.
    pub by_rule: Option<Planned>,
}

/// Predicts steps for many numbers of subnetworks and for several kinds and numbers of coarse units, each
/// with balanced cuts. Chooses the configuration with the shortest step that fits into `memory` bytes per
/// device.
///
/// The kinds of coarse units are the recommended one and the paper's. Each is tried with `N_c = 1` and with
/// the number that follows from its rule
/// ([`ResNet::coarse_choice`](parareal_models::resnet::ResNet::coarse_choice)). Numbers in between cannot be
/// the fastest, because an additional unit never shortens a step. A kind or a number that is set explicitly
/// is kept.
///
/// A prediction does not include the accuracy lost with a smaller coarse network. Therefore the fastest
/// configuration by the rule is returned as well.
///
/// # Errors
/// If costs are missing, or no configuration fits into `memory` bytes.
pub fn suggest(
    network: &NetworkConfig,
    costs: &Costs,
    settings: &PlanSettings,
    memory: Option<f64>,
) -> Result<Suggestion, VisionError> {
    let devices = settings.devices.unwrap_or(1);
    let fits = |planned: &Planned| memory.is_none_or(|most| planned.memory() <= most);
    let most = network.net.units().min(MAX_SUBNETWORKS).min(devices.max(MANY));
    // With many subnetworks, one more changes little: only every third number is tried.
    let counts = (1..=most).filter(|&n| n <= 12 || n % 3 == 0 || n == devices);
    let (mut tried, mut by_rule) = (Vec::new(), Vec::new());
    // Minima over all configurations, including those that do not fit.
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
            "expected at least {:.2}, the smallest memory that a device needs; try more devices, {}or costs of \
             smaller batches",
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

/// Returns the networks to try for this number of subnetworks.
fn candidates(network: &NetworkConfig, costs: &Costs, count: usize) -> Vec<NetworkConfig> {
    let mut kinds = match network.coarse_kind {
        CoarseKind::Auto => costs.kinds(&network.net),
        kind => vec![kind],
    };
    // A serial network has no coarse network.
    if count == 1 {
        kinds.truncate(1);
    }
    // The number that follows from the rule, and 1 if it is smaller.
    let numbers = |kind: CoarseKind| {
        let mut numbers = vec![network.coarse_units];
        let is_open = network.coarse_units.is_none() && costs.know_any_number();
        if is_open && count > 1 && kind.default_units(count) > 1 {
            numbers.push(Some(1));
        }
        numbers
    };
    let all =
        kinds.iter().flat_map(|&kind| numbers(kind).into_iter().map(move |number| (kind, number)));
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
