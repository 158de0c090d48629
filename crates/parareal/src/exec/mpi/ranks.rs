use std::sync::Arc;
use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, TensorData};
use parareal_mpi::{Communicator, MpiError, World};

use super::all_reduce::RankAllReduce;
use super::collectives::RankCollectives;
use super::first_error::FirstError;
use super::link::{AnyLink, RankLink, RankLinkConfig};
use super::rank_report::{RankReport, decode_failures, encode_failures, wall_clock};
use crate::exec::batch_split::{join, samples_of, split};
use crate::exec::clock::Clock;
use crate::exec::collectives::thread_collectives;
use crate::exec::command::{Command, ReplyOf};
use crate::exec::device::operation_threads;
use crate::exec::error::ExecError;
use crate::exec::executor::{Executor, GradientReport, StepReport, check_batch};
use crate::exec::layout::{Layout, RankLayout};
use crate::exec::link::channel_link;
use crate::exec::loss::Loss;
use crate::exec::placement::Placement;
use crate::exec::reducer::Reducer;
use crate::exec::state_kind::StateKind;
use crate::exec::step_failure::StepFailure;
use crate::exec::subnetwork_runner::{Segments, SubnetworkRunner};
use crate::exec::subnetwork_time::SubnetworkTime;
use crate::exec::trained_module::TrainedModule;
use crate::exec::update::Update;
use crate::exec::worker::Worker;
use crate::exec::worker_pool::WorkerPool;
use crate::net::{
    Coarsen, Cuts, Init, NamedTensor, SampleShape, StateDict, Value, build_subnetworks,
};

/// Trains a parareal network with its subnetworks on the ranks of an MPI program.
///
/// All ranks make the same calls in the same order, with the same batches, and all of them get the same
/// losses, outputs, times and timelines. Tensors by name ([`Executor::named_tensors`],
/// [`GradientReport::gradients`], ..) are those of the subnetworks that this rank holds, and
/// [`Executor::load`] loads these and ignores all others.
///
/// The timeline of a step has the activities of the workers of all ranks, in seconds since the first rank
/// began the step. Ranks report that time by their wall clocks. So the times of ranks on one machine are
/// exact, and those of other machines are shifted by the difference between the clocks.
///
/// After an error of one rank the others may wait for it, so the program has to end all ranks
/// ([`World::abort`]). A loss that is not finite is an error on all ranks.
pub struct Ranks<N: Coarsen, L: Loss<N::Output>> {
    pool: WorkerPool<N, L>,
    layout: Layout,
    /// The share of this rank.
    own: RankLayout,
    cuts: Cuts,
    /// The shape of the samples for which the interfaces are made.
    input_shape: SampleShape,
    /// All ranks.
    all: Communicator,
    /// The type of the network's tensors.
    dtype: DType,
    /// For each subnetwork of this rank the names and shapes of its parameters and buffers.
    tensors: Vec<Vec<(String, Vec<usize>)>>,
    /// Set if any rank has a parameter that requires a gradient.
    is_trainable: bool,
    /// The number of training steps so far.
    steps: u64,
    first_error: FirstError,
}

fn ranks(error: MpiError) -> ExecError {
    ExecError::Ranks(error.to_string())
}

/// Exchanges between all ranks whether they have failed, and returns the first that has.
fn first_failed(all: &Communicator, has_failed: bool) -> Result<Option<usize>, ExecError> {
    let gathered = all.all_gather(vec![u8::from(has_failed)]).map_err(ranks)?;
    Ok(gathered.iter().position(|failed| *failed == [1]))
}

impl<N: Coarsen, L: Loss<N::Output>> Ranks<N, L> {
    /// Builds this rank's subnetworks and starts its workers; all ranks call this together.
    ///
    /// `placement` has a layout for the ranks of `world` ([`Layout::ranks`]) and the device of this rank
    /// (its first one). Between ranks tensors are sent as `message_dtype`, by default in the type of the
    /// network.
    ///
    /// # Errors
    /// [`ExecError::Layout`] if the layout is for another number of ranks or subnetworks;
    /// [`ExecError::NoDevice`]; [`ExecError::Net`] if the modules of the network do not fit together or
    /// two subnetworks share a parameter; [`ExecError::Ranks`] if MPI fails, or if other ranks cannot
    /// build their subnetworks.
    #[expect(clippy::too_many_arguments, reason = "a network, how it learns, and where it stands")]
    pub fn new(
        world: &World,
        network: &N,
        cuts: &Cuts,
        init: &Init,
        loss: L,
        optimizer: &ModuleOptimizer,
        placement: &Placement,
        message_dtype: Option<DType>,
    ) -> Result<Self, ExecError> {
        let &Placement { ref layout, threads, segment_units, recompute, .. } = placement;
        layout.check_ranks(world.size())?;
        layout.check_network(cuts.subnetworks())?;
        let device = placement.device_of(0, 1)?;
        let layout = layout.clone();
        let own = layout.rank(world.rank());
        let (replica, has_replicas) = (own.replicas.start, layout.replicas() > 1);

        // All ranks split the world in the same order.
        let split =
            |color: Option<usize>| world.split(color.map(|color| color as u32)).map_err(ranks);
        let member = "a rank with a color is a member of a communicator";
        let all = split(Some(0))?.expect(member);
        let of_replica = split(Some(replica))?.expect(member);
        // The same worker of each replica.
        let mut of_workers = Vec::new();
        for worker in 0..layout.max_workers_per_rank() {
            of_workers.push(split((worker < own.workers.len()).then_some(own.position))?);
        }

        let (dtype, first_error) = (init.dtype(), FirstError::default());
        let config = RankLinkConfig {
            communicator: of_replica.clone(),
            dtype,
            message_dtype: message_dtype.unwrap_or(dtype),
            device: device.clone(),
            first_error: first_error.clone(),
        };
        let built = build_subnetworks(network, cuts, own.subnetworks.clone(), init);
        let failed = first_failed(&all, built.is_err())?;
        let modules = built?;
        if let Some(rank) = failed {
            return Err(ExecError::Ranks(format!("rank {rank} cannot build its subnetworks")));
        }
        let tensors = modules.iter().map(|module| {
            let tensors = module.named_tensors().into_iter().map(|tensor| {
                let shape = tensor.data.shape().as_slice().to_vec();
                (tensor.name, shape)
            });
            tensors.collect()
        });
        let tensors = tensors.collect();
        let mut modules = modules.into_iter();
        let (mut pool, mut upstream, mut trainable) = (WorkerPool::new(true), None, 0);
        if own.position > 0 {
            let sample = network.state_shape(cuts.units_of(own.subnetworks.start - 1).end);
            upstream = Some(AnyLink::Rank(Box::new(RankLink::upstream(config.clone(), sample))));
        }
        for (index, local) in thread_collectives(own.workers.len()).into_iter().enumerate() {
            let held = layout.subnetworks_of(own.workers.start + index);
            let segments = Segments { units: segment_units, recompute };
            let own_modules: Vec<_> = modules.by_ref().take(held.len()).collect();
            trainable += own_modules.iter().map(TrainedModule::trainable_of).sum::<usize>();
            let (down, next) = if index + 1 < own.workers.len() {
                let (down, next) = channel_link();
                (Some(AnyLink::Channel(down)), Some(AnyLink::Channel(next)))
            } else if own.position + 1 < layout.ranks_per_replica() {
                let sample = network.state_shape(cuts.units_of(held.end - 1).end);
                (Some(AnyLink::Rank(Box::new(RankLink::downstream(config.clone(), sample)))), None)
            } else {
                (None, None)
            };
            let of_worker = of_workers[index].clone().expect(member);
            let all_reduce = RankAllReduce::new(of_worker, first_error.clone());
            let collectives = RankCollectives {
                local,
                worker: index,
                replica: of_replica.clone(),
                first_error: first_error.clone(),
            };
            let (loss, device, optimizer) = (loss.clone(), device.clone(), optimizer.clone());
            let up = std::mem::replace(&mut upstream, next);
            let threads = operation_threads(&device, threads);
            let build = move || Worker {
                subnetworks: SubnetworkRunner::all(own_modules, &device, &optimizer, segments),
                loss,
                clock: Clock::new(device.clone()),
                device,
                replica,
                upstream: up,
                downstream: down,
                collectives,
                reducer: has_replicas.then(|| Reducer::new(Box::new(all_reduce))),
                validation: None,
            };
            let number = layout.worker_number(replica, own.workers.start + index);
            pool.spawn(number, held, build, threads)?;
        }
        pool.run(|_| Some(Command::Ready))?;
        let trainable = all.all_gather(vec![u8::from(trainable > 0)]).map_err(ranks)?;
        let is_trainable = trainable.concat().contains(&1);
        let cuts = cuts.clone();
        let steps = 0;
        Ok(Self {
            pool,
            layout,
            own,
            cuts,
            input_shape: network.input_shape(),
            all,
            dtype,
            tensors,
            is_trainable,
            steps,
            first_error,
        })
    }

    /// Messages between ranks have the size that follows from the shape of the input.
    fn check_shape(&self, input: &N::Input) -> Result<(), ExecError> {
        let found = input.shape();
        match found == self.input_shape {
            true => Ok(()),
            false => Err(ExecError::SampleShape { expected: self.input_shape.clone(), found }),
        }
    }

    /// The layout of all ranks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The share of this rank.
    pub fn rank_layout(&self) -> &RankLayout {
        &self.own
    }

    /// The names of the parameters and buffers of each subnetwork of this rank.
    pub fn names(&self) -> impl Iterator<Item = Vec<String>> {
        let names =
            |tensors: &Vec<(String, _)>| tensors.iter().map(|(name, _)| name.clone()).collect();
        self.tensors.iter().map(names)
    }

    fn run(
        &mut self,
        command: impl Fn() -> Command<N::Input, L::Target>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        let Self { pool, first_error, .. } = self;
        // An error between ranks explains why a worker could not go on.
        pool.run(|_| Some(command())).map_err(|error| match first_error.take() {
            Some(message) => ExecError::Ranks(message),
            None => error,
        })
    }

    fn run_step(
        &mut self,
        input: &N::Input,
        target: &L::Target,
        update: Option<Update>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        check_batch(input, target)?;
        self.check_shape(input)?;
        let samples = input.samples();
        let replica = self.own.replicas.start;
        let part = split(samples, self.layout.replicas())?[replica].clone();
        let share = part.len() as f64 / samples as f64;
        let (input, target) = (samples_of(input, &part), samples_of(target, &part));
        let number = self.steps;
        let replies = self.run(|| Command::Step {
            number,
            input: input.clone(),
            target: target.clone(),
            share,
            update,
        })?;
        match replies.iter().any(|reply| reply.is_abandoned) {
            true => Err(self.abandoned(replies)?),
            false => Ok(replies),
        }
    }

    /// Checks that the optimizers of this rank take a state.
    fn check_optimizers(&mut self, state: &Arc<StateDict>) -> Result<(), ExecError> {
        let replies = self.run(|| Command::CheckOptimizer { state: Arc::clone(state) })?;
        replies.into_iter().find_map(|reply| reply.refused).map_or(Ok(()), Err)
    }

    /// Returns the error for which a step was abandoned, the same on all ranks.
    fn abandoned(&self, replies: Vec<ReplyOf<N>>) -> Result<ExecError, ExecError> {
        let own: Vec<_> = replies.into_iter().flat_map(|reply| reply.failures).collect();
        let gathered = self.all.all_gather(encode_failures(&own)).map_err(ranks)?;
        let failures = gathered.iter().flat_map(|bytes| decode_failures(bytes));
        let unknown =
            || ExecError::Ranks("a step was abandoned, and no rank reports a reason".into());
        Ok(StepFailure::into_error(failures).unwrap_or_else(unknown))
    }

    /// Exchanges reports between all ranks, and returns them in the order of the ranks.
    fn exchange(&self, own: RankReport) -> Result<Vec<RankReport>, ExecError> {
        let gathered = self.all.all_gather(own.encode()).map_err(ranks)?;
        let decode =
            |(rank, bytes): (usize, &Vec<u8>)| RankReport::decode(bytes, &self.layout, rank);
        let reports: Option<Vec<_>> = gathered.iter().enumerate().map(decode).collect();
        reports.ok_or_else(|| {
            ExecError::Ranks("a rank sent an unknown report: is it another version?".into())
        })
    }

    /// Exchanges tensors between all ranks.
    fn exchange_tensors(
        &self,
        tensors: Option<Vec<TensorData>>,
    ) -> Result<Vec<RankReport>, ExecError> {
        self.exchange(RankReport { tensors, ..RankReport::default() })
    }

    /// Joins the outputs, which the last rank of each replica reports.
    fn output(&self, like: &N::Input, reports: &[RankReport]) -> Result<N::Output, ExecError> {
        let outputs = reports.iter().filter_map(|report| report.tensors.clone());
        let outputs = outputs.map(|data| N::Output::from_data(data, &like.device(), self.dtype));
        let output = join(outputs.collect::<Vec<_>>());
        match output.samples() == like.samples() {
            true => Ok(output),
            false => Err(ExecError::Ranks(format!(
                "the ranks computed {} outputs for {} samples",
                output.samples(),
                like.samples()
            ))),
        }
    }
}

fn output_of<N: Coarsen>(replies: &mut [ReplyOf<N>]) -> Option<Vec<TensorData>> {
    let output = replies.last_mut().and_then(|reply| reply.output.take());
    output.map(Value::into_data)
}

impl<N, L> Executor<N, L> for Ranks<N, L>
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
        let (begun, begun_at) = (Instant::now(), wall_clock());
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
        let devices = self.layout.total_workers();
        let spans = self.pool.timeline(&replies, devices, begun).spans;
        let tensors = output_of::<N>(&mut replies);
        let reports = self.exchange(RankReport { begun: begun_at, spans, tensors })?;
        let output = self.output(&input, &reports)?;
        let timeline = RankReport::timeline(&reports, devices);
        let subnetworks = SubnetworkTime::of_step(&timeline, self.layout.workers());
        let duration = begun.elapsed();
        Ok(StepReport { loss, output, gradient_norm, duration, subnetworks, timeline })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let mut replies = self.run_step(&input, &target, None)?;
        let (loss, device) = (replies[0].loss, input.device());
        let output = output_of::<N>(&mut replies);
        let output = self.output(&input, &self.exchange_tensors(output)?)?;
        let own = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.inputs));
        let own = own.map(|part| part.to_device(&device)).reduce(N::Input::accumulate);
        let parts = self.exchange_tensors(own.map(Value::into_data))?;
        let replicas = parts.chunks(self.layout.ranks_per_replica()).map(|chain| {
            let parts = chain.iter().filter_map(|report| report.tensors.clone());
            let parts = parts.map(|data| N::Input::from_data(data, &device, self.dtype));
            parts.reduce(N::Input::accumulate)
        });
        let input = replicas.collect::<Option<Vec<_>>>().map(join);
        let gradients = replies.into_iter().flat_map(|reply| reply.tensors).collect();
        Ok(GradientReport { loss, output, gradients, input })
    }

    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError> {
        let samples = input.samples();
        if samples == 0 {
            return Err(ExecError::EmptyBatch);
        }
        self.check_shape(&input)?;
        // Replicas without a sample have nothing to do.
        let parts = split(samples, self.layout.replicas().min(samples))?;
        let mut output = None;
        if let Some(part) = parts.get(self.own.replicas.start) {
            let part = samples_of(&input, part);
            let mut replies = self.run(|| Command::Infer { input: part.clone() })?;
            output = output_of::<N>(&mut replies);
        }
        self.output(&input, &self.exchange_tensors(output)?)
    }

    /// Reads the state of this rank's subnetworks.
    fn read(&mut self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError> {
        let replies = self.run(|| Command::Read { kind })?;
        Ok(replies.into_iter().flat_map(|reply| reply.tensors).collect())
    }

    /// Replaces the state after all ranks have checked it.
    fn write(&mut self, kind: StateKind, state: StateDict) -> Result<(), ExecError> {
        let held = &self.own.subnetworks;
        let fits = kind.check(&state, &self.cuts, held, self.tensors.iter().flatten());
        let state = Arc::new(state);
        let fits = match kind {
            StateKind::Optimizer => fits.and_then(|()| self.check_optimizers(&state)),
            StateKind::Weights | StateKind::Average => fits,
        };
        let failed = first_failed(&self.all, fits.is_err())?;
        fits?;
        if let Some(rank) = failed {
            let message = match kind {
                StateKind::Optimizer => format!("rank {rank} cannot restore its optimizers"),
                _ => format!("rank {rank} does not find its tensors among these"),
            };
            return Err(ExecError::Ranks(message));
        }
        self.run(|| Command::Write { kind, state: Arc::clone(&state) })?;
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
}
