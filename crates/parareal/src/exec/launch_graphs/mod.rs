//! Launches of a worker that are recorded once and replayed in later steps.
//!
//! On a GPU, a step of a deep network consists of thousands of launches, and the host may take longer to submit them than the
//! device to execute them. A worker with [`LaunchGraphs`] records those between the start of a step and its update, and
//! replays them in later steps.
//!
//! - The first step with an update is executed as usual, and leaves the memory that a recording needs: no memory is allocated
//!   while launches are recorded.
//! - The next step is recorded before it is executed. A recording executes nothing on the device, so a recording that fails has changed nothing.
//!   The instructions between two messages share a graph. With a graph for each activity, whose times would then be known, ResNet-164
//!   took twice the memory: what a graph has freed is available to its own later launches only.
//! - From then on, a step copies its input, its target and the messages that it receives to the memory that the graphs read, replays
//!   the graphs, and copies what they leave: the output, messages, gradients. Losses, clipping and the update follow as usual.
//!
//! A graph uses the memory of its tensors, whatever these contain. So copies of results are handed out, never the tensors of the
//! recording, which the next replay overwrites. Running statistics are the exception: the module holds those of the recording, and
//! nothing else does when a step begins.
//!
//! A step with a batch of another shape is executed as usual; if the next one has the same shape, it is recorded instead. State that is loaded, and
//! parameters that have moved to other memory, lead to another recording.

mod memory;
mod recorded;
mod recording;
mod replay;

use burn::module::Module;
use burn::tensor::Device;
use parareal_kernels::graph::{LaunchGraph, ScaledUpdates, UpdateScales};

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
    /// True if all updates of the latest step were in place, so that they can be recorded.
    is_in_place: bool,
}

/// Number of updates after a recording until the attempt to record them as well is given up. The first update of an optimizer
/// creates its state.
const UPDATE_ATTEMPTS: usize = 3;

/// The launches of the next step.
enum State<N: Coarsen> {
    /// Are executed, and leave the memory that a recording needs.
    Unprepared,
    /// Are recorded, if the batch has the shape of the last one.
    Prepared(Prepared<N>),
    /// Are replayed, if the batch has the shape of the recorded one.
    Recorded(Box<RecordedStep<N>>),
}

/// What a recording needs to know of the step before it.
struct Prepared<N: Coarsen> {
    shape: Shape,
    /// The messages that the step has received.
    received: Vec<(Message, N::State)>,
    /// The graphs of a recording that ran out of memory. They keep their memory, so that the step allocates what was missing.
    partial: Vec<LaunchGraph>,
    /// The number of recordings that have failed.
    failed: usize,
}

/// Whether a recording fits a step.
enum Fit {
    Fits,
    /// The batch has another shape than the recorded one.
    OtherBatch,
    /// Tensors of the module are in other memory.
    OtherModule,
}

impl<N: Coarsen> LaunchGraphs<N> {
    pub(super) fn new(device: Device) -> Self {
        Self { device, state: State::Unprepared, scales: None, is_in_place: false }
    }

    /// Forgets the recording, because tensors that it uses are about to be replaced.
    pub(super) fn reset(&mut self) {
        self.state = State::Unprepared;
    }

    /// Returns true if the next step, or its update, may be recorded.
    pub(super) fn may_record(&self) -> bool {
        match &self.state {
            State::Unprepared => false,
            State::Prepared(_) => true,
            State::Recorded(recorded) => {
                recorded.update.is_none() && recorded.updates < UPDATE_ATTEMPTS
            }
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
        let expected = ScaledUpdates { in_place: trained.trainable(), elsewhere: 0 };
        self.is_in_place &= updates == expected && !trained.shares_parameters();
        trained.update_average(update.average_decay);
    }

    /// Takes note of a message that a step without graphs has received.
    pub(super) fn note(&mut self, message: Option<Message>, state: &N::State) {
        if let (State::Prepared(prepared), Some(message)) = (&mut self.state, message) {
            prepared.received.push((message, state.clone()));
        }
    }

    /// Prepares a recording by the step that is about to be executed.
    fn prepare(
        &mut self,
        shape: Shape,
        partial: Vec<LaunchGraph>,
        failed: usize,
    ) -> Result<(), String> {
        parareal_kernels::graph::prepare(&self.device).map_err(|error| error.to_string())?;
        self.state = State::Prepared(Prepared { shape, received: Vec::new(), partial, failed });
        Ok(())
    }
}

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Collectives,
{
    /// Returns true if the step will be replayed. Its micro-batch has then begun. Records it if it is time; a step that is not replayed
    /// may prepare the next recording. A step that cannot be recorded has a failure, and can be executed without graphs.
    ///
    /// If a worker may record, all workers take turns, because a CUDA driver refuses calls of the whole process while a thread
    /// records.
    pub(super) fn begin_launch_graphs(
        &mut self,
        step: &mut StepOf<N, L>,
    ) -> Result<bool, Disconnected> {
        let Some(graphs) = &mut self.launch_graphs else { return Ok(false) };
        if step.update.is_none() {
            if let State::Recorded(recorded) = &mut graphs.state {
                recorded.is_untouched = false;
            }
            return Ok(false);
        }
        if !self.takes_turns {
            return Ok(self.begin_own(step));
        }
        let mut is_replayed = false;
        for turn in 0..self.program.workers().len() {
            if turn == self.worker {
                is_replayed = self.begin_own(step);
            }
            self.collectives.sum(&mut [0.0])?;
        }
        Ok(is_replayed)
    }

    fn begin_own(&mut self, step: &mut StepOf<N, L>) -> bool {
        let Some(mut graphs) = self.launch_graphs.take() else { return false };
        let begun = self.begin_with(&mut graphs, step);
        self.launch_graphs = Some(graphs);
        begun.unwrap_or_else(|reason| {
            step.reply.failures.push(StepFailure::LaunchGraphs(reason));
            false
        })
    }

    /// As [`Self::begin_launch_graphs`], for this worker.
    ///
    /// # Errors
    /// The reason why the step cannot be recorded.
    fn begin_with(
        &mut self,
        graphs: &mut LaunchGraphs<N>,
        step: &mut StepOf<N, L>,
    ) -> Result<bool, String> {
        let has_average = step.update.is_some_and(|update| update.average_decay.is_some());
        let Some(shape) = step.waiting.as_slice().first().map(Shape::of) else { return Ok(false) };
        let state = std::mem::replace(&mut graphs.state, State::Unprepared);
        let is_new = |average: bool| has_average && !average;
        if self.subnetworks.iter().any(|own| is_new(own.trained.has_average())) {
            // The moving average begins as a copy that shares its tensors with the module.
            return Ok(false);
        }
        let mut recorded = match state {
            State::Unprepared => return graphs.prepare(shape, Vec::new(), 0).map(|()| false),
            State::Prepared(prepared) if prepared.shape != shape => {
                return graphs.prepare(shape, Vec::new(), 0).map(|()| false);
            }
            State::Prepared(prepared) => match self.try_recording(graphs, step, prepared)? {
                Some(recorded) => Box::new(recorded),
                None => return Ok(false),
            },
            State::Recorded(recorded) => recorded,
        };
        let may_record_update = recorded.update.is_none()
            && recorded.updates > 0
            && (self.takes_turns || self.program.workers().len() == 1);
        if may_record_update && graphs.is_in_place && self.has_parameters_of(&recorded) {
            recorded.update = self.record_update(graphs, &recorded)?;
        }
        let fit = self.begin_replay(step, &recorded);
        recorded.is_untouched = matches!(fit, Fit::Fits) && recorded.update.is_some();
        if recorded.update.is_none() {
            recorded.updates += 1;
        }
        graphs.is_in_place = true;
        match fit {
            Fit::OtherBatch if !recorded.was_skipped => recorded.was_skipped = true,
            Fit::OtherBatch | Fit::OtherModule => {
                drop(recorded);
                return graphs.prepare(shape, Vec::new(), 0).map(|()| false);
            }
            Fit::Fits => recorded.was_skipped = false,
        }
        graphs.state = State::Recorded(recorded);
        Ok(matches!(fit, Fit::Fits))
    }
}
