use std::sync::{Mutex, PoisonError};

use parareal::exec::ExecError;
use parareal::net::FeedForward;
use parareal_models::CoarseKind;
use parareal_train::{Placement, Resources};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Bound, Costs, PlanSettings, Planned, plan};
use crate::VisionError;
use crate::network::{Cutting, NetworkConfig};

/// Largest number of subnetworks that is tried.
const MAX_SUBNETWORKS: usize = 64;
/// Numbers of subnetworks up to this one are tried even if there are fewer devices.
const MANY: usize = 24;
/// Most memory of the tables of all searches for cuts, in bytes.
const MAX_TABLES: f64 = 2e9;
/// Memory of such a table for each pair of units, in bytes: five times of a block, for two kinds of blocks.
const TABLE_ENTRY: f64 = 80.0;

/// The configuration with the shortest predicted step, and all configurations that were tried.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// For each number of subnetworks and each placement, the fastest configuration that fits in memory, or the
    /// fastest of all if none fits.
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
/// ([`ImageNetwork::coarse_choice`](parareal_models::ImageNetwork::coarse_choice)). Numbers in between cannot be
/// the fastest, because an additional unit never shortens a step. A kind or a number that is set explicitly
/// is kept.
///
/// A prediction does not include the accuracy lost with a smaller coarse network. Therefore the fastest
/// configuration by the rule is returned as well.
///
/// The search uses all cores. `on_progress` is called with the estimated share of the work that is done, from 0 to 1.
///
/// # Errors
/// If costs are missing, or no configuration fits into `memory` bytes.
pub fn suggest(
    network: &NetworkConfig,
    costs: &Costs,
    settings: &PlanSettings,
    memory: Option<f64>,
    on_progress: &mut (dyn FnMut(f64) + Send),
) -> Result<Suggestion, VisionError> {
    let devices = settings.devices.unwrap_or(1);
    let trials = (1..=most_subnetworks(network, devices))
        .filter(|&subnetworks| is_tried(subnetworks, devices))
        .map(|subnetworks| Trial { subnetworks, costs, settings: settings.clone() });
    Search { network, memory, is_one_machine: false }.run(trials.collect(), on_progress)
}

/// Predicts steps on this machine with several numbers of workers and threads, and chooses as [`suggest`] does.
/// The costs of each placement have to be measured with as many busy workers and threads as it has
/// ([`Machine`](super::Machine)). The number of devices in `settings` is ignored.
///
/// One worker computes the serial network only, because cutting it would only add work. Speedups are relative
/// to the fastest serial step. The workers share `memory` bytes.
///
/// # Errors
/// If costs are missing or `measured` is empty, or no configuration fits into `memory` bytes.
pub fn suggest_here(
    network: &NetworkConfig,
    measured: &[(Placement, Costs)],
    settings: &PlanSettings,
    memory: Option<f64>,
    on_progress: &mut (dyn FnMut(f64) + Send),
) -> Result<Suggestion, VisionError> {
    let mut trials = Vec::new();
    for &(Placement { workers, .. }, ref costs) in measured {
        let settings = PlanSettings { devices: Some(workers), ..settings.clone() };
        let most = if workers == 1 { 1 } else { most_subnetworks(network, workers) };
        let counts = (workers..=most).filter(|&subnetworks| is_tried(subnetworks, workers));
        trials.extend(counts.map(|subnetworks| Trial {
            subnetworks,
            costs,
            settings: settings.clone(),
        }));
    }
    Search { network, memory, is_one_machine: true }.run(trials, on_progress)
}

/// Returns the largest number of subnetworks to try on this number of devices.
fn most_subnetworks(network: &NetworkConfig, devices: usize) -> usize {
    network.net.units().min(MAX_SUBNETWORKS).min(devices.max(MANY))
}

/// Returns true if this number of subnetworks is tried. With many subnetworks, one more changes little, so only
/// every third number is.
fn is_tried(subnetworks: usize, devices: usize) -> bool {
    subnetworks <= 12 || subnetworks.is_multiple_of(3) || subnetworks == devices
}

/// A number of subnetworks to try, with the costs and the devices.
struct Trial<'a> {
    subnetworks: usize,
    costs: &'a Costs,
    settings: PlanSettings,
}

impl Trial<'_> {
    /// Returns the estimated work of a trial, in arbitrary units.
    fn work(&self) -> f64 {
        (self.subnetworks as f64).powi(2)
    }
}

/// The fastest configurations of a trial.
struct Tried {
    /// The fastest configuration that fits, or the fastest of all if none fits.
    fastest: Option<Planned>,
    /// The fastest configuration that fits and follows the rule.
    by_rule: Option<Planned>,
    /// Smallest memory of all configurations, including those that do not fit.
    least_memory: f64,
    /// Shortest step of all configurations, including those that do not fit.
    shortest: f64,
}

/// The search for the fastest configuration.
struct Search<'a> {
    network: &'a NetworkConfig,
    /// Memory limit in bytes.
    memory: Option<f64>,
    /// True if the limit is for all devices together, because they are the workers of one machine.
    is_one_machine: bool,
}

impl Search<'_> {
    /// Returns the memory to which the limit applies.
    fn memory_of(&self, planned: &Planned) -> f64 {
        if self.is_one_machine { planned.total_memory() } else { planned.memory() }
    }

    fn fits(&self, planned: &Planned) -> bool {
        self.memory.is_none_or(|most| self.memory_of(planned) <= most)
    }

    /// Runs all trials, on all cores, and chooses the fastest configuration that fits.
    fn run(
        &self,
        trials: Vec<Trial>,
        on_progress: &mut (dyn FnMut(f64) + Send),
    ) -> Result<Suggestion, VisionError> {
        let all: f64 = trials.iter().map(Trial::work).sum();
        let progress = Mutex::new((0.0, on_progress));
        let recompute = trials.first().and_then(|trial| trial.settings.recompute);
        let tried = trials.into_par_iter().map(|trial| {
            let tried = self.tried(&trial)?;
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            let (done, on_progress) = &mut *progress;
            *done += trial.work();
            on_progress((*done / all).min(1.0));
            Ok(tried)
        });
        // In the order of the trials.
        let tried: Vec<Result<Tried, VisionError>> = self.pool()?.install(|| tried.collect());
        self.best(tried.into_iter().collect::<Result<_, _>>()?, recompute)
    }

    /// Creates a pool with as many threads as cores, or fewer if the costs of all blocks, which each search for cuts
    /// tabulates, would take more than [`MAX_TABLES`] bytes.
    fn pool(&self) -> Result<ThreadPool, VisionError> {
        let units = self.network.net.units() as f64;
        let fit = (MAX_TABLES / (TABLE_ENTRY * units * units)) as usize;
        let threads = Resources::alone().cores.min(fit).max(1);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(pool.map_err(|error| ExecError::Spawn(error.to_string()))?)
    }

    /// Plans all candidates of a trial.
    fn tried(&self, trial: &Trial) -> Result<Tried, VisionError> {
        let Trial { subnetworks, costs, settings } = trial;
        let all = candidates(self.network, costs, *subnetworks)
            .into_iter()
            .map(|candidate| plan(candidate, costs, settings))
            .collect::<Result<Vec<_>, _>>()?;
        let fitting = || all.iter().filter(|planned| self.fits(planned));
        let ruled = |planned: &&Planned| planned.network.coarse_units == self.network.coarse_units;
        let least = |of: &dyn Fn(&Planned) -> f64| all.iter().map(of).fold(f64::INFINITY, f64::min);
        Ok(Tried {
            by_rule: fastest(fitting().filter(ruled)).cloned(),
            fastest: fastest(fitting()).or_else(|| fastest(all.iter())).cloned(),
            least_memory: least(&|planned| self.memory_of(planned)),
            shortest: least(&|planned| planned.prediction.makespan()),
        })
    }

    /// Chooses the fastest configuration that fits.
    fn best(&self, all: Vec<Tried>, recompute: Option<usize>) -> Result<Suggestion, VisionError> {
        let least = |of: fn(&Tried) -> f64| all.iter().map(of).fold(f64::INFINITY, f64::min);
        let least_memory = least(|tried| tried.least_memory);
        let shortest = least(|tried| tried.shortest);
        let (mut tried, mut by_rule) = (Vec::new(), Vec::new());
        for own in all {
            tried.extend(own.fastest);
            by_rule.extend(own.by_rule);
        }
        let serial = tried.iter().map(|planned| planned.serial).fold(f64::INFINITY, f64::min);
        for planned in tried.iter_mut().chain(&mut by_rule) {
            planned.serial = serial;
        }
        let Some(best) = fastest(tried.iter().filter(|planned| self.fits(planned))) else {
            let (place, devices, batches) = match self.is_one_machine {
                true => ("a step", "", "smaller batches"),
                false => ("a device", "more devices, ", "costs of smaller batches"),
            };
            let least = least_memory / 1e9;
            let least = if least < 0.1 { format!("{least:.2e}") } else { format!("{least:.2}") };
            let recompute = if recompute.is_none() { "`recompute`, " } else { "" };
            let expected = format!(
                "expected at least {least}, the smallest memory that {place} needs; try {devices}{recompute}or {batches}"
            );
            let memory = self.memory.unwrap_or_default() / 1e9;
            return Err(VisionError::setting("memory-gb", memory, expected));
        };
        let step = |planned: &Planned| planned.prediction.makespan();
        let bound = if shortest < step(best) { Bound::Memory } else { best.bound() };
        let by_rule = fastest(by_rule.iter()).filter(|planned| step(planned) > step(best));
        let by_rule = by_rule.cloned();
        let best = tried.iter().position(|planned| std::ptr::eq(planned, best)).unwrap_or(0);
        Ok(Suggestion { tried, best, bound, by_rule })
    }
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

#[cfg(test)]
mod tests {
    use parareal_models::UnitKind;

    use super::*;
    use crate::{Recipe, Settings};

    #[test]
    fn a_suggestion_reports_its_progress_and_does_not_depend_on_the_threads() {
        let settings = Settings {
            depth: Some(56),
            coarse_unit: Some(CoarseKind::Units(UnitKind::Basic)),
            ..Settings::default()
        };
        let network = NetworkConfig::resolve(&settings, Recipe::default()).unwrap();
        let costs = Costs::Paper { weight_share: Costs::PAPER_WEIGHT_SHARE };
        let steps = |threads: usize| {
            let mut seen = Vec::new();
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| {
                let settings = PlanSettings::here(6);
                suggest(&network, &costs, &settings, None, &mut |done| seen.push(done)).unwrap()
            });
            assert_eq!(seen.len(), found.tried.len());
            assert!(seen.is_sorted() && seen[0] > 0.0, "{seen:?}");
            assert!((seen[seen.len() - 1] - 1.0).abs() < 1e-12, "{seen:?}");
            let tried = found.tried.iter();
            let cuts = |planned: &Planned| planned.network.cuts.positions().to_vec();
            (found.best, tried.map(cuts).collect::<Vec<_>>())
        };
        assert_eq!(steps(1), steps(3));
    }
}
