//! Flags of `plan`.

use std::path::PathBuf;

use clap::Args;
use parareal_vision::CostSource;

use super::settings::{Flag, Selection, SettingFlags};

/// Flags of `plan`.
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) network: SettingFlags<Network>,
    /// Number of classes
    #[arg(long, value_name = "M", default_value_t = 10, hide_short_help = true)]
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
        let network = |flag: Flag| flag.heading("Network").quick_default().essential();
        let mut flags: Vec<_> =
            ["network", "depth", "width", "precision"].map(Flag::of).map(network).into();
        let image_size = Flag::of("image-size").help("Height and width of the images in pixels");
        flags.push(network(image_size));
        let cuts = ["subnetworks", "cuts", "coarse-unit", "coarse-units"];
        flags.extend(cuts.map(Flag::of).map(network));
        flags
    }
}

/// Flags of the predicted step.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Step")]
pub(crate) struct Step {
    /// Number of devices [default: one for each subnetwork; with --suggest, the cores of this machine]
    ///
    /// More devices than subnetworks would be idle.
    #[arg(long, value_name = "D")]
    pub(crate) device_count: Option<usize>,
    /// Source of the costs: measured, paper, or a file [default: measured]
    ///
    /// `measured` times the parts on this machine, in less than a minute. `paper` is the paper's Table 2. FILE is
    /// the output of `parareal bench --json`.
    #[arg(long, value_name = "measured|paper|FILE")]
    pub(crate) costs: Option<CostSource>,
    /// Schedule of the step: overlap or paper [default: overlap]
    ///
    /// `overlap` is the schedule of `parareal train`. `paper` is the paper's virtual wall clock, in which nothing
    /// overlaps the coarse network.
    #[arg(long, value_name = "overlap|paper", hide_short_help = true)]
    pub(crate) schedule: Option<String>,
    /// Fraction of the coarse network's backward pass for weight gradients [default: 0.5]
    ///
    /// Weight gradients can be deferred. The paper's Table 2 has no separate times for them, so their
    /// fraction must be assumed. Requires --costs paper.
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, hide_short_help = true)]
    pub(crate) coarse_weight_share: Option<f64>,
    /// Defer weight gradients of the coarse network [default: true]
    ///
    /// Deferred weight gradients are computed after the gradient of the coarse network's input has been sent
    /// to the neighbor, as `parareal train` does with fused units.
    #[arg(long, value_name = "true|false", hide_short_help = true)]
    pub(crate) defer: Option<bool>,
    /// Recompute states in the backward pass instead of storing them
    ///
    /// One state is kept for every K residual units, as with `parareal train --recompute`. Without a value, K
    /// is the square root of the number of units in the longest subnetwork.
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "0", hide_short_help = true)]
    pub(crate) recompute: Option<usize>,
    /// Bandwidth between devices in Gbit/s [default: communication takes no time]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub(crate) link_gbps: Option<f64>,
    /// Latency of a message between devices in microseconds [default: 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) link_us: Option<f64>,
    /// Number of replicas (data parallelism) [default: 1]
    ///
    /// Each replica has its own devices and images. Gradients are averaged with a ring all-reduce.
    #[arg(long, value_name = "R", hide_short_help = true)]
    pub(crate) replicas: Option<usize>,
    /// Number of images per step, for --costs measured [default: 16]
    #[arg(long, value_name = "B")]
    pub(crate) batch_size: Option<usize>,
    /// Number of threads of each device, for --costs measured [default: 1]
    #[arg(long, value_name = "T", hide_short_help = true)]
    pub(crate) threads: Option<usize>,
    /// Find the N, coarse units and cuts with the shortest predicted step
    ///
    /// With --device-count, the search assumes that many devices. Without it, the search is for this machine: the
    /// costs are measured with several numbers of workers and threads, all of them busy, and the serial network is
    /// one of the candidates. --coarse-unit and --coarse-units restrict the search.
    #[arg(long)]
    pub(crate) suggest: bool,
    /// Memory limit of each device, or of this machine, in GB, for --suggest [default: no limit]
    #[arg(long, value_name = "GB", allow_negative_numbers = true, hide_short_help = true)]
    pub(crate) memory_gb: Option<f64>,
    /// Write the timeline of the predicted step: a picture (.svg) or a trace (.json)
    ///
    /// A trace opens in ui.perfetto.dev.
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Length of the picture's time axis in milliseconds [default: the step]
    #[arg(long, value_name = "MS", allow_negative_numbers = true, hide_short_help = true)]
    pub(crate) timeline_ms: Option<f64>,
    /// Overwrite an existing file of --timeline
    #[arg(long, hide_short_help = true)]
    pub(crate) overwrite: bool,
}
