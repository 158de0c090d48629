//! The executor that runs subnetworks on parallel workers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;

use super::batch_split::{join, samples_of, split};
use super::clock::Clock;
use super::collectives::thread_collectives;
use super::command::{Command, MicroBatch, ReplyOf};
use super::device::operation_threads;
use super::error::ExecError;
use super::executor::{Executor, GradientReport, StepReport, check_batch};
#[cfg(feature = "cube")]
use super::launch_graphs::LaunchGraphs;
use super::layout::{Layout, RankLayout};
use super::link::channel_link;
use super::loss::Loss;
use super::program::{Program, ProgramOptions};
use super::reducer::Reducer;
use super::state_kind::StateKind;
use super::statistics_sum::StatisticsSum;
use super::step_failure::StepFailure;
use super::subnetwork_runner::SubnetworkRunner;
use super::subnetwork_time::SubnetworkTime;
use super::trained_module::TrainedModule;
use super::transport::{StepResults, Transport};
use super::update::Update;
use super::worker::Worker;
use super::worker_pool::WorkerPool;
use crate::net::{Coarsen, Cuts, NamedTensor, StateDict, SubnetworkOf, Value};

/// An executor with parallel workers.
///
/// Each worker is a thread with its own device and cores. The workers belong to one process or to the ranks
/// of an MPI program, and live as long as this value.
pub(super) struct ParallelExecutor<N: Coarsen, L: Loss<N::Output>, P> {
    pool: WorkerPool<N, L>,
    transport: P,
    layout: Layout,
    program: Arc<Program>,
    /// Number of micro-batches of a replica in a step.
    micro_batches: usize,
    /// The share of this process.
    own: RankLayout,
    cuts: Cuts,
    /// For each subnetwork of this process, the names and shapes of its parameters and buffers.
    tensors: Vec<TensorShapes>,
    /// True if any parameter of the network requires a gradient.
    is_trainable: bool,
    /// True if workers record launches of several subnetworks together.
    records_launches: bool,
    /// The number of training steps so far.
    steps: u64,
}

/// Names and shapes of tensors.
type TensorShapes = Vec<(String, Vec<usize>)>;

/// The settings that all workers of a process share.
pub(super) struct WorkerSettings<L> {
    pub(super) loss: L,
    pub(super) optimizer: ModuleOptimizer,
    /// Devices, over which the workers are distributed in order.
    pub(super) devices: Vec<Device>,
    /// Number of threads that a worker on the CPU uses for its operations.
    pub(super) threads: usize,
    pub(super) program: ProgramOptions,
    /// Number of micro-batches of a replica in a step.
    pub(super) micro_batches: usize,
    /// True if normalizations use the statistics of all replicas.
    pub(super) sync_batch_norm: bool,
    /// True if workers record their launches and replay them.
    pub(super) launch_graphs: bool,
}

impl<N, L, P> ParallelExecutor<N, L, P>
where
    N: Coarsen,
    L: Loss<N::Output>,
    P: Transport<N>,
{
    /// Starts the workers of a process and gives each its subnetworks. `modules` are the subnetworks in the share
    /// `own` of the layout.
    ///
    /// # Errors
    /// [`ExecError::Layout`] if the layout has a different number of subnetworks than the network;
    /// [`ExecError::Spawn`] if the operating system cannot start the threads; [`ExecError::Worker`] if a
    /// subnetwork cannot be moved to its device; [`ExecError::Ranks`].
    pub(super) fn start(
        transport: P,
        (layout, own): (Layout, RankLayout),
        modules: &[SubnetworkOf<N>],
        cuts: &Cuts,
        settings: &WorkerSettings<L>,
    ) -> Result<Self, ExecError> {
        let tensors = modules.iter().map(|module| {
            let tensors = module.named_tensors().into_iter();
            tensors.map(|tensor| (tensor.name, tensor.data.shape().as_slice().to_vec())).collect()
        });
        let tensors = tensors.collect();
        let is_trainable = modules.iter().any(|module| TrainedModule::trainable_of(module) > 0);
        let pool = WorkerPool::new(P::SEVERAL);
        let micro_batches = settings.micro_batches;
        let program = Program::accumulating(&layout, cuts, settings.program, micro_batches)?;
        // Replicas wait for each other within operations, so all must execute these in the same order.
        let is_synchronized = settings.sync_batch_norm && layout.replicas() > 1;
        // Launches are recorded in the order in which they are replayed.
        let is_in_order = is_synchronized || settings.launch_graphs;
        let program = if is_in_order { program.in_order() } else { program };
        let mut this = Self {
            pool,
            transport,
            layout,
            program: Arc::new(program),
            micro_batches,
            own,
            cuts: cuts.clone(),
            tensors,
            is_trainable,
            records_launches: settings.launch_graphs,
            steps: 0,
        };
        let started = this.spawn_workers(modules, settings);
        let started = started.and_then(|()| this.pool.run(|_| Some(Command::Ready)));
        // All processes are told about a failure, so that none waits for a process that has ended.
        let failed = this.transport.first_failed(started.is_err())?;
        started?;
        if let Some(rank) = failed {
            return Err(ExecError::Ranks(format!("rank {rank} cannot start its workers")));
        }
        this.is_trainable = this.transport.any(is_trainable)?;
        Ok(this)
    }

    /// Starts the workers, replica by replica.
    fn spawn_workers(
        &mut self,
        modules: &[SubnetworkOf<N>],
        settings: &WorkerSettings<L>,
    ) -> Result<(), ExecError> {
        let Self { pool, transport, layout, program, own, .. } = self;
        let (workers, replicas) = (own.workers.len(), own.replicas.len());
        let all_reduces = || -> Vec<_> {
            let of_worker = |worker| transport.all_reduces(worker, replicas).into_iter();
            (0..workers).map(of_worker).collect()
        };
        // Sums of statistics are waited for while sums of gradients are in progress.
        let (mut gradient_sums, mut statistics_sums) = (all_reduces(), all_reduces());
        let devices = &settings.devices;
        // The devices of the workers of this process, in order.
        let device_of = |number: usize| &devices[number * devices.len() / (workers * replicas)];
        for (chain, replica) in own.replicas.clone().enumerate() {
            let mut upstream = transport.upstream(device_of(chain * workers));
            for (index, local) in thread_collectives(workers).into_iter().enumerate() {
                let worker = own.workers.start + index;
                let held = layout.subnetworks_of(worker);
                let device = device_of(chain * workers + index).clone();
                let threads = operation_threads(&device, settings.threads);
                let first = held.start - own.subnetworks.start;
                let modules = modules[first..first + held.len()].to_vec();
                let (downstream, next) = if index + 1 < workers {
                    let (downstream, next) = channel_link();
                    (Some(downstream.into()), Some(next.into()))
                } else {
                    (transport.downstream(&device), None)
                };
                let upstream = std::mem::replace(&mut upstream, next);
                let (loss, optimizer) = (settings.loss.clone(), settings.optimizer.clone());
                let collectives = transport.collectives(index, local);
                let [gradient_sum, statistics_sum] = [&mut gradient_sums, &mut statistics_sums]
                    .map(|sums| sums[index].next().expect("there is one for each replica"));
                let has_replicas = layout.replicas() > 1;
                let is_synchronized = has_replicas && settings.sync_batch_norm;
                let program = Arc::clone(program);
                #[cfg(feature = "cube")]
                let launch_graphs =
                    settings.launch_graphs.then(|| LaunchGraphs::new(device.clone()));
                #[cfg(not(feature = "cube"))]
                let launch_graphs = None;
                let build = move || Worker {
                    program,
                    worker,
                    subnetworks: SubnetworkRunner::all(modules, &device, &optimizer),
                    loss,
                    clock: Clock::new(device.clone()),
                    device,
                    replica,
                    upstream,
                    downstream,
                    collectives,
                    reducer: has_replicas.then(|| Reducer::new(gradient_sum)),
                    statistics: is_synchronized
                        .then(|| Rc::new(StatisticsSum::new(statistics_sum))),
                    launch_graphs,
                    takes_turns: false,
                    validation: None,
                };
                pool.spawn(layout.worker_number(replica, worker), held, build, threads)?;
            }
        }
        Ok(())
    }

    /// Runs a command on each worker of this process. `command` returns the command for the replica with the
    /// given index, or `None`. Replicas are indexed over all processes.
    fn run(
        &mut self,
        command: impl Fn(usize) -> Option<Command<N::Input, L::Target>>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        let Self { pool, transport, own, .. } = self;
        let replica = |worker: usize| own.replicas.start + worker / own.workers.len();
        pool.run(|worker| command(replica(worker))).map_err(|error| transport.cause(error))
    }

    /// Runs a command on each worker of this process's first replica. The other replicas have the same state.
    fn run_first_replica(
        &mut self,
        command: impl Fn() -> Command<N::Input, L::Target>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        let first = self.own.replicas.start;
        self.run(|replica| (replica == first).then(&command))
    }

    /// Runs a step on all workers.
    fn run_step(
        &mut self,
        input: &N::Input,
        target: &L::Target,
        update: Option<Update>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        check_batch(input, target)?;
        self.transport.check_input(input)?;
        let (number, samples, count) = (self.steps, input.samples(), self.micro_batches);
        let parts = split(samples, self.layout.replicas(), count)?;
        let mut replies = self.run(|replica| {
            let parts = parts[replica * count..].iter().take(count);
            let micro_batches = parts.map(|part| MicroBatch {
                input: samples_of(input, part),
                target: samples_of(target, part),
                share: part.len() as f64 / samples as f64,
            });
            Some(Command::Step { number, micro_batches: micro_batches.collect(), update })
        })?;
        if replies.iter().all(|reply| !reply.is_abandoned) {
            return Ok(replies);
        }
        let own = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.failures));
        let failures = self.transport.failures(own.collect())?;
        let unknown =
            || ExecError::Ranks("a step was abandoned, but no rank reported a reason".into());
        Err(StepFailure::into_error(failures).unwrap_or_else(unknown))
    }

    /// Joins the outputs that the last workers of this process's replicas have returned.
    fn take_output(&self, replies: &mut [ReplyOf<N>]) -> Option<N::Output> {
        let last =
            replies.chunks_mut(self.own.workers.len()).filter_map(|replica| replica.last_mut());
        let outputs: Vec<_> = last.filter_map(|reply| reply.output.take()).collect();
        (!outputs.is_empty()).then(|| join(outputs))
    }

    /// Checks that the optimizers of this process accept a state.
    fn check_optimizers(&mut self, state: &Arc<StateDict>) -> Result<(), ExecError> {
        let check = || Command::CheckOptimizer { state: Arc::clone(state) };
        let replies = self.run_first_replica(check)?;
        replies.into_iter().find_map(|reply| reply.refused).map_or(Ok(()), Err)
    }
}

impl<N, L, P> Executor<N, L> for ParallelExecutor<N, L, P>
where
    N: Coarsen,
    L: Loss<N::Output>,
    P: Transport<N>,
{
    fn train_step_with(
        &mut self,
        input: N::Input,
        target: L::Target,
        update: Update,
    ) -> Result<StepReport<N::Output>, ExecError> {
        let begun = Instant::now();
        update.check()?;
        if !self.is_trainable {
            return Err(ExecError::NothingToTrain);
        }
        let mut replies = self.run_step(&input, &target, Some(update))?;
        let (loss, gradient_norm) = (replies[0].loss, replies[0].gradient_norm);
        if !loss.is_finite() {
            return Err(ExecError::LossNotFinite { loss });
        }
        self.steps += 1;
        let timeline = self.pool.timeline(&replies, self.layout.total_workers(), begun);
        let trace = self.pool.trace(&replies, begun);
        let output = self.take_output(&mut replies);
        let own = StepResults { output, timeline };
        let StepResults { output, timeline } = self.transport.step(own, &input, begun)?;
        let subnetworks = match self.records_launches {
            true => Vec::new(),
            false => SubnetworkTime::of_step(&timeline, self.layout.workers()),
        };
        let is_replayed = replies.iter().all(|reply| reply.is_replayed);
        let is_update_replayed = replies.iter().all(|reply| reply.is_update_replayed);
        let duration = begun.elapsed();
        Ok(StepReport {
            loss,
            output,
            gradient_norm,
            duration,
            is_replayed,
            is_update_replayed,
            subnetworks,
            timeline,
            trace,
        })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let mut replies = self.run_step(&input, &target, None)?;
        let (loss, device, workers) = (replies[0].loss, input.device(), self.own.workers.len());
        let output = self.take_output(&mut replies);
        let output = self.transport.output(output, &input)?;
        let inputs = replies.chunks_mut(workers).map(|replica| {
            let parts = replica.iter_mut().filter_map(|reply| reply.input.take());
            parts.map(|part| part.to_device(&device)).reduce(N::Input::accumulate)
        });
        let own = inputs.collect::<Option<Vec<_>>>().map(join);
        let input = self.transport.input_gradient(own, &input)?;
        let gradients = replies.into_iter().take(workers).flat_map(|reply| reply.tensors).collect();
        Ok(GradientReport { loss, output, gradients, input })
    }

    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError> {
        let samples = input.samples();
        if samples == 0 {
            return Err(ExecError::EmptyBatch);
        }
        self.transport.check_input(&input)?;
        // Replicas without a sample have nothing to do.
        let parts = split(samples, self.layout.replicas().min(samples), 1)?;
        let mut replies = self.run(|replica| {
            let part = parts.get(replica)?;
            Some(Command::Infer { input: samples_of(&input, part) })
        })?;
        let output = self.take_output(&mut replies);
        self.transport.output(output, &input)
    }

    fn read(&mut self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError> {
        let replies = self.run_first_replica(|| Command::Read { kind })?;
        Ok(replies.into_iter().flat_map(|reply| reply.tensors).collect())
    }

    /// Replaces the state after all processes have checked it.
    fn write(&mut self, kind: StateKind, state: StateDict) -> Result<(), ExecError> {
        let tensors = self.tensors.iter().flatten();
        let fits = kind.check(&state, &self.cuts, &self.own.subnetworks, tensors);
        let state = Arc::new(state);
        let fits = match kind {
            StateKind::Optimizer => fits.and_then(|()| self.check_optimizers(&state)),
            StateKind::Weights | StateKind::Average => fits,
        };
        let failed = self.transport.first_failed(fits.is_err())?;
        fits?;
        if let Some(rank) = failed {
            let message = match kind {
                StateKind::Optimizer => {
                    format!("rank {rank} cannot restore the state of its optimizers")
                }
                _ => format!("rank {rank} cannot find its tensors in this state"),
            };
            return Err(ExecError::Ranks(message));
        }
        self.run(|_| Some(Command::Write { kind, state: Arc::clone(&state) }))?;
        Ok(())
    }

    fn step(&self) -> u64 {
        self.steps
    }

    fn set_step(&mut self, step: u64) {
        self.steps = step;
    }

    fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    fn program(&self) -> Option<&Program> {
        Some(&self.program)
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn tensor_names(&self) -> Vec<(usize, Vec<String>)> {
        let names = |tensors: &TensorShapes| tensors.iter().map(|(name, _)| name.clone()).collect();
        self.own.subnetworks.clone().zip(self.tensors.iter().map(names)).collect()
    }
}
