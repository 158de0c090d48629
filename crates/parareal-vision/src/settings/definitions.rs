//! The settings of a run. Each setting has one entry, which alone defines its name, meaning and valid values.
//! Flags, keys of configuration files, `config.toml`, defaults and messages are generated from the entry.

use std::path::PathBuf;

use parareal_data::{DatasetName, LoadOptions};
use parareal_models::{
    Architecture, CoarseKind, DEFAULT_IMAGE_SIZE, PAPER_WIDTH, Precision, UnitKind,
};
use parareal_train::{CheckpointEvery, DeviceName, ExecutorKind, LinkDtype, MAX_THREADS};

use super::definition::{
    Access, Definition, Details, Heading, Input, complete_type, complete_value, settings,
};
use super::recipe::Recipe;
use super::value::{
    CutsSetting, DecayKind, OptimizerKind, Recompute, SettingValue, UnitInit, WorkerCount,
};
use crate::optimizer::usual_kind;

/// Default folder of the data sets.
pub const DEFAULT_DATA_DIR: &str = "data";

/// Largest depth, ten times the depth of any network trained so far. Building a deeper network could exhaust
/// the memory.
const MAX_LAYERS: usize = 100_000;
const MAX_COARSE_UNITS: usize = 1_000;
/// Largest width. The last stage then has 16,384 channels, far more than in any network trained so far.
const MAX_WIDTH: usize = 1_024;

const QUICK_EPOCHS: usize = 3;

settings! {
    /// Set of defaults for settings that are not given: quick or paper
    "recipe" recipe: Recipe {
        value_name: "NAME",
        default_note: Some("paper for the paper's data sets at depth 1001, otherwise quick"),
    }

    /// Images to train on: built-in shapes, a published data set, or a folder of your own
    "dataset" dataset: DatasetName = [DatasetName::Shapes] {
        is_essential: true,
        value_name: "NAME",
        heading: Heading::Data,
    }

    /// Folder of the data sets, or of your own images
    ///
    /// Each published data set has a subfolder of its name, such as DIR/mnist. For the data set `folder`, DIR
    /// has one folder of PNG or JPEG files for each class, or `train` and `test` with such folders; there is
    /// no default in this case. `shapes` needs no folder.
    "data-dir" data_dir: PathBuf {
        is_essential: true,
        value_name: "DIR",
        heading: Heading::Data,
        default_note: Some(DEFAULT_DATA_DIR),
        may_change: true,
        may_differ: true,
    }

    /// Height and width of the images, a multiple of 4; above 32 for the data set folder only
    ///
    /// Images of 32x32 pixels are held in memory. Larger ones are read from their files for each batch: training uses a random
    /// part of each image, evaluation its center, as usual for ImageNet. Without `augment`, training uses the center as well.
    "image-size" image_size: usize = [DEFAULT_IMAGE_SIZE] {
        is_essential: true,
        value_name: "S",
        heading: Heading::Data,
        check: |size| {
            let expected = "expected a multiple of 4 from 32 to 1024, for example 224";
            expect(LoadOptions::accepts_image_size(*size), expected)
        },
    }

    /// Number of training images to use, from the start of the set
    "limit-train" limit_train: usize {
        value_name: "K",
        heading: Heading::Data,
        default_note: Some("all"),
        check: at_least_one,
    }

    /// Number of test images to use, from the start of the set; 0 for none
    "limit-test" limit_test: usize {
        value_name: "K",
        heading: Heading::Data,
        default_note: Some("all"),
    }

    /// Fraction of the training images to hold out for validation
    ///
    /// The best epoch is then chosen by the validation error instead of the test error.
    "validation" validation: f64 = [0.0] {
        is_essential: true,
        value_name: "FRACTION",
        heading: Heading::Data,
        check: |share| {
            expect((0.0..=0.5).contains(share), "expected a fraction from 0 to 0.5, for example 0.1")
        },
    }

    /// Random crops and horizontal flips of CIFAR images and of your own
    ///
    /// Images of 32x32 pixels are shifted by up to 4 pixels. Of larger ones, a random part with 8 to 100 % of the pixels and a
    /// ratio of width to height between 3/4 and 4/3 is resized to the image size.
    "augment" augment: bool = [true] {
        value_name: "true|false",
        heading: Heading::Data,
    }

    /// A random operation on each training image: TrivialAugment
    ///
    /// One of 14 operations on its geometry, colors and contrast with a random strength (Müller and Hutter, the wide
    /// space), after crop and flip.
    "trivial-augment" trivial_augment: bool = [false] {
        value_name: "true|false",
        heading: Heading::Data,
        input: Input::Switch("true"),
    }

    /// Probability with which a random rectangle of a training image is erased
    ///
    /// It has 2 to 33 % of the pixels, and gets the mean color (Zhong et al., with torchvision's distribution).
    "random-erasing" random_erasing: f64 = [0.0] {
        value_name: "P",
        heading: Heading::Data,
        check: |probability| {
            let expected = "expected a number in [0, 1], for example 0.25";
            expect((0.0..=1.0).contains(probability), expected)
        },
    }

    /// Mixup: α of the random shares with which two training images are added; 0 for none
    ///
    /// Each image of a batch is mixed with the image before it, in shares drawn from Beta(α, α) once for a batch, and so
    /// are their labels (Zhang et al., with torchvision's distribution), for example 0.2. The training error then counts
    /// the label with the larger share, so it is no measure of the errors on images that are not mixed. With cutmix as
    /// well, each batch uses one of them, with equal probability.
    "mixup" mixup: f64 = [0.0] {
        value_name: "ALPHA",
        heading: Heading::Data,
        check: |alpha| check_alpha(*alpha, "0.2"),
    }

    /// Cutmix: α of the random area of a training image that another one replaces; 0 for none
    ///
    /// A rectangle of each image of a batch shows the image before it. Its area is drawn from Beta(α, α) once for a batch,
    /// and labels are mixed by area (Yun et al., with torchvision's distribution), for example 1.0. The training error
    /// counts the label with the larger share, as for mixup.
    "cutmix" cutmix: f64 = [0.0] {
        value_name: "ALPHA",
        heading: Heading::Data,
        check: |alpha| check_alpha(*alpha, "1.0"),
    }

    /// Network: resnet-D, wide-resnet-D-K, vgg16, resnet50, vit-tiny and others
    ///
    /// `resnet-D` is the paper's pre-activation ResNet, with D = 9n+2 layers in bottleneck units; the depth alone stands
    /// for it. `wide-resnet-D-K` is a wide residual network with D = 6n+4 layers in basic units and K times as many
    /// channels, for example wide-resnet-28-10. `vgg16` has batch normalization. `resnet50`, `resnet101` and `resnet152`
    /// are the original ResNets, as in torchvision. `vit-tiny` and `vit-small` are vision transformers with patches of
    /// 16×16 pixels; `vit-tiny-P` and `vit-small-P` have patches of P×P pixels.
    "network" network: Architecture {
        is_essential: true,
        value_name: "NAME",
        heading: Heading::Network,
        check: |name| check_network(*name),
    }

    /// Number of layers of the ResNet, 9n+2
    ///
    /// The network is the paper's pre-activation ResNet with n bottleneck units in each of three stages, not
    /// the ResNet with 6n+2 layers and basic units. A network that is given by name determines the depth.
    "depth" depth: usize = [from default_depth] {
        is_essential: true,
        value_name: "9n+2",
        heading: Heading::Network,
        default_note: Some("110; paper: 1001"),
        check: |layers| at_most(*layers, MAX_LAYERS),
    }

    /// Number of channels of the first layer
    ///
    /// All other layers are scaled in proportion. The three stages of resnet-D have 4, 8 and 16 times as many channels.
    "width" width: usize = [from default_width] {
        value_name: "W",
        heading: Heading::Network,
        default_note: Some("the published one; 16 for resnet-D"),
        check: |channels| from_one_to(*channels, MAX_WIDTH),
    }

    /// Precision of states: f32 or bf16
    ///
    /// In `bf16`, what units receive and return, and their gradients, are rounded to bfloat16, which takes half of the memory.
    /// Parameters, their gradients, running statistics, checkpoints and the sums within operations stay in 32-bit floats. Vision transformers, VGG
    /// and the original ResNets compute within their units in 32-bit floats.
    "precision" precision: Precision = [Precision::F32] {
        value_name: "TYPE",
        heading: Heading::Network,
    }

    /// Number of subnetworks (N); 1 trains the serial network
    "subnetworks" subnetworks: usize = [2, paper: 3] {
        is_essential: true,
        value_name: "N",
        heading: Heading::Network,
    }

    /// Positions of the cuts: even, balanced, or a list
    ///
    /// `even` divides the units evenly, as the paper does. `balanced` measures the costs of the parts on this
    /// machine and chooses the cuts with the shortest predicted step. A list such as 2,4 gives the number of
    /// units before each cut.
    "cuts" cuts: CutsSetting = [CutsSetting::Even] {
        value_name: "even|balanced|A,B,..",
        heading: Heading::Network,
    }

    /// Kind of unit in the coarse networks
    ///
    /// `basic` is the paper's unit. `auto` stands for the recommended kind: `coarsened`, which has the same
    /// convolutions at half the resolution, `quarter` for resnet50 and deeper, or `transformer` for a vision transformer.
    /// `none` is the skip connection alone. `basic-or-bottleneck` is the meaning of `auto` in earlier versions.
    /// benchmarks/coarse-units compares all kinds.
    "coarse-unit" coarse_unit: CoarseKind = [CoarseKind::Auto, paper: CoarseKind::Units(UnitKind::Basic)] {
        is_essential: true,
        value_name: "KIND",
        heading: Heading::Network,
    }

    /// Number of units in each coarse network (N_c)
    ///
    /// At least one unit is used for each time that the image is halved between two cuts.
    "coarse-units" coarse_units: usize {
        value_name: "NC",
        heading: Heading::Network,
        default_note: Some("the paper's ⌈12/N⌉; 1 for auto"),
        check: |units| {
            let expected = "expected at least 1; leave it unset for the default";
            expect(*units > 0, expected)?;
            at_most(*units, MAX_COARSE_UNITS)
        },
    }

    /// Number of passes over the training images
    ///
    /// A run can be resumed with another number. A cosine schedule then spans the new number of epochs;
    /// milestones do not change.
    "epochs" epochs: usize = [QUICK_EPOCHS, paper: 200] {
        is_essential: true,
        value_name: "E",
        heading: Heading::Training,
        check: at_least_one,
        may_change: true,
    }

    /// Number of images per training step, over all replicas
    "batch-size" batch_size: usize = [16, paper: 128] {
        is_essential: true,
        value_name: "B",
        heading: Heading::Training,
        check: at_least_one,
    }

    /// Number of micro-batches per training step and replica
    ///
    /// The images of a replica are split into K parts, which are computed one after another, and their gradients are added. A
    /// step then needs the memory of one part. Batch normalization uses the statistics of the part. With `distill`, the
    /// distillation uses whole batches.
    "accumulate" accumulate: usize = [1] {
        value_name: "K",
        heading: Heading::Training,
        check: at_least_one,
    }

    /// Optimizer: sgd or adamw
    ///
    /// `adamw` is Adam with decoupled weight decay.
    "optimizer" optimizer: OptimizerKind = [from default_optimizer] {
        value_name: "NAME",
        heading: Heading::Training,
        default_note: Some("sgd; adamw for a vision transformer"),
    }

    /// Initial learning rate
    "learning-rate" learning_rate: f64 = [from default_learning_rate] {
        is_essential: true,
        value_name: "R",
        heading: Heading::Training,
        default_note: Some("0.05; paper: 0.1; adamw: 0.001"),
        check: |rate| expect(is_positive(*rate), "expected a positive number, for example 0.1"),
    }

    /// Momentum of SGD, or beta1 of AdamW, from 0 to below 1
    "momentum" momentum: f64 = [0.9] {
        value_name: "M",
        heading: Heading::Training,
        check: |momentum| {
            let expected = "expected a number in [0, 1), for example 0.9";
            expect((0.0..1.0).contains(momentum), expected)
        },
    }

    /// Decay of AdamW's mean of squared gradients, from 0 to below 1
    "beta2" beta2: f64 {
        value_name: "B",
        heading: Heading::Training,
        default_note: Some("0.999 for adamw"),
        check: |beta2| {
            expect((0.0..1.0).contains(beta2), "expected a number in [0, 1), for example 0.999")
        },
    }

    /// Weight decay
    "weight-decay" weight_decay: f64 = [from default_weight_decay] {
        value_name: "W",
        heading: Heading::Training,
        default_note: Some("0.0005; adamw: 0.05"),
        check: |decay| {
            let expected = "expected a number of at least 0, for example 0.0005";
            expect(decay.is_finite() && *decay >= 0.0, expected)
        },
    }

    /// Weight decay of weights only, not of biases and of the scale and shift of normalizations
    "decay-weights-only" decay_weights_only: bool = [false] {
        value_name: "true|false",
        heading: Heading::Training,
        input: Input::Switch("true"),
    }

    /// Nesterov momentum
    "nesterov" nesterov: bool = [false] {
        value_name: "true|false",
        heading: Heading::Training,
        input: Input::Switch("true"),
    }

    /// Learning-rate schedule: step or cosine
    ///
    /// `step` divides the rate by ten after each milestone, `cosine` lowers it to zero at the end of the last epoch.
    "schedule" schedule: DecayKind = [DecayKind::Step] {
        value_name: "NAME",
        heading: Heading::Training,
    }

    /// Epochs after which the learning rate is divided by ten, or none
    "milestones" milestones: Vec<usize> = [from default_milestones] {
        value_name: "E,E,..",
        heading: Heading::Training,
        default_note: Some("70 % and 90 % of the epochs; paper: 80,120"),
        check: |epochs| {
            let rising = epochs.first() != Some(&0) && epochs.windows(2).all(|two| two[0] < two[1]);
            expect(rising, "expected epochs from 1 in increasing order, for example 80,120")
        },
        may_change: true,
    }

    /// Number of epochs of linear warmup, which may be a fraction
    "warmup-epochs" warmup_epochs: f64 = [0.0] {
        value_name: "E",
        heading: Heading::Training,
        check: |epochs| {
            expect(epochs.is_finite() && *epochs >= 0.0, "expected a number of at least 0")
        },
    }

    /// Label smoothing: share of each label that is spread over all classes
    "label-smoothing" label_smoothing: f64 = [0.0] {
        value_name: "S",
        heading: Heading::Training,
        check: |share| {
            let expected = "expected a number in [0, 1), for example 0.1";
            expect((0.0..1.0).contains(share), expected)
        },
    }

    /// Largest norm of the gradient; larger gradients are scaled down to it
    "clip-norm" clip_norm: f64 {
        value_name: "N",
        heading: Heading::Training,
        default_note: Some("no limit"),
        check: |norm| {
            let expected = "expected a positive number, for example 1.0; leave it unset for no limit";
            expect(is_positive(*norm), expected)
        },
    }

    /// Decay of an exponential moving average of the weights, for example 0.999
    ///
    /// In step t, the decay is at most (1 + t) / (10 + t). Evaluation, prediction, export and runs that start
    /// from these weights use the average.
    "ema-decay" ema_decay: f64 {
        value_name: "D",
        heading: Heading::Training,
        default_note: Some("no average"),
        check: |decay| {
            let expected = "expected a number in [0, 1), for example 0.999; leave it unset for no average";
            expect((0.0..1.0).contains(decay), expected)
        },
    }

    /// Source of the initial weights: the folder of a run, or a safetensors file
    ///
    /// The network of the source may be serial or cut, but must have the same width. Interfaces that it does not
    /// have are initialized from the seed. A shallower network initializes a deeper one stage by stage. Of a run,
    /// the last weights are used, or their moving average if it has one. A file is an exported network, or the weights of a serial network under the
    /// names of torchvision or timm.
    "init-from" init_from: PathBuf {
        value_name: "SOURCE",
        heading: Heading::Training,
    }

    /// Units of a deeper network after the first of a stage: repeat or interpolate
    ///
    /// `repeat` copies each unit of the shallower network several times. `interpolate` computes means of the two
    /// nearest units, linear in depth, and requires a network in `init-from` that is shallower and has at least two
    /// such units in a stage. In both cases the units are scaled so that a stage adds as much as before.
    "init-units" init_units: UnitInit = [UnitInit::Repeat] {
        value_name: "NAME",
        heading: Heading::Training,
    }

    /// Number of distillation steps before joint training
    ///
    /// In these steps, the modules of each interface are trained separately to approximate the network that
    /// `init-from` names, which has to be serial.
    "distill" distill: usize {
        value_name: "STEPS",
        heading: Heading::Training,
        default_note: Some("none"),
        check: at_least_one,
    }

    /// Seed of the initial weights and of the order of the images
    "seed" seed: u64 = [1] {
        value_name: "S",
        heading: Heading::Training,
    }

    /// Executor of a step: threads, sequential or mpi
    ///
    /// `threads` runs subnetworks in parallel, `sequential` evaluates the whole network as one graph, `mpi` runs
    /// subnetworks on the ranks that mpirun or srun has started.
    "executor" executor: ExecutorKind = [ExecutorKind::Threads] {
        value_name: "NAME",
        heading: Heading::Machine,
        may_change: true,
    }

    /// Number of replicas (data parallelism)
    ///
    /// Each replica has all subnetworks and processes its part of every batch. With `mpi`, R replicas need R times as many
    /// ranks.
    "replicas" replicas: usize = [1] {
        value_name: "R",
        heading: Heading::Machine,
        check: |replicas| from_one_to(*replicas, MAX_THREADS),
        may_change: true,
    }

    /// Batch normalization with the statistics of all replicas
    ///
    /// Replicas then compute the step of one network on the whole batch, or with `accumulate` on the micro-batches of all
    /// replicas together. They wait for each other in each normalization. On the CPU only.
    "sync-batch-norm" sync_batch_norm: bool = [false] {
        value_name: "true|false",
        heading: Heading::Machine,
        input: Input::Switch("true"),
    }

    /// Record the work of a step on a GPU once, and replay it in later steps
    ///
    /// With CUDA graphs or their equivalent, the host submits a few graphs instead of thousands of launches. Results are the same. It takes
    /// more memory. Not with `recompute`, several replicas or micro-batches.
    "launch-graphs" launch_graphs: bool = [false] {
        value_name: "true|false",
        heading: Heading::Machine,
        may_change: true,
        input: Input::Switch("true"),
    }

    /// Element type of the tensors that ranks send to each other: f32 or bf16
    ///
    /// `bf16` halves the number of bytes and rounds the values. With `precision` bf16, they are sent as bf16 in any case.
    "link-dtype" link_dtype: LinkDtype = [LinkDtype::F32] {
        value_name: "TYPE",
        heading: Heading::Machine,
        may_change: true,
    }

    /// Device: cpu, wgpu:0, wgpu:cpu, vulkan:0, metal:0, cuda:0 or rocm:0; repeatable
    ///
    /// Subnetworks are spread over the devices in order. With `mpi`, the ranks of a machine take them in turn.
    "device" device: Vec<DeviceName> = [vec![DeviceName::cpu()]] {
        is_essential: true,
        value_name: "DEVICE",
        heading: Heading::Machine,
        input: Input::Repeated,
        check: |devices| expect(!devices.is_empty(), "expected at least one device, for example cpu"),
        may_change: true,
        may_differ: true,
    }

    /// Number of workers that share the subnetworks of a replica or rank, or auto
    ///
    /// `auto` times a few steps on the CPU with different numbers of workers and threads, and chooses the fastest.
    /// config.toml records the chosen numbers.
    "workers" workers: WorkerCount {
        is_essential: true,
        value_name: "K|auto",
        heading: Heading::Machine,
        default_note: Some(
            "one for each device; on the CPU one for each core, at most one for each subnetwork"
        ),
        may_change: true,
    }

    /// Number of threads per worker on the CPU
    ///
    /// Sums are split over the threads, so results for different numbers of threads differ by rounding
    /// errors.
    "threads" threads: usize {
        value_name: "T",
        heading: Heading::Machine,
        default_note: Some("an equal share of the cores"),
        check: |threads| from_one_to(*threads, MAX_THREADS),
        may_change: true,
        may_differ: true,
    }

    /// Recompute states in the backward pass instead of storing them
    ///
    /// This needs less memory and a third to two thirds more time. One state is kept for every K residual units.
    /// Without a value, K is the square root of the number of units in the longest subnetwork.
    "recompute" recompute: Recompute {
        value_name: "K",
        heading: Heading::Machine,
        input: Input::Optional("true"),
        default_note: Some("off"),
        may_change: true,
    }

    /// Number of epochs without improvement after which the run ends
    "patience" patience: usize {
        value_name: "E",
        heading: Heading::Training,
        default_note: Some("no limit"),
        check: at_least_one,
        may_change: true,
    }

    /// Checkpoint interval within an epoch: K steps (500), M minutes (10m), or epoch for none
    ///
    /// A checkpoint is always saved at the end of an epoch.
    "checkpoint-every" checkpoint_every: CheckpointEvery = [CheckpointEvery::Minutes(10)] {
        value_name: "K|Mm",
        heading: Heading::Output,
        may_change: true,
    }

    /// Number of most recent checkpoints to keep, in addition to the best one
    "keep-checkpoints" keep_checkpoints: usize = [2] {
        value_name: "K",
        heading: Heading::Output,
        check: at_least_one,
        may_change: true,
    }
}

/// Returns the depth of the network that is given by name, otherwise that of the recipe.
fn default_depth(recipe: Recipe, given: &Settings) -> usize {
    given.network.map_or(
        match recipe {
            Recipe::Quick => 110,
            Recipe::Paper => 1001,
        },
        Architecture::depth,
    )
}

/// Returns the usual optimizer of the network.
fn default_optimizer(_: Recipe, given: &Settings) -> OptimizerKind {
    given.network.map_or(OptimizerKind::Sgd, usual_kind)
}

/// Returns the optimizer that is given, or the default.
fn optimizer(recipe: Recipe, given: &Settings) -> OptimizerKind {
    given.optimizer.unwrap_or_else(|| default_optimizer(recipe, given))
}

fn default_learning_rate(recipe: Recipe, given: &Settings) -> f64 {
    match (optimizer(recipe, given), recipe) {
        (OptimizerKind::AdamW, _) => 1e-3,
        (OptimizerKind::Sgd, Recipe::Quick) => 0.05,
        (OptimizerKind::Sgd, Recipe::Paper) => 0.1,
    }
}

fn default_weight_decay(recipe: Recipe, given: &Settings) -> f64 {
    match optimizer(recipe, given) {
        OptimizerKind::AdamW => 0.05,
        OptimizerKind::Sgd => 5e-4,
    }
}

/// Returns the published width of the network.
fn default_width(_: Recipe, given: &Settings) -> usize {
    given.network.map_or(PAPER_WIDTH, Architecture::default_width)
}

/// Checks that there is a network of this name, and that it is not too deep.
fn check_network(name: Architecture) -> Result<(), String> {
    at_most(name.depth(), MAX_LAYERS)?;
    name.check().map_err(|error| error.expected())
}

/// Returns the default milestones of a recipe. Those of the quick recipe depend on the number of epochs
/// ([`milestones_of`]).
fn default_milestones(recipe: Recipe, given: &Settings) -> Vec<usize> {
    match recipe {
        Recipe::Quick => milestones_of(given.epochs.unwrap_or(QUICK_EPOCHS)),
        Recipe::Paper => vec![80, 120],
    }
}

/// Returns 70 % and 90 % of the number of epochs, rounded. Duplicates, 0 and the number of epochs itself are
/// left out.
fn milestones_of(epochs: usize) -> Vec<usize> {
    let part = |percent: usize| epochs.saturating_mul(percent).saturating_add(50) / 100;
    let mut milestones = vec![part(70), part(90)];
    milestones.dedup();
    milestones.retain(|&epoch| epoch > 0 && epoch < epochs);
    milestones
}

fn expect(holds: bool, expected: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(expected.into()) }
}

fn at_least_one(count: &usize) -> Result<(), String> {
    expect(*count > 0, "expected at least 1")
}

fn at_most(number: usize, most: usize) -> Result<(), String> {
    expect(number <= most, &format!("expected at most {most}"))
}

fn from_one_to(number: usize, most: usize) -> Result<(), String> {
    expect((1..=most).contains(&number), &format!("expected a whole number from 1 to {most}"))
}

/// Checks the α of a Beta distribution, or 0.
fn check_alpha(alpha: f64, example: &str) -> Result<(), String> {
    let expected = format!("expected 0 for none, or a positive number, for example {example}");
    expect(alpha == 0.0 || is_positive(alpha), &expected)
}

fn is_positive(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_lie_within_the_run() {
        assert_eq!(milestones_of(4), [3]);
        assert_eq!(milestones_of(8), [6, 7]);
        assert_eq!(milestones_of(100), [70, 90]);
        assert_eq!(milestones_of(2), [1]);
        assert!(milestones_of(1).is_empty() && milestones_of(0).is_empty());
    }
}
