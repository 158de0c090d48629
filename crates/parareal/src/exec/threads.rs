use std::sync::Arc;
use std::time::Instant;

use burn::optim::ModuleOptimizer;

use super::all_reduce::thread_all_reduce;
use super::batch_split::{join, samples_of, split};
use super::clock::Clock;
use super::collectives::thread_collectives;
use super::command::{Command, ReplyOf};
use super::device::operation_threads;
use super::error::ExecError;
use super::executor::{Executor, GradientReport, StepReport, check_batch};
use super::layout::Layout;
use super::link::channel_link;
use super::loss::Loss;
use super::placement::Placement;
use super::program::{Program, ProgramOptions};
use super::reducer::Reducer;
use super::state_kind::StateKind;
use super::step_failure::StepFailure;
use super::subnetwork_runner::SubnetworkRunner;
use super::subnetwork_time::SubnetworkTime;
use super::trained_module::TrainedModule;
use super::update::Update;
use super::worker::Worker;
use super::worker_pool::WorkerPool;
use crate::net::{Coarsen, Cuts, NamedTensor, PararealNetwork, StateDict, Value};

/// Trains a parareal network with its subnetworks on parallel workers, each a thread with a
/// device and cores of its own, for as long as this value lives.
pub struct Threads<N: Coarsen, L: Loss<N::Output>> {
    pool: WorkerPool<N, L>,
    program: Arc<Program>,
    layout: Layout,
    cuts: Cuts,
    /// Names and shapes of all parameters and buffers.
    tensors: Vec<(String, Vec<usize>)>,
    /// The number of parameters (tensors) that require a gradient, in a replica.
    trainable: usize,
    /// The number of training steps so far.
    steps: u64,
}

/// The replies of all workers to a step.
struct StepReplies<N: Coarsen> {
    replies: Vec<ReplyOf<N>>,
    loss: f64,
    output: N::Output,
}

impl<N: Coarsen, L: Loss<N::Output>> Threads<N, L> {
    /// Starts the workers and gives each its subnetworks.
    ///
    /// # Errors
    /// [`ExecError::Layout`] if the layout is for another number of subnetworks or for the ranks of
    /// an MPI program; [`ExecError::NoDevice`]; [`ExecError::Spawn`] if the system cannot start the
    /// threads; [`ExecError::Worker`] if a subnetwork cannot be moved to its device.
    pub fn new(
        network: PararealNetwork<N>,
        loss: L,
        optimizer: &ModuleOptimizer,
        placement: &Placement,
    ) -> Result<Self, ExecError> {
        let &Placement { ref layout, threads, segment_units, recompute, .. } = placement;
        layout.check_single_process()?;
        let options = ProgramOptions { segment_units, recompute, ..ProgramOptions::default() };
        let program = Arc::new(Program::new(layout, network.cuts(), options)?);
        let tensors = network.named_tensors().into_iter().map(|tensor| {
            let shape = tensor.data.shape().as_slice().to_vec();
            (tensor.name, shape)
        });
        let (pool, tensors) = (WorkerPool::new(false), tensors.collect());
        let (cuts, layout) = (network.cuts().clone(), layout.clone());
        let (workers, replicas) = (layout.workers(), layout.replicas());
        let (trainable, steps) = (0, 0);
        let mut this =
            Self { pool, program: Arc::clone(&program), layout, cuts, tensors, trainable, steps };

        let mut all_reduces: Vec<_> =
            (0..workers).map(|_| thread_all_reduce(replicas).into_iter()).collect();
        let network = network.into_subnetworks();
        for replica in 0..replicas {
            let mut upstream = None;
            for (index, collectives) in thread_collectives(workers).into_iter().enumerate() {
                let number = this.layout.worker_number(replica, index);
                let device = placement.device_of(number, this.layout.total_workers())?;
                let own = this.layout.subnetworks_of(index);
                let modules = network[own.clone()].to_vec();
                let (down, next) = if index + 1 < workers {
                    let (down, next) = channel_link();
                    (Some(down), Some(next))
                } else {
                    (None, None)
                };
                if replica == 0 {
                    this.trainable +=
                        modules.iter().map(TrainedModule::trainable_of).sum::<usize>();
                }
                let all_reduce = all_reduces[index].next().expect("there is one for each replica");
                let (loss, device, optimizer) = (loss.clone(), device.clone(), optimizer.clone());
                let up = std::mem::replace(&mut upstream, next);
                let threads = operation_threads(&device, threads);
                let program = Arc::clone(&program);
                let build = move || Worker {
                    program,
                    worker: index,
                    subnetworks: SubnetworkRunner::all(modules, &device, &optimizer),
                    loss,
                    clock: Clock::new(device.clone()),
                    device,
                    replica,
                    upstream: up,
                    downstream: down,
                    collectives,
                    reducer: (replicas > 1).then(|| Reducer::new(Box::new(all_reduce))),
                    validation: None,
                };
                this.pool.spawn(number, own, build, threads)?;
            }
        }
        this.pool.run(|_| Some(Command::Ready))?;
        Ok(this)
    }

    /// Runs a step on all workers and joins the outputs of the replicas.
    fn run_step(
        &mut self,
        input: &N::Input,
        target: &L::Target,
        update: Option<Update>,
    ) -> Result<StepReplies<N>, ExecError> {
        check_batch(input, target)?;
        let (workers, samples) = (self.layout.workers(), input.samples());
        let parts = split(samples, self.layout.replicas())?;
        let number = self.steps;
        let mut replies = self.pool.run(|worker| {
            let part = &parts[worker / workers];
            let share = part.len() as f64 / samples as f64;
            let (input, target) = (samples_of(input, part), samples_of(target, part));
            Some(Command::Step { number, input, target, share, update })
        })?;
        let failures = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.failures));
        if let Some(error) = StepFailure::into_error(failures) {
            return Err(error);
        }
        let loss = replies.first().expect("there is a worker").loss;
        Ok(StepReplies { loss, output: joined::<N>(&mut replies, workers), replies })
    }
}

/// Joins the outputs, which the last worker of each replica returns.
fn joined<N: Coarsen>(replies: &mut [ReplyOf<N>], workers: usize) -> N::Output {
    let last = replies.chunks_mut(workers).filter_map(|replica| replica.last_mut());
    let outputs = last.map(|reply| reply.output.take().expect("the last worker gives the output"));
    join(outputs.collect())
}

impl<N, L> Executor<N, L> for Threads<N, L>
where
    N: Coarsen,
    L: Loss<N::Output>,
{
    fn train_step_with(
        &mut self,
        input: N::Input,
        target: L::Target,
        update: Update,
    ) -> Result<StepReport<N::Output>, ExecError> {
        let begun = Instant::now();
        update.check()?;
        if self.trainable == 0 {
            return Err(ExecError::NothingToTrain);
        }
        let StepReplies { replies, loss, output } = self.run_step(&input, &target, Some(update))?;
        if !loss.is_finite() {
            return Err(ExecError::LossNotFinite { loss });
        }
        self.steps += 1;
        let gradient_norm = replies.first().and_then(|reply| reply.gradient_norm);
        let timeline = self.pool.timeline(&replies, self.layout.total_workers(), begun);
        let subnetworks = SubnetworkTime::of_step(&timeline, self.layout.workers());
        let trace = self.pool.trace(&replies, begun);
        let duration = begun.elapsed();
        Ok(StepReport { loss, output, gradient_norm, duration, subnetworks, timeline, trace })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let StepReplies { mut replies, loss, output } = self.run_step(&input, &target, None)?;
        let device = input.device();
        let inputs = replies.chunks_mut(self.layout.workers()).map(|replica| {
            let parts = replica.iter_mut().flat_map(|reply| std::mem::take(&mut reply.inputs));
            parts.map(|part| part.to_device(&device)).reduce(N::Input::accumulate)
        });
        let input = inputs.collect::<Option<Vec<_>>>().map(join);
        let own = replies.into_iter().take(self.layout.workers());
        let gradients = own.flat_map(|reply| reply.tensors).collect();
        Ok(GradientReport { loss, output, gradients, input })
    }

    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError> {
        let (workers, samples) = (self.layout.workers(), input.samples());
        if samples == 0 {
            return Err(ExecError::EmptyBatch);
        }
        let parts = split(samples, self.layout.replicas().min(samples))?;
        let mut replies = self.pool.run(|worker| {
            let part = parts.get(worker / workers)?;
            Some(Command::Infer { input: samples_of(&input, part) })
        })?;
        Ok(joined::<N>(&mut replies, workers))
    }

    /// Reads from the first replica; the others have the same state.
    fn read(&mut self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError> {
        let workers = self.layout.workers();
        let replies =
            self.pool.run(|worker| (worker < workers).then_some(Command::Read { kind }))?;
        Ok(replies.into_iter().flat_map(|reply| reply.tensors).collect())
    }

    fn write(&mut self, kind: StateKind, state: StateDict) -> Result<(), ExecError> {
        kind.check(&state, &self.cuts, &(0..self.cuts.subnetworks()), &self.tensors)?;
        let state = Arc::new(state);
        if kind == StateKind::Optimizer {
            // Replicas have the same optimizers.
            let workers = self.layout.workers();
            let replies = self.pool.run(|worker| {
                let state = Arc::clone(&state);
                (worker < workers).then_some(Command::CheckOptimizer { state })
            })?;
            if let Some(error) = replies.into_iter().find_map(|reply| reply.refused) {
                return Err(error);
            }
        }
        self.pool.run(|_| Some(Command::Write { kind, state: Arc::clone(&state) }))?;
        Ok(())
    }

    fn program(&self) -> Option<&Program> {
        Some(&self.program)
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
}
