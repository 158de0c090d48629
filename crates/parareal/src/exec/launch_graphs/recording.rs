//! Recording a step.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use parareal_kernels::graph::{
    GraphError, LaunchGraph, Reserve, TensorMemory, copy, duplicate, prepare,
};
use parareal_text::panic_message;

use super::super::collectives::{Collectives, Disconnected};
use super::super::command::MicroBatch;
use super::super::gradient_clipping;
use super::super::link::Link;
use super::super::loss::Loss;
use super::super::program::{Message, Operation};
use super::super::running_statistics;
use super::super::state_kind::StateKind;
use super::super::step::{Step, StepOf};
use super::super::step_failure::StepFailure;
use super::super::subnetwork_runner::SubnetworkRunner;
use super::super::trained_module::TrainedModule;
use super::super::worker::Worker;
use super::memory::{ModuleMemory, Replaced, copied, of_gradients, of_value, register_gradients};
use super::recorded::{
    Group, RecordedParameters, RecordedStatistic, RecordedStep, RecordedSubnetwork, RecordedUpdate,
};
use super::{LaunchGraphs, Prepared, Withheld};
use crate::net::{Coarsen, SubnetworkOf, Value};
use crate::random;

/// The number of recordings that may fail in addition to one for each graph that has been recorded before the failure: a graph may
/// need memory that the graphs before it have made unavailable.
const MORE_FAILURES: usize = 4;

/// Limit on the memory that is reserved for a retry, in bytes. It is held during a step that needs as much as before. A single tensor
/// may be larger.
const MAX_RESERVED: u64 = 1 << 30;

/// The number of steps after a recording in which the update may not be in place, before it is executed in each step. The first
/// update of an optimizer creates its state.
const UPDATE_ATTEMPTS: usize = 3;

/// The reason why a step was not recorded.
enum Refusal {
    /// The device does not record what was launched. Another recording may find more memory.
    Device(GraphError),
    /// The step cannot be replayed.
    Step(String),
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Step(reason.into())
    }
}

/// The end of a recorded step.
struct RecordedEnd {
    /// The last graph, if it launches anything.
    graph: Option<LaunchGraph>,
    squares: Option<Tensor<1>>,
    subnetworks: Vec<RecordedSubnetwork>,
}

/// An update that cannot be recorded.
#[derive(Debug)]
pub(super) struct NotRecorded;

/// The memory of a module's buffers.
type BufferMemory = HashMap<ParamId, TensorMemory>;

const NOT_USABLE: &str =
    "a tensor is not in the memory of the GPU, or does not consist of whole 32-bit words";

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Collectives,
{
    /// Records a step. Returns `None` if that takes more memory, which the step will allocate when it is executed.
    ///
    /// # Errors
    /// The reason why the step cannot be recorded.
    pub(super) fn try_recording(
        &mut self,
        graphs: &mut LaunchGraphs<N>,
        step: &StepOf<N, L>,
        prepared: Prepared<N>,
    ) -> Result<Option<RecordedStep<N>>, String> {
        let Prepared { shape, received, withheld, failed, .. } = prepared;
        // Its memory is available again, and so is what the last step has allocated in its place.
        drop(withheld);
        let mut groups = Vec::new();
        match self.record(step, received, graphs, &mut groups) {
            Ok(recorded) => Ok(Some(recorded)),
            Err(Refusal::Device(error)) if failed < groups.len() + MORE_FAILURES => {
                let partial = groups.into_iter().map(|group| group.graph).collect();
                let withheld =
                    Withheld { _graphs: partial, _reserve: self.reserve(&error, failed) };
                graphs.prepare(shape, withheld, failed + 1).map(|()| None)
            }
            Err(Refusal::Device(error)) => Err(error.to_string()),
            Err(Refusal::Step(reason)) => Err(reason),
        }
    }

    /// Reserves memory for tensors of the size that was missing: twice as many after each failure. Without a reserve, the next
    /// attempt has what the step before it leaves.
    fn reserve(&self, error: &GraphError, failed: usize) -> Option<Reserve> {
        let missing = error.missing_bytes()?;
        let limit = (MAX_RESERVED / missing.max(1)).max(1);
        let count = 1_u64.checked_shl(failed as u32).unwrap_or(limit).min(limit);
        Reserve::new(&self.device, missing, count as usize).ok()
    }

    /// Records a step. The graphs before a failure are in `groups`.
    fn record(
        &mut self,
        step: &StepOf<N, L>,
        received: Vec<(Message, N::State)>,
        graphs: &LaunchGraphs<N>,
        groups: &mut Vec<Group>,
    ) -> Result<RecordedStep<N>, Refusal> {
        let LaunchGraphs { clips, copies_parameters, executes_updates, .. } = *graphs;
        if self.subnetworks.iter().any(|subnetwork| subnetwork.trained.shares_parameters()) {
            return Err("a parameter occurs several times, and moves in each update".into());
        }
        let next = step.waiting.as_slice().first().ok_or("a step has one micro-batch")?;
        let input = copied(&next.input.clone().to_device(&self.device)).ok_or(NOT_USABLE)?;
        let target = copied(&next.target.clone().to_device(&self.device)).ok_or(NOT_USABLE)?;
        let received = received.iter().map(|(message, state)| Some((*message, copied(state)?)));
        let received = received.collect::<Option<HashMap<_, _>>>().ok_or(NOT_USABLE)?;
        // Nothing else refers to the buffers that the graphs will write.
        let (buffers, originals) = self.separate_buffers()?;
        let batch = MicroBatch { input: input.clone(), target: target.clone(), share: next.share };
        let mut recorded = Step::new(step.key(), vec![batch], step.update);
        recorded.checks_target = false;
        let drawn = random::drawn();
        // CubeCL's reads panic while launches are recorded.
        let record = AssertUnwindSafe(|| self.record_groups(&mut recorded, &received, groups));
        let result = catch_unwind(record).unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            let message = message.lines().next().unwrap_or_default();
            Err(Refusal::Step(format!(
                "a layer or the loss panicked, which reading from the GPU leads to: {message}"
            )))
        });
        let result = match random::drawn() == drawn {
            true => result,
            false => Err("a layer draws random numbers, which each replay would repeat".into()),
        };
        let result = result.and_then(|sent| {
            let RecordedEnd { graph: end, squares, subnetworks } =
                self.record_end(&buffers, clips, copies_parameters)?;
            let head = recorded.loss.take().zip(recorded.outputs.pop());
            let is_usable = sent.values().all(|state: &N::State| of_value(state).is_some())
                && head.iter().all(|(_, output)| of_value(output).is_some());
            if !is_usable {
                return Err(NOT_USABLE.into());
            }
            let received =
                received.iter().map(|(message, state)| Some((*message, of_value(state)?)));
            Ok(RecordedStep {
                groups: std::mem::take(groups),
                end,
                input: of_value(&input).ok_or(NOT_USABLE)?,
                target: of_value(&target).ok_or(NOT_USABLE)?,
                received: received.collect::<Option<_>>().ok_or(NOT_USABLE)?,
                sent,
                head,
                clips,
                squares,
                update: match executes_updates {
                    true => RecordedUpdate::Executed,
                    false => RecordedUpdate::Pending(0),
                },
                replays: 0,
                is_untouched: false,
                subnetworks,
                was_skipped: false,
            })
        });
        for subnetwork in &mut self.subnetworks {
            subnetwork.discard_step();
        }
        if result.is_err() {
            // Updates of running statistics that are not merged would replace what is restored.
            for subnetwork in &self.subnetworks {
                running_statistics::merge(subnetwork.trained.module());
            }
            // The device refuses to read memory that a failed recording would have written.
            self.restore_buffers(originals);
        }
        result
    }

    /// Records the groups of instructions up to the update, and returns the messages that they compute.
    fn record_groups(
        &mut self,
        step: &mut StepOf<N, L>,
        received: &HashMap<Message, N::State>,
        groups: &mut Vec<Group>,
    ) -> Result<HashMap<Message, N::State>, Refusal> {
        let MicroBatch { input, target, share } =
            step.waiting.next().ok_or("a step has one micro-batch")?;
        (step.share, step.input, step.target) = (share, Some(input), Some(target));
        self.subnetworks.iter_mut().for_each(|subnetwork| subnetwork.begin(true));
        let program = Arc::clone(&self.program);
        let instructions = program.worker(self.worker).instructions();
        let mut sent = HashMap::new();
        let mut next = 0;
        while let Some(instruction) = instructions.get(next) {
            let operation = &instruction.operation;
            if ends_pass(operation) {
                break;
            }
            if let Some(message) = operation.message() {
                match operation.is_receive() {
                    true => {
                        let state = received.get(&message).ok_or("a message was not received")?;
                        step.received = Some(state.clone());
                        self.execute(step, operation).map_err(disconnected)?;
                    }
                    false => drop(sent.insert(message, self.message_to_send(step, operation))),
                }
                next += 1;
                continue;
            }
            if !self.launches(step, operation) {
                self.execute_in_step(step, operation).map_err(disconnected)?;
                next += 1;
                continue;
            }
            let begin = next;
            let first = operation.subnetwork().ok_or("an operation belongs to no subnetwork")?;
            let device = self.device.clone();
            let (graph, executed) = LaunchGraph::record(&device, || -> Result<(), Disconnected> {
                while let Some(instruction) = instructions.get(next) {
                    if ends_group(&instruction.operation) {
                        break;
                    }
                    self.execute_in_step(step, &instruction.operation)?;
                    next += 1;
                }
                Ok(())
            })
            .map_err(Refusal::Device)?;
            executed.map_err(disconnected)?;
            if let Some(error) = StepFailure::into_error(step.reply.failures.drain(..)) {
                return Err(Refusal::Step(error.to_string()));
            }
            groups.push(Group { instructions: begin..next, first, graph });
        }
        Ok(sent)
    }

    /// Returns true if an operation launches work before the update.
    fn launches(&self, step: &StepOf<N, L>, operation: &Operation) -> bool {
        match *operation {
            Operation::MergeStatistics { subnetwork } => {
                self.subnetworks[self.local(subnetwork)].trained.merges_statistics()
            }
            _ => self.work(step, operation).is_some(),
        }
    }

    /// Records the copies of new running statistics to where the next replay expects them, and the squared norm of the gradients if
    /// they are clipped.
    fn record_end(
        &mut self,
        buffers: &[BufferMemory],
        clips: bool,
        copies_parameters: bool,
    ) -> Result<RecordedEnd, Refusal> {
        let mut subnetworks = Vec::new();
        for (subnetwork, before) in self.subnetworks.iter_mut().zip(buffers) {
            if subnetwork.has_failed() {
                return Err("the loss does not depend on every parameter".into());
            }
            let mut memory = ModuleMemory::of(subnetwork.trained.module()).ok_or(NOT_USABLE)?;
            let changed =
                std::mem::take(&mut memory.buffers).into_iter().filter_map(|(id, after)| {
                    let before = before.get(&id)?.clone();
                    let is_changed = before.place() != after.place();
                    is_changed.then_some(RecordedStatistic { id, before, after })
                });
            let statistics: Vec<_> = changed.collect();
            if !statistics.iter().all(|own| own.before.accepts(&own.after)) {
                return Err("running statistics change their shape or type".into());
            }
            let (module, gradients) = subnetwork.trained.parts();
            let gradients = of_gradients(module, gradients).ok_or(NOT_USABLE)?;
            let parameters = match copies_parameters {
                true => RecordedParameters::Copied(
                    memory.parameters.into_iter().map(|(_, memory)| memory).collect(),
                ),
                false => RecordedParameters::InPlace(memory.places()),
            };
            subnetworks.push(RecordedSubnetwork { parameters, statistics, gradients });
        }
        let statistics: Vec<_> = subnetworks.iter().flat_map(|own| &own.statistics).collect();
        if statistics.is_empty() && !clips {
            return Ok(RecordedEnd { graph: None, squares: None, subnetworks });
        }
        // The same kernels are compiled now, because that cannot happen while launches are recorded. They give new statistics,
        // which no replay has computed yet, the values of the old ones, in case that the recording is not used.
        copy(statistics.iter().map(|own| (&own.before, &own.after)));
        let launched = LaunchGraph::record(&self.device, || {
            copy(statistics.iter().map(|own| (&own.after, &own.before)));
            match clips {
                true => gradient_clipping::total(self.squared_norms()),
                false => None,
            }
        });
        let (graph, squares) = launched.map_err(Refusal::Device)?;
        Ok(RecordedEnd { graph: Some(graph), squares, subnetworks })
    }

    /// Records the update of all parameters, if the latest one was in place.
    ///
    /// # Errors
    /// If it cannot be recorded. Parameters and optimizers then have the same values as before, in other memory.
    pub(super) fn record_update(
        &mut self,
        graphs: &mut LaunchGraphs<N>,
        recorded: &mut RecordedStep<N>,
        learning_rate: f64,
        is_in_place: bool,
    ) -> Result<(), NotRecorded> {
        let RecordedUpdate::Pending(steps) = &mut recorded.update else { return Ok(()) };
        let has_turn = self.takes_turns || self.program.workers().len() == 1;
        *steps += 1;
        let may_stay = *steps <= UPDATE_ATTEMPTS;
        if has_turn && is_in_place && self.has_parameters_of(recorded) {
            let graph = self.update_graph(graphs, recorded, learning_rate)?;
            recorded.update = RecordedUpdate::Graph(graph);
        } else if may_stay {
            // The device keeps the buffers of this step's update for the recording in the next one, which may fail without them.
            let _ = prepare(&self.device);
        } else {
            recorded.update = RecordedUpdate::Executed;
        }
        Ok(())
    }

    /// Returns the graph of the update of all parameters.
    fn update_graph(
        &mut self,
        graphs: &mut LaunchGraphs<N>,
        recorded: &RecordedStep<N>,
        learning_rate: f64,
    ) -> Result<LaunchGraph, NotRecorded> {
        let scales = graphs.scales.as_mut().ok_or(NotRecorded)?;
        scales.set(learning_rate, 1.0);
        // The device refuses to read memory that a failed recording would have written. The copies share no parameter with the
        // module, which would keep the update from being in place.
        let copied = |trained: &TrainedModule<SubnetworkOf<N>>| {
            let optimizer = trained.read(StateKind::Optimizer).ok()?;
            let parameters = ModuleMemory::of(trained.module())?.copied_parameters();
            Some((trained.module().clone().map(&mut Replaced(parameters)), optimizer))
        };
        let trained = self.subnetworks.iter().map(|subnetwork| copied(&subnetwork.trained));
        let state: Vec<_> = trained.collect::<Option<_>>().ok_or(NotRecorded)?;
        for (subnetwork, own) in self.subnetworks.iter_mut().zip(&recorded.subnetworks) {
            let (module, gradients) = subnetwork.trained.parts();
            register_gradients(module, own.gradients.iter().cloned().collect(), gradients);
        }
        let subnetworks = &mut self.subnetworks;
        let update = AssertUnwindSafe(|| {
            LaunchGraph::record(&self.device, || {
                let mut is_in_place = true;
                for SubnetworkRunner { trained, .. } in subnetworks {
                    let ((), updates) = scales.scope(|| trained.update_parameters(learning_rate));
                    is_in_place &= updates == trained.all_in_place();
                }
                is_in_place
            })
        });
        if let Ok(Ok((graph, true))) = catch_unwind(update)
            && self.has_parameters_of(recorded)
        {
            return Ok(graph);
        }
        for (subnetwork, (module, optimizer)) in self.subnetworks.iter_mut().zip(state) {
            let restored = subnetwork.trained.restore(module, optimizer);
            restored.expect("state that was just read can be written");
        }
        Err(NotRecorded)
    }

    /// Gives the buffers of each subnetwork memory that nothing else refers to. Returns this memory and what they had before.
    fn separate_buffers(&mut self) -> Result<(Vec<BufferMemory>, Vec<BufferMemory>), Refusal> {
        let (mut separate, mut originals) = (Vec::new(), Vec::new());
        for subnetwork in &mut self.subnetworks {
            let memory = ModuleMemory::of(subnetwork.trained.module()).ok_or(NOT_USABLE)?;
            let (ids, memories): (Vec<_>, Vec<_>) = memory.buffers.into_iter().unzip();
            let copies = duplicate(&memories);
            separate.push(ids.iter().copied().zip(copies).collect::<BufferMemory>());
            originals.push(ids.into_iter().zip(memories).collect());
        }
        self.restore_buffers(separate.clone());
        Ok((separate, originals))
    }

    /// Gives the buffers of each subnetwork this memory.
    fn restore_buffers(&mut self, buffers: Vec<BufferMemory>) {
        for (subnetwork, buffers) in self.subnetworks.iter_mut().zip(buffers) {
            subnetwork.trained.map_module(&mut Replaced(buffers));
        }
    }
}

/// Returns true if an operation comes after the forward and backward passes.
fn ends_pass(operation: &Operation) -> bool {
    matches!(operation, Operation::AwaitReductions | Operation::ReduceTotals)
}

/// Returns true if an operation is not part of a graph.
fn ends_group(operation: &Operation) -> bool {
    ends_pass(operation) || operation.message().is_some()
}

/// No operation within a recording communicates.
fn disconnected(_: Disconnected) -> Refusal {
    "an operation of the step communicates".into()
}
