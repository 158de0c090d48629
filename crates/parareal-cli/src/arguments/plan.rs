//! Flags of `plan`.

use std::path::PathBuf;

use clap::Args;
use parareal_train::{CostSource, Settings};

use super::Network;

/// Flags of `plan`. A step is predicted where --costs, --device-count, --cuts balanced, --suggest or
/// --timeline ask for it.
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    network: Network,
    /// Classes to tell apart
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(crate) classes: usize,
    /// Devices to plan for [default: one for each subnetwork]
    #[arg(long, value_name = "D", help_heading = "Step")]
    pub(crate) device_count: Option<usize>,
    /// What the parts cost: measured (here, on one core, in about a minute), paper (its Table 2), or
    /// a file that `parareal bench --json` wrote [default: measured]
    #[arg(long, value_name = "measured|paper|FILE", help_heading = "Step")]
    pub(crate) costs: Option<CostSource>,
    /// How a step is run: overlap (what `parareal train` does) or paper (its virtual wall clock, in
    /// which nothing overlaps the coarse network)
    #[arg(long, value_name = "overlap|paper", default_value = "overlap", help_heading = "Step")]
    pub(crate) schedule: String,
    /// Share of the coarse network's backward pass that gradients of weights take, which can wait:
    /// an assumption where --costs paper does not say it
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, help_heading = "Step")]
    pub(crate) coarse_weight_share: f64,
    /// Let gradients of weights of the coarse network wait until the cotangent is sent
    #[arg(long, value_name = "true|false", default_value_t = true, help_heading = "Step")]
    #[arg(action = clap::ArgAction::Set)]
    pub(crate) defer: bool,
    /// Gigabits of a second between devices [default: links cost nothing]
    #[arg(long, value_name = "G", help_heading = "Step")]
    pub(crate) link_gbps: Option<f64>,
    /// Microseconds until a message between devices arrives
    #[arg(long, value_name = "T", default_value_t = 0.0, help_heading = "Step")]
    pub(crate) link_us: f64,
    /// Copies of all devices, each with a step's images of its own, whose gradients are averaged
    #[arg(long, value_name = "R", default_value_t = 1, help_heading = "Step")]
    pub(crate) replicas: usize,
    /// Images of a step, where costs are measured [default: 16; paper: 128]
    #[arg(long, value_name = "B", help_heading = "Step")]
    pub(crate) batch_size: Option<usize>,
    /// Find N, coarse unit and cuts with the shortest step
    #[arg(long, help_heading = "Step")]
    pub(crate) suggest: bool,
    /// Gigabytes of memory of a device, which a suggestion has to fit into [default: no limit]
    #[arg(long, value_name = "GB", requires = "suggest", help_heading = "Step")]
    pub(crate) memory_gb: Option<f64>,
    /// Write the predicted step as a trace for ui.perfetto.dev (.json) or as a picture (.svg)
    #[arg(long, value_name = "FILE", help_heading = "Step")]
    pub(crate) timeline: Option<PathBuf>,
    /// Print the plan as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

impl Plan {
    /// What the flags set.
    pub(crate) fn settings(&self) -> Settings {
        self.network.clone().settings()
    }
}
