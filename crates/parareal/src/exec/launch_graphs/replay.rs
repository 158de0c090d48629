//! Replaying a recorded step.

use std::collections::HashMap;

use parareal_kernels::graph::{GraphError, LaunchGraph, TensorMemory, copy, duplicate};

use super::super::collectives::{Collectives, Disconnected};
use super::super::command::MicroBatch;
use super::super::link::Link;
use super::super::loss::Loss;
use super::super::program::Operation;
use super::super::step::{Step, StepOf};
use super::super::step_failure::StepFailure;
use super::super::worker::Worker;
use super::memory::{ModuleMemory, Replaced, copied, of_value, register_gradients};
use super::recorded::{RecordedParameters, RecordedStep, RecordedUpdate};
use super::{Fit, LaunchGraphs, State};
use crate::net::{Coarsen, Value};
use crate::timeline::Activity;

impl<N, L, K, C> Worker<N, L, K, C>
where
    N: Coarsen,
    L: Loss<N::Output>,
    K: Link<N::State>,
    C: Collectives,
{
    /// Copies the micro-batch of a step and the buffers of the module to where the graphs read them, if the recording fits.
    ///
    /// # Errors
    /// If the device cannot copy them.
    pub(super) fn begin_replay(
        &mut self,
        step: &mut StepOf<N, L>,
        recorded: &mut RecordedStep<N>,
    ) -> Result<Fit, String> {
        let is_untouched = std::mem::take(&mut recorded.is_untouched);
        let Some(MicroBatch { input, target, .. }) = step.waiting.as_slice().first() else {
            return Ok(Fit::OtherBatch);
        };
        let on_device =
            (input.clone().to_device(&self.device), target.clone().to_device(&self.device));
        let copies = of_value(&on_device.0).zip(of_value(&on_device.1));
        let copies = copies.filter(|(input, target)| {
            accept(&recorded.input, input) && accept(&recorded.target, target)
        });
        let Some((own_input, own_target)) = copies else { return Ok(Fit::OtherBatch) };
        let clips = step.update.is_some_and(|update| update.clip_norm.is_some());
        if clips && !recorded.clips {
            return Ok(Fit::NoNorm);
        }
        // Graphs compute with any target, and labels are indices that kernels do not check.
        let mut head = recorded.head.iter();
        if !head.all(|(_, output)| self.loss.check(output, target).is_ok()) {
            return Ok(Fit::WrongTarget);
        }
        let moved = match is_untouched {
            true => Some(Vec::new()),
            false => self.moved(recorded),
        };
        let Some(moved) = moved else { return Ok(Fit::OtherModule) };
        let mut pairs: Vec<_> = own_input.iter().zip(&recorded.input).collect();
        pairs.extend(moved.iter().map(|(from, to)| (from, *to)));
        pairs.extend(own_target.iter().zip(&recorded.target));
        copy(pairs.iter().copied());
        let written = TensorMemory::check(pairs.iter().map(|(_, to)| *to));
        written.map_err(|error| error.to_string())?;
        if !moved.is_empty() {
            let all = self.subnetworks.iter_mut().zip(&recorded.subnetworks);
            for (subnetwork, own) in all {
                let after = own.statistics.iter().map(|own| (own.id, own.after.clone()));
                subnetwork.trained.map_module(&mut Replaced(after.collect()));
            }
        }
        for link in self.upstream.iter_mut().chain(&mut self.downstream) {
            link.expect(input.samples());
        }
        step.input_gradients.push(None);
        step.waiting.next();
        self.subnetworks.iter_mut().for_each(|subnetwork| subnetwork.begin(true));
        recorded.was_skipped = false;
        recorded.replays += 1;
        recorded.is_untouched = matches!(recorded.update, RecordedUpdate::Graph(_));
        Ok(Fit::Fits)
    }

    /// Returns true if the parameters are in the memory that the graphs use.
    pub(super) fn has_parameters_of(&self, recorded: &RecordedStep<N>) -> bool {
        let mut all = self.subnetworks.iter().zip(&recorded.subnetworks);
        all.all(|(subnetwork, own)| {
            let memory = ModuleMemory::of(subnetwork.trained.module());
            memory.is_some_and(|memory| match &own.parameters {
                RecordedParameters::InPlace(places) => memory.places() == *places,
                RecordedParameters::Copied(_) => false,
            })
        })
    }

    /// Returns the tensors that have been replaced since the last replay, with the memory where the graphs read them. Returns `None`
    /// if a tensor of the module cannot be used anymore.
    fn moved<'a>(
        &self,
        recorded: &'a RecordedStep<N>,
    ) -> Option<Vec<(TensorMemory, &'a TensorMemory)>> {
        let mut moved = Vec::new();
        let mut add = |current: TensorMemory, recorded: &'a TensorMemory| {
            let is_accepted = recorded.accepts(&current);
            moved.push((current, recorded));
            is_accepted.then_some(())
        };
        for (subnetwork, own) in self.subnetworks.iter().zip(&recorded.subnetworks) {
            let memory = ModuleMemory::of(subnetwork.trained.module())?;
            match &own.parameters {
                RecordedParameters::InPlace(places) if memory.places() != *places => return None,
                RecordedParameters::InPlace(_) => {}
                RecordedParameters::Copied(parameters) => {
                    for ((_, current), recorded) in memory.parameters.into_iter().zip(parameters) {
                        if current.place() != recorded.place() {
                            add(current, recorded)?;
                        }
                    }
                }
            }
            let mut buffers: HashMap<_, _> = memory.buffers.into_iter().collect();
            for statistic in &own.statistics {
                let current = buffers.remove(&statistic.id)?;
                if current.place() != statistic.after.place() {
                    add(current, &statistic.before)?;
                }
            }
        }
        Some(moved)
    }

    /// Returns the activity and the subnetwork of an instruction of a recorded step.
    pub(in super::super) fn recorded_work(&self, index: usize) -> Option<(Activity, usize)> {
        let State::Recorded(recorded) = &self.launch_graphs.as_ref()?.state else { return None };
        let mut groups = recorded.groups.iter();
        let group = groups.find(|group| group.instructions.contains(&index))?;
        Some((Activity::Replay, group.first))
    }

    /// Executes an instruction of a step that is replayed.
    pub(in super::super) fn replay(
        &mut self,
        step: &mut StepOf<N, L>,
        index: usize,
        operation: &Operation,
    ) -> Result<(), Disconnected> {
        let graphs = self.launch_graphs.take();
        let replayed = match graphs.as_ref().map(|graphs| &graphs.state) {
            Some(State::Recorded(recorded)) => {
                self.replay_instruction(step, index, operation, recorded)
            }
            _ => Ok(()),
        };
        self.launch_graphs = graphs;
        replayed?;
        match *operation {
            Operation::Update { subnetwork } if step.has_recorded_gradients => {
                self.replay_update(step, subnetwork);
                Ok(())
            }
            Operation::ReduceTotals | Operation::Update { .. } => {
                self.execute_in_step(step, operation)
            }
            _ => Ok(()),
        }
    }

    /// Replays the update of all subnetworks with the first of them, and updates the moving average of each.
    fn replay_update(&mut self, step: &mut StepOf<N, L>, subnetwork: usize) {
        let (Some(update), Some(graphs)) = (step.update, &mut self.launch_graphs) else { return };
        let LaunchGraphs { state: State::Recorded(recorded), scales: Some(scales), .. } = graphs
        else {
            return;
        };
        if let RecordedUpdate::Graph(graph) = &recorded.update
            && subnetwork == self.subnetworks[0].index()
        {
            scales.set(update.learning_rate, step.gradient_factor);
            // The other workers update theirs, so that the step cannot be abandoned.
            graph.replay().unwrap_or_else(|error| panic!("the recorded update: {error}"));
        }
        let local = self.local(subnetwork);
        self.subnetworks[local].trained.update_average(update.average_decay);
    }

    fn replay_instruction(
        &mut self,
        step: &mut StepOf<N, L>,
        index: usize,
        operation: &Operation,
        recorded: &RecordedStep<N>,
    ) -> Result<(), Disconnected> {
        if let Some(message) = operation.message() {
            if operation.is_receive() {
                let state = self.receive(step, operation)?;
                let expected = recorded.received.get(&message);
                let memory = of_value(&state);
                match expected.zip(memory) {
                    Some((expected, memory)) if accept(expected, &memory) => {
                        copy(memory.iter().zip(expected));
                        check(step, TensorMemory::check(expected));
                    }
                    _ => step.reply.failures.push(StepFailure::LaunchGraphs(
                        "a message has another shape than the recorded one".into(),
                    )),
                }
                return Ok(());
            }
            let state = recorded.sent.get(&message).and_then(copied);
            let state = state.expect("a message that was recorded can be copied");
            return self.link(operation).send(state);
        }
        if let Some(group) = recorded.groups.iter().find(|group| group.instructions.start == index)
        {
            launch(step, &group.graph);
        }
        if matches!(operation, Operation::ReduceTotals) {
            self.end_replay(step, recorded);
        }
        Ok(())
    }

    /// Takes the results of the graphs.
    fn end_replay(&mut self, step: &mut StepOf<N, L>, recorded: &RecordedStep<N>) {
        if let Some(end) = &recorded.end {
            launch(step, end);
        }
        if let Some((loss, output)) = &recorded.head {
            // The loss is read before the next replay.
            step.add_loss(loss.clone());
            step.outputs.extend(copied(output));
        }
        step.squares.clone_from(&recorded.squares);
        if matches!(recorded.update, RecordedUpdate::Graph(_)) {
            step.has_recorded_gradients = true;
            return;
        }
        let all = recorded.subnetworks.iter().flat_map(|own| &own.gradients);
        let memories: Vec<_> = all.map(|(_, memory)| memory.clone()).collect();
        let mut copies = duplicate(&memories).into_iter();
        for (subnetwork, own) in self.subnetworks.iter_mut().zip(&recorded.subnetworks) {
            let ids = own.gradients.iter().map(|(id, _)| *id);
            let (module, gradients) = subnetwork.trained.parts();
            register_gradients(module, ids.zip(copies.by_ref()).collect(), gradients);
        }
    }
}

/// Replays a graph.
fn launch<N: Coarsen, T>(step: &mut Step<N, T>, graph: &LaunchGraph) {
    check(step, graph.replay());
}

/// Ends the step without an update if there is an error.
fn check<N: Coarsen, T>(step: &mut Step<N, T>, result: Result<(), GraphError>) {
    if let Err(error) = result {
        step.reply.failures.push(StepFailure::LaunchGraphs(error.to_string()));
    }
}

/// Returns true if the memory of a value can be copied to another one.
fn accept(to: &[TensorMemory], from: &[TensorMemory]) -> bool {
    to.len() == from.len() && to.iter().zip(from).all(|(to, from)| to.accepts(from))
}
