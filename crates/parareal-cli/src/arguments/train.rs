//! Flags of `train`, and those that describe a network.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use parareal_train::Settings;

/// Flags of `train`; of one that is given twice the last counts.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(after_help = "\
Signals: SIGINT (Ctrl-C), SIGTERM and SIGHUP stop the run after its step with a checkpoint and exit code
130, and so do SIGUSR1, SIGUSR2 and SIGXCPU, by which batch systems announce the end of a job;
--resume goes on from there. A second Ctrl-C stops at once. Signals that were ignored at the start
stay ignored: SIGHUP under nohup, SIGINT in the background of a script.")]
pub(crate) struct Train {
    /// Take settings from a file; it has the names of these flags as keys, flags override it
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
    /// Where settings left open come from: quick or paper [default: paper for the paper's data sets
    /// at depth 1001, otherwise quick]
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// Images to learn: shapes (built in), mnist, cifar10, cifar100, svhn, or folder for your own
    /// [default: shapes]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Folder in which each data set has a folder of its name; shapes needs none. With --dataset
    /// folder it has a folder of PNG and JPEG files for each class, or train and test with these
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Take the first K training images [default: all]
    #[arg(long, value_name = "K")]
    limit_train: Option<usize>,
    /// Take the first K test images, 0 for none [default: all]
    #[arg(long, value_name = "K")]
    limit_test: Option<usize>,
    /// Set this share of the training images aside, and choose the best epoch by them instead of
    /// by the test images [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    validation: Option<f64>,
    /// Crop and mirror training images at random where that is usual: CIFAR's and your own
    /// [default: true]
    #[arg(long, value_name = "true|false")]
    augment: Option<bool>,
    #[command(flatten)]
    network: Network,
    /// Passes over the training images [default: 6; paper: 200]. With --resume another number ends the
    /// run earlier or later: a cosine then spans the new number, milestones stay where they are
    #[arg(long, value_name = "E", help_heading = "Training")]
    epochs: Option<usize>,
    /// Images of a step [default: 16; paper: 128]
    #[arg(long, value_name = "B", help_heading = "Training")]
    batch_size: Option<usize>,
    /// Learning rate at the start [default: 0.02; paper: 0.1]
    #[arg(long, value_name = "R", help_heading = "Training", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// Momentum, from 0 to below 1 [default: 0.9]
    #[arg(long, value_name = "M", help_heading = "Training", allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Weight decay [default: 0.0005]
    #[arg(long, value_name = "W", help_heading = "Training", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Look ahead along the momentum (Nesterov)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_name = "true|false", help_heading = "Training")]
    nesterov: Option<bool>,
    /// What becomes of the learning rate: step (divided by ten at the milestones) or cosine (to zero at
    /// the end of the last epoch) [default: step]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    schedule: Option<String>,
    /// Epochs in which the learning rate first rises, or parts of one [default: 0]
    #[arg(long, value_name = "E", help_heading = "Training", allow_negative_numbers = true)]
    warmup_epochs: Option<f64>,
    /// Spread this much of each label over all classes [default: 0]
    #[arg(long, value_name = "S", help_heading = "Training", allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// Scale a gradient with a larger norm down to this one [default: never]
    #[arg(long, value_name = "N", help_heading = "Training", allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// Judge by a moving average of the weights, of which a step leaves the share D as it is, say
    /// 0.999, and less of it in the first steps: at most (1 + t) / (10 + t) in step t. eval, predict,
    /// export and --init-from take the average as well [default: none]
    #[arg(long, value_name = "D", help_heading = "Training", allow_negative_numbers = true)]
    ema_decay: Option<f64>,
    /// Start from the last weights of another run of the same depth, serial or cut; interfaces that
    /// it does not have start anew
    #[arg(long, value_name = "RUN", help_heading = "Training")]
    init_from: Option<PathBuf>,
    /// Epochs after which the learning rate is divided by ten, or none [default: at 70 % and
    /// 90 % of the epochs when the run starts; paper: 80,120]
    #[arg(long, value_name = "E,E,..", help_heading = "Training")]
    milestones: Option<Milestones>,
    /// Stop where E epochs in a row were no better than the best before them [default: never]
    #[arg(long, value_name = "E", help_heading = "Training")]
    patience: Option<usize>,
    /// Seed of the initial weights and of the order of the images [default: 1]
    #[arg(long, value_name = "S", help_heading = "Training")]
    seed: Option<u64>,
    /// How a step is run: threads (subnetworks in parallel), sequential (one graph), or mpi
    /// (subnetworks on the ranks that mpirun or srun has started) [default: threads]
    #[arg(long, value_name = "NAME", help_heading = "Machine")]
    executor: Option<String>,
    /// Copies of the chain of subnetworks, each with a part of every batch; with mpi there are as many
    /// times more ranks [default: 1]
    #[arg(long, value_name = "R", help_heading = "Machine")]
    replicas: Option<usize>,
    /// As what ranks send tensors to each other: f32, or bf16 for half the bytes, rounded
    /// [default: f32]
    #[arg(long, value_name = "TYPE", help_heading = "Machine")]
    link_dtype: Option<String>,
    /// Device to use: cpu, wgpu:0, wgpu:cpu, vulkan:0, metal:0, cuda:0 or rocm:0; give it again
    /// for each further device. With mpi the ranks of a machine take them in turn [default: cpu]
    #[arg(long, value_name = "DEVICE", help_heading = "Machine")]
    device: Vec<String>,
    /// Workers that share the subnetworks of each copy, or those of a rank [default: one for each
    /// device; on the CPU one for each core, at most one for each subnetwork]
    #[arg(long, value_name = "K", help_heading = "Machine")]
    workers: Option<usize>,
    /// Threads of each worker on the CPU; sums are split by them, so results depend on their number to
    /// rounding [default: an equal share of the cores, which ranks of a machine share as well]
    #[arg(long, value_name = "T", help_heading = "Machine")]
    threads: Option<usize>,
    /// Save memory: keep one state for K residual units and compute the rest again in the backward
    /// pass, for about a third more time [without K: the root of a subnetwork's units]
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "0")]
    #[arg(help_heading = "Machine")]
    recompute: Option<usize>,
    /// Folder of the run, new or empty [default: a new one below runs/]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Go on with the run in the folder of --output from its newest whole checkpoint: bit for bit with
    /// the same executor, threads, device and vector instructions, otherwise to rounding. Flags of the
    /// machine, --epochs and --milestones may be others than before
    #[arg(long, requires = "output", help_heading = "Output")]
    pub(crate) resume: bool,
    /// Save a checkpoint every so many steps, 500, or minutes, 10m, besides the one behind each
    /// epoch, or only there, epoch [default: 10m]
    #[arg(long, value_name = "K|Mm", help_heading = "Output")]
    checkpoint_every: Option<String>,
    /// Keep the last K checkpoints, and the one with the smallest test error [default: 2]
    #[arg(long, value_name = "K", help_heading = "Output")]
    keep_checkpoints: Option<usize>,
    /// Print the outcome as one JSON value on standard output
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Flags that describe a network.
#[derive(Args, Clone)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Layers of the ResNet, 9n+2 [default: 20; paper: 1001]
    #[arg(long, value_name = "9n+2")]
    depth: Option<usize>,
    /// Subnetworks that the network is cut into [default: 2; paper: 3]
    #[arg(long, value_name = "N")]
    subnetworks: Option<usize>,
    /// Where to cut: even (as the paper), balanced (where the predicted step is shortest, by costs
    /// that are measured first), or the residual units before each cut in order, 2,4 [default: even]
    #[arg(long, value_name = "even|balanced|A,B,..")]
    cuts: Option<String>,
    /// Units of the coarse networks: basic (the paper's), depthwise (sees as far for an eighth of the
    /// work), bottleneck, or auto (basic where that is cheaper than the piece it approximates,
    /// otherwise bottleneck) [default: auto]
    #[arg(long, value_name = "KIND")]
    coarse_unit: Option<String>,
    /// Units of each coarse network, more where a jump halves the image more often [default: 12/N,
    /// rounded up; fewer where pieces are small]
    #[arg(long, value_name = "NC")]
    coarse_units: Option<usize>,
}

/// Epochs in a list, or none.
#[derive(Clone)]
struct Milestones(Vec<usize>);

impl FromStr for Milestones {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let epochs = text.split(',').map(|epoch| epoch.trim().parse());
        let epochs = epochs.collect::<Result<_, _>>().map(Self);
        epochs.map_err(|_| "expected epochs, say 80,120, or none".into())
    }
}

impl Network {
    pub(super) fn settings(self) -> Settings {
        Settings {
            depth: self.depth,
            subnetworks: self.subnetworks,
            cuts: self.cuts,
            coarse_unit: self.coarse_unit,
            coarse_units: self.coarse_units,
            ..Settings::default()
        }
    }
}

impl Train {
    /// What the flags set.
    pub(crate) fn settings(self) -> Settings {
        Settings {
            recipe: self.recipe,
            dataset: self.dataset,
            data_dir: self.data_dir,
            limit_train: self.limit_train,
            limit_test: self.limit_test,
            validation: self.validation,
            augment: self.augment,
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            nesterov: self.nesterov,
            schedule: self.schedule,
            milestones: self.milestones.map(|milestones| milestones.0),
            warmup_epochs: self.warmup_epochs,
            label_smoothing: self.label_smoothing,
            clip_norm: self.clip_norm,
            ema_decay: self.ema_decay,
            init_from: self.init_from,
            patience: self.patience,
            seed: self.seed,
            executor: self.executor,
            replicas: self.replicas,
            link_dtype: self.link_dtype,
            device: (!self.device.is_empty()).then_some(self.device),
            workers: self.workers,
            threads: self.threads,
            recompute: self.recompute,
            checkpoint_every: self.checkpoint_every,
            keep_checkpoints: self.keep_checkpoints,
            ..self.network.settings()
        }
    }
}
