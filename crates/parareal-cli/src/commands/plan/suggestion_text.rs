//! Suggested configurations as JSON and as text.

use parareal_data::DatasetName;
use parareal_vision::{Bound, DEFAULT_IMAGE_SIZE, Planned, Precision, Suggestion};
use serde_json::{Value, json};

use super::step_text::{memory, row};
use crate::output::{program, table};

/// A suggestion for devices or for this machine.
pub(crate) struct Suggested {
    found: Suggestion,
    /// Batch size of the costs, if they were measured for the workers and threads of this machine.
    batch_size_here: Option<usize>,
}

impl Suggested {
    /// A suggestion for a number of devices.
    pub(crate) fn for_devices(found: Suggestion) -> Self {
        Self { found, batch_size_here: None }
    }

    /// A suggestion for the workers and threads of this machine, for batches of this size.
    pub(crate) fn for_this_machine(found: Suggestion, batch: usize) -> Self {
        Self { found, batch_size_here: Some(batch) }
    }

    pub(super) fn is_for_this_machine(&self) -> bool {
        self.batch_size_here.is_some()
    }

    pub(super) fn bound(&self) -> Bound {
        self.found.bound
    }

    /// Adds the configurations that were tried to a predicted step.
    pub(super) fn add_json(&self, predicted: &mut Value) {
        let Suggestion { tried, best, bound, by_rule } = &self.found;
        predicted["bound"] = json!(bound.as_str());
        predicted["tried"] = tried.iter().map(|planned| self.brief(planned)).collect();
        predicted["by_the_papers_rule"] =
            by_rule.as_ref().map_or(Value::Null, |planned| self.brief(planned));
        if let Some(batch) = self.batch_size_here {
            predicted["command"] = json!(command(&tried[*best], batch));
        }
    }

    pub(super) fn as_text(&self) -> String {
        let Suggestion { tried, best, by_rule, .. } = &self.found;
        let mut rows = vec![self.line(["workers", "threads"], NAMES)];
        rows.extend(tried.iter().enumerate().map(|(index, planned)| {
            self.planned(planned, if index == *best { "suggested" } else { "" })
        }));
        rows.extend(by_rule.iter().map(|planned| self.planned(planned, "N_c by the paper's rule")));
        let each = if self.is_for_this_machine() { "N and placement" } else { "N" };
        let mut text = format!(
            "Candidates with balanced cuts, for each {each} the fastest that fits\n{}\n  Differences of less than \
             about 15 % are within the error of a prediction. A smaller coarse network shortens the predicted step \
             but may cost accuracy, which is not predicted; choose another one with --coarse-unit and --coarse-units",
            table(&rows)
        );
        if let Some(batch) = self.batch_size_here {
            text = format!("{text}\n\nTrain it with\n  {}", command(&tried[*best], batch));
        }
        text
    }

    fn planned(&self, planned: &Planned, remark: &str) -> Vec<String> {
        let units = planned.network.first_coarse_units();
        let placement = [planned.held.len(), planned.threads].map(|count| count.to_string());
        self.line(
            placement.each_ref().map(String::as_str),
            [
                &planned.network.cuts.subnetworks().to_string(),
                &if units == 0 { "-".into() } else { units.to_string() },
                &if units == 0 { "-".into() } else { planned.network.coarse_kind.to_string() },
                &format!("{:.2} ms", 1e3 * planned.prediction.makespan()),
                &format!("{:.2}x", planned.speedup()),
                &memory(self.memory(planned)),
                planned.bound().as_str(),
                remark,
            ],
        )
    }

    /// Returns the memory of all workers of this machine, or of the device with the most.
    fn memory(&self, planned: &Planned) -> f64 {
        match self.is_for_this_machine() {
            true => planned.total_memory(),
            false => planned.memory(),
        }
    }

    /// Returns the main fields of a configuration that was tried.
    fn brief(&self, planned: &Planned) -> Value {
        json!({
            "subnetworks": planned.network.cuts.subnetworks(),
            "coarse_unit": planned.network.coarse_kind.to_string(),
            "coarse_units": planned.network.first_coarse_units(),
            "cuts": planned.network.cuts.positions(),
            "devices": planned.held.len(),
            "threads": planned.threads,
            "step_ms": 1e3 * planned.prediction.makespan(),
            "speedup": planned.speedup(),
            "memory_bytes": self.memory(planned),
            "bound": planned.bound().as_str(),
        })
    }

    /// Returns a row of the table. The numbers of workers and threads are shown for this machine only.
    fn line(&self, placement: [&str; 2], others: [&str; 8]) -> Vec<String> {
        let placement = if self.is_for_this_machine() { row(placement) } else { Vec::new() };
        [placement, row(others)].concat()
    }
}

const NAMES: [&str; 8] = ["N", "N_c", "coarse unit", "step", "speedup", "memory", "bound by", ""];

/// Returns the command that trains a configuration on this machine.
fn command(planned: &Planned, batch: usize) -> String {
    let network = &planned.network;
    let count = network.cuts.subnetworks();
    let mut command = format!("{} train --network {}", program(), network.net.architecture());
    let mut add = |flag: &str, value: String| command.push_str(&format!(" --{flag} {value}"));
    if network.net.width() != network.net.architecture().default_width() {
        add("width", network.net.width().to_string());
    }
    if network.net.precision() != Precision::default() {
        add("precision", network.net.precision().to_string());
    }
    if network.net.image_size() != DEFAULT_IMAGE_SIZE {
        add("dataset", DatasetName::Folder.to_string());
        add("data-dir", "DIR".into());
        add("image-size", network.net.image_size().to_string());
    }
    add("subnetworks", count.to_string());
    if count > 1 {
        let cuts: Vec<String> = network.cuts.positions().iter().map(ToString::to_string).collect();
        add("cuts", cuts.join(","));
        add("coarse-unit", network.coarse_kind.to_string());
        if let Some(units) = network.coarse_units {
            add("coarse-units", units.to_string());
        }
    }
    add("workers", planned.held.len().to_string());
    add("threads", planned.threads.to_string());
    add("batch-size", batch.to_string());
    if let Some(units) = planned.kept_units {
        add("recompute", units.to_string());
    }
    command
}
