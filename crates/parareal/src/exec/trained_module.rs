#[cfg(feature = "cube")]
use burn::module::ModuleMapper;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Gradients, Tensor};
use parareal_autodiff::{WeightGradients, join_launches};

use super::error::ExecError;
use super::running_statistics::{self, Merging};
use super::shared_parameters::{Parameters, accumulate, tie};
use super::state_kind::StateKind;
use super::update::Update;
use super::{gradient_clipping, moving_average, optimizer};
use crate::net::{NamedTensor, StateDict, Subnetwork, named_gradients, names_without_gradient};

const UPDATED: &str = "an update that panics ends its executor";

/// A module in training, with its optimizer, gradients and moving average.
pub(crate) struct TrainedModule<M> {
    /// `None` only during an update, so that tensors without other references are updated in place.
    module: Option<M>,
    optimizer: ModuleOptimizer,
    fresh: ModuleOptimizer,
    pub(super) gradients: GradientsParams,
    /// The sums of the gradients of earlier micro-batches, until the same gradient of the current one is added.
    kept: GradientsParams,
    parameters: Parameters,
    merging: Merging,
    /// The moving average, in evaluation mode.
    average: Option<M>,
}

impl<M: Module> TrainedModule<M> {
    /// Moves a module to `device` and puts it in training mode.
    ///
    /// The module may come from a device without automatic differentiation, be in evaluation mode, or share
    /// its tensors with clones. Its parameters become separate leaves that require gradients, except for
    /// frozen ones (for example by [`Module::no_grad`]). Its running statistics become independent of those
    /// of its clones.
    ///
    /// The caller has to be the thread that trains: tensors on a GPU belong to the stream of the thread that creates them, and any
    /// other thread has to synchronize with this stream whenever it uses them.
    pub(crate) fn new(module: M, device: &Device, optimizer: &ModuleOptimizer) -> Self {
        // Parameters stay out of the memory that is searched for a place for each temporary tensor.
        let module = module.valid().train();
        let module = device.memory_persistent_allocations(module, |module| module.fork(device));
        let fresh = optimizer.clone();
        Self {
            parameters: Parameters::of(&module),
            merging: Merging::of(&module),
            module: Some(module),
            optimizer: fresh.clone(),
            fresh,
            gradients: GradientsParams::new(),
            kept: GradientsParams::new(),
            average: None,
        }
    }

    /// Returns the number of parameters (tensors) that require a gradient.
    pub(super) fn trainable(&self) -> usize {
        self.parameters.trainable
    }

    /// Returns the number of parameters (tensors) that would require a gradient after [`Self::new`].
    pub(super) fn trainable_of(module: &M) -> usize {
        Parameters::of(&module.valid().train()).trainable
    }

    /// Returns true if every parameter that requires a gradient has one.
    pub(super) fn has_all_gradients(&self) -> bool {
        self.gradients.len() == self.parameters.trainable
    }

    pub(crate) fn module(&self) -> &M {
        self.module.as_ref().expect(UPDATED)
    }

    /// Returns the module to evaluate, in evaluation mode. It is the moving average if there is one.
    pub(super) fn evaluation_module(&self) -> M {
        self.average.clone().unwrap_or_else(|| self.module().valid())
    }

    /// Returns true if there is a moving average.
    #[cfg(feature = "cube")]
    pub(super) fn has_average(&self) -> bool {
        self.average.is_some()
    }

    /// Returns true if a parameter occurs several times in the module.
    #[cfg(feature = "cube")]
    pub(super) fn shares_parameters(&self) -> bool {
        self.parameters.is_shared
    }

    /// Returns the number of updates of a step in which all are in place.
    #[cfg(feature = "cube")]
    pub(super) fn all_in_place(&self) -> parareal_kernels::graph::ScaledUpdates {
        let in_place = self.parameters.trainable;
        parareal_kernels::graph::ScaledUpdates { in_place, elsewhere: 0 }
    }

    /// Replaces tensors of the module.
    #[cfg(feature = "cube")]
    pub(super) fn map_module(&mut self, mapper: &mut impl ModuleMapper) {
        self.module = Some(self.module.take().expect(UPDATED).map(mapper));
    }

    /// Returns true if [`Self::merge_statistics`] computes anything.
    #[cfg(feature = "cube")]
    pub(super) fn merges_statistics(&self) -> bool {
        !matches!(self.merging, Merging::NotNeeded)
    }

    /// Merges the updates that the last forward pass made to the running statistics, so that every thread and
    /// visitor sees them. Must be called after each forward pass in training mode.
    pub(super) fn merge_statistics(&mut self) {
        let Self { module, merging, .. } = self;
        merging.after_forward(module.as_ref().expect(UPDATED));
    }

    /// Replaces the module and resets the optimizer, the gradients and the moving average.
    fn replace(&mut self, module: M) {
        self.average = None;
        self.merging.after_load(&module);
        self.module = Some(module);
        self.optimizer = self.fresh.clone();
        self.discard_gradients();
    }

    /// Sets aside the gradients collected so far, to which those of the next micro-batch will be added.
    pub(super) fn keep_gradients(&mut self) {
        self.complete_gradients();
        self.kept = std::mem::take(&mut self.gradients);
    }

    /// Adds the kept gradients that have not been added to one of the current micro-batch, on which the loss of this
    /// one does not depend.
    pub(super) fn complete_gradients(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let Self { module, gradients, kept, .. } = self;
        module.as_ref().expect(UPDATED).visit(&mut Rest { from: kept, into: gradients });
    }

    /// Discards all gradients since the last update.
    pub(super) fn discard_gradients(&mut self) {
        (self.gradients, self.kept) = (GradientsParams::new(), GradientsParams::new());
    }

    /// Applies the gradients collected since the last update.
    pub(crate) fn update(&mut self, update: Update) {
        self.update_parameters(update.learning_rate);
        self.update_average(update.average_decay);
    }

    /// The part of [`Self::update`] that the optimizer computes.
    pub(super) fn update_parameters(&mut self, learning_rate: f64) {
        let gradients = std::mem::take(&mut self.gradients);
        let module = self.module.take().expect(UPDATED);
        let module = join_launches(|| self.optimizer.step(learning_rate, module, gradients));
        let module = if self.parameters.is_shared { tie(module) } else { module };
        self.module = Some(module);
    }

    /// The rest of [`Self::update`]: the moving average, if it has a decay.
    pub(super) fn update_average(&mut self, decay: Option<f64>) {
        let Some(decay) = decay else { return };
        let module = self.module.as_ref().expect(UPDATED);
        self.average = Some(match self.average.take() {
            Some(average) => moving_average::follow(average, module, decay),
            None => module.valid(),
        });
    }

    /// Returns the squared norm of the gradients collected since the last update, on their device.
    pub(super) fn squared_norm(&self) -> Option<Tensor<1>> {
        gradient_clipping::squared_norm(self.module(), &self.gradients)
    }

    /// Multiplies the gradients collected since the last update by a factor.
    pub(super) fn scale_gradients(&mut self, factor: f64) {
        let Self { module, gradients, .. } = self;
        gradient_clipping::scale(module.as_ref().expect(UPDATED), gradients, factor);
    }

    /// Returns the module and the gradients collected since the last update.
    pub(super) fn parts(&mut self) -> (&M, &mut GradientsParams) {
        let Self { module, gradients, .. } = self;
        (module.as_ref().expect(UPDATED), gradients)
    }

    /// Moves the gradients of a part of the module out of the result of a backward pass.
    pub(crate) fn collect(&mut self, part: impl Fn(&M, &mut Collector), from: &mut Gradients) {
        let Self { module, gradients: into, kept, .. } = self;
        part(module.as_ref().expect(UPDATED), &mut Collector { from, kept, into });
    }

    /// Collects deferred gradients of a part of the module.
    pub(super) fn collect_late(
        &mut self,
        part: impl Fn(&M, &mut LateCollector),
        mut from: WeightGradients,
    ) {
        let Self { module, gradients: into, kept, .. } = self;
        let mut collector = LateCollector { from: &mut from, kept, into };
        part(module.as_ref().expect(UPDATED), &mut collector);
    }
}

impl<C: Module, U: Module, F: Module, H: Module> TrainedModule<Subnetwork<C, U, F, H>>
where
    Subnetwork<C, U, F, H>: Module,
{
    /// Removes and returns the gradients collected since the last update, as named tensors.
    pub(super) fn take_named_gradients(&mut self) -> Vec<NamedTensor> {
        let gradients = std::mem::take(&mut self.gradients);
        named_gradients(self.module(), &gradients)
    }

    /// Returns the names of the parameters that require a gradient and have none.
    pub(super) fn names_without_gradient(&self) -> Vec<String> {
        names_without_gradient(self.module(), &self.gradients)
    }

    /// Returns the names of all parameters that require a gradient.
    pub(super) fn trainable_names(&self) -> Vec<String> {
        names_without_gradient(self.module(), &GradientsParams::new())
    }

    /// Returns the state of this kind as named tensors.
    pub(super) fn read(&self, kind: StateKind) -> Result<Vec<NamedTensor>, ExecError> {
        match kind {
            StateKind::Weights => Ok(self.module().named_tensors()),
            StateKind::Optimizer => optimizer::read(&self.optimizer, self.module()),
            StateKind::Average => {
                Ok(self.average.as_ref().map(Subnetwork::named_tensors).unwrap_or_default())
            }
        }
    }

    /// Checks that the optimizer accepts this state.
    ///
    /// # Errors
    /// [`ExecError::Optimizer`] with the names that the optimizer does not accept.
    pub(super) fn check_optimizer(&self, state: &StateDict) -> Result<(), ExecError> {
        optimizer::write(self.fresh.clone(), self.module(), state.tensors()).map(|_| ())
    }

    /// Replaces the module with a copy, and the state of the optimizer with what [`Self::read`] returned.
    #[cfg(feature = "cube")]
    pub(super) fn restore(
        &mut self,
        module: Subnetwork<C, U, F, H>,
        state: Vec<NamedTensor>,
    ) -> Result<(), ExecError> {
        self.module = Some(module);
        self.discard_gradients();
        let state = state.into_iter().map(|tensor| (tensor.name, tensor.data)).collect();
        self.optimizer = optimizer::write(self.fresh.clone(), self.module(), &state)?;
        Ok(())
    }

    /// Replaces the state of this kind with state that [`Self::read`] returned.
    pub(super) fn write(&mut self, kind: StateKind, state: &StateDict) -> Result<(), ExecError> {
        match kind {
            StateKind::Weights => {
                // A pass that panicked may have left pending updates, which would overwrite the loaded
                // values.
                running_statistics::merge(self.module());
                self.replace(self.module().clone().load(state)?);
            }
            StateKind::Optimizer => {
                let tensors = state.tensors();
                self.optimizer = optimizer::write(self.fresh.clone(), self.module(), tensors)?;
            }
            StateKind::Average if state.tensors().is_empty() => self.average = None,
            StateKind::Average => self.average = Some(self.module().valid().load(state)?),
        }
        Ok(())
    }
}

/// Moves the gradients of the parameters that it visits.
pub(crate) struct Collector<'a> {
    from: &'a mut Gradients,
    kept: &'a mut GradientsParams,
    into: &'a mut GradientsParams,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(self.from) {
            collect(param.id, gradient, self.kept, self.into);
        }
    }
}

/// Moves the deferred gradients of the parameters that it visits.
pub(super) struct LateCollector<'a> {
    from: &'a mut WeightGradients,
    kept: &'a mut GradientsParams,
    into: &'a mut GradientsParams,
}

impl ModuleVisitor for LateCollector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.take(&param.val()) {
            collect(param.id, gradient, self.kept, self.into);
        }
    }
}

/// Adds a gradient to the one of the same parameter in this micro-batch, and to the sum over earlier ones.
fn collect<const D: usize>(
    id: ParamId,
    gradient: Tensor<D>,
    kept: &mut GradientsParams,
    into: &mut GradientsParams,
) {
    let gradient = match kept.remove::<D>(id) {
        Some(sum) => sum + gradient,
        None => gradient,
    };
    accumulate(into, id, gradient);
}

/// Moves the remaining gradients of the parameters that it visits.
struct Rest<'a> {
    from: &'a mut GradientsParams,
    into: &'a mut GradientsParams,
}

impl ModuleVisitor for Rest<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            accumulate(self.into, param.id, gradient);
        }
    }
}
