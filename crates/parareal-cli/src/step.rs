//! How a predicted step looks, as JSON and as text.

use parareal_train::{
    Costs, DeviceName, Link, Machine, NetworkConfig, PlanSettings, Planned, Schedule, Suggestion,
    TrainError, plan, suggest, write_timeline,
};
use serde_json::{Value, json};

use crate::arguments::Plan;
use crate::failure::Failure;
use crate::output::{note, table};

/// What was predicted, and what has to be said about it.
pub(crate) struct Step {
    pub(crate) planned: Planned,
    suggestion: Option<Suggestion>,
    remarks: Vec<String>,
    settings: PlanSettings,
}

impl Plan {
    /// Whether a step is to be predicted.
    fn asks_for_a_step(&self, balanced: bool) -> bool {
        balanced
            || self.costs.is_some()
            || self.device_count.is_some()
            || self.suggest
            || self.timeline.is_some()
    }

    fn step_settings(&self) -> Result<PlanSettings, TrainError> {
        let positive = |name, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(value),
            false => Err(TrainError::setting(name, value, "a number above 0 is expected")),
        };
        let bandwidth = match self.link_gbps {
            Some(gigabits) => positive("link-gbps", gigabits)? * 1e9 / 8.0,
            None => f64::INFINITY,
        };
        if !self.link_us.is_finite() || self.link_us < 0.0 {
            return Err(TrainError::setting("link-us", self.link_us, "at least 0 is expected"));
        }
        if !(0.0..=1.0).contains(&self.coarse_weight_share) {
            let expected = "a share from 0 to 1 is expected";
            return Err(TrainError::setting(
                "coarse-weight-share",
                self.coarse_weight_share,
                expected,
            ));
        }
        if let Some(gigabytes) = self.memory_gb {
            positive("memory-gb", gigabytes)?;
        }
        let schedule = match self.schedule.as_str() {
            "overlap" => Schedule::Overlap { defer: self.defer },
            "paper" => Schedule::Virtual,
            other => {
                let expected = "it is overlap or paper";
                return Err(TrainError::setting("schedule", format!("`{other}`"), expected));
            }
        };
        let link = Link { latency: 1e-6 * self.link_us, bandwidth };
        Ok(PlanSettings { devices: self.device_count, link, replicas: self.replicas, schedule })
    }

    /// The predicted step, where one is asked for.
    pub(crate) fn step(&self, network: &NetworkConfig) -> Result<Option<Step>, Failure> {
        let settings = self.step_settings()?;
        if !self.asks_for_a_step(network.is_balanced()) {
            return Ok(None);
        }
        let source = self.costs.clone().unwrap_or(parareal_train::CostSource::Measured);
        if source == parareal_train::CostSource::Measured {
            note("measures what the parts cost");
        }
        let batch = self.batch_size.unwrap_or(16);
        if batch == 0 {
            return Err(TrainError::setting("batch-size", batch, "at least 1 is expected").into());
        }
        let device: DeviceName = "cpu".parse()?;
        let machine = Machine { device, batch, threads: 1, workers: 1 };
        let mut costs = source.load(&network.net, &machine, self.suggest)?;
        if let Costs::Paper { weight_share } = &mut costs {
            *weight_share = self.coarse_weight_share;
        }
        let limit = self.memory_gb.map(|gigabytes| 1e9 * gigabytes);
        let (planned, suggestion) = match self.suggest {
            true => {
                let found = suggest(network, &costs, &settings, limit)?;
                (found.tried[found.best].clone(), Some(found))
            }
            false => (plan(network.clone(), &costs, &settings)?, None),
        };
        let count = planned.network.cuts.subnetworks();
        let remarks = costs.remarks(&planned.network.net, count);
        if let Some(path) = &self.timeline {
            let title = format!(
                "resnet-{}, N = {count}, costs {source}, schedule {}, predicted",
                planned.network.net.depth(),
                self.schedule
            );
            write_timeline(path, &planned.prediction.timeline, &title)?;
        }
        Ok(Some(Step { planned, suggestion, remarks, settings }))
    }
}

impl Step {
    pub(crate) fn as_json(&self) -> Value {
        let planned = &self.planned;
        let [fine, chain, link] = planned.critical().map(|seconds| 1e3 * seconds);
        let mut predicted = json!({
            "devices": planned.held.len(),
            "step_ms": 1e3 * planned.prediction.makespan(),
            "speedup": planned.speedup(),
            "serial_ms": 1e3 * planned.serial,
            "replicas": planned.replicas,
            "held": planned.held,
            "utilization": planned.prediction.timeline.utilization(),
            "memory_bytes": planned.prediction.memory,
            "critical_path_ms": { "fine": fine, "chain": chain, "link": link },
            "bound": planned.bound().as_str(),
            "assumptions": self.remarks,
        });
        if let Some(Suggestion { tried, bound, .. }) = &self.suggestion {
            predicted["bound"] = json!(bound.as_str());
            let tried = tried.iter().map(|planned| {
                json!({
                    "subnetworks": planned.network.cuts.subnetworks(),
                    "coarse_unit": planned.network.coarse_kind.to_string(),
                    "devices": planned.held.len(),
                    "step_ms": 1e3 * planned.prediction.makespan(),
                    "speedup": planned.speedup(),
                    "memory_bytes": planned.memory(),
                    "bound": planned.bound().as_str(),
                })
            });
            predicted["tried"] = tried.collect();
        }
        predicted
    }

    pub(crate) fn as_text(&self) -> String {
        let planned = &self.planned;
        let mut lines = vec![format!(
            "Predicted step on {} {}: {:.2} ms, {:.2} times as fast as {:.2} ms on one",
            planned.held.len() * planned.replicas,
            if planned.held.len() * planned.replicas == 1 { "device" } else { "devices" },
            1e3 * planned.prediction.makespan(),
            planned.speedup(),
            1e3 * planned.serial,
        )];
        let [fine, chain, link] = planned.critical().map(|seconds| 1e3 * seconds);
        let bound = self.suggestion.as_ref().map_or(planned.bound(), |found| found.bound);
        lines.push(format!(
            "  what decides: fine work {fine:.2} ms, chain {chain:.2} ms, links {link:.2} ms; bound \
             by {}",
            bound.as_str()
        ));
        if self.settings.replicas > 1 {
            lines.push("  each replica takes a whole batch: the gain is in images a second".into());
        }
        lines.extend(self.remarks.iter().map(|remark| format!("  {remark}")));
        let mut rows = vec![row(["device", "subnetworks", "units", "busy", "memory"])];
        let busy = planned.prediction.timeline.utilization();
        let mut first = 0;
        for (device, held) in planned.held.iter().enumerate() {
            let pieces = first..first + held;
            let units: usize = pieces.map(|j| planned.network.cuts.units_of(j).len()).sum();
            first += held;
            rows.push(row([
                &(device + 1).to_string(),
                &held.to_string(),
                &units.to_string(),
                &format!("{:.0} %", 100.0 * busy[device]),
                &format!("{:.2} GB", planned.prediction.memory[device] / 1e9),
            ]));
        }
        lines.push(table(&rows));
        if let Some(Suggestion { tried, best, .. }) = &self.suggestion {
            lines.push(String::new());
            lines.push("Tried, with balanced cuts".into());
            let heads = ["N", "coarse unit", "step", "gain", "memory", "bound by", ""];
            let mut rows = vec![row(heads)];
            rows.extend(tried.iter().enumerate().map(|(index, planned)| {
                row([
                    &planned.network.cuts.subnetworks().to_string(),
                    &planned.network.coarse_kind.to_string(),
                    &format!("{:.2} ms", 1e3 * planned.prediction.makespan()),
                    &format!("{:.2}x", planned.speedup()),
                    &format!("{:.2} GB", planned.memory() / 1e9),
                    planned.bound().as_str(),
                    if index == *best { "suggested" } else { "" },
                ])
            }));
            lines.push(table(&rows));
        }
        lines.join("\n")
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}
