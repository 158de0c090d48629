//! Models and tasks of runs.

use std::collections::BTreeMap;
use std::path::Path;

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use parareal::exec::{Executor, Loss};
use parareal::net::{Coarsen, Cuts, FeedForward, Init, PararealNetwork, Value};
use parareal_run::Position;
use toml::Table;

use crate::TrainError;

/// A network with its cuts, its loss and its optimizer.
pub struct Model<N, L> {
    /// Specification of the network.
    pub network: N,
    /// Cuts of the network.
    pub cuts: Cuts,
    /// Loss of a batch.
    pub loss: L,
    /// Optimizer of each subnetwork.
    pub optimizer: ModuleOptimizer,
}

impl<N: Coarsen, L> Model<N, L> {
    /// Creates a model. The optimizer is `Sgd` of `parareal-kernels`, or any optimizer of Burn that updates a
    /// parameter from its own gradient alone, such as `AdamWConfig::new().init()`.
    ///
    /// The optimizers of `burn::optim` are of this kind, with the exception of L-BFGS: it computes the loss
    /// several times in a step, and searches along the gradient of all parameters together. In a parareal
    /// network, the parameters are spread over several subnetworks. L-BFGS is not a [`ModuleOptimizer`], so the
    /// compiler rejects it:
    ///
    /// ```compile_fail,E0277
    /// # use burn::optim::LBFGSConfig;
    /// # use parareal::{exec::CrossEntropy, net::{Coarsen, Cuts}};
    /// # use parareal_train::Model;
    /// fn model<N: Coarsen>(network: N, cuts: Cuts) -> Model<N, CrossEntropy> {
    ///     Model::new(network, cuts, CrossEntropy::default(), LBFGSConfig::new().init())
    /// }
    /// ```
    ///
    /// ```
    /// # use burn::optim::AdamWConfig;
    /// # use parareal::{exec::CrossEntropy, net::{Coarsen, Cuts}};
    /// # use parareal_train::Model;
    /// fn model<N: Coarsen>(network: N, cuts: Cuts) -> Model<N, CrossEntropy> {
    ///     Model::new(network, cuts, CrossEntropy::default(), AdamWConfig::new().init())
    /// }
    /// ```
    pub fn new(network: N, cuts: Cuts, loss: L, optimizer: impl Into<ModuleOptimizer>) -> Self {
        Self { network, cuts, loss, optimizer: optimizer.into() }
    }

    /// Builds the parareal network on the CPU with the initial weights that follow from a seed.
    ///
    /// # Errors
    /// If modules do not fit together, or the cuts are for another network.
    pub fn build(&self, seed: u64) -> Result<PararealNetwork<N>, TrainError> {
        let init = Init::new(seed, &Device::flex());
        Ok(PararealNetwork::build(&self.network, &self.cuts, &init)?)
    }
}

/// Input type of a task's network.
pub type InputOf<T> = <<T as Task>::Network as FeedForward>::Input;
/// Output type of a task's network.
pub type OutputOf<T> = <<T as Task>::Network as FeedForward>::Output;
/// Target type of a task's loss.
pub type TargetOf<T> = <<T as Task>::Loss as Loss<OutputOf<T>>>::Target;
/// Any executor of a task's model.
pub type ExecutorOf<T> = Box<dyn Executor<<T as Task>::Network, <T as Task>::Loss>>;

/// A batch of samples on the CPU. Executors move it to their devices.
pub struct Batch<I, T, L> {
    /// Input of the network.
    pub input: I,
    /// Target of the loss.
    pub target: T,
    /// Labels for counting wrong predictions, such as class numbers.
    pub labels: L,
}

impl<I: Value, T, L> Batch<I, T, L> {
    /// Returns the number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.input.samples()
    }
}

/// Batch of a task.
pub type BatchOf<T> = Batch<InputOf<T>, TargetOf<T>, <T as Task>::Labels>;
/// Batches of a task. They are computed on a separate thread.
pub type BatchesOf<'a, T> = Box<dyn Iterator<Item = Result<BatchOf<T>, TrainError>> + Send + 'a>;

/// Function that returns true if work is to be stopped. All processes of a run get the same result.
pub type Stop<'a> = &'a dyn Fn() -> Result<bool, TrainError>;

/// Model, data and evaluation of a run.
///
/// All random numbers are functions of the seed, the epoch and the step, so that resumed runs and all executors
/// see the same batches.
pub trait Task {
    /// Specification of the network.
    type Network: Coarsen;
    /// Loss of the network's output.
    type Loss: Loss<<Self::Network as FeedForward>::Output>;
    /// Labels for counting wrong predictions.
    type Labels: Send;

    /// Returns the model.
    fn model(&self) -> &Model<Self::Network, Self::Loss>;

    /// Returns the name of the network for titles. The default name states the number of units.
    fn network_name(&self) -> String {
        match self.model().cuts.units() {
            1 => "network of 1 unit".into(),
            units => format!("network of {units} units"),
        }
    }

    /// Returns the number of training samples.
    fn samples(&self) -> usize;

    /// Returns the batches of an epoch without the first `skip` batches. Epochs are counted from 1. The last
    /// batch may be smaller. An error in place of a batch ends the run, which saves a checkpoint first if it runs on one
    /// process.
    ///
    /// # Errors
    /// If the batches cannot be prepared.
    fn batches(
        &self,
        batch_size: usize,
        seed: u64,
        epoch: usize,
        skip: usize,
    ) -> Result<BatchesOf<'_, Self>, TrainError>;

    /// Returns the number of wrong predictions in an output; `None` for a task that does not count them.
    fn wrong(&self, output: OutputOf<Self>, labels: &Self::Labels) -> Option<usize>;

    /// Evaluates the model after an epoch. Returns `None` if `stop` returned true.
    ///
    /// # Errors
    /// If a worker fails or the task cannot be evaluated.
    fn evaluate(
        &self,
        executor: &mut dyn Executor<Self::Network, Self::Loss>,
        stop: Stop<'_>,
    ) -> Result<Option<Evaluated<'_>>, TrainError>;

    /// Returns a description of the data for checkpoints. A resumed run uses it to check that its data is the
    /// same.
    fn data(&self) -> Table;

    /// Returns true if checkpoints record a checksum of the last batch before them, as `last-batch` in the
    /// description of the data. The default is false.
    fn records_last_batch(&self) -> bool {
        false
    }
}

/// Function that saves the details of an evaluation in the folder of a run.
pub type SaveDetails<'a> = Box<dyn FnOnce(&Path, Position) -> Result<(), TrainError> + 'a>;

/// Result of an evaluation.
#[derive(Default)]
pub struct Evaluated<'a> {
    /// Result for the test samples; `None` without test samples.
    pub test: Option<Score>,
    /// Result for the validation samples; `None` without validation samples.
    pub validation: Option<Score>,
    /// Further metrics of the validation samples by name.
    pub metrics: BTreeMap<String, f64>,
    /// Saves further details, if there are any.
    pub details: Option<SaveDetails<'a>>,
}

/// Result of an evaluation for one set of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss.
    pub loss: f64,
    /// Fraction of wrong predictions, if they are counted.
    pub error: Option<f64>,
    /// Fraction of samples whose class is not among the five most likely predictions, for classification tasks.
    pub top5_error: Option<f64>,
    /// False if an output was infinite or NaN.
    pub is_finite: bool,
}

impl Score {
    /// Returns true if the loss or an output is infinite or NaN.
    #[must_use]
    pub fn has_diverged(&self) -> bool {
        !(self.is_finite && self.loss.is_finite())
    }
}
