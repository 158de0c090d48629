//! Flags of `bench`.

use std::path::PathBuf;

use clap::Args;

use super::settings::{Flag, Selection, SettingFlags};

/// Flags of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Numbers of subnetworks
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', default_value = "1,3,6")]
    pub(crate) subnetworks: Vec<usize>,
    #[command(flatten)]
    pub(crate) flags: SettingFlags<Benched>,
    /// Classes to tell apart
    #[arg(long, value_name = "M", default_value_t = 10)]
    pub(crate) classes: usize,
    /// How often each part is timed, and how many steps
    #[arg(long, value_name = "R", default_value_t = 7)]
    pub(crate) repetitions: usize,
    /// Images of an epoch, for the time of a whole training
    #[arg(long, value_name = "K", default_value_t = 50_000)]
    pub(crate) images: usize,
    /// Write the measured step of the last N as a trace for ui.perfetto.dev (.json) or as a picture
    /// (.svg)
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Overwrite a file of --timeline that is there already
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print all that was measured as one JSON value on standard output; `plan --costs FILE` reads it
    #[arg(long)]
    pub(crate) json: bool,
}

/// The settings of a bench.
pub(crate) struct Benched;

impl Selection for Benched {
    fn flags() -> Vec<Flag> {
        vec![
            Flag::of("depth").default("110"),
            Flag::of("width").default("16"),
            Flag::of("cuts")
                .help("Where to cut: even, or balanced (where the predicted step is shortest)")
                .default("even"),
            Flag::of("coarse-unit").default("auto"),
            Flag::of("coarse-units"),
            Flag::of("batch-size").help("Images of a step").default("32"),
            Flag::of("device").help("Device to use: cpu, wgpu:0, ..").default("cpu"),
            Flag::of("threads").help("Threads of each worker on the CPU").default("1"),
            Flag::of("workers")
                .help("Workers of the real step")
                .default_note("as many as have enough cores for their threads"),
            Flag::of("epochs")
                .help("Epochs of a whole training, of which the time is estimated")
                .default("200"),
        ]
    }
}
