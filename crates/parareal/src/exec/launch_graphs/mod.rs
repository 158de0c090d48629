//! Launches of a worker that are recorded once and replayed in later steps.
//!
//! On a GPU, a step of a deep network consists of thousands of launches, and the host may take longer to submit them than the
//! device to execute them. A worker with [`LaunchGraphs`] records those between the start of a step and its update, and
//! replays them in later steps.
//!
//! - The first step with an update is executed as usual, and leaves the memory that a recording needs: no memory is allocated
//!   while launches are recorded.
//! - The next step is recorded before it is executed. A recording executes nothing on the device, so one that fails has changed
//!   nothing. The instructions between two messages share a graph. With a graph for each activity, whose times would then be known,
//!   ResNet-164 took twice the memory: what a graph has freed is available to its own later launches only.
//! - A recording may need more memory than the step before it, since that depends on when the host drops tensors. It is then repeated after
//!   another step, from which memory is withheld.
//! - From then on, a step copies its input, its target and the messages that it receives to the memory that the graphs read, replays
//!   the graphs, and copies what they leave: the output and messages.
//! - The update is recorded in the step after that, if the ones before have shown that the optimizer computes it in place and reads
//!   the learning rate from memory. Otherwise it is executed in each step, with copies of the gradients, and of the parameters if it
//!   creates others.
//!
//! A graph uses the memory of its tensors, whatever these contain. So copies of results are handed out, never the tensors of the
//! recording, which the next replay overwrites. Running statistics are the exception: the module holds those of the recording, and
//! nothing else does when a step begins.
//!
//! A step with a batch of another shape is executed as usual; if the next one has the same shape, it is recorded instead. State
//! that is loaded, and parameters that have moved to other memory, lead to another recording.

mod memory;
mod recorded;
mod recording;
mod replay;

use burn::module::Module;
use burn::tensor::Device;
use parareal_kernels::graph::{LaunchGraph, Reserve, UpdateScales};

use self::recorded::{RecordedStep, Shape};
use super::collectives::{Collectives, Disconnected};
use super::link::Link;
use super::loss::Loss;
use super::program::Message;
use super::step::StepOf;
use super::step_failure::StepFailure;
use super::trained_module::TrainedModule;
use super::update::Update;
use super::worker::Worker;
use crate::net::Coarsen;

/// The launch graphs of a worker.
pub(super) struct LaunchGraphs<N: Coarsen> {
    device: Device,
    state: State<N>,
    /// The learning rate and the factor of gradients for recorded updates. Created by the first update, on the worker's thread.
    scales: Option<UpdateScales>,
    /// The number of subnetworks that were updated in the latest step.
    updated: usize,
    /// The number of those whose update was in place.
    updated_in_place: usize,
    /// The number of recordings in a row that were used once or never, because tensors of the module moved.
    short_lived: usize,
    /// True if there was such a recording, probably because updates create tensors.
    copies_parameters: bool,
    /// True if gradients have been clipped.
    clips: bool,
    /// True if the recording of an update has failed.
    executes_updates: bool,
}

/// The largest number of short-lived recordings in a row.
const MAX_SHORT_LIVED: usize = 3;

/// The launches of the next step.
enum State<N: Coarsen> {
    /// Launches that are executed, and leave the memory that a recording needs.
    Unprepared,
    /// Launches that are recorded, if the batch has the shape of the last one.
    Prepared(Prepared<N>),
    /// Launches that are replayed, if the batch has the shape of the recorded one.
    Recorded(Box<RecordedStep<N>>),
}

/// The results of the step before a recording that the recording depends on.
struct Prepared<N: Coarsen> {
    shape: Shape,
    /// The messages that the step has received.
    received: Vec<(Message, N::State)>,
    /// True if the step is over.
    is_complete: bool,
    withheld: Withheld,
    /// The number of recordings that have failed.
    failed: usize,
}

/// Memory that is withheld from the step before the next recording, because the latest one lacked as much: the step allocates other
/// memory in its place, and the recording has both.
#[derive(Default)]
struct Withheld {
    /// The graphs before the one that ran out of memory.
    _graphs: Vec<LaunchGraph>,
    _reserve: Option<Reserve>,
}

/// The relation of a recording to a step.
enum Fit {
    Fits,
    /// The batch has another shape than the recorded one.
    OtherBatch,
    /// The target does not fit the output. The step finds that out when it is executed.
    WrongTarget,
    /// The norm of the gradients, which clipping needs, was not recorded.
    NoNorm,
    /// Tensors of the module are in other memory.
    OtherModule,
}

impl<N: Coarsen> LaunchGraphs<N> {
    pub(super) fn new(device: Device) -> Self {
        let state = State::Unprepared;
        Self {
            device,
            state,
            scales: None,
            updated: 0,
            updated_in_place: 0,
            short_lived: 0,
            copies_parameters: false,
            clips: false,
            executes_updates: false,
        }
    }

    /// Forgets the recording, because tensors that it uses are about to be replaced.
    pub(super) fn reset(&mut self) {
        self.state = State::Unprepared;
        (self.short_lived, self.copies_parameters) = (0, false);
    }

    /// Returns true if the next step, or its update, may be recorded.
    pub(super) fn may_record(&self) -> bool {
        match &self.state {
            State::Unprepared => false,
            State::Prepared(_) => true,
            State::Recorded(recorded) => recorded.update.is_pending(),
        }
    }

    /// Executes an update in the way in which it can be recorded.
    pub(super) fn update<M: Module>(&mut self, trained: &mut TrainedModule<M>, update: Update) {
        if self.scales.is_none() {
            self.scales = UpdateScales::new(&self.device);
        }
        let Some(scales) = &mut self.scales else { return trained.update(update) };
        scales.set(update.learning_rate, 1.0);
        let ((), updates) = scales.scope(|| trained.update_parameters(update.learning_rate));
        self.updated += 1;
        if updates == trained.all_in_place() {
            self.updated_in_place += 1;
        }
        trained.update_average(update.average_decay);
    }

    /// Takes note of a message that a step without graphs has received.
    pub(super) fn note(&mut self, message: Option<Message>, state: &N::State) {
        if let (State::Prepared(prepared), Some(message)) = (&mut self.state, message)
            && !prepared.is_complete
        {
            prepared.received.push((message, state.clone()));
        }
    }

    /// Prepares a recording by the step that is about to be executed.
    fn prepare(&mut self, shape: Shape, withheld: Withheld, failed: usize) -> Result<(), String> {
        parareal_kernels::graph::prepare(&self.device).map_err(|error| error.to_string())?;
        let (received, is_complete) = (Vec::new(), false);
        self.state = State::Prepared(Prepared { shape, received, is_complete, withheld, failed });
        Ok(())
    }

    /// Takes note of a step that computes gradients without an update.
    fn pass_over(&mut self) {
        match &mut self.state {
            State::Unprepared => {}
            State::Prepared(prepared) => prepared.is_complete = true,
            State::Recorded(recorded) => recorded.is_untouched = false,
        }
    }
}

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Collectives,
{
    /// Returns true if the step will be replayed. Its micro-batch has then begun. Records it if it is time; a step that is not
    /// replayed may prepare the next recording. A step that cannot be recorded has a failure, and can be executed without graphs.
    ///
    /// If a worker may record, all workers take turns, because a CUDA driver refuses calls of the whole process while a thread
    /// records. Devices then have nothing to do, so that none of their threads calls the driver.
    pub(super) fn begin_launch_graphs(
        &mut self,
        step: &mut StepOf<N, L>,
    ) -> Result<bool, Disconnected> {
        let Some(graphs) = &mut self.launch_graphs else { return Ok(false) };
        if step.update.is_none() {
            graphs.pass_over();
            return Ok(false);
        }
        let workers = self.program.workers().len();
        if !self.takes_turns || workers == 1 {
            return Ok(self.begin_own(step));
        }
        // An error is returned when results are read.
        let _ = self.device.sync();
        self.collectives.sum(&mut [0.0])?;
        let mut is_replayed = false;
        for turn in 0..workers {
            // Waiting for the device is among the calls that are refused in the turns of others.
            if turn == self.worker {
                is_replayed = self.begin_own(step);
                let _ = self.device.sync();
            }
            self.collectives.sum(&mut [0.0])?;
        }
        Ok(is_replayed)
    }

    /// As [`Self::begin_launch_graphs`], for this worker.
    fn begin_own(&mut self, step: &mut StepOf<N, L>) -> bool {
        let Some(mut graphs) = self.launch_graphs.take() else { return false };
        let begun = self.begin_with(&mut graphs, step);
        self.launch_graphs = Some(graphs);
        begun.unwrap_or_else(|reason| {
            step.reply.failures.push(StepFailure::LaunchGraphs(reason));
            false
        })
    }

    /// As [`Self::begin_own`].
    ///
    /// # Errors
    /// The reason why the step cannot be recorded.
    fn begin_with(
        &mut self,
        graphs: &mut LaunchGraphs<N>,
        step: &mut StepOf<N, L>,
    ) -> Result<bool, String> {
        let (Some(batch), Some(update)) = (step.waiting.as_slice().first(), step.update) else {
            return Ok(false);
        };
        let shape = Shape::of(batch);
        let is_in_place = std::mem::take(&mut graphs.updated_in_place) == self.subnetworks.len();
        let has_updated = std::mem::take(&mut graphs.updated) > 0;
        graphs.clips |= update.clip_norm.is_some();
        let state = std::mem::replace(&mut graphs.state, State::Unprepared);
        let mut averages = self.subnetworks.iter().map(|own| own.trained.has_average());
        if update.average_decay.is_some() && !averages.all(|has_average| has_average) {
            // The moving average begins as a copy that shares its tensors with the module.
            return Ok(false);
        }
        let mut recorded = match state {
            State::Unprepared => {
                return graphs.prepare(shape, Withheld::default(), 0).map(|()| false);
            }
            State::Prepared(prepared) if prepared.shape != shape => {
                return graphs.prepare(shape, Withheld::default(), 0).map(|()| false);
            }
            State::Prepared(prepared) => match self.try_recording(graphs, step, prepared)? {
                Some(recorded) => Box::new(recorded),
                None => return Ok(false),
            },
            State::Recorded(recorded) => recorded,
        };
        if recorded.update.is_pending() && has_updated {
            let recorded_update =
                self.record_update(graphs, &mut recorded, update.learning_rate, is_in_place);
            if recorded_update.is_err() {
                graphs.executes_updates = true;
                drop(recorded);
                return graphs.prepare(shape, Withheld::default(), 0).map(|()| false);
            }
        }
        match self.begin_replay(step, &mut recorded)? {
            Fit::Fits => {
                graphs.state = State::Recorded(recorded);
                return Ok(true);
            }
            Fit::WrongTarget => graphs.state = State::Recorded(recorded),
            Fit::OtherBatch if !recorded.was_skipped => {
                recorded.was_skipped = true;
                graphs.state = State::Recorded(recorded);
            }
            Fit::OtherBatch | Fit::NoNorm => {
                drop(recorded);
                graphs.prepare(shape, Withheld::default(), 0)?;
            }
            Fit::OtherModule => {
                let is_short_lived = recorded.replays <= 1;
                graphs.copies_parameters |= is_short_lived;
                graphs.short_lived = if is_short_lived { graphs.short_lived + 1 } else { 0 };
                if graphs.short_lived > MAX_SHORT_LIVED {
                    return Err("tensors of the network are in other memory after each step".into());
                }
                drop(recorded);
                graphs.prepare(shape, Withheld::default(), 0)?;
            }
        }
        Ok(false)
    }
}
