use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;

use super::clock::Clock;
use super::control::thread_controls;
use super::crew::Crew;
use super::device::operation_threads;
use super::executor::check_batch;
use super::fault::Fault;
use super::link::channel_link;
use super::piece::{Piece, Segments};
use super::replicas::{Sums, thread_group};
use super::trained::{Part, Trained};
use super::worker::{Command, ReplyOf, Worker};
use super::{ExecError, Executor, GradientReport, Loss, StepReport, SubnetworkTime, Update};
use crate::net::{Coarsen, Cuts, NamedTensor, PararealNetwork, StateDict, SubnetworkOf, Value};

/// How subnetworks are placed on workers, and workers on devices.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The devices, in order: the first workers get the first.
    pub devices: Vec<Device>,
    /// The number of workers of each replica, at most one for each subnetwork.
    pub workers: usize,
    /// Copies of the chain on different parts of each batch, at least one.
    pub replicas: usize,
    /// How many subnetworks each worker holds, in order; `None` spreads them evenly.
    ///
    /// Nothing overlaps the last worker's part of the chain, while the first ones' is hidden
    /// behind fine work of those after them: the fewer subnetworks the last worker holds, the
    /// less the others wait.
    pub subnetworks: Option<Vec<usize>>,
    /// The threads that share each operation of one worker on the CPU. A worker on another device has
    /// one thread, which submits the work.
    pub threads: usize,
    /// Units that share one graph in the backward pass. Longer segments have less overhead,
    /// shorter ones free memory earlier.
    pub segment_units: usize,
    /// Keeps of each segment only the state that it starts from, and computes the rest once more
    /// in the backward pass: less memory for about a third more time.
    ///
    /// A segment of `k` units then needs the memory of `k` units while it is differentiated, and
    /// `n` units keep `n / k` states, so about `√n` units are best. Gradients are the same to the
    /// last bit. Units have to compute the same twice: where one does not, such as dropout, which draws
    /// random numbers, the step ends with [`ExecError::NotDeterministic`]. On the CPU any difference is
    /// noticed; on other devices, whose sums may differ from run to run, only one of more than 1 % of the
    /// norm of the segment's last state. Random layers with a smaller effect go unnoticed there, and
    /// gradients are wrong by as much. Running statistics ([`burn::module::RunningState`]) take the
    /// first pass and not the second.
    pub recompute: bool,
}

impl Placement {
    /// The CPU, with as many workers as the machine has cores for and as `subnetworks` can keep
    /// busy; each has its share of the cores.
    pub fn cpu(subnetworks: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(vec![Device::flex()], subnetworks.min(cores))
    }

    /// `workers` workers, spread over `devices` in order, with an equal share of the cores each.
    pub fn new(devices: Vec<Device>, workers: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / workers.max(1)).max(1);
        let (replicas, subnetworks, segment_units, recompute) = (1, None, 4, false);
        Self { devices, workers, replicas, subnetworks, threads, segment_units, recompute }
    }
}

/// Trains a parareal network with its subnetworks on parallel workers, each a thread with a
/// device and cores of its own, for as long as this value lives.
pub struct Threads<N: Coarsen, L: Loss<N::Output>> {
    crew: Crew<N, L>,
    cuts: Cuts,
    /// The workers of a replica.
    workers: usize,
    replicas: usize,
    /// Names and shapes of all parameters and buffers.
    layout: Vec<(String, Vec<usize>)>,
    /// The number of parameters (tensors) that require a gradient, in a replica.
    trainable: usize,
}

/// What all workers together did in a step.
struct StepReplies<N: Coarsen> {
    replies: Vec<ReplyOf<N>>,
    loss: f64,
    output: N::Output,
}

impl<N: Coarsen, L: Loss<N::Output>> Threads<N, L> {
    /// Starts the workers and hands each its subnetworks.
    ///
    /// # Errors
    /// Where there are no workers, more than subnetworks, a spread over them that does not add up,
    /// the system gives no threads, or a subnetwork cannot be moved to its device.
    pub fn new(
        network: PararealNetwork<N>,
        loss: L,
        optimizer: &ModuleOptimizer,
        placement: &Placement,
    ) -> Result<Self, ExecError> {
        let count = network.subnetworks().len();
        let &Placement {
            workers, ref devices, replicas, threads, segment_units, recompute, ..
        } = placement;
        let segments = Segments { units: segment_units, recompute };
        if workers == 0 || workers > count || devices.is_empty() {
            return Err(ExecError::Workers { workers, subnetworks: count });
        }
        let layout = network.named_tensors().into_iter().map(|tensor| {
            let shape = tensor.data.shape().as_slice().to_vec();
            (tensor.name, shape)
        });
        let (crew, layout, replicas) = (Crew::new(false), layout.collect(), replicas.max(1));
        let cuts = network.cuts().clone();
        let mut this = Self { crew, cuts, workers, replicas, layout, trainable: 0 };

        let spread = spread(placement.subnetworks.as_deref(), workers, count)?;
        let mut groups: Vec<_> = (0..workers).map(|_| thread_group(replicas).into_iter()).collect();
        let network = network.into_subnetworks();
        for replica in 0..replicas {
            let mut upstream = None;
            for (index, control) in thread_controls(workers).into_iter().enumerate() {
                let number = replica * workers + index;
                let device = &devices[number * devices.len() / (replicas * workers)];
                let own = spread.units_of(index);
                let modules = network[own.clone()].to_vec();
                let (down, next) = if index + 1 < workers {
                    let (down, next) = channel_link();
                    (Some(down), Some(next))
                } else {
                    (None, None)
                };
                if replica == 0 {
                    this.trainable += modules.iter().map(Trained::trainable_of).sum::<usize>();
                }
                let member = groups[index].next().expect("there is one for each replica");
                let (loss, device, optimizer) = (loss.clone(), device.clone(), optimizer.clone());
                let up = std::mem::replace(&mut upstream, next);
                let threads = operation_threads(&device, threads);
                let build = move || Worker {
                    pieces: pieces(modules, &device, &optimizer, segments),
                    loss,
                    clock: Clock::new(device.clone()),
                    device,
                    upstream: up,
                    downstream: down,
                    control,
                    sums: (replicas > 1).then(|| Sums::new(Box::new(member))),
                    validation: None,
                };
                this.crew.hire(number, own, build, threads)?;
            }
        }
        this.crew.order(|_| Some(Command::Ready))?;
        Ok(this)
    }

    /// Runs a step on all workers; the output is that of the last one of each replica.
    fn step(
        &mut self,
        input: &N::Input,
        target: &L::Target,
        update: Option<Update>,
    ) -> Result<StepReplies<N>, ExecError> {
        check_batch(input, target)?;
        let (workers, samples) = (self.workers, input.samples());
        let parts = parts(samples, self.replicas)?;
        let mut replies = self.crew.order(|worker| {
            let part = &parts[worker / workers];
            let share = part.len() as f64 / samples as f64;
            let (input, target) = (part_of(input, part), part_of(target, part));
            Some(Command::Step { input, target, share, update })
        })?;
        let faults = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.faults));
        if let Some(error) = Fault::error(faults) {
            return Err(error);
        }
        let loss = replies.first().expect("there is a worker").loss;
        Ok(StepReplies { loss, output: joined::<N>(&mut replies, workers), replies })
    }
}

/// The pieces of a worker, on its device and made on its thread.
pub(super) fn pieces<N: Coarsen>(
    modules: Vec<SubnetworkOf<N>>,
    device: &Device,
    optimizer: &ModuleOptimizer,
    segments: Segments,
) -> Vec<Piece<N>> {
    let modules = modules.into_iter().enumerate();
    modules
        .map(|(place, module)| Piece::new(Trained::new(module, device, optimizer), place, segments))
        .collect()
}

/// The samples of each replica, as even as can be.
pub(super) fn parts(samples: usize, replicas: usize) -> Result<Vec<Range<usize>>, ExecError> {
    let parts =
        Cuts::even(samples, replicas).map_err(|_| ExecError::Batch { samples, replicas })?;
    Ok((0..replicas).map(|replica| parts.units_of(replica)).collect())
}

/// Some samples of a value, or the value itself.
pub(super) fn part_of<V: Value>(value: &V, part: &Range<usize>) -> V {
    match *part == (0..value.samples()) {
        true => value.clone(),
        false => value.clone().part(part.clone()),
    }
}

/// Samples of replicas behind each other, on the first one's device.
pub(super) fn join<V: Value>(mut parts: Vec<V>) -> V {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let device = parts[0].device();
    V::join(parts.into_iter().map(|part| part.to_device(&device)).collect())
}

/// The outputs of the last worker of each replica, joined.
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
        let StepReplies { replies, loss, output } = self.step(&input, &target, Some(update))?;
        if !loss.is_finite() {
            return Err(ExecError::LossNotFinite { loss });
        }
        let gradient_norm = replies.first().and_then(|reply| reply.gradient_norm);
        let timeline = self.crew.timeline(&replies, self.workers * self.replicas, begun);
        let subnetworks = SubnetworkTime::of_step(&timeline, self.workers);
        let duration = begun.elapsed();
        Ok(StepReport { loss, output, gradient_norm, duration, subnetworks, timeline })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let StepReplies { mut replies, loss, output } = self.step(&input, &target, None)?;
        let device = input.device();
        let inputs = replies.chunks_mut(self.workers).map(|replica| {
            let parts = replica.iter_mut().flat_map(|reply| std::mem::take(&mut reply.inputs));
            parts.map(|part| part.to_device(&device)).reduce(N::Input::accumulate)
        });
        let input = inputs.collect::<Option<Vec<_>>>().map(join);
        let own = replies.into_iter().take(self.workers);
        let gradients = own.flat_map(|reply| reply.tensors).collect();
        Ok(GradientReport { loss, output, gradients, input })
    }

    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError> {
        let (workers, samples) = (self.workers, input.samples());
        if samples == 0 {
            return Err(ExecError::EmptyBatch);
        }
        let parts = parts(samples, self.replicas.min(samples))?;
        let mut replies = self.crew.order(|worker| {
            let part = parts.get(worker / workers)?;
            Some(Command::Infer { input: part_of(&input, part) })
        })?;
        Ok(joined::<N>(&mut replies, workers))
    }

    /// A part of all subnetworks, by names, from the first replica, which has all that the others
    /// have.
    fn read(&mut self, part: Part) -> Result<Vec<NamedTensor>, ExecError> {
        let workers = self.workers;
        let replies =
            self.crew.order(|worker| (worker < workers).then_some(Command::Read { part }))?;
        Ok(replies.into_iter().flat_map(|reply| reply.tensors).collect())
    }

    /// Other values for a part, looked over before they are sent.
    fn write(&mut self, part: Part, state: StateDict) -> Result<(), ExecError> {
        part.check(&state, &self.cuts, &(0..self.cuts.subnetworks()), &self.layout)?;
        let state = Arc::new(state);
        self.crew.order(|_| Some(Command::Write { part, state: Arc::clone(&state) }))?;
        Ok(())
    }

    fn cuts(&self) -> &Cuts {
        &self.cuts
    }
}

/// Which subnetworks each worker holds.
pub(super) fn spread(
    held: Option<&[usize]>,
    workers: usize,
    subnetworks: usize,
) -> Result<Cuts, ExecError> {
    let Some(held) = held else { return Ok(Cuts::even(subnetworks, workers)?) };
    let fits = held.len() == workers && held.iter().sum::<usize>() == subnetworks;
    if !fits || held.contains(&0) {
        return Err(ExecError::Spread { held: held.to_vec(), workers, subnetworks });
    }
    let ends = held.iter().scan(0, |end, held| {
        *end += held;
        Some(*end)
    });
    Ok(Cuts::new(subnetworks, ends.take(workers - 1).collect())?)
}
