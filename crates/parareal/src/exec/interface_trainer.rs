use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Gradients};

use super::distillation::{InterfaceLosses, InterfaceModule};
use super::error::ExecError;
use super::trained_module::TrainedModule;
use super::update::Update;
use crate::net::{Activation, Coarsen, Layer, SubnetworkOf, Value, forward_units};
use crate::random::{self, StepKey};

/// The smallest squared norm of the target of `F_j`, relative to the squared norm of `W_{j+1}`. The target is
/// a difference, so a smaller target consists of rounding errors.
const LEAST_TARGET: f64 = 1e-10;

/// Trains the `C_{j+1}` and `F_j` of a subnetwork for distillation. The weights of its units are fixed.
pub(super) struct InterfaceTrainer<N: Coarsen> {
    /// `C` in evaluation mode, for the first subnetwork.
    preprocessing: Option<N::Preprocessing>,
    /// The units in evaluation mode.
    units: Vec<N::Unit>,
    first_unit: usize,
    /// The subnetwork without its units and without `h`, which are not trained.
    trained: TrainedModule<SubnetworkOf<N>>,
    /// The units in their original mode, for [`Self::into_subnetwork`].
    kept_units: Vec<N::Unit>,
    kept_postprocessing: Option<N::Postprocessing>,
}

impl<N: Coarsen> InterfaceTrainer<N> {
    /// Creates the trainer of a subnetwork. The caller has to be the thread that trains it.
    pub(super) fn new(
        mut subnetwork: SubnetworkOf<N>,
        device: &Device,
        optimizer: &ModuleOptimizer,
    ) -> Self {
        let first_unit = subnetwork.unit_range().start;
        let kept_units = std::mem::take(&mut subnetwork.units);
        let kept_postprocessing = subnetwork.postprocessing.take();
        // Executors move and evaluate modules in the same way.
        let units = kept_units.valid().train().fork(device).valid();
        let is_first = subnetwork.index() == 0;
        let trained = TrainedModule::new(subnetwork, device, optimizer);
        let preprocessing = is_first.then(|| trained.module().valid().preprocessing);
        Self { preprocessing, units, first_unit, trained, kept_units, kept_postprocessing }
    }

    /// Returns the number of the interface before the subnetwork, from 1; 0 for the first subnetwork, which
    /// has none.
    pub(super) fn interface(&self) -> usize {
        self.trained.module().index()
    }

    /// Returns the state of the serial network after the units. It is computed from `start`, the state before
    /// the units, or by the first subnetwork from the input.
    pub(super) fn forward_serial(&self, input: &N::Input, start: Option<N::State>) -> N::State {
        let start = match (&self.preprocessing, start) {
            (Some(preprocessing), _) => preprocessing.forward(input.clone()),
            (None, start) => start.expect("all but the first subnetwork receive a state"),
        };
        self.forward_units(start)
    }

    fn forward_units(&self, start: N::State) -> N::State {
        forward_units((self.first_unit..).zip(&self.units), start)
    }

    /// Updates `C_{j+1}` and `F_j` with a batch, from the states `start` (`W_j`) and `end` (`W_{j+1}`) of the
    /// serial network. `step` counts from 0.
    ///
    /// # Errors
    /// [`ExecError::DistillationDiverged`].
    pub(super) fn train(
        &mut self,
        step: u64,
        input: &N::Input,
        start: N::State,
        end: N::State,
        learning_rate: f64,
    ) -> Result<InterfaceLosses, ExecError> {
        let module = self.trained.module();
        let key = StepKey { seed: module.seed(), step, replica: 0 };
        let x: N::State =
            random::in_step(key, || module.forward_preprocessing(input.clone().constant()));
        let values = x.clone().values().with_context_of(&start);
        let scale = squared_norm(start.clone());
        let (preprocessing, mut of_preprocessing) = fit(x, start.clone(), scale);

        let scale = LEAST_TARGET * squared_norm(end.clone());
        let target = end.minus(self.forward_units(values.clone()));
        let residual = start.minus(values);
        let approximation = random::in_step(key, || {
            module.forward_coarse(residual.constant()).expect("an interface has an F")
        });
        let scale = squared_norm(target.clone()).max(scale);
        let (coarse, mut of_coarse) = fit(approximation, target, scale);

        self.trained.merge_statistics();
        for (module, loss) in
            [(InterfaceModule::Preprocessing, preprocessing), (InterfaceModule::Coarse, coarse)]
        {
            if !loss.is_finite() {
                let (interface, step) = (self.interface(), step as usize + 1);
                let error = ExecError::DistillationDiverged { module, interface, step, loss };
                return Err(error);
            }
        }
        if let Some(gradients) = &mut of_preprocessing {
            self.trained.collect(|module, into| module.preprocessing.visit(into), gradients);
        }
        if let Some(gradients) = &mut of_coarse {
            self.trained.collect(|module, into| module.coarse.visit(into), gradients);
        }
        self.trained.update(Update::plain(learning_rate));
        Ok(InterfaceLosses { preprocessing, coarse })
    }

    /// Returns the subnetwork with the trained modules.
    pub(super) fn into_subnetwork(self) -> SubnetworkOf<N> {
        let mut subnetwork = self.trained.module().clone();
        subnetwork.units = self.kept_units;
        subnetwork.postprocessing = self.kept_postprocessing;
        subnetwork
    }
}

/// Returns the squared distance between an output and its target, divided by `scale`, and its gradients. The
/// gradients are `None` if the output is not part of a graph. No gradient flows into the target. A scale of 0
/// counts as 1.
fn fit<S: Activation>(output: S, target: S, scale: f64) -> (f64, Option<Gradients>) {
    let scale = if scale > 0.0 { scale } else { 1.0 };
    let difference = output.minus(target.constant());
    let values = difference.clone().values();
    let loss = squared_norm(values.clone()) / scale;
    // The gradient of the inner product with a constant is half the gradient of the squared norm.
    let product = difference.inner_product(values);
    (loss, product.map(|product| product.mul_scalar(2.0 / scale).backward()))
}

/// Returns the sum of the squares of all elements.
fn squared_norm<S: Activation>(values: S) -> f64 {
    let product = values.clone().leaf().inner_product(values);
    product.map_or(0.0, |product| product.inner().into_scalar())
}
