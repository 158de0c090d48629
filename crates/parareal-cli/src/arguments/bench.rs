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
    /// Number of classes
    #[arg(long, value_name = "M", default_value_t = 10, hide_short_help = true)]
    pub(crate) classes: usize,
    /// Number of repetitions of each part and of the step
    #[arg(long, value_name = "R", default_value_t = 7)]
    pub(crate) repetitions: usize,
    /// Number of images per epoch, for the estimated time of a complete training
    #[arg(long, value_name = "K", default_value_t = 50_000, hide_short_help = true)]
    pub(crate) images: usize,
    /// Write the timeline of the last N's step: a picture (.svg) or a trace (.json)
    ///
    /// A trace opens in ui.perfetto.dev.
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Overwrite an existing file of --timeline
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print all measurements as one JSON value on standard output
    ///
    /// `parareal plan --costs FILE` reads it.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The settings of a bench.
pub(crate) struct Benched;

impl Selection for Benched {
    fn flags() -> Vec<Flag> {
        vec![
            Flag::of("network"),
            Flag::of("depth").default_note("110"),
            Flag::of("width"),
            Flag::of("precision"),
            Flag::of("image-size").help("Height and width of the images in pixels").default("32"),
            Flag::of("cuts")
                .help("Positions of the cuts: even, or balanced (shortest predicted step)")
                .default("even")
                .essential(),
            Flag::of("coarse-unit").default("auto"),
            Flag::of("coarse-units"),
            Flag::of("batch-size").help("Number of images per step").default("32"),
            Flag::of("device").help("Device: cpu, wgpu:0, ..").default("cpu"),
            Flag::of("threads")
                .help("Number of threads per worker on the CPU")
                .default("1")
                .essential(),
            Flag::of("workers")
                .help("Number of workers in the measured step")
                .value_name("K")
                .default_note("as many as the cores allow"),
            Flag::of("epochs")
                .help("Number of epochs of a complete training, whose time is estimated")
                .default("200"),
        ]
    }
}
