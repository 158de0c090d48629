//! Predicted steps as JSON and as text.

use parareal_vision::{Planned, Suggestion};
use serde_json::{Value, json};

use crate::output::{count, table};

/// A prediction with remarks on it.
pub(crate) struct Step {
    pub(crate) planned: Planned,
    pub(crate) suggestion: Option<Suggestion>,
    pub(crate) remarks: Vec<String>,
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
            "recompute": planned.kept_units,
            "held": planned.held,
            "utilization": planned.prediction.timeline.utilization(),
            "memory_bytes": planned.prediction.memory,
            "critical_path_ms": { "fine": fine, "chain": chain, "link": link },
            "bound": planned.bound().as_str(),
            "assumptions": self.remarks,
        });
        if let Some(Suggestion { tried, bound, by_rule, .. }) = &self.suggestion {
            predicted["bound"] = json!(bound.as_str());
            predicted["tried"] = tried.iter().map(brief).collect();
            predicted["by_the_papers_rule"] = by_rule.as_ref().map_or(Value::Null, brief);
        }
        predicted
    }

    pub(crate) fn as_text(&self) -> String {
        let planned = &self.planned;
        let slower = if planned.speedup() < 1.0 { ", slower" } else { "" };
        let mut lines = vec![format!(
            "Predicted step on {}: {:.2} ms; without cuts on one device: {:.2} ms (speedup {:.2}{slower})",
            count(planned.held.len() * planned.replicas, "device"),
            1e3 * planned.prediction.makespan(),
            1e3 * planned.serial,
            planned.speedup(),
        )];
        let [fine, chain, link] = planned.critical().map(|seconds| 1e3 * seconds);
        let bound = self.suggestion.as_ref().map_or(planned.bound(), |found| found.bound);
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
        let device = if planned.replicas > 1 { "device of each replica" } else { "device" };
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
            lines.push(suggested(found));
        }
        lines.join("\n")
    }
}

/// Returns the main fields of a configuration that was tried.
fn brief(planned: &Planned) -> Value {
    json!({
        "subnetworks": planned.network.cuts.subnetworks(),
        "coarse_unit": planned.network.coarse_kind.to_string(),
        "coarse_units": planned.network.first_coarse_units(),
        "cuts": planned.network.cuts.positions(),
        "devices": planned.held.len(),
        "step_ms": 1e3 * planned.prediction.makespan(),
        "speedup": planned.speedup(),
        "memory_bytes": planned.memory(),
        "bound": planned.bound().as_str(),
    })
}

fn suggested(found: &Suggestion) -> String {
    let mut rows =
        vec![row(["N", "N_c", "coarse unit", "step", "speedup", "memory", "bound by", ""])];
    let line = |planned: &Planned, remark: &str| {
        let units = planned.network.first_coarse_units();
        row([
            &planned.network.cuts.subnetworks().to_string(),
            &if units == 0 { "-".into() } else { units.to_string() },
            &if units == 0 { "-".into() } else { planned.network.coarse_kind.to_string() },
            &format!("{:.2} ms", 1e3 * planned.prediction.makespan()),
            &format!("{:.2}x", planned.speedup()),
            &memory(planned.memory()),
            planned.bound().as_str(),
            remark,
        ])
    };
    rows.extend(
        found.tried.iter().enumerate().map(|(index, planned)| {
            line(planned, if index == found.best { "suggested" } else { "" })
        }),
    );
    rows.extend(found.by_rule.iter().map(|planned| line(planned, "N_c by the paper's rule")));
    format!(
        "Candidates with balanced cuts, for each N the fastest that fits\n{}\n  A smaller coarse network \
         shortens the predicted step but may cost accuracy, which is not predicted; choose another one \
         with --coarse-unit and --coarse-units",
        table(&rows)
    )
}

/// Formats an amount of memory in gigabytes, or in megabytes below one gigabyte.
fn memory(bytes: f64) -> String {
    match bytes {
        0.0..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}
