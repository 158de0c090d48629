use std::any::Any;
use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, TensorData};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::control::{ThreadControl, thread_controls};
use super::link::{ChannelLink, channel_link};
use super::piece::{Piece, Record, Segments};
use super::trained::{Part, Trained};
use super::worker::{Command, ReplyOf, Worker};
use super::{ExecError, Executor, GradientReport, Loss, StepReport, Update};
use crate::net::{Coarsen, Cuts, NamedTensor, PararealNetwork, Value};
use crate::timeline::{Span, Timeline};

/// How subnetworks are placed on workers, and workers on devices.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The devices, in order: the first workers get the first.
    pub devices: Vec<Device>,
    /// The number of workers, at most one for each subnetwork.
    pub workers: usize,
    /// How many subnetworks each worker holds, in order; `None` spreads them evenly.
    ///
    /// Nothing overlaps the last worker's part of the chain, while the first ones' is hidden
    /// behind fine work of those after them: the fewer subnetworks the last worker holds, the
    /// less the others wait.
    pub subnetworks: Option<Vec<usize>>,
    /// The threads that share each operation of one worker on the CPU.
    pub threads: usize,
    /// Units that share one graph in the backward pass. Longer segments have less overhead,
    /// shorter ones free memory earlier.
    pub segment_units: usize,
    /// Keeps of each segment only the state that it starts from, and computes the rest once more
    /// in the backward pass: less memory for about a third more time.
    ///
    /// A segment of `k` units then needs the memory of `k` units while it is differentiated, and
    /// `n` units keep `n / k` states, so about `√n` units are best. Gradients are the same to the
    /// last bit where the units compute the same twice: a unit that draws random numbers, such as
    /// dropout, does not. Running statistics ([`burn::module::RunningState`]) take the first pass
    /// and not the second.
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
        Self { devices, workers, subnetworks: None, threads, segment_units: 4, recompute: false }
    }
}

/// Trains a parareal network with its subnetworks on parallel workers, each a thread with a
/// device and cores of its own, for as long as this value lives.
pub struct Threads<N: Coarsen, L: Loss<N::Output>> {
    workers: Vec<Handle<N, L>>,
    replies: Receiver<(usize, Message<N>)>,
    /// Names and shapes of all parameters and buffers.
    layout: Vec<(String, Vec<usize>)>,
    failure: Option<ExecError>,
}

struct Handle<N: Coarsen, L: Loss<N::Output>> {
    commands: Option<Sender<Command<N::Input, L::Target>>>,
    thread: Option<JoinHandle<()>>,
    subnetworks: Range<usize>,
}

/// What all workers together did in a step.
struct StepReplies<N: Coarsen> {
    replies: Vec<ReplyOf<N>>,
    loss: f64,
    output: N::Output,
}

enum Message<N: Coarsen> {
    Done(ReplyOf<N>),
    /// It stops because another worker is gone.
    Abandoned,
    /// It stops by its own fault.
    Failed(String),
}

impl<N: Coarsen, L: Loss<N::Output>> Threads<N, L> {
    /// Starts the workers and hands each its subnetworks.
    ///
    /// # Errors
    /// Where there are no workers, more than subnetworks, a spread over them that does not add up,
    /// or the system gives no threads.
    pub fn new(
        network: PararealNetwork<N>,
        loss: L,
        optimizer: &ModuleOptimizer,
        placement: &Placement,
    ) -> Result<Self, ExecError> {
        let count = network.subnetworks().len();
        let Placement { workers, ref devices, ref subnetworks, threads, segment_units, recompute } =
            *placement;
        let segments = Segments { units: segment_units, recompute };
        if workers == 0 || workers > count || devices.is_empty() {
            return Err(ExecError::Workers { workers, subnetworks: count });
        }
        let layout = network.named_tensors().into_iter().map(|tensor| {
            let shape = tensor.data.shape().as_slice().to_vec();
            (tensor.name, shape)
        });
        let (reply, replies) = channel();
        let mut this =
            Self { workers: Vec::new(), replies, layout: layout.collect(), failure: None };

        let spread = match subnetworks {
            Some(held) => spread(held, workers, count)?,
            None => Cuts::even(count, workers)?,
        };
        let mut subnetworks = network.into_subnetworks().into_iter();
        let mut upstream = None;
        for (index, control) in thread_controls(workers).into_iter().enumerate() {
            let device = &devices[index * devices.len() / workers];
            let own = spread.units_of(index);
            let pieces = subnetworks
                .by_ref()
                .take(own.len())
                .map(|module| Trained::new(module.fork(device), optimizer))
                .map(|trained| Piece::new(trained, segments))
                .collect();
            let (down, next) = if index + 1 < workers {
                let (down, next) = channel_link();
                (Some(down), Some(next))
            } else {
                (None, None)
            };
            let worker = Worker {
                pieces,
                loss: loss.clone(),
                device: device.clone(),
                upstream: std::mem::replace(&mut upstream, next),
                downstream: down,
                control,
                last: workers - 1,
                validation: None,
            };
            this.spawn(index, own, worker, reply.clone(), threads)?;
        }
        Ok(this)
    }

    fn spawn(
        &mut self,
        index: usize,
        subnetworks: Range<usize>,
        worker: ThreadWorker<N, L>,
        reply: Sender<(usize, Message<N>)>,
        threads: usize,
    ) -> Result<(), ExecError> {
        let name = format!("parareal-{}", index + 1);
        let pool = pool(&name, threads)?;
        let (commands, inbox) = channel();
        // The worker lives inside its pool, so that every operation finds its own cores.
        let life = move || pool.install(move || serve(worker, index, &inbox, &reply));
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(life)
            .map_err(|error| ExecError::Spawn(error.to_string()))?;
        let (commands, thread) = (Some(commands), Some(thread));
        self.workers.push(Handle { commands, thread, subnetworks });
        Ok(())
    }

    /// Gives all workers the same command and gathers their replies, in their order.
    fn order(
        &mut self,
        command: impl Fn() -> Command<N::Input, L::Target>,
    ) -> Result<Vec<ReplyOf<N>>, ExecError> {
        if let Some(failure) = &self.failure {
            return Err(ExecError::Stopped(Box::new(failure.clone())));
        }
        for worker in &self.workers {
            if let Some(commands) = &worker.commands {
                // A worker that is gone has left a message that says so.
                let _ = commands.send(command());
            }
        }
        let mut replies: Vec<_> = self.workers.iter().map(|_| None).collect();
        let mut failed = None;
        for _ in 0..self.workers.len() {
            let Ok((index, message)) = self.replies.recv() else { break };
            match message {
                Message::Done(reply) => replies[index] = Some(reply),
                Message::Abandoned => {}
                Message::Failed(message) => {
                    failed.get_or_insert((index, message));
                }
            }
        }
        match replies.into_iter().collect() {
            Some(replies) => Ok(replies),
            None => Err(self.fail(failed)),
        }
    }

    /// A part of all subnetworks, by names.
    fn read(&mut self, part: Part) -> Result<Vec<NamedTensor>, ExecError> {
        let replies = self.order(|| Command::Read { part })?;
        Ok(replies.into_iter().flat_map(|reply| reply.tensors).collect())
    }

    /// Other values for a part, looked over before they are sent.
    fn write(&mut self, part: Part, tensors: HashMap<String, TensorData>) -> Result<(), ExecError> {
        if part.is_whole(&tensors) {
            for (name, shape) in &self.layout {
                crate::net::find_tensor(&tensors, name, shape)?;
            }
        }
        let tensors = Arc::new(tensors);
        self.order(|| Command::Write { part, tensors: Arc::clone(&tensors) })?;
        Ok(())
    }

    /// Ends all workers after one has failed.
    fn fail(&mut self, failed: Option<(usize, String)>) -> ExecError {
        self.stop();
        let (index, message) = failed.unwrap_or((0, "it ended without a word".into()));
        let subnetworks = &self.workers[index].subnetworks;
        let failure = ExecError::Worker {
            worker: index + 1,
            first: subnetworks.start + 1,
            last: subnetworks.end,
            message,
        };
        self.failure = Some(failure.clone());
        failure
    }

    fn stop(&mut self) {
        for worker in &mut self.workers {
            worker.commands = None;
        }
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A worker catches its panics and has reported them.
            let _ = thread.join();
        }
    }

    /// Runs a step on all workers; the output is the last one's.
    fn step(
        &mut self,
        input: &N::Input,
        target: &L::Target,
        update: Option<Update>,
    ) -> Result<StepReplies<N>, ExecError> {
        let mut replies =
            self.order(|| Command::Step { input: input.clone(), target: target.clone(), update })?;
        let last = replies.last_mut().expect("there is a worker");
        let loss = last.loss;
        let output = last.output.take().expect("the last worker gives the output");
        Ok(StepReplies { replies, loss, output })
    }

    /// What the workers did when, from the beginning of the step on.
    fn timeline(&self, replies: &[ReplyOf<N>], begun: Instant) -> Timeline {
        let mut spans = Vec::new();
        for (device, (reply, worker)) in replies.iter().zip(&self.workers).enumerate() {
            let own = worker.subnetworks.clone().zip(&reply.records);
            let own = own.flat_map(|(subnetwork, records)| {
                records.iter().map(move |&Record { activity, begin, end }| {
                    let [begin, end] =
                        [begin, end].map(|at| at.saturating_duration_since(begun).as_secs_f64());
                    Span { device, subnetwork, activity, begin, end }
                })
            });
            let first = spans.len();
            spans.extend(own);
            spans[first..].sort_by(|a: &Span, b| a.begin.total_cmp(&b.begin));
        }
        Timeline { devices: self.workers.len(), spans }
    }
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
        let StepReplies { replies, loss, output } = self.step(&input, &target, Some(update))?;
        if !loss.is_finite() {
            return Err(ExecError::LossNotFinite { loss });
        }
        let gradient_norm = replies.first().and_then(|reply| reply.gradient_norm);
        let timeline = self.timeline(&replies, begun);
        let subnetworks = replies.into_iter().flat_map(|reply| reply.times).collect();
        let duration = begun.elapsed();
        Ok(StepReport { loss, output, gradient_norm, duration, subnetworks, timeline })
    }

    fn gradients(
        &mut self,
        input: N::Input,
        target: L::Target,
    ) -> Result<GradientReport<N::Input, N::Output>, ExecError> {
        let StepReplies { mut replies, loss, output } = self.step(&input, &target, None)?;
        let parts = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.inputs));
        let device = input.device();
        let input = parts.map(|part| part.to_device(&device)).reduce(N::Input::accumulate);
        let gradients = replies.into_iter().flat_map(|reply| reply.tensors).collect();
        Ok(GradientReport { loss, output, gradients, input })
    }

    fn infer(&mut self, input: N::Input) -> Result<N::Output, ExecError> {
        let replies = self.order(|| Command::Infer { input: input.clone() })?;
        let output = replies.into_iter().next_back().and_then(|reply| reply.output);
        Ok(output.expect("the last worker gives the output"))
    }

    fn named_tensors(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(Part::Weights)
    }

    fn load(&mut self, tensors: HashMap<String, TensorData>) -> Result<(), ExecError> {
        self.write(Part::Weights, tensors)
    }

    fn optimizer_state(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(Part::Optimizer)
    }

    fn load_optimizer_state(
        &mut self,
        tensors: HashMap<String, TensorData>,
    ) -> Result<(), ExecError> {
        self.write(Part::Optimizer, tensors)
    }

    fn average(&mut self) -> Result<Vec<NamedTensor>, ExecError> {
        self.read(Part::Average)
    }

    fn load_average(&mut self, tensors: HashMap<String, TensorData>) -> Result<(), ExecError> {
        self.write(Part::Average, tensors)
    }
}

impl<N: Coarsen, L: Loss<N::Output>> Drop for Threads<N, L> {
    fn drop(&mut self) {
        self.stop();
    }
}

type ThreadWorker<N, L> =
    Worker<N, L, ChannelLink<<N as crate::net::FeedForward>::State>, ThreadControl>;

/// The life of a worker's thread: one command after the other, until there are no more or it
/// cannot go on. Its links and its control end with it, which ends the waiting of the others.
fn serve<N: Coarsen, L: Loss<N::Output>>(
    mut worker: ThreadWorker<N, L>,
    index: usize,
    inbox: &Receiver<Command<N::Input, L::Target>>,
    replies: &Sender<(usize, Message<N>)>,
) {
    while let Ok(command) = inbox.recv() {
        // After a panic the worker is dropped and never looked at again.
        let message = match catch_unwind(AssertUnwindSafe(|| worker.run(command))) {
            Ok(Ok(reply)) => Message::Done(reply),
            Ok(Err(_)) => Message::Abandoned,
            Err(panic) => Message::Failed(panic_message(&*panic)),
        };
        let done = matches!(message, Message::Done(_));
        if !done {
            drop(worker);
            let _ = replies.send((index, message));
            return;
        }
        let _ = replies.send((index, message));
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".into())
}

/// Which subnetworks each worker holds.
fn spread(held: &[usize], workers: usize, subnetworks: usize) -> Result<Cuts, ExecError> {
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

/// A pool of threads for one worker's operations.
///
/// # Errors
/// Where the operating system gives no threads.
pub fn pool(name: &str, threads: usize) -> Result<ThreadPool, ExecError> {
    let name = name.to_string();
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(move |thread| format!("{name}.{thread}"))
        .build()
        .map_err(|error| ExecError::Spawn(error.to_string()))
}
