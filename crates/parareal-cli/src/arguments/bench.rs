//! Flags of `bench`.

use std::path::PathBuf;

use clap::Args;
use parareal_train::Settings;

/// Flags of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Layers of the ResNet, 9n+2
    #[arg(long, value_name = "9n+2", default_value_t = 110)]
    depth: usize,
    /// Numbers of subnetworks
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', default_value = "1,3,6")]
    pub(crate) subnetworks: Vec<usize>,
    /// Where to cut: even, or balanced (where the predicted step is shortest)
    #[arg(long, value_name = "even|balanced", default_value = "even")]
    cuts: String,
    /// Units of the coarse networks: auto, basic (the paper's), bottleneck or depthwise
    #[arg(long, value_name = "KIND", default_value = "auto")]
    coarse_unit: String,
    /// Units of each coarse network [default: 12/N, rounded up; fewer where pieces are small]
    #[arg(long, value_name = "NC")]
    coarse_units: Option<usize>,
    /// Classes to tell apart
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(crate) classes: usize,
    /// Images of a step
    #[arg(long, value_name = "B", default_value_t = 32)]
    pub(crate) batch_size: usize,
    /// Device to use: cpu, wgpu:0, ..
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: String,
    /// Threads of a worker on the CPU
    #[arg(long, value_name = "T", default_value_t = 1)]
    pub(crate) threads: usize,
    /// Workers of the real step [default: the cores that are there for so many threads]
    #[arg(long, value_name = "K")]
    pub(crate) workers: Option<usize>,
    /// How often each part is timed, and how many steps
    #[arg(long, value_name = "R", default_value_t = 7)]
    pub(crate) repetitions: usize,
    /// Images of an epoch, for the time of a whole training
    #[arg(long, value_name = "K", default_value_t = 50_000)]
    pub(crate) images: usize,
    /// Epochs of a whole training
    #[arg(long, value_name = "E", default_value_t = 200)]
    pub(crate) epochs: usize,
    /// Write the measured step of the last N as a trace for ui.perfetto.dev (.json) or as a picture
    /// (.svg)
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Write over a file of --timeline that is there already
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print all that was measured as one JSON value on standard output; `plan --costs FILE` reads it
    #[arg(long)]
    pub(crate) json: bool,
}

impl Bench {
    /// What the flags set about the network.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            depth: Some(self.depth),
            cuts: Some(self.cuts.clone()),
            coarse_unit: Some(self.coarse_unit.clone()),
            coarse_units: self.coarse_units,
            ..Settings::default()
        }
    }
}
