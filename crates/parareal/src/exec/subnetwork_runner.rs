use std::ops::Range;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Gradients, Tensor};
use parareal_autodiff::{DeferredGradients, defer_weight_gradients, replica_sum};

use super::loss::{Loss, checked_loss, unchecked_loss};
use super::step_failure::StepFailure;
use super::trained_module::{Collector, TrainedModule};
use crate::net::{Activation, Coarsen, Layer, SubnetworkOf, Value, forward_units};
use crate::random::{Section, in_section};

/// Runs the operations of a training step on a subnetwork. Each operation has its own graph.
///
/// The methods must be called in the order given by the [program](super::program::Program) of the worker.
pub(super) struct SubnetworkRunner<N: Coarsen> {
    pub(super) trained: TrainedModule<SubnetworkOf<N>>,
    tape: Option<Tape<N>>,
    /// True if the loss of a micro-batch does not depend on the input of `F_{j-1}`, and therefore not on any
    /// subnetwork before this one.
    is_cut_off: bool,
    /// True if the loss of a micro-batch depends on the input of `F_{j-1}`.
    goes_on: bool,
    /// Units of the network that computed different values when they were recomputed.
    not_repeated: Option<Range<usize>>,
}

/// The values that the forward pass keeps for the backward pass.
struct Tape<N: Coarsen> {
    /// The input, which is a leaf if its gradient is requested.
    input: N::Input,
    /// `x_j`, the end of the graph of `C_j`.
    x: N::State,
    /// The values kept for each segment that has not been differentiated yet.
    segments: Vec<Kept<N>>,
    /// The initial state of the next segment. After the last segment it is `y_j`, until the chain takes it.
    reached: Option<N::State>,
    /// The final state of the last remaining segment as computed in the first pass; only with recomputation.
    end: Option<N::State>,
    /// The graph of `F_{j-1}`, from `U_{j-1} - x_j`.
    coarse: Option<Graph<N::State>>,
    /// `ρ_j`, then the cotangent of the next segment of the backward pass; `None` if the loss does not depend
    /// on the corresponding state.
    cotangent: Option<N::State>,
    /// `ρ_{j-1}`.
    sent: Option<N::State>,
    /// Gradients of `F_{j-1}`'s weights that are still to be computed.
    deferred: DeferredGradients,
}

/// Loss, output and cotangent of a forward pass.
pub(super) struct Finished<N: Coarsen> {
    /// The loss, which the device may not have computed yet.
    pub(super) loss: Tensor<1>,
    pub(super) output: N::Output,
    /// `ρ_N`; `None` if the loss does not depend on `U_N`.
    pub(super) rho: Option<N::State>,
}

/// A graph that begins at `start`, a leaf, and ends at `end`.
struct Graph<S: Activation> {
    start: S,
    end: S::Vjp,
}

/// The objective of a micro-batch.
pub(super) struct Objective<'a, L, T> {
    pub(super) loss: &'a L,
    pub(super) target: T,
    /// True if the loss has to check whether the target fits the output.
    pub(super) checks_target: bool,
    /// A factor of the loss, and therefore of every gradient.
    pub(super) share: f64,
}

/// The values kept for a segment.
enum Kept<N: Coarsen> {
    /// The graph that the backward pass needs.
    Graph(Graph<N::State>),
    /// The state from which the segment can be recomputed.
    Start(N::State),
    /// The recomputed graph, and the copies of the units that it was computed with.
    Recomputed(Graph<N::State>, Vec<N::Unit>),
}

impl<N: Coarsen> SubnetworkRunner<N> {
    /// Creates the runners of all subnetworks of a worker on its device. The caller has to be the thread of the worker.
    pub(super) fn all(
        modules: Vec<SubnetworkOf<N>>,
        device: &Device,
        optimizer: &ModuleOptimizer,
    ) -> Vec<Self> {
        let trained =
            modules.into_iter().map(|module| TrainedModule::new(module, device, optimizer));
        let new = |trained| Self {
            trained,
            tape: None,
            is_cut_off: false,
            goes_on: false,
            not_repeated: None,
        };
        trained.map(new).collect()
    }

    /// Returns the seed of the network.
    pub(super) fn seed(&self) -> u64 {
        self.module().seed()
    }

    fn module(&self) -> &SubnetworkOf<N> {
        self.trained.module()
    }

    fn tape(&mut self) -> &mut Tape<N> {
        self.tape.as_mut().expect("the methods of a step are called in order")
    }

    /// Returns the index of the subnetwork in the network, from 0.
    pub(super) fn index(&self) -> usize {
        self.module().index()
    }

    /// Converts units of the network into indices of the subnetwork's units.
    fn local(&self, units: &Range<usize>) -> Range<usize> {
        let first = self.module().unit_range().start;
        units.start - first..units.end - first
    }

    /// Begins a micro-batch. The failures and gradients of those before are kept unless it is the first one of a
    /// step.
    pub(super) fn begin(&mut self, is_first: bool) {
        if is_first {
            (self.is_cut_off, self.goes_on, self.not_repeated) = (false, false, None);
        } else {
            self.trained.keep_gradients();
        }
    }

    /// Computes `x_j = C_j(x)`. The gradient with respect to `x` is computed later only if `input_gradient`
    /// is true.
    pub(super) fn forward_preprocessing(&mut self, input: N::Input, input_gradient: bool) {
        let input = if input_gradient { input.leaf() } else { input.constant() };
        let x: N::State = self.module().forward_preprocessing(input.clone());
        self.tape = Some(Tape {
            input,
            reached: Some(x.clone().values()),
            x,
            segments: Vec::new(),
            end: None,
            coarse: None,
            cotangent: None,
            sent: None,
            deferred: DeferredGradients::default(),
        });
    }

    /// Runs a segment of `y_j = g_j(x_j)`. If `keeps_graph` is false, only the state at the start of the
    /// segment is kept.
    pub(super) fn forward_units(&mut self, units: &Range<usize>, keeps_graph: bool) {
        let start = self.tape().reached.take().expect("the chain comes after fine work");
        let fine = self.module().numbered_units(self.local(units));
        let (kept, reached) = if keeps_graph {
            let (graph, end) = Graph::through(fine, start);
            (Kept::Graph(graph), end)
        } else {
            // No graph is recorded, because nothing requires a gradient. The clones share the running
            // statistics of the units, so this pass updates the latter.
            let end = fine.fold(start.clone().constant(), |state, (number, unit)| {
                in_section(Section::Unit(number), || unit.clone().no_grad().forward(state))
            });
            (Kept::Start(start), end)
        };
        let is_last = units.end == self.module().unit_range().end;
        let tape = self.tape();
        let reached = reached.values();
        if is_last && !keeps_graph {
            tape.end = Some(reached.clone());
        }
        tape.reached = Some(reached);
        tape.segments.push(kept);
    }

    /// Takes `y_j`, from which the coarse chain continues.
    pub(super) fn take_y(&mut self) -> N::State {
        self.tape().reached.take().expect("the chain comes once")
    }

    /// Computes `U_j = y_j + F_{j-1}(U_{j-1} - x_j)` from `U_{j-1}`: step (3b) of the paper, one subnetwork
    /// after another.
    pub(super) fn forward_coarse(&mut self, upstream: N::State) -> N::State {
        let y = self.take_y();
        let x = self.tape().x.clone().values();
        let start = upstream.minus(x).leaf();
        let end = self.module().forward_coarse(start.clone());
        let end = end.expect("all but the first subnetwork have an F");
        let corrected = y.plus(end.clone().values());
        self.tape().coarse = Some(Graph { start, end: end.vjp() });
        corrected
    }

    /// Computes the output and the loss on the last subnetwork, with the gradients of `h` and `ρ_N`.
    ///
    /// # Errors
    /// If the target does not fit the output, or the loss is not a single number.
    pub(super) fn forward_head<L: Loss<N::Output>>(
        &mut self,
        corrected: N::State,
        objective: Objective<'_, L, L::Target>,
    ) -> Result<Finished<N>, StepFailure> {
        let Objective { loss, target, checks_target, share } = objective;
        let corrected = corrected.leaf();
        let output: Option<N::Output> = self.module().forward_postprocessing(corrected.clone());
        let output = output.expect("the last subnetwork holds h");
        let loss = match checks_target {
            true => checked_loss(loss, &output, target),
            false => unchecked_loss(loss, &output, target),
        };
        // A replica that has no loss takes no part in the sums of the backward pass, so that the others must not wait for it.
        let is_complete = replica_sum().is_none_or(|replicas| {
            let mut failures = [if loss.is_err() { 1.0 } else { 0.0 }];
            replicas.sum(&mut failures);
            failures == [0.0]
        });
        let loss = loss?;
        let loss = if share == 1.0 { loss } else { loss.mul_scalar(share) };
        let value = loss.clone().inner();
        let mut rho = None;
        if is_complete && loss.is_tracked() {
            let mut gradients = loss.backward();
            rho = corrected.take_gradient(&mut gradients);
            self.trained.collect(|module, into| module.postprocessing.visit(into), &mut gradients);
        }
        Ok(Finished { loss: value, output: output.values(), rho })
    }

    /// Sets `ρ_j`; `None` if the loss does not depend on `U_j`.
    pub(super) fn set_cotangent(&mut self, rho: Option<N::State>) {
        self.tape().cotangent = rho;
    }

    /// Discards the gradients so far and `ρ_N` in a step that will be abandoned.
    pub(super) fn discard_head(&mut self) {
        self.trained.discard_gradients();
        self.set_cotangent(None);
    }

    /// Returns true if gradients of weights have been deferred to [`Self::backward_coarse_weights`].
    pub(super) fn has_deferred(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| !tape.deferred.is_empty())
    }

    /// Returns true if a cotangent has reached the next operation of the backward pass.
    pub(super) fn is_reached(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| tape.cotangent.is_some() || tape.sent.is_some())
    }

    /// Computes `ρ_{j-1} = F_{j-1}'(U_{j-1} - x_j)ᵀ ρ_j`. Returns `None` for the first subnetwork, or if the
    /// loss does not depend on `U_{j-1}`. If `defers_weights` is true, gradients of weights are deferred to
    /// [`Self::backward_coarse_weights`] where possible.
    pub(super) fn backward_coarse(&mut self, defers_weights: bool) -> Option<N::State> {
        let tape = self.tape();
        let (rho, coarse) = (tape.cotangent.clone(), tape.coarse.take()?);
        let Some(rho) = rho else {
            self.is_cut_off = true;
            return None;
        };
        let ((mut gradients, sent), deferred) = match defers_weights {
            true => defer_weight_gradients(|| coarse.pull_back(rho)),
            false => (coarse.pull_back(rho), DeferredGradients::default()),
        };
        let tape = self.tape();
        tape.deferred = deferred;
        tape.sent.clone_from(&sent);
        self.is_cut_off |= sent.is_none();
        self.goes_on |= sent.is_some();
        if let Some(gradients) = &mut gradients {
            self.trained.collect(|module, into| module.coarse.visit(into), gradients);
        }
        sent
    }

    /// Returns `ρ_{j-1}`. It is zero if the loss does not depend on `U_{j-1}`, because a neighbor waits for a
    /// message.
    pub(super) fn sent_cotangent(&mut self) -> N::State {
        let tape = self.tape();
        tape.sent.clone().unwrap_or_else(|| zeros(&tape.x))
    }

    /// Computes the deferred gradients of `F_{j-1}`'s weights.
    pub(super) fn backward_coarse_weights(&mut self) {
        let deferred = std::mem::take(&mut self.tape().deferred);
        if !deferred.is_empty() {
            self.trained.collect_late(|module, into| module.coarse.visit(into), deferred.compute());
        }
    }

    /// Recomputes the graph of the last remaining segment, if it will be differentiated.
    pub(super) fn recompute_units(&mut self, units: &Range<usize>) {
        let tape = self.tape();
        if tape.cotangent.is_none() {
            return;
        }
        let first_end = tape.end.take();
        let kept = match tape.segments.pop().expect("a segment is left") {
            Kept::Start(start) => {
                // The copies have their own running statistics, so this pass does not update the statistics
                // of the units.
                let fine = self.module().units[self.local(units)].iter();
                let copies: Vec<_> = fine.map(|unit| unit.valid().train()).collect();
                self.tape().end = Some(start.clone());
                let (graph, end) = Graph::through((units.start..).zip(&copies), start);
                if first_end.is_some_and(|first_end| !first_end.is_repeated_by(&end)) {
                    self.not_repeated = Some(units.clone());
                }
                Kept::Recomputed(graph, copies)
            }
            graph => graph,
        };
        self.tape().segments.push(kept);
    }

    /// Differentiates the last remaining segment of `g_j'(x_j)ᵀ ρ_j`.
    pub(super) fn backward_units(&mut self, units: &Range<usize>) {
        let tape = self.tape();
        let kept = tape.segments.pop().expect("a segment is left");
        let Some(cotangent) = tape.cotangent.take() else { return };
        let (graph, copies) = match kept {
            Kept::Graph(graph) => (graph, None),
            Kept::Recomputed(graph, copies) => (graph, Some(copies)),
            Kept::Start(_) => unreachable!("a segment without a graph is recomputed first"),
        };
        let units = self.local(units);
        let (gradients, cotangent) = graph.pull_back(cotangent);
        let part = |module: &SubnetworkOf<N>, into: &mut Collector| {
            let units = copies.as_deref().unwrap_or(&module.units[units.clone()]);
            units.iter().for_each(|unit| unit.visit(into));
        };
        if let Some(mut gradients) = gradients {
            self.trained.collect(part, &mut gradients);
        }
        self.tape().cotangent = cotangent;
    }

    /// Differentiates `C_j` along `∂L/∂x_j = g_j'(x_j)ᵀ ρ_j - ρ_{j-1}`, and returns this subnetwork's part of
    /// `∂L/∂x`.
    pub(super) fn backward_preprocessing(&mut self) -> Option<N::Input> {
        let Tape { cotangent, sent, x, input, .. } =
            self.tape.take().expect("the methods of a step are called in order");
        let cotangent = match (cotangent, sent) {
            (Some(cotangent), Some(sent)) => Some(cotangent.minus(sent)),
            (None, Some(sent)) => Some(zeros(&sent).minus(sent)),
            (cotangent, None) => cotangent,
        };
        let gradients = cotangent.and_then(|cotangent| N::State::pull_back(x.vjp(), cotangent));
        gradients.and_then(|mut gradients| {
            let input = input.take_gradient(&mut gradients);
            self.trained.collect(|module, into| module.preprocessing.visit(into), &mut gradients);
            input
        })
    }

    /// Discards the state of an abandoned step.
    pub(super) fn discard_step(&mut self) {
        self.tape = None;
        self.trained.discard_gradients();
    }

    /// Returns true if this step cannot be finished with an update.
    pub(super) fn has_failed(&self) -> bool {
        self.ends_here() || self.not_repeated.is_some() || !self.trained.has_all_gradients()
    }

    /// Returns the number of leading subnetworks on which the loss does not depend, as far as this subnetwork
    /// can determine.
    pub(super) fn unreached(&self) -> usize {
        if self.ends_here() { self.module().index() } else { 0 }
    }

    /// Returns true if no micro-batch has a gradient before this subnetwork.
    fn ends_here(&self) -> bool {
        self.is_cut_off && !self.goes_on
    }

    /// Returns the failure of the backward pass, if any. `unreached` is the number of leading subnetworks on
    /// which the loss does not depend.
    pub(super) fn failure(&self, unreached: usize) -> Option<StepFailure> {
        if let Some(units) = &self.not_repeated {
            return Some(StepFailure::NotRepeated(units.clone()));
        }
        let names = match self.module().index() < unreached {
            true => self.trained.trainable_names(),
            false => self.trained.names_without_gradient(),
        };
        (!names.is_empty()).then_some(StepFailure::WithoutGradient(names))
    }
}

impl<S: Activation> Graph<S> {
    /// Runs units on a new graph, and returns the graph and the values at its end.
    fn through<'a, U: Layer<S, S>>(
        units: impl Iterator<Item = (usize, &'a U)>,
        start: S,
    ) -> (Self, S) {
        let start = start.leaf();
        let end = forward_units(units, start.clone());
        (Self { start, end: end.clone().vjp() }, end.values())
    }

    /// Returns the gradients for a cotangent, and the gradient with respect to `start`. The latter is `None`
    /// if `end` does not depend on `start`.
    fn pull_back(self, cotangent: S) -> (Option<Gradients>, Option<S>) {
        let mut gradients = S::pull_back(self.end, cotangent);
        let start = gradients.as_mut().and_then(|gradients| self.start.take_gradient(gradients));
        (gradients, start)
    }
}

/// Returns zeros of the same shape: the cotangent of a value on which nothing depends.
fn zeros<S: Activation>(like: &S) -> S {
    let values = like.clone().values();
    values.clone().minus(values)
}
