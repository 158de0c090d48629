//! Gradient clipping by the norm over several modules.

use std::collections::HashSet;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

/// Returns the squared Euclidean norm of all gradients, on their device; `None` without gradients.
pub(super) fn squared_norm<M: Module>(
    module: &M,
    gradients: &GradientsParams,
) -> Option<Tensor<1>> {
    let mut sum = Sum { gradients, seen: HashSet::new(), squares: None };
    module.visit(&mut sum);
    sum.squares
}

/// Returns the sum of the squared norms of several modules on one device.
pub(super) fn total(squares: impl IntoIterator<Item = Option<Tensor<1>>>) -> Option<Tensor<1>> {
    squares.into_iter().flatten().reduce(add)
}

fn add(sum: Tensor<1>, term: Tensor<1>) -> Tensor<1> {
    let dtype = sum.dtype();
    sum + term.cast(dtype)
}

/// Multiplies all gradients by a factor.
pub(super) fn scale<M: Module>(module: &M, gradients: &mut GradientsParams, factor: f64) {
    module.visit(&mut Scale { gradients, seen: HashSet::new(), factor });
}

/// Returns the factor that scales a gradient of this norm down to at most the limit, as PyTorch's
/// `clip_grad_norm_` does.
pub(super) fn factor(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}

struct Sum<'a> {
    gradients: &'a GradientsParams,
    /// Shared parameters have one gradient.
    seen: HashSet<ParamId>,
    squares: Option<Tensor<1>>,
}

impl ModuleVisitor for Sum<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id)
            && self.seen.insert(param.id)
        {
            // Squares would overflow in half precision.
            let gradient = match gradient.dtype() {
                DType::F16 | DType::BF16 => gradient.cast(DType::F32),
                _ => gradient,
            };
            let square = (gradient.clone() * gradient).sum();
            self.squares = Some(match self.squares.take() {
                Some(squares) => add(squares, square),
                None => square,
            });
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
