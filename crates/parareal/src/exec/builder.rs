use std::fmt::Display;
use std::thread::available_parallelism;

use burn::optim::ModuleOptimizer;
#[cfg(feature = "mpi")]
use burn::tensor::DType;
use burn::tensor::Device;
#[cfg(feature = "mpi")]
use parareal_mpi::World;

use super::device::is_cpu;
use super::error::ExecError;
use super::executor::Executor;
use super::layout::Layout;
use super::loss::Loss;
#[cfg(feature = "mpi")]
use super::mpi::{Dtypes, Ranks, agree, all_ranks};
use super::parallel::{ParallelExecutor, WorkerSettings};
use super::program::ProgramOptions;
use super::sequential::SequentialExecutor;
use super::transport::SingleProcess;
use crate::net::{Coarsen, PararealNetwork};
#[cfg(feature = "mpi")]
use crate::net::{Cuts, Init, build_subnetworks};

/// Holds the settings of an executor and starts it.
///
/// By default, an executor has parallel workers in this process, with these settings:
///
/// | setting | default |
/// | --- | --- |
/// | [`devices`](Self::devices) | the CPU |
/// | [`workers`](Self::workers) | one per core on the CPU, otherwise one per device, divided by the number of replicas; at most one per subnetwork; 1 with MPI ranks |
/// | [`subnetworks_per_worker`](Self::subnetworks_per_worker) | distributed evenly; the first workers get one more if there is a remainder |
/// | [`replicas`](Self::replicas) | 1 |
/// | [`threads`](Self::threads) | an equal share of the cores of this process |
/// | [`segment_units`](Self::segment_units) | 4 |
/// | [`recompute`](Self::recompute) | none |
/// | [`accumulate`](Self::accumulate) | 1 micro-batch |
/// | [`sync_batch_norm`](Self::sync_batch_norm) | each replica has statistics of its own |
/// | [`launch_graphs`](Self::launch_graphs) | each step submits its launches anew |
/// | `message_dtype` (feature `mpi`) | the type of states; a replica on a single rank sends no states |
///
/// If a setting has no effect on the executor, starting it fails with [`ExecError::NoEffect`].
///
/// ```
/// # use parareal::burn::nn::{Linear, LinearConfig};
/// # use parareal::burn::optim::AdamWConfig;
/// use parareal::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::flex();
/// # let linear = |from, to| move |init: &Init| {
/// #     layer(LinearConfig::new(from, to).init(init.device()), Linear::forward)
/// # };
/// # let network = Sequential::stem(Tensor::<2>::zeros([1, 2], &device), linear(2, 8))
/// #     .units(6, move |_, init| linear(8, 8)(init))
/// #     .head(linear(8, 3))?;
/// let network = PararealNetwork::build(&network, &Cuts::even(6, 3)?, &Init::new(1, &device))?;
/// let builder = ExecutorBuilder::new(CrossEntropy::default(), AdamWConfig::new().init());
/// let mut executor = builder.workers(2).threads(1).start(network)?;
/// assert_eq!(executor.layout().counts(), [2, 1]);
/// let input = Tensor::from_data([[0.0, 1.0], [1.0, 0.0]], &device);
/// let report = executor.train_step(input, Tensor::from_data([0, 2], &device), 1e-2)?;
/// assert!(report.loss > 0.0 && report.timeline.devices == 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ExecutorBuilder<L> {
    loss: L,
    optimizer: ModuleOptimizer,
    is_sequential: bool,
    devices: Option<Vec<Device>>,
    workers: Option<usize>,
    subnetworks_per_worker: Option<Vec<usize>>,
    replicas: Option<usize>,
    threads: Option<usize>,
    segment_units: Option<usize>,
    recompute: Option<usize>,
    micro_batches: usize,
    sync_batch_norm: bool,
    launch_graphs: bool,
    #[cfg(feature = "mpi")]
    message_dtype: Option<DType>,
}

impl<L> ExecutorBuilder<L> {
    /// Creates a builder of an executor that minimizes a loss with an optimizer, for example one of Burn's. Each
    /// worker has its own copies of both.
    pub fn new(loss: L, optimizer: impl Into<ModuleOptimizer>) -> Self {
        Self {
            loss,
            optimizer: optimizer.into(),
            is_sequential: false,
            devices: None,
            workers: None,
            subnetworks_per_worker: None,
            replicas: None,
            threads: None,
            segment_units: None,
            recompute: None,
            micro_batches: 1,
            sync_batch_norm: false,
            launch_graphs: false,
            #[cfg(feature = "mpi")]
            message_dtype: None,
        }
    }

    /// Selects sequential execution, which evaluates the whole network as one graph on one device. It is the
    /// reference for parallel workers.
    #[must_use]
    pub fn sequential(self) -> Self {
        Self { is_sequential: true, ..self }
    }

    /// Sets the devices of this process. The workers of this process are distributed over the devices in
    /// order. There can be at most as many devices as workers.
    #[must_use]
    pub fn devices(self, devices: impl IntoIterator<Item = Device>) -> Self {
        Self { devices: Some(devices.into_iter().collect()), ..self }
    }

    /// Sets the number of workers of each replica. The subnetworks of the replica are distributed evenly over
    /// them.
    ///
    /// With MPI ranks, this is the maximum number of workers of each rank. A rank that holds fewer
    /// subnetworks has one worker per subnetwork.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers: Some(workers), ..self }
    }

    /// Sets the number of subnetworks of each worker of a replica, instead of distributing them evenly. This
    /// also sets the number of workers, so it cannot be combined with [`Self::workers`].
    ///
    /// While earlier workers compute their part of the coarse chain, later workers can do fine work. Nothing
    /// overlaps with the last worker's part of the chain. So the fewer subnetworks the last worker holds, the
    /// less the other workers wait.
    #[must_use]
    pub fn subnetworks_per_worker(self, counts: impl Into<Vec<usize>>) -> Self {
        Self { subnetworks_per_worker: Some(counts.into()), ..self }
    }

    /// Sets the number of replicas: copies of the network, each of which processes a part of every batch.
    /// Each replica has its own workers. With MPI, the ranks are divided equally among the replicas.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas: Some(replicas), ..self }
    }

    /// Sets the number of threads that each worker on the CPU uses for its operations. A worker on another
    /// device has one thread, which submits the work.
    ///
    /// Sums are divided among the threads, so the last bits of results depend on the number of threads.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Sets the number of units that share one graph in the backward pass. Longer segments have less overhead,
    /// shorter ones free memory earlier.
    #[must_use]
    pub fn segment_units(self, units: usize) -> Self {
        Self { segment_units: Some(units), ..self }
    }

    /// Keeps only the first state of every segment of this many units, and recomputes the other states in the
    /// backward pass. This saves memory and takes a third to two thirds more time. It cannot be combined with
    /// [`Self::segment_units`].
    ///
    /// With `n` units in segments of `k` units, `n / k` states are kept, and a segment needs the memory of
    /// `k` units while it is differentiated. Memory is smallest if `k` is about `√n`. Gradients are bitwise
    /// the same.
    ///
    /// Units must be deterministic. The random layers of [`crate::nn`] are deterministic. Burn's random
    /// layers, such as `burn::nn::Dropout`, draw different numbers in the second pass, and the step ends with
    /// [`ExecError::NotDeterministic`]. On the CPU any difference is detected. On other devices, sums may
    /// differ from run to run, so only a difference of more than 1 % of the norm of the segment's last state
    /// is detected. Random layers with a smaller effect are not detected on these devices, and the error of
    /// the gradients is of similar size. Running statistics ([`burn::module::RunningState`]) are updated in
    /// the first pass only.
    #[must_use]
    pub fn recompute(self, units: usize) -> Self {
        Self { recompute: Some(units), ..self }
    }

    /// Splits the batch of each replica into this many micro-batches, which are computed one after another, and adds
    /// their gradients before the update. A step then needs the memory of one micro-batch.
    ///
    /// The batch is split as evenly as possible. The loss must be a mean over samples: each micro-batch has a weight
    /// proportional to its number of samples, so gradients are those of the whole batch. Batch normalization
    /// uses the statistics of the micro-batch, and updates its running statistics once for each.
    #[must_use]
    pub fn accumulate(self, micro_batches: usize) -> Self {
        Self { micro_batches, ..self }
    }

    /// Normalizes with the statistics of all replicas: their sums, and those of their gradients, are added over the
    /// replicas within each normalization. So replicas compute the step of one network on the whole batch. With
    /// [`Self::accumulate`], the statistics are those of one micro-batch of every replica.
    ///
    /// This applies to the batch normalization of `parareal-kernels` on the CPU, not to `burn::nn::BatchNorm`. Workers
    /// then execute their instructions in the order of the program ([`Program::in_order`](super::Program::in_order)).
    #[must_use]
    pub fn sync_batch_norm(self) -> Self {
        Self { sync_batch_norm: true, ..self }
    }

    /// Records the launches of each worker on a GPU once, and replays them in later steps (CUDA graphs, or the equivalent of the
    /// device). The host then submits a few graphs instead of thousands of launches, which it may take longer for than the device to
    /// execute them.
    ///
    /// The first step is executed as usual, and the second one is recorded, or a later one if there is too little memory in use for
    /// a recording. A step with a batch of another shape is executed as usual, and recorded if the next one has the same shape. The
    /// update of `parareal_kernels::Sgd` is recorded as well; other optimizers launch theirs in each step. Results are the same.
    ///
    /// A forward and backward pass must launch the same work in each step and read nothing from the device. A layer that reads, or
    /// draws random numbers from [`crate::nn`], ends the second step with
    /// [`ExecError::LaunchGraphs`]. Random numbers of Burn's own layers, such as `burn::nn::Dropout`, are not detected:
    /// each step would repeat them. So would an optimizer around `Sgd` that computes with the learning rate itself.
    ///
    /// It takes more memory, because the memory of a graph is not available to anything else. It cannot be combined with
    /// [`Self::recompute`], several [`replicas`](Self::replicas) or [micro-batches](Self::accumulate). Workers execute their
    /// instructions in the order of the program ([`Program::in_order`](super::Program::in_order)).
    #[must_use]
    pub fn launch_graphs(self) -> Self {
        Self { launch_graphs: true, ..self }
    }

    /// Sets the type in which ranks send states to each other: 16-bit, 32-bit or 64-bit floats. It may have a
    /// lower precision than states. A replica on a single rank sends no states.
    #[cfg(feature = "mpi")]
    #[must_use]
    pub fn message_dtype(self, dtype: DType) -> Self {
        Self { message_dtype: Some(dtype), ..self }
    }

    /// Starts an executor in this process.
    ///
    /// # Errors
    /// [`ExecError::NoEffect`], [`ExecError::Setting`] or [`ExecError::NoDevice`] if a setting is invalid;
    /// [`ExecError::Layout`] if the subnetworks cannot be shared; [`ExecError::Spawn`] if the operating system
    /// cannot start the threads; [`ExecError::Worker`] if a subnetwork cannot be moved to its device.
    pub fn start<N>(self, network: PararealNetwork<N>) -> Result<Box<dyn Executor<N, L>>, ExecError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        #[cfg(feature = "mpi")]
        no_effect("message_dtype", self.message_dtype, "nothing is sent within one process")?;
        if self.is_sequential {
            return self.start_sequential(network);
        }
        let cuts = network.cuts().clone();
        let layout = self.layout(cuts.subnetworks())?;
        let settings = self.worker_settings(layout.total_workers())?;
        let own = layout.rank(0);
        let modules = network.into_subnetworks();
        let executor =
            ParallelExecutor::start(SingleProcess, (layout, own), &modules, &cuts, &settings)?;
        Ok(Box::new(executor))
    }

    /// Starts the executor's workers in this rank of an MPI program, and builds only the subnetworks that
    /// this rank holds. All ranks must call this function together, with the same settings except for the
    /// devices.
    ///
    /// All ranks must call the same methods of the executor in the same order, with the same batches. All of
    /// them get the same losses, outputs, times and timelines. Named tensors ([`Executor::read`],
    /// [`GradientReport::gradients`](super::GradientReport::gradients), and so on) are those of the
    /// subnetworks that this rank holds. [`Executor::write`] uses the tensors of these subnetworks and
    /// ignores all others.
    ///
    /// The timeline of a step contains the activities of the workers of all ranks, in seconds since the first
    /// rank began the step. Ranks determine this time with their wall clocks. So the times of ranks on one
    /// machine are exact, and the times of ranks on other machines are shifted by the difference between the
    /// clocks.
    ///
    /// After an error on one rank the other ranks may wait for it, so the program must end all ranks
    /// ([`World::abort`]). There are two exceptions, which all ranks return as errors: a loss that is not
    /// finite, and the errors of this function.
    ///
    /// # Errors
    /// As [`Self::start`]; [`ExecError::Net`] if the modules of the network do not fit together or
    /// two subnetworks share a parameter; [`ExecError::Ranks`] if MPI fails, or if another rank has an error.
    #[cfg(feature = "mpi")]
    pub fn start_rank<N>(
        self,
        world: &World,
        network: &N,
        cuts: &Cuts,
        init: &Init,
    ) -> Result<Box<dyn Executor<N, L>>, ExecError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        let all = all_ranks(world)?;
        let settings = self.rank_settings(world, cuts);
        let (layout, settings) = agree(&all, settings, "start with its settings")?;
        let own = layout.rank(world.rank());
        let modules = build_subnetworks(network, cuts, own.subnetworks.clone(), init);
        let modules = agree(&all, modules.map_err(ExecError::from), "build its subnetworks")?;
        let states = network.state_dtype().unwrap_or(init.dtype());
        let dtypes = Dtypes {
            parameters: init.dtype(),
            states,
            messages: self.message_dtype.unwrap_or(states),
        };
        let ranks = Ranks::new(world, all, (&layout, &own), (network, cuts), dtypes)?;
        let executor = ParallelExecutor::start(ranks, (layout, own), &modules, cuts, &settings)?;
        Ok(Box::new(executor))
    }

    fn start_sequential<N>(
        self,
        network: PararealNetwork<N>,
    ) -> Result<Box<dyn Executor<N, L>>, ExecError>
    where
        N: Coarsen,
        L: Loss<N::Output>,
    {
        let reason = "the sequential executor has one worker with the whole network";
        no_effect("workers", self.workers, reason)?;
        no_effect("subnetworks_per_worker", self.subnetworks_per_worker.as_ref(), reason)?;
        no_effect("replicas", self.replicas, reason)?;
        no_effect("sync_batch_norm", self.sync_batch_norm.then_some(()), reason)?;
        let reason = "the sequential executor evaluates the whole network as one graph";
        no_effect("launch_graphs", self.launch_graphs.then_some(()), reason)?;
        no_effect("segment_units", self.segment_units, reason)?;
        no_effect("recompute", self.recompute, reason)?;
        let executor = SequentialExecutor::new(network, self.worker_settings(1)?)?;
        Ok(Box::new(executor))
    }

    /// Returns the layout of subnetworks on the workers of this process.
    fn layout(&self, subnetworks: usize) -> Result<Layout, ExecError> {
        let replicas = self.replicas.unwrap_or(1);
        if let Some(counts) = &self.subnetworks_per_worker {
            let reason = "`subnetworks_per_worker` sets the number of workers";
            no_effect("workers", self.workers, reason)?;
            let layout = Layout::from_counts(counts, replicas)?;
            layout.check_network(subnetworks)?;
            return Ok(layout);
        }
        let workers = self.workers.unwrap_or_else(|| {
            let total = match &self.devices {
                Some(devices) if !devices.iter().all(is_cpu) => devices.len(),
                _ => cores(),
            };
            // `Layout::threads` rejects 0 replicas.
            (total / replicas.max(1)).clamp(1, subnetworks)
        });
        Ok(Layout::threads(subnetworks, workers, replicas)?)
    }

    /// Returns the layout of subnetworks on the ranks of a program, and the settings of the workers of this
    /// rank.
    #[cfg(feature = "mpi")]
    fn rank_settings(
        &self,
        world: &World,
        cuts: &Cuts,
    ) -> Result<(Layout, WorkerSettings<L>), ExecError>
    where
        L: Clone,
    {
        let reason = "the workers of several ranks run subnetworks one by one";
        no_effect("sequential", self.is_sequential.then_some(()), reason)?;
        let reason = "subnetworks are distributed evenly over ranks and their workers";
        no_effect("subnetworks_per_worker", self.subnetworks_per_worker.as_ref(), reason)?;
        if let Some(dtype) = self.message_dtype
            && !matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
        {
            let expected = "F16, BF16, F32 or F64";
            return Err(setting("message_dtype", format!("{dtype:?}"), expected));
        }
        let (workers, replicas) = (self.workers.unwrap_or(1), self.replicas.unwrap_or(1));
        let layout = Layout::ranks(cuts.subnetworks(), world.size(), workers, replicas)?;
        // A rank that holds fewer subnetworks has fewer workers, which are on the first devices.
        let settings = self.worker_settings(layout.max_workers_per_rank())?;
        Ok((layout, settings))
    }

    /// Returns the settings of the workers of this process. There are at most `workers`, which share the
    /// cores.
    fn worker_settings(&self, workers: usize) -> Result<WorkerSettings<L>, ExecError>
    where
        L: Clone,
    {
        let devices = self.devices.clone().unwrap_or_else(|| vec![Device::flex()]);
        if devices.is_empty() {
            return Err(ExecError::NoDevice);
        }
        if devices.len() > workers {
            let value = format!("{} devices", devices.len());
            let expected = format!("at most {workers}, one for each worker of this process");
            return Err(setting("devices", value, expected));
        }
        if !devices.iter().any(is_cpu) {
            no_effect("threads", self.threads, "no worker runs on the CPU")?;
        }
        if self.replicas.unwrap_or(1) == 1 {
            let reason = "a single replica has the statistics of the whole batch";
            no_effect("sync_batch_norm", self.sync_batch_norm.then_some(()), reason)?;
        }
        if self.sync_batch_norm && !devices.iter().all(is_cpu) {
            let expected = "the CPU, whose normalizations can be synchronized";
            return Err(setting("devices", "a device other than the CPU", expected));
        }
        self.check_launch_graphs(&devices)?;
        if self.recompute.is_some() {
            let reason = "`recompute` sets the units of a segment";
            no_effect("segment_units", self.segment_units, reason)?;
        }
        let numbers = [
            ("accumulate", Some(self.micro_batches)),
            ("threads", self.threads),
            ("segment_units", self.segment_units),
            ("recompute", self.recompute),
        ];
        if let Some((name, _)) = numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            return Err(setting(name, 0, "at least 1"));
        }
        let ProgramOptions { segment_units, .. } = ProgramOptions::default();
        let program = ProgramOptions {
            segment_units: self.recompute.or(self.segment_units).unwrap_or(segment_units),
            recompute: self.recompute.is_some(),
            ..ProgramOptions::default()
        };
        Ok(WorkerSettings {
            loss: self.loss.clone(),
            optimizer: self.optimizer.clone(),
            devices,
            threads: self.threads.unwrap_or_else(|| (cores() / workers).max(1)),
            program,
            micro_batches: self.micro_batches,
            sync_batch_norm: self.sync_batch_norm,
            launch_graphs: self.launch_graphs,
        })
    }

    /// Checks that the workers can record their launches.
    fn check_launch_graphs(&self, devices: &[Device]) -> Result<(), ExecError> {
        if !self.launch_graphs {
            return Ok(());
        }
        if cfg!(not(feature = "cube")) || devices.iter().any(is_cpu) {
            let expected = "GPUs only: a worker on the CPU launches nothing";
            return Err(setting("devices", "the CPU with launch graphs", expected));
        }
        let conflicts = [
            ("recompute", self.recompute, "no value"),
            ("replicas", self.replicas.filter(|replicas| *replicas > 1), "1"),
            ("accumulate", Some(self.micro_batches).filter(|parts| *parts > 1), "1"),
        ];
        for (name, value, expected) in conflicts {
            if let Some(value) = value {
                return Err(setting(name, value, format!("{expected} with launch graphs")));
            }
        }
        Ok(())
    }
}

/// Returns the number of cores that this process may use.
fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Rejects a setting that has a value but no effect.
fn no_effect<T>(
    setting: &'static str,
    value: Option<T>,
    reason: &'static str,
) -> Result<(), ExecError> {
    match value {
        Some(_) => Err(ExecError::NoEffect { setting, reason }),
        None => Ok(()),
    }
}

fn setting(setting: &'static str, value: impl Display, expected: impl Into<String>) -> ExecError {
    ExecError::Setting { setting, value: value.to_string(), expected: expected.into() }
}
