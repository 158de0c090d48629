//! Flags of `plan`.

use std::path::PathBuf;

use clap::Args;
use parareal_vision::CostSource;

use super::settings::{Flag, Selection, SettingFlags};

/// Flags of `plan`. A step is predicted where --cuts balanced or one of the flags of a step asks for
/// it.
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) network: SettingFlags<Network>,
    /// Classes to tell apart
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(crate) classes: usize,
    #[command(flatten)]
    pub(crate) step: Step,
    /// Print the plan as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// The settings that describe a network.
pub(crate) struct Network;

impl Selection for Network {
    fn flags() -> Vec<Flag> {
        ["depth", "width", "subnetworks", "cuts", "coarse-unit", "coarse-units"]
            .map(|key| Flag::of(key).heading("Network"))
            .into()
    }
}

/// Flags of a step that is predicted.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Step")]
pub(crate) struct Step {
    /// Devices to plan for; more than subnetworks have nothing to do [default: one for each
    /// subnetwork]
    #[arg(long, value_name = "D")]
    pub(crate) device_count: Option<usize>,
    /// What the parts cost: measured (here, on one core, in about a minute), paper (its Table 2), or
    /// a file that `parareal bench --json` wrote [default: measured]
    #[arg(long, value_name = "measured|paper|FILE")]
    pub(crate) costs: Option<CostSource>,
    /// How a step is run: overlap (what `parareal train` does) or paper (its virtual wall clock, in
    /// which nothing overlaps the coarse network) [default: overlap]
    #[arg(long, value_name = "overlap|paper")]
    pub(crate) schedule: Option<String>,
    /// Share of the coarse network's backward pass that gradients of weights take, which can wait:
    /// the paper's Table 2 does not say it [default: 0.5, with --costs paper]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) coarse_weight_share: Option<f64>,
    /// Let gradients of weights of the coarse network wait until the cotangent is sent, which
    /// `parareal train` does on the CPU, in single precision [default: true]
    #[arg(long, value_name = "true|false")]
    pub(crate) defer: Option<bool>,
    /// Keep one state for every K residual units and compute the rest again in the backward pass, as
    /// `parareal train --recompute` does. Without K, the square root of the number of units of the longest
    /// subnetwork
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "0")]
    pub(crate) recompute: Option<usize>,
    /// Gigabits of a second between devices [default: links cost nothing]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub(crate) link_gbps: Option<f64>,
    /// Microseconds until a message between devices arrives [default: 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) link_us: Option<f64>,
    /// Copies of all devices, each with a step's images of its own, whose gradients are averaged on a
    /// ring [default: 1]
    #[arg(long, value_name = "R")]
    pub(crate) replicas: Option<usize>,
    /// Images of a step, where costs are measured [default: 16]
    #[arg(long, value_name = "B")]
    pub(crate) batch_size: Option<usize>,
    /// Find N, the coarse networks' units and the cuts with the shortest step on --device-count
    /// devices; of what is given, --coarse-unit and --coarse-units stay as they are
    #[arg(long)]
    pub(crate) suggest: bool,
    /// Gigabytes of memory of a device, which a suggestion has to fit into [default: no limit]
    #[arg(long, value_name = "GB", allow_negative_numbers = true)]
    pub(crate) memory_gb: Option<f64>,
    /// Write the predicted step as a trace for ui.perfetto.dev (.json) or as a picture (.svg)
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Milliseconds that the picture's axis shows, so that two can be compared [default: the step]
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub(crate) timeline_ms: Option<f64>,
    /// Overwrite a file of --timeline that is there already
    #[arg(long)]
    pub(crate) overwrite: bool,
}
