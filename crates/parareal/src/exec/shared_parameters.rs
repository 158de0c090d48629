//! Parameters that occur several times in one module.
//!
//! Clones of a [`Param`] have the same id, but each is a separate tensor. Training keeps them equal: their
//! gradients are summed by id, and the updated value of the first clone is copied to the others.

use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Properties of a module's parameters that training depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The number of distinct parameters that require a gradient.
    pub(super) trainable: usize,
    /// True if one of these parameters occurs several times.
    pub(super) is_shared: bool,
}

impl Parameters {
    pub(super) fn of<M: Module>(module: &M) -> Self {
        let mut count = Count::default();
        module.visit(&mut count);
        Self { trainable: count.ids.len(), is_shared: count.visited > count.ids.len() }
    }
}

#[derive(Default)]
struct Count {
    ids: HashSet<ParamId>,
    visited: usize,
}

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.ids.insert(param.id);
            self.visited += 1;
        }
    }
}

/// Adds a gradient to the sum of the gradients of the same parameter.
pub(super) fn accumulate<const D: usize>(
    into: &mut GradientsParams,
    id: ParamId,
    gradient: Tensor<D>,
) {
    let sum = match into.remove::<D>(id) {
        Some(sum) => sum + gradient,
        None => gradient,
    };
    into.register(id, sum);
}

/// Sets every occurrence of a parameter to the value of the first one.
pub(super) fn tie<M: Module>(module: M) -> M {
    module.map(&mut Tie(GradientsParams::new()))
}

/// The values so far, keyed by the ids of their parameters.
struct Tie(GradientsParams);

impl ModuleMapper for Tie {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        if let Some(first) = self.0.get::<D>(param.id) {
            return param.map(|_| first.autodiff().require_grad());
        }
        self.0.register(param.id, param.val().inner());
        param
    }
}
