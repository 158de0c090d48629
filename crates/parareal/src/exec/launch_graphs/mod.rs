//! Launches of a worker that are recorded once and replayed in later steps.
//!
//! On a GPU, a step of a deep network consists of thousands of launches, and the host may take longer to submit them than the
//! device to execute them. A worker with [`LaunchGraphs`] records those between the start of a step and its update, and
//! replays them in later steps.
//!
//! - The first step with an update is executed as usual, and leaves the memory that a recording needs: no memory is allocated
//!   while launches are recorded.
//! - The next step is recorded before it is executed. A recording executes nothing on the device, so a recording that fails has changed nothing.
//!   Instructions of the same activity on the same subnetwork share a graph, so the times of activities are measured as in other steps.
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

use burn::tensor::Device;
use parareal_kernels::graph::LaunchGraph;

use self::recorded::{RecordedStep, Shape};
use super::collectives::Collectives;
use super::link::Link;
use super::loss::Loss;
use super::program::Message;
use super::step::StepOf;
use super::worker::Worker;
use crate::net::Coarsen;

/// The launch graphs of a worker.
pub(super) struct LaunchGraphs<N: Coarsen> {
    device: Device,
    state: State<N>,
}

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
        Self { device, state: State::Unprepared }
    }

    /// Forgets the recording, because tensors that it uses are about to be replaced.
    pub(super) fn reset(&mut self) {
        self.state = State::Unprepared;
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
    /// may prepare the next recording.
    ///
    /// # Errors
    /// The reason why the step cannot be recorded. It can be executed without graphs.
    pub(super) fn begin_launch_graphs(&mut self, step: &mut StepOf<N, L>) -> Result<bool, String> {
        let (Some(mut graphs), Some(update)) = (self.launch_graphs.take(), step.update) else {
            return Ok(false);
        };
        let begun = self.begin_with(&mut graphs, step, update.average_decay.is_some());
        self.launch_graphs = Some(graphs);
        begun
    }

    fn begin_with(
        &mut self,
        graphs: &mut LaunchGraphs<N>,
        step: &mut StepOf<N, L>,
        has_average: bool,
    ) -> Result<bool, String> {
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
        let fit = self.begin_replay(step, &recorded);
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
