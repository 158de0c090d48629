//! Flags of the commands for existing runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use parareal_vision::Architecture;

use super::settings::{Flag, Selection, SettingFlags};

/// The folder of an existing run.
#[derive(Args, Clone)]
pub(crate) struct RunFolder {
    /// Folder of the run
    #[arg(value_name = "RUN", required_unless_present = "run_flag")]
    run: Option<PathBuf>,
    /// Folder of the run
    #[arg(long = "run", value_name = "RUN", hide = true, conflicts_with = "run")]
    run_flag: Option<PathBuf>,
}

impl RunFolder {
    /// Returns the folder.
    pub(crate) fn into_path(self) -> PathBuf {
        self.run.or(self.run_flag).unwrap_or_default()
    }
}

/// Flags of `eval`.
#[derive(Args)]
#[command(override_usage = "parareal eval [OPTIONS] <RUN>")]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) run: RunFolder,
    /// Checkpoint: latest, best (smallest error), or a step number
    #[arg(long, value_name = "WHICH", default_value = "latest")]
    pub(crate) checkpoint: String,
    #[command(flatten)]
    pub(crate) flags: SettingFlags<TestImages>,
    /// Print the result as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// The settings that select the images for an evaluation.
pub(crate) struct TestImages;

impl Selection for TestImages {
    fn flags() -> Vec<Flag> {
        vec![
            Flag::of("dataset").help("Data set to evaluate on").default_note("that of the run"),
            Flag::of("data-dir")
                .help("Folder of the data sets, or of your own images")
                .default_note("that of the run, otherwise data"),
            Flag::of("limit-test").default_note("as in the run").essential(),
        ]
    }
}

/// Flags of `predict`.
#[derive(Args)]
#[command(override_usage = "parareal predict [OPTIONS] <RUN> <IMAGE>...")]
pub(crate) struct Predict {
    /// Folder of the run, or a safetensors file or folder that `parareal export` has written
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// PNG or JPEG files, or folders of them
    ///
    /// The files of a folder are classified in the order of their names; subfolders are not searched. Images
    /// are preprocessed as in training: they are scaled to the input size of the network, with MNIST's border
    /// if the run was trained on MNIST.
    #[arg(value_name = "IMAGE", required_unless_present = "run_flag")]
    images: Vec<PathBuf>,
    /// Folder of the run; then all positional arguments are images
    #[arg(long = "run", value_name = "RUN", hide = true)]
    run_flag: Option<PathBuf>,
    /// Checkpoint: latest, best (smallest error), or a step number [default: latest]
    #[arg(long, value_name = "WHICH")]
    pub(crate) checkpoint: Option<String>,
    /// Print the predictions as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

impl Predict {
    /// Returns the folder of the run, and the images.
    pub(crate) fn run_and_images(&self) -> (PathBuf, Vec<PathBuf>) {
        let images = self.images.iter();
        match &self.run_flag {
            Some(run) => (run.clone(), std::iter::once(&self.run).chain(images).cloned().collect()),
            None => (self.run.clone(), images.cloned().collect()),
        }
    }
}

/// Flags of `export`.
#[derive(Args)]
#[command(override_usage = "parareal export [OPTIONS] --output <PATH> <RUN>")]
#[command(mut_arg("run", |run| run.help("Folder of the run, or a safetensors file or exported folder to convert")))]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) run: RunFolder,
    /// Format: safetensors, pytorch or onnx
    ///
    /// `safetensors` is a file with all tensors, in PyTorch's layouts. `pytorch` is a folder with such a file and a Python
    /// module that builds the network and loads it. `onnx` is a file with the evaluation network as a graph of operator
    /// set 17, from `images` [batch, channels, height, width] to `scores` [batch, classes]. All have metadata: the
    /// network, its cuts, the names of the classes, and the size and normalization of the images.
    #[arg(long, value_name = "FORMAT", default_value = "safetensors")]
    pub(crate) format: ExportFormatName,
    /// Let the ONNX network normalize its input, so that it takes images with values from 0 to 1
    #[arg(long)]
    pub(crate) normalize: bool,
    /// File to write, or folder for pytorch
    #[arg(long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Checkpoint: latest, best (smallest error), or a step number [default: latest]
    #[arg(long, value_name = "WHICH")]
    pub(crate) checkpoint: Option<String>,
    /// Network of a file whose weights have the names of torchvision or timm, such as resnet50
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<Architecture>,
    /// Height and width of the images of this network, in pixels [default: 224]
    #[arg(long, value_name = "S")]
    pub(crate) image_size: Option<usize>,
    /// Print a summary as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Names of export formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormatName {
    Safetensors,
    Pytorch,
    Onnx,
}

/// Flags of `report`.
#[derive(Args)]
pub(crate) struct Report {
    /// Folders of runs
    #[arg(value_name = "RUN", required_unless_present = "run_flags")]
    runs: Vec<PathBuf>,
    /// Folder of a run
    #[arg(long = "run", value_name = "RUN", hide = true)]
    run_flags: Vec<PathBuf>,
    /// HTML file to write, which needs no other files and no network
    #[arg(long, value_name = "FILE.html")]
    pub(crate) output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub(crate) overwrite: bool,
}

impl Report {
    /// Returns the folders of the runs.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        [&self.runs[..], &self.run_flags].concat()
    }
}
