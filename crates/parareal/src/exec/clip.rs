//! The gradients of a module as one long vector.

use std::collections::HashSet;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The square of the Euclidean norm.
pub(super) fn squared_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    let mut sum = Sum { gradients, seen: HashSet::new(), squares: 0.0 };
    module.visit(&mut sum);
    sum.squares
}

/// Multiplies all of it.
pub(super) fn scale<M: Module>(module: &M, gradients: &mut GradientsParams, factor: f64) {
    module.visit(&mut Scale { gradients, seen: HashSet::new(), factor });
}

/// What a gradient of this norm is multiplied with, so that its norm is at most the limit; as
/// PyTorch's `clip_grad_norm_`.
pub(super) fn factor(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}

struct Sum<'a> {
    gradients: &'a GradientsParams,
    /// Shared parameters have one gradient.
    seen: HashSet<ParamId>,
    squares: f64,
}

impl ModuleVisitor for Sum<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id)
            && self.seen.insert(param.id)
        {
            self.squares += (gradient.clone() * gradient).sum().into_scalar::<f64>();
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    seen: HashSet<ParamId>,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.seen.insert(param.id)
            && let Some(gradient) = self.gradients.remove::<D>(param.id)
        {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
