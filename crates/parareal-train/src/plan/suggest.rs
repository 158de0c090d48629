use parareal::net::FeedForward;
use parareal_models::resnet::CoarseKind;

use super::{Bound, Costs, PlanSettings, Planned, plan};
use crate::TrainError;
use crate::network::{Cutting, NetworkConfig};

/// More subnetworks than these are not tried.
const MOST_SUBNETWORKS: usize = 64;

/// The shortest step that was found, and what was tried.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// All that was tried, each number of subnetworks with the kind of coarse units that is fastest
    /// for it.
    pub tried: Vec<Planned>,
    /// Which of them is the best that fits.
    pub best: usize,
    /// What bounds it.
    pub bound: Bound,
}

/// Tries numbers of subnetworks and kinds of coarse units, each with balanced cuts, and takes the
/// one with the shortest predicted step of those that fit into the memory of a device.
///
/// A coarse network keeps as many units as the rule gives it ([`CoarseKind`] and the number that was
/// asked for stay as they are where they were given): fewer would be faster, and see less of the
/// image than what they approximate.
///
/// # Errors
/// Where costs are missing, or nothing fits into so many bytes.
pub fn suggest(
    network: &NetworkConfig,
    costs: &Costs,
    settings: &PlanSettings,
    memory: Option<f64>,
) -> Result<Suggestion, TrainError> {
    let devices = settings.devices.unwrap_or(1);
    let kinds = match network.coarse_kind {
        CoarseKind::Auto => costs.kinds(&network.net),
        kind => vec![kind],
    };
    let most = network.net.units().min(MOST_SUBNETWORKS).min(devices.max(24));
    // A device more or less of many changes little.
    let counts = (1..=most).filter(|&n| n <= 12 || n % 3 == 0 || n == devices);
    let mut tried: Vec<Planned> = Vec::new();
    for count in counts {
        let mut best: Option<Planned> = None;
        for &kind in &kinds {
            let mut network = network.clone();
            network.net = network.net.with_coarse_kind(kind);
            (network.coarse_kind, network.cutting) = (kind, Cutting::Balanced);
            network.cuts = network.net.default_cuts(count)?;
            let planned = plan(network, costs, settings)?;
            let fits = |planned: &Planned| memory.is_none_or(|most| planned.memory() <= most);
            let key = |planned: &Planned| (!fits(planned), planned.prediction.makespan());
            let better = best.as_ref().is_none_or(|best| {
                let ((worse, step), (best_worse, best_step)) = (key(&planned), key(best));
                worse < best_worse || worse == best_worse && step < best_step
            });
            if better {
                best = Some(planned);
            }
            // Nothing bridges what is not cut.
            if count == 1 {
                break;
            }
        }
        tried.extend(best);
    }
    let fits = |planned: &&Planned| memory.is_none_or(|most| planned.memory() <= most);
    let step = |planned: &Planned| planned.prediction.makespan();
    let fastest = |all: &mut dyn Iterator<Item = usize>| {
        all.min_by(|&a, &b| step(&tried[a]).total_cmp(&step(&tried[b])))
    };
    let best = fastest(&mut (0..tried.len()).filter(|&index| fits(&&tried[index])));
    let Some(best) = best else {
        let least = tried.iter().map(Planned::memory).fold(f64::INFINITY, f64::min);
        let expected = format!(
            "the least that a device has to hold is {:.2} GB: take more devices, or costs of fewer \
             images a step",
            least / 1e9
        );
        return Err(TrainError::setting("memory-gb", memory.unwrap_or_default() / 1e9, expected));
    };
    let bound = match fastest(&mut (0..tried.len())) {
        Some(fastest) if step(&tried[fastest]) < step(&tried[best]) => Bound::Memory,
        _ => tried[best].bound(),
    };
    Ok(Suggestion { tried, best, bound })
}
