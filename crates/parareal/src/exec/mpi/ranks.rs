use std::sync::Arc;
use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, TensorData};
use parareal_mpi::{Communicator, MpiError, World};

use super::control::RankControl;
use super::group::RankGroup;
use super::link::{AnyLink, RankLink, Wiring};
use super::report::{Report, decode_faults, encode_faults};
use super::{LinkFault, Seat};
use crate::exec::clock::Clock;
use crate::exec::control::thread_controls;
use crate::exec::crew::Crew;
use crate::exec::device::operation_threads;
use crate::exec::executor::check_batch;
use crate::exec::fault::Fault;
use crate::exec::link::channel_link;
use crate::exec::piece::Segments;
use crate::exec::replicas::Sums;
use crate::exec::threads::{join, part_of, parts, pieces};
use crate::exec::trained::{Part, Trained};
use crate::exec::worker::{Command, ReplyOf, Worker};
use crate::exec::{
    ExecError, Executor, GradientReport, Loss, Placement, StepReport, SubnetworkTime, Update,
};
use crate::net::{Coarsen, Cuts, Init, NamedTensor, StateDict, Value, build_subnetworks};

/// Trains a parareal network with its subnetworks on the ranks of an MPI program.
///
/// Every rank makes the same calls in the same order, with the same batches. Losses, outputs and
/// times come back the same on all of them; what is asked by name ([`Executor::named_tensors`],
/// [`GradientReport::gradients`], ..) is that of the subnetworks that this rank holds, and
/// [`Executor::load`] takes these and ignores all others. A step's timeline has what this rank did.
///
/// An error of one rank leaves the others waiting: whoever gets one has to end all of them
/// ([`World::abort`]). Where a loss is not finite, all ranks are told so.
pub struct Ranks<N: Coarsen, L: Loss<N::Output>> {
    crew: Crew<N, L>,
    seat: Seat,
    cuts: Cuts,
    /// The workers of all ranks.
    workers: usize,
    /// All ranks.
    all: Communicator,
    /// The type of the network's tensors.
    dtype: DType,
    /// For each subnetwork that is held here the names and shapes of its parameters and buffers.
    layout: Vec<Vec<(String, Vec<usize>)>>,
    /// Set where any rank has a parameter that requires a gradient.
    is_trainable: bool,
    fault: LinkFault,
}

fn ranks(error: MpiError) -> ExecError {
    ExecError::Ranks(error.to_string())
}

/// Tells all ranks whether this one has failed, and returns the first that has.
fn first_failed(all: &Communicator, has_failed: bool) -> Result<Option<usize>, ExecError> {
    let told = all.all_gather(vec![u8::from(has_failed)]).map_err(ranks)?;
    Ok(told.iter().position(|failed| *failed == [1]))
}

impl<N: Coarsen, L: Loss<N::Output>> Ranks<N, L> {
    /// Builds this rank's subnetworks and starts its workers: all ranks do so together.
    /// `placement` has the device of this rank (its first one), the replicas, and the workers of a
    /// rank, at most one for each of its subnetworks. With `wire` tensors are sent between ranks as
    /// this type.
    ///
    /// # Errors
    /// Where the ranks do not suffice for the replicas, are more than the subnetworks, the modules
    /// of the network do not fit together, two subnetworks share a parameter, or MPI fails. If only
    /// some ranks cannot build their subnetworks, the others return [`ExecError::Ranks`].
    #[expect(clippy::too_many_arguments, reason = "a network, how it learns, and where it stands")]
    pub fn new(
        world: &World,
        network: &N,
        cuts: &Cuts,
        init: &Init,
        loss: L,
        optimizer: &ModuleOptimizer,
        placement: &Placement,
        wire: Option<DType>,
    ) -> Result<Self, ExecError> {
        let count = cuts.subnetworks();
        let &Placement {
            workers, ref devices, replicas, threads, segment_units, recompute, ..
        } = placement;
        let seat = Seat::of(world.rank(), world.size(), replicas, count)?;
        let Some(device) = devices.first().filter(|_| workers > 0) else {
            return Err(ExecError::Workers { workers, subnetworks: count });
        };
        let per_place = seat.workers(workers, count)?;
        let own = per_place[seat.place];
        let spread = Cuts::even(seat.subnetworks.len(), own)?;

        // All ranks split the world in the same order.
        let circle =
            |color: Option<usize>| world.split(color.map(|color| color as u32)).map_err(ranks);
        let member = "who gives a color is in a communicator";
        let all = circle(Some(0))?.expect(member);
        let chain = circle(Some(seat.replica))?.expect(member);
        let mut groups = Vec::new();
        for worker in 0..per_place.iter().copied().max().unwrap_or(0) {
            groups.push(circle((worker < own).then_some(seat.place))?);
        }

        let (dtype, fault) = (init.dtype(), LinkFault::default());
        let wiring = Wiring {
            circle: chain.clone(),
            dtype,
            wire: wire.unwrap_or(dtype),
            device: device.clone(),
            fault: fault.clone(),
        };
        let built = build_subnetworks(network, cuts, seat.subnetworks.clone(), init);
        let failed = first_failed(&all, built.is_err())?;
        let modules = built?;
        if let Some(rank) = failed {
            return Err(ExecError::Ranks(format!("rank {rank} cannot build its subnetworks")));
        }
        let layout = modules.iter().map(|module| {
            let tensors = module.named_tensors().into_iter().map(|tensor| {
                let shape = tensor.data.shape().as_slice().to_vec();
                (tensor.name, shape)
            });
            tensors.collect()
        });
        let layout = layout.collect();
        let mut modules = modules.into_iter();
        let (mut crew, mut upstream, mut trainable) = (Crew::new(true), None, 0);
        if seat.place > 0 {
            let sample = network.state_shape(cuts.units_of(seat.subnetworks.start - 1).end);
            upstream = Some(AnyLink::Rank(Box::new(RankLink::up(wiring.clone(), sample))));
        }
        for (index, local) in thread_controls(own).into_iter().enumerate() {
            let held = spread.units_of(index);
            let held = seat.subnetworks.start + held.start..seat.subnetworks.start + held.end;
            let segments = Segments { units: segment_units, recompute };
            let own_modules: Vec<_> = modules.by_ref().take(held.len()).collect();
            trainable += own_modules.iter().map(Trained::trainable_of).sum::<usize>();
            let (down, next) = if index + 1 < own {
                let (down, next) = channel_link();
                (Some(AnyLink::Channel(down)), Some(AnyLink::Channel(next)))
            } else if seat.place + 1 < seat.places {
                let sample = network.state_shape(cuts.units_of(held.end - 1).end);
                (Some(AnyLink::Rank(Box::new(RankLink::down(wiring.clone(), sample)))), None)
            } else {
                (None, None)
            };
            let group = groups[index].clone().expect(member);
            let group = RankGroup::new(group, fault.clone());
            let control =
                RankControl { local, worker: index, chain: chain.clone(), fault: fault.clone() };
            let (loss, device, optimizer) = (loss.clone(), device.clone(), optimizer.clone());
            let up = std::mem::replace(&mut upstream, next);
            let threads = operation_threads(&device, threads);
            let build = move || Worker {
                pieces: pieces(own_modules, &device, &optimizer, segments),
                loss,
                clock: Clock::new(device.clone()),
                device,
                upstream: up,
                downstream: down,
                control,
                sums: (replicas > 1).then(|| Sums::new(Box::new(group))),
                validation: None,
            };
            let before: usize = per_place[..seat.place].iter().sum();
            let number = seat.replica * per_place.iter().sum::<usize>() + before + index;
            crew.hire(number, held, build, threads)?;
        }
        crew.order(|_| Some(Command::Ready))?;
        let workers = replicas * per_place.iter().sum::<usize>();
        let trainable = all.all_gather(vec![u8::from(trainable > 0)]).map_err(ranks)?;
        let is_trainable = trainable.concat().contains(&1);
        let cuts = cuts.clone();
        Ok(Self { crew, seat, cuts, workers, all, dtype, layout, is_trainable, fault })
    }

    /// The place of this rank.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// For each subnetwork of this rank the names of its parameters and buffers.
    pub fn names(&self) -> impl Iterator<Item = Vec<String>> {
        let names =
            |tensors: &Vec<(String, _)>| tensors.iter().map(|(name, _)| name.clone()).collect();
        self.layout.iter().map(names)
    }

    fn order(
        &mut self,
        command: impl Fn() -> Command<N::Input, L::Target>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        let Self { crew, fault, .. } = self;
        // What went wrong between ranks explains why a worker could not go on.
        crew.order(|_| Some(command())).map_err(|error| match fault.take() {
            Some(message) => ExecError::Ranks(message),
            None => error,
        })
    }

    fn step(
        &mut self,
        input: &N::Input,
        target: &L::Target,
        update: Option<Update>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        check_batch(input, target)?;
        let samples = input.samples();
        let part = parts(samples, self.seat.replicas)?[self.seat.replica].clone();
        let share = part.len() as f64 / samples as f64;
        let (input, target) = (part_of(input, &part), part_of(target, &part));
        let replies = self.order(|| Command::Step {
            input: input.clone(),
            target: target.clone(),
            share,
            update,
        })?;
        match replies.iter().any(|reply| reply.given_up) {
            true => Err(self.given_up(replies)?),
            false => Ok(replies),
        }
    }

    /// Why a step was given up, which is the same on all ranks.
    fn given_up(&self, replies: Vec<ReplyOf<N>>) -> Result<ExecError, ExecError> {
        let own: Vec<_> = replies.into_iter().flat_map(|reply| reply.faults).collect();
        let told = self.all.all_gather(encode_faults(&own)).map_err(ranks)?;
        let faults = told.iter().flat_map(|bytes| decode_faults(bytes));
        let unknown = || ExecError::Ranks("a step was given up, and no rank says why".into());
        Ok(Fault::error(faults).unwrap_or_else(unknown))
    }

    /// Tells all ranks of this one's times and tensor, and gives what they tell.
    fn tell(
        &self,
        times: Vec<SubnetworkTime>,
        tensor: Option<TensorData>,
    ) -> Result<Vec<Report>, ExecError> {
        let told = self.all.all_gather(Report { times, tensor }.encode()).map_err(ranks)?;
        let reports: Option<Vec<_>> = told.iter().map(|bytes| Report::decode(bytes)).collect();
        reports.ok_or_else(|| {
            ExecError::Ranks("a rank tells something unknown: is it another version?".into())
        })
    }

    /// The output of the whole batch, from the last rank of each replica.
    fn output(&self, like: &N::Input, reports: &[Report]) -> Result<N::Output, ExecError> {
        let outputs = reports.iter().filter_map(|report| report.tensor.clone());
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

fn output_of<N: Coarsen>(replies: &mut [ReplyOf<N>]) -> Option<TensorData> {
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
        let begun = Instant::now();
        update.check()?;
        if !self.is_trainable {
            return Err(ExecError::NothingToTrain);
        }
        let mut replies = self.step(&input, &target, Some(update))?;
        let (loss, gradient_norm) = (replies[0].loss, replies[0].gradient_norm);
        if !loss.is_finite() {
            return Err(ExecError::LossNotFinite { loss });
        }
        let timeline = self.crew.timeline(&replies, self.workers, begun);
        let output = output_of::<N>(&mut replies);
        let times = SubnetworkTime::of_step(&timeline, self.workers / self.seat.replicas);
        let reports = self.tell(times, output)?;
        let output = self.output(&input, &reports)?;
        // Of the first replica.
        let first = reports.into_iter().take(self.seat.places);
        let subnetworks = first.flat_map(|report| report.times).collect();
        let duration = begun.elapsed();
        Ok(StepReport { loss, output, gradient_norm, duration, subnetworks, timeline })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let mut replies = self.step(&input, &target, None)?;
        let (loss, device) = (replies[0].loss, input.device());
        let output = output_of::<N>(&mut replies);
        let output = self.output(&input, &self.tell(Vec::new(), output)?)?;
        let own = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.inputs));
        let own = own.map(|part| part.to_device(&device)).reduce(N::Input::accumulate);
        let parts = self.tell(Vec::new(), own.map(Value::into_data))?;
        let replicas = parts.chunks(self.seat.places).map(|chain| {
            let parts = chain.iter().filter_map(|report| report.tensor.clone());
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
        // Replicas for which there is no sample have nothing to do.
        let parts = parts(samples, self.seat.replicas.min(samples))?;
        let mut output = None;
        if let Some(part) = parts.get(self.seat.replica) {
            let part = part_of(&input, part);
            let mut replies = self.order(|| Command::Infer { input: part.clone() })?;
            output = output_of::<N>(&mut replies);
        }
        self.output(&input, &self.tell(Vec::new(), output)?)
    }

    /// A part of this rank's subnetworks, by names.
    fn read(&mut self, part: Part) -> Result<Vec<NamedTensor>, ExecError> {
        let replies = self.order(|| Command::Read { part })?;
        Ok(replies.into_iter().flat_map(|reply| reply.tensors).collect())
    }

    /// Other values for a part, looked over by all ranks before any of them takes them.
    fn write(&mut self, part: Part, state: StateDict) -> Result<(), ExecError> {
        let held = &self.seat.subnetworks;
        let fits = part.check(&state, &self.cuts, held, self.layout.iter().flatten());
        let failed = first_failed(&self.all, fits.is_err())?;
        fits?;
        if let Some(rank) = failed {
            let message = format!("rank {rank} does not find its tensors among these");
            return Err(ExecError::Ranks(message));
        }
        let state = Arc::new(state);
        self.order(|| Command::Write { part, state: Arc::clone(&state) })?;
        Ok(())
    }

    fn cuts(&self) -> &Cuts {
        &self.cuts
    }
}
