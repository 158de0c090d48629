use std::ops::Range;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Gradients, Tensor};
use parareal_autodiff::{DeferredGradients, defer_weight_gradients};

use super::clock::Clock;
use super::loss::{Loss, checked_loss};
use super::step_failure::StepFailure;
use super::trained_module::{Collector, TrainedModule};
use super::update::Update;
use crate::net::{Activation, Coarsen, Layer, SubnetworkOf, Value, forward_units};
use crate::random::{Section, in_section};
use crate::timeline::Activity;

/// A subnetwork in training: the equations of a step, each on a graph of its own.
///
/// The methods are called in the order of their definition.
pub(super) struct SubnetworkRunner<N: Coarsen> {
    pub(super) trained: TrainedModule<SubnetworkOf<N>>,
    /// Its index within its worker.
    index: usize,
    segments: Segments,
    tape: Option<Tape<N>>,
    /// Set if the loss does not depend on `F_{j-1}`'s input, and so on no subnetwork before this one.
    is_cut_off: bool,
    /// Units of the network that computed something else when they were recomputed.
    not_repeated: Option<Range<usize>>,
}

/// The segments of a subnetwork, each with a graph of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    /// Units of a segment, at least 1.
    pub(super) units: usize,
    /// Keeps only the state that a segment starts from and recomputes the rest in the backward pass.
    pub(super) recompute: bool,
}

/// The values that the forward pass keeps for the backward pass.
struct Tape<N: Coarsen> {
    /// The input, a leaf where its gradient is asked for.
    input: N::Input,
    /// `x_j`, the end of the graph of `C_j`.
    x: N::State,
    segments: Vec<FineSegment<N::State>>,
    /// What the next segment starts from; in the end `y_j`, until the chain has taken it.
    reached: Option<N::State>,
    /// With recomputation: the end of the last segment that is left, from the first pass.
    end: Option<N::State>,
    /// The graph of `F_{j-1}`, from `U_{j-1} - x_j`.
    coarse: Option<Graph<N::State>>,
    /// `ρ_j`, then what has to flow into the next segment of the backward pass; `None` where the loss
    /// does not depend on what comes before.
    cotangent: Option<N::State>,
    /// `ρ_{j-1}`.
    sent: Option<N::State>,
    /// Gradients of `F_{j-1}`'s weights still to be computed.
    deferred: DeferredGradients,
}

/// Loss, output and cotangent of a forward pass.
pub(super) struct Finished<N: Coarsen> {
    /// The loss, which its device may still have to compute.
    pub(super) loss: Tensor<1>,
    pub(super) output: N::Output,
    /// `ρ_N`; `None` where the loss does not depend on `U_N`.
    pub(super) rho: Option<N::State>,
}

/// A graph with a start of its own.
struct Graph<S: Activation> {
    start: S,
    end: S::Vjp,
}

/// What is kept of a few units.
struct FineSegment<S: Activation> {
    units: Range<usize>,
    kept: Kept<S>,
}

enum Kept<S: Activation> {
    /// Everything that the backward pass needs.
    Graph(Graph<S>),
    /// The values from which all of it can be computed again.
    Start(S),
}

impl<N: Coarsen> SubnetworkRunner<N> {
    /// Creates the runners of all subnetworks of a worker on its device. It is called on the thread
    /// of the worker.
    pub(super) fn all(
        modules: Vec<SubnetworkOf<N>>,
        device: &Device,
        optimizer: &ModuleOptimizer,
        segments: Segments,
    ) -> Vec<Self> {
        let modules = modules.into_iter().enumerate();
        let new = |(index, module)| {
            Self::new(TrainedModule::new(module, device, optimizer), index, segments)
        };
        modules.map(new).collect()
    }

    pub(super) fn new(
        trained: TrainedModule<SubnetworkOf<N>>,
        index: usize,
        segments: Segments,
    ) -> Self {
        let segments = Segments { units: segments.units.max(1), ..segments };
        let (is_cut_off, not_repeated) = (false, None);
        Self { trained, index, segments, tape: None, is_cut_off, not_repeated }
    }

    /// The seed of the network.
    pub(super) fn seed(&self) -> u64 {
        self.module().seed()
    }

    fn module(&self) -> &SubnetworkOf<N> {
        self.trained.module()
    }

    fn tape(&mut self) -> &mut Tape<N> {
        self.tape.as_mut().expect("the methods of a step are called in order")
    }

    /// `x_j = C_j(x)`. The gradient with respect to `x` costs something and is computed only
    /// where it is asked for.
    pub(super) fn forward_preprocessing(
        &mut self,
        clock: &mut Clock,
        input: N::Input,
        input_gradient: bool,
    ) {
        clock.enter(self.index, Activity::FineForward);
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
        (self.is_cut_off, self.not_repeated) = (false, None);
        clock.leave();
    }

    /// Runs the next segment of `y_j = g_j(x_j)`. Returns false if there is none left.
    pub(super) fn forward_segment(&mut self, clock: &mut Clock) -> bool {
        let Segments { units, recompute } = self.segments;
        let count = self.module().units.len();
        let tape = self.tape();
        let first = tape.segments.last().map_or(0, |segment| segment.units.end);
        if first == count {
            return false;
        }
        clock.enter(self.index, Activity::FineForward);
        let tape = self.tape();
        let units = first..first.saturating_add(units).min(count);
        let start = tape.reached.take().expect("the chain comes after fine work");
        let fine = self.module().numbered_units(units.clone());
        let (kept, reached) = if recompute {
            // Without gradients to come nothing is recorded. Running statistics are shared with
            // the units that these are clones of, and take this pass.
            let end = fine.fold(start.clone().constant(), |state, (number, unit)| {
                in_section(Section::Unit(number), || unit.clone().no_grad().forward(state))
            });
            (Kept::Start(start), end)
        } else {
            let (graph, end) = Graph::through(fine, start);
            (Kept::Graph(graph), end)
        };
        let tape = self.tape();
        let reached = reached.values();
        if recompute && units.end == count {
            tape.end = Some(reached.clone());
        }
        tape.reached = Some(reached);
        tape.segments.push(FineSegment { units, kept });
        clock.leave();
        true
    }

    /// Computes `U_j = y_j + F_{j-1}(U_{j-1} - x_j)` from `U_{j-1}`, the paper's equation (3b) in the
    /// form of a chain. `upstream` is `None` for the first subnetwork, which returns `U_1 = y_1`.
    pub(super) fn forward_coarse(
        &mut self,
        clock: &mut Clock,
        upstream: Option<N::State>,
    ) -> N::State {
        let y = self.tape().reached.take().expect("the chain comes once");
        let Some(upstream) = upstream else { return y };
        clock.enter(self.index, Activity::ChainForward);
        let x = self.tape().x.clone().values();
        let start = upstream.minus(x).leaf();
        let end = self.module().forward_coarse(start.clone());
        let end = end.expect("all but the first subnetwork have an F");
        let corrected = y.plus(end.clone().values());
        self.tape().coarse = Some(Graph { start, end: end.vjp() });
        clock.leave();
        corrected
    }

    /// Computes the output and the loss on the last subnetwork, with the gradients of `h` and `ρ_N`.
    /// The loss, and with it all gradients, is multiplied by `share`.
    ///
    /// # Errors
    /// If the target does not fit the output, or the loss is not a single number.
    pub(super) fn forward_head<L: Loss<N::Output>>(
        &mut self,
        clock: &mut Clock,
        corrected: N::State,
        loss: &L,
        target: L::Target,
        share: f64,
    ) -> Result<Finished<N>, StepFailure> {
        clock.enter(self.index, Activity::Head);
        let corrected = corrected.leaf();
        let output: Option<N::Output> = self.module().forward_postprocessing(corrected.clone());
        let output = output.expect("the last subnetwork holds h");
        let loss = match checked_loss(loss, &output, target) {
            Ok(loss) => loss,
            Err(failure) => {
                clock.leave();
                return Err(failure);
            }
        };
        let loss = if share == 1.0 { loss } else { loss.mul_scalar(share) };
        let value = loss.clone().inner();
        let mut rho = None;
        if loss.is_tracked() {
            let mut gradients = loss.backward();
            rho = corrected.take_gradient(&mut gradients);
            self.trained.collect(|module, into| module.postprocessing.visit(into), &mut gradients);
        }
        clock.leave();
        Ok(Finished { loss: value, output: output.values(), rho })
    }

    /// Takes `ρ_j` and gives `ρ_{j-1} = F_{j-1}'(U_{j-1} - x_j)ᵀ ρ_j`, which the first subnetwork
    /// has not. With `defer` gradients of weights are left for [`Self::backward_coarse_weights`] where that can be.
    pub(super) fn backward_coarse(
        &mut self,
        clock: &mut Clock,
        rho: Option<N::State>,
        defer: bool,
    ) -> Option<N::State> {
        let tape = self.tape();
        tape.cotangent.clone_from(&rho);
        let coarse = tape.coarse.take()?;
        let Some(rho) = rho else {
            self.is_cut_off = true;
            return None;
        };
        clock.enter(self.index, Activity::ChainBackward);
        let ((mut gradients, sent), deferred) = match defer {
            true => defer_weight_gradients(|| coarse.pull_back(rho)),
            false => (coarse.pull_back(rho), DeferredGradients::default()),
        };
        let tape = self.tape();
        tape.deferred = deferred;
        tape.sent.clone_from(&sent);
        self.is_cut_off = sent.is_none();
        if let Some(gradients) = &mut gradients {
            self.trained.collect(|module, into| module.coarse.visit(into), gradients);
        }
        clock.leave();
        sent
    }

    /// A cotangent of `U_{j-1}` for neighbors that wait for one where the loss does not depend on it.
    pub(super) fn zero_cotangent(&mut self) -> N::State {
        zeros(&self.tape().x)
    }

    /// Gradients of `F_{j-1}`'s weights that were left.
    pub(super) fn backward_coarse_weights(&mut self, clock: &mut Clock) {
        let deferred = std::mem::take(&mut self.tape().deferred);
        if deferred.is_empty() {
            return;
        }
        clock.enter(self.index, Activity::ChainWeights);
        self.trained.collect_late(|module, into| module.coarse.visit(into), deferred.compute());
        clock.leave();
    }

    /// Differentiates one segment of `g_j'(x_j)ᵀ ρ_j`, the last first. Returns false if there is none
    /// left.
    pub(super) fn backward_segment(&mut self, clock: &mut Clock) -> bool {
        let tape = self.tape();
        let Some(segment) = tape.segments.pop() else { return false };
        let Some(cotangent) = tape.cotangent.take() else { return true };
        let first_end = tape.end.take();
        clock.enter(self.index, Activity::FineBackward);
        let FineSegment { units, kept } = segment;
        let (graph, copies) = match kept {
            Kept::Graph(graph) => (graph, None),
            // Copies have running statistics of their own, which may change once more unseen.
            Kept::Start(start) => {
                let fine = self.module().units[units.clone()].iter();
                let copies: Vec<_> = fine.map(|unit| unit.valid().train()).collect();
                self.tape().end = Some(start.clone());
                let first = self.module().unit_range().start;
                let numbered = (first + units.start..).zip(&copies);
                let (graph, end) = Graph::through(numbered, start);
                if first_end.is_some_and(|first_end| !first_end.is_repeated_by(&end)) {
                    self.not_repeated = Some(first + units.start..first + units.end);
                }
                (graph, Some(copies))
            }
        };
        let (gradients, cotangent) = graph.pull_back(cotangent);
        let part = |module: &SubnetworkOf<N>, into: &mut Collector| {
            let units = copies.as_deref().unwrap_or(&module.units[units.clone()]);
            units.iter().for_each(|unit| unit.visit(into));
        };
        if let Some(mut gradients) = gradients {
            self.trained.collect(part, &mut gradients);
        }
        self.tape().cotangent = cotangent;
        clock.leave();
        true
    }

    /// `∂L/∂x_j = g_j'(x_j)ᵀ ρ_j - ρ_{j-1}` into `C_j`; gives this subnetwork's part of `∂L/∂x`.
    pub(super) fn backward_preprocessing(&mut self, clock: &mut Clock) -> Option<N::Input> {
        let Tape { cotangent, sent, x, input, .. } =
            self.tape.take().expect("the methods of a step are called in order");
        if cotangent.is_none() && sent.is_none() {
            return None;
        }
        clock.enter(self.index, Activity::FineBackward);
        let cotangent = match (cotangent, sent) {
            (Some(cotangent), Some(sent)) => Some(cotangent.minus(sent)),
            (None, Some(sent)) => Some(zeros(&sent).minus(sent)),
            (cotangent, None) => cotangent,
        };
        let gradients = cotangent.and_then(|cotangent| N::State::pull_back(x.vjp(), cotangent));
        let input = gradients.and_then(|mut gradients| {
            let input = input.take_gradient(&mut gradients);
            self.trained.collect(|module, into| module.preprocessing.visit(into), &mut gradients);
            input
        });
        clock.leave();
        input
    }

    /// Discards the state of an abandoned step.
    pub(super) fn discard_step(&mut self) {
        self.tape = None;
        self.trained.gradients = GradientsParams::new();
    }

    /// Returns true if this step cannot be finished with an update.
    pub(super) fn has_failed(&self) -> bool {
        self.is_cut_off || self.not_repeated.is_some() || !self.trained.has_all_gradients()
    }

    /// The number of subnetworks, from the first one on, that the loss does not reach according to
    /// this one.
    pub(super) fn unreached(&self) -> usize {
        if self.is_cut_off { self.module().index() } else { 0 }
    }

    /// Returns the failure of the backward pass, where the loss does not reach the first `unreached`
    /// subnetworks.
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

    pub(super) fn update(&mut self, clock: &mut Clock, update: Update) {
        clock.enter(self.index, Activity::Update);
        self.trained.update(update);
        clock.leave();
    }
}

impl<S: Activation> Graph<S> {
    /// The graph, and the values that it has led to.
    fn through<'a, U: Layer<S, S>>(
        units: impl Iterator<Item = (usize, &'a U)>,
        start: S,
    ) -> (Self, S) {
        let start = start.leaf();
        let end = forward_units(units, start.clone());
        (Self { start, end: end.clone().vjp() }, end.values())
    }

    /// Gradients along a cotangent, and the start's among them; `None` where the end does not depend
    /// on the start.
    fn pull_back(self, cotangent: S) -> (Option<Gradients>, Option<S>) {
        let mut gradients = S::pull_back(self.end, cotangent);
        let start = gradients.as_mut().and_then(|gradients| self.start.take_gradient(gradients));
        (gradients, start)
    }
}

/// A cotangent where nothing depends on the value.
fn zeros<S: Activation>(like: &S) -> S {
    let values = like.clone().values();
    values.clone().minus(values)
}
