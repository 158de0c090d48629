//! Predicted steps as JSON and as text.

use parareal_train::Placement;
use parareal_vision::Planned;
use serde_json::{Value, json};

use super::suggestion_text::Suggested;
use crate::output::{count, table};

/// A prediction with remarks on it.
pub(crate) struct Step {
    pub(crate) planned: Planned,
    pub(crate) suggestion: Option<Suggested>,
    pub(crate) remarks: Vec<String>,
}

impl Step {
    pub(crate) fn as_json(&self) -> Value {
        let planned = &self.planned;
        let [fine, chain, link] = planned.critical().map(|seconds| 1e3 * seconds);
        let mut predicted = json!({
            "devices": planned.held.len(),
            "threads": planned.threads,
            "step_ms": 1e3 * planned.prediction.makespan(),
            "speedup": planned.speedup(),
            "serial_ms": 1e3 * planned.serial,
            "replicas": planned.replicas,
            "recompute": planned.kept_units,
            "held": planned.held,
            "utilization": planned.prediction.timeline.utilization(),
            "memory_bytes": planned.prediction.memory,
            "critical_path_ms": { "fine": fine, "chain": chain, "link": link },
            "bound": planned.bound().as_str(),
            "assumptions": self.remarks,
        });
        if let Some(suggested) = &self.suggestion {
            suggested.add_json(&mut predicted);
        }
        predicted
    }

    pub(crate) fn as_text(&self) -> String {
        let planned = &self.planned;
        let slower = if planned.speedup() < 1.0 { ", slower" } else { "" };
        let is_here = self.suggestion.as_ref().is_some_and(Suggested::is_for_this_machine);
        let (place, serial) = match is_here {
            true => {
                let (workers, threads) = (planned.held.len(), planned.threads);
                let placement = Placement { workers, threads };
                (format!("this machine with {placement}"), "without cuts, at its fastest")
            }
            false => {
                let devices = planned.held.len() * planned.replicas;
                (count(devices, "device"), "without cuts on one device")
            }
        };
        let mut lines = vec![format!(
            "Predicted step on {place}: {:.2} ms; {serial}: {:.2} ms (speedup {:.2}{slower})",
            1e3 * planned.prediction.makespan(),
            1e3 * planned.serial,
            planned.speedup(),
        )];
        let [fine, chain, link] = planned.critical().map(|seconds| 1e3 * seconds);
        let bound = self.suggestion.as_ref().map_or(planned.bound(), Suggested::bound);
        lines.push(format!(
            "  critical path: fine work {fine:.2} ms, chain {chain:.2} ms, links {link:.2} ms; bound \
             by {}",
            bound.as_str()
        ));
        if let Some(units) = planned.kept_units {
            lines.push(format!(
                "  one state is kept per {} and the others are recomputed, also on one device",
                count(units, "unit")
            ));
        }
        if planned.replicas > 1 {
            lines.push(
                "  each replica processes a whole batch, so the speedup is that of images per second"
                    .into(),
            );
        }
        lines.extend(self.remarks.iter().map(|remark| format!("  {remark}")));
        let device = match (is_here, planned.replicas) {
            (true, _) => "worker",
            (false, 1) => "device",
            (false, _) => "device of each replica",
        };
        let mut rows = vec![row([device, "subnetworks", "units", "busy", "memory"])];
        let busy = planned.prediction.timeline.utilization();
        let mut first = 0;
        for (device, held) in planned.held.iter().enumerate() {
            let subnetworks = first..first + held;
            let units: usize = subnetworks.map(|j| planned.network.cuts.units_of(j).len()).sum();
            first += held;
            rows.push(row([
                &(device + 1).to_string(),
                &held.to_string(),
                &units.to_string(),
                &format!("{:.0} %", 100.0 * busy[device]),
                &memory(planned.prediction.memory[device]),
            ]));
        }
        lines.push(table(&rows));
        if let Some(found) = &self.suggestion {
            lines.push(String::new());
            lines.push(found.as_text());
        }
        lines.join("\n")
    }
}

/// Formats an amount of memory in gigabytes, or in megabytes below one gigabyte.
pub(super) fn memory(bytes: f64) -> String {
    match bytes {
        0.0..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}
