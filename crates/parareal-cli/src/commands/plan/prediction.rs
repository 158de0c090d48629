//! Prediction of a step from the flags of `plan`.

use std::time::Instant;

use parareal::exec::ProgramOptions;
use parareal_train::{DeviceName, Placement, Resources, TimelineFile, TrainError};
use parareal_vision::{
    CostSource, Costs, Cutting, Link, Machine, NetworkConfig, PlanSettings, Planned, Schedule,
    Suggestion, VisionError, plan, suggest, suggest_here,
};

use super::step_text::Step;
use super::suggestion_text::Suggested;
use crate::arguments::{Plan, Step as Flags};
use crate::failure::Failure;
use crate::output::{duration, note};
use crate::status_line::StatusLine;

/// Default batch size for measured costs.
const BATCH: usize = 16;

impl Plan {
    /// Predicts a step, if a flag requests it.
    pub(crate) fn predict(&self, network: &NetworkConfig) -> Result<Option<Step>, Failure> {
        let flags = &self.step;
        if *flags == Flags::default() && !network.is_balanced() {
            return Ok(None);
        }
        let given = &self.network.settings;
        for (flag, given) in
            [("--subnetworks", given.subnetworks.is_some()), ("--cuts", given.cuts.is_some())]
        {
            if flags.suggest && given {
                let message = format!("--suggest cannot be used with {flag}, which it determines");
                return Err(Failure::Flag(message));
            }
        }
        let settings = flags.settings()?;
        let source = flags.costs.clone().unwrap_or(CostSource::Measured);
        let timeline = flags.timeline.as_deref();
        let timeline = timeline.map(|path| TimelineFile::new(path, flags.overwrite));
        let timeline = timeline.transpose()?;
        flags.check(&source, timeline.as_ref())?;
        let cutting = if flags.suggest { Cutting::Balanced } else { network.cutting };
        settings.check(&NetworkConfig { cutting, ..network.clone() })?;

        let (planned, suggestion, mut remarks) = flags.plan(&source, network, &settings)?;
        let count = planned.network.cuts.subnetworks();
        let step_ms = 1e3 * planned.prediction.makespan();
        if let Some(axis) = flags.timeline_ms.filter(|axis| *axis < step_ms) {
            let expected = format!("expected at least {step_ms:.2}, the time of the step");
            return Err(TrainError::setting("timeline-ms", axis, expected).into());
        }
        if let Some(timeline) = timeline {
            let schedule = if settings.schedule == Schedule::Virtual { "paper" } else { "overlap" };
            let replica = match planned.replicas {
                1 => String::new(),
                all => format!(", 1 of {all} replicas"),
            };
            let title = format!(
                "{}, N = {count}{replica}, schedule {schedule}, predicted from costs: {source}",
                planned.network.net.name(),
            );
            let axis = flags.timeline_ms.map(|axis| axis / 1e3);
            let written = timeline.write(&planned.prediction.timeline, &title, axis);
            written?;
            note(&format!("wrote the predicted step to {}", timeline.path().display()));
        }
        if let Some(devices) =
            flags.device_count.filter(|&devices| !flags.suggest && devices > count)
        {
            remarks.push(format!(
                "{} of {devices} devices are not used: there is one for each subnetwork; pass --subnetworks \
                 {devices}, or --suggest",
                devices - count
            ));
        }
        Ok(Some(Step { planned, suggestion, remarks }))
    }
}

impl Flags {
    fn settings(&self) -> Result<PlanSettings, TrainError> {
        let bandwidth = match positive("link-gbps", self.link_gbps)? {
            Some(gigabits) => gigabits * 1e9 / 8.0,
            None => f64::INFINITY,
        };
        let latency = self.link_us.unwrap_or(0.0);
        if !latency.is_finite() || latency < 0.0 {
            return Err(TrainError::setting("link-us", latency, "expected a number of at least 0"));
        }
        positive("memory-gb", self.memory_gb)?;
        positive("timeline-ms", self.timeline_ms)?;
        let schedule = match self.schedule.as_deref() {
            None | Some("overlap") => {
                let defer_weights = self.defer.unwrap_or(true);
                Schedule::Overlap(ProgramOptions { defer_weights, ..ProgramOptions::default() })
            }
            Some("paper") => Schedule::Virtual,
            Some(other) => {
                let expected = "expected overlap or paper";
                return Err(TrainError::setting("schedule", other, expected));
            }
        };
        let link = Link { latency: 1e-6 * latency, bandwidth };
        let replicas = self.replicas.unwrap_or(1);
        let (devices, recompute) = (self.device_count, self.recompute);
        Ok(PlanSettings { devices, link, replicas, schedule, recompute })
    }

    /// Rejects flags that have no effect in combination with others.
    fn check(&self, source: &CostSource, timeline: Option<&TimelineFile>) -> Result<(), Failure> {
        let refuse = |flag: &str, why: &str| Err(Failure::Flag(format!("{flag} {why}")));
        if self.schedule.as_deref() == Some("paper") {
            for (flag, given) in [
                ("--link-gbps", self.link_gbps.is_some()),
                ("--link-us", self.link_us.is_some()),
                ("--replicas", self.replicas.is_some()),
                ("--defer", self.defer.is_some()),
                ("--recompute", self.recompute.is_some()),
                ("--suggest", self.suggest),
            ] {
                if given {
                    let why = "requires --schedule overlap: the paper's schedule does not model it";
                    return refuse(flag, why);
                }
            }
        }
        if self.batch_size.is_some() && *source != CostSource::Measured {
            return refuse(
                "--batch-size",
                "requires --costs measured: other costs have their own batch size",
            );
        }
        if self.coarse_weight_share.is_some() && *source != CostSource::Paper {
            return refuse(
                "--coarse-weight-share",
                "requires --costs paper: other costs include it",
            );
        }
        if self.threads.is_some() && *source != CostSource::Measured {
            return refuse(
                "--threads",
                "requires --costs measured: other costs have their own number of threads",
            );
        }
        if self.is_for_this_machine() {
            if *source != CostSource::Measured {
                return refuse(
                    "--suggest",
                    "requires --device-count with these costs: without it, the costs of this machine are measured",
                );
            }
            for (flag, given) in [
                ("--threads", self.threads.is_some()),
                ("--replicas", self.replicas.is_some()),
                ("--link-gbps", self.link_gbps.is_some()),
                ("--link-us", self.link_us.is_some()),
            ] {
                if given {
                    let why = "cannot be used with --suggest for this machine; pass --device-count";
                    return refuse(flag, why);
                }
            }
        }
        if self.memory_gb.is_some() && !self.suggest {
            return refuse("--memory-gb", "requires --suggest");
        }
        if self.overwrite && self.timeline.is_none() {
            return Err(Failure::without_timeline("--overwrite"));
        }
        if self.timeline_ms.is_some() && !timeline.is_some_and(TimelineFile::is_picture) {
            return refuse("--timeline-ms", "requires --timeline FILE.svg");
        }
        Ok(())
    }

    /// Plans the step from measured or stored costs, with remarks on the costs.
    fn plan(
        &self,
        source: &CostSource,
        network: &NetworkConfig,
        settings: &PlanSettings,
    ) -> Result<(Planned, Option<Suggested>, Vec<String>), VisionError> {
        let limit = self.memory_gb.map(|gigabytes| 1e9 * gigabytes);
        if self.is_for_this_machine() {
            let measured = self.measure_placements(network)?;
            let found = searched(|on_progress| {
                suggest_here(network, &measured, settings, limit, on_progress)
            })?;
            let planned = found.tried[found.best].clone();
            let remark = format!(
                "costs measured on the CPU with a batch of {}, with as many busy workers and threads as each row \
                 has",
                self.batch()
            );
            let suggested = Suggested::for_this_machine(found, self.batch());
            return Ok((planned, Some(suggested), vec![remark]));
        }
        let costs = self.costs(source, network)?;
        let (planned, suggestion) = if self.suggest {
            let found =
                searched(|on_progress| suggest(network, &costs, settings, limit, on_progress))?;
            (found.tried[found.best].clone(), Some(Suggested::for_devices(found)))
        } else {
            (plan(network.clone(), &costs, settings)?, None)
        };
        let subnetworks = planned.network.cuts.subnetworks();
        let remarks = costs.remarks(&planned.network.net, subnetworks);
        Ok((planned, suggestion, remarks))
    }

    /// Returns true if the search is for the workers and threads of this machine.
    fn is_for_this_machine(&self) -> bool {
        self.suggest && self.device_count.is_none()
    }

    fn batch(&self) -> usize {
        self.batch_size.unwrap_or(BATCH)
    }

    /// Measures the costs with each number of workers and threads.
    fn measure_placements(
        &self,
        network: &NetworkConfig,
    ) -> Result<Vec<(Placement, Costs)>, VisionError> {
        let cores = Resources::alone().cores;
        let placements = Placement::candidates(cores, network.cuts.units());
        let measure = |placement: Placement| {
            let Placement { workers, threads } = placement;
            let machine =
                Machine { device: DeviceName::cpu(), batch: self.batch(), threads, workers };
            machine.check()?;
            note(&format!("measuring the costs of the components with {placement}"));
            Ok((placement, CostSource::Measured.load(&network.net, &machine, true)?))
        };
        placements.into_iter().map(measure).collect()
    }

    fn costs(&self, source: &CostSource, network: &NetworkConfig) -> Result<Costs, VisionError> {
        let share = self.coarse_weight_share.unwrap_or(Costs::PAPER_WEIGHT_SHARE);
        if !(0.0..=1.0).contains(&share) {
            let expected = "expected a fraction from 0 to 1";
            return Err(TrainError::setting("coarse-weight-share", share, expected).into());
        }
        let (device, threads) = (DeviceName::cpu(), self.threads.unwrap_or(1));
        let machine = Machine { device, batch: self.batch(), threads, workers: 1 };
        machine.check()?;
        if *source == CostSource::Measured {
            note("measuring the costs of the components");
        }
        let mut costs = source.load(&network.net, &machine, self.suggest)?;
        if let Costs::Paper { weight_share } = &mut costs {
            *weight_share = share;
        }
        Ok(costs)
    }
}

/// Runs a search for a suggestion, and shows its progress.
fn searched(
    search: impl FnOnce(&mut (dyn FnMut(f64) + Send)) -> Result<Suggestion, VisionError>,
) -> Result<Suggestion, VisionError> {
    let (mut status, begun) = (StatusLine::new(1000), Instant::now());
    search(&mut |done| {
        let left = begun.elapsed().as_secs_f64() * (1.0 / done - 1.0);
        // The first trials say little about the others.
        let left = match done {
            0.0..0.05 | 1.0.. => String::new(),
            _ => format!(", about {} left", duration(left)),
        };
        status.show((1000.0 * done) as u64, || format!("searched {:.0} %{left}", 100.0 * done));
    })
}

fn positive(name: &'static str, value: Option<f64>) -> Result<Option<f64>, TrainError> {
    match value {
        Some(value) if !value.is_finite() || value <= 0.0 => {
            Err(TrainError::setting(name, value, "expected a positive number"))
        }
        value => Ok(value),
    }
}
