//! An exponential moving average of a module's parameters and running statistics.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use parareal_autodiff::join_launches;
#[cfg(feature = "cube")]
use parareal_kernels::lerp;

/// Updates the moving average of a module, `a ← a + (1 - decay) (θ - a)`. `average` is a copy of the module
/// that requires no gradients and shares no tensors with it.
pub(super) fn follow<M: Module>(average: M, module: &M, decay: f64) -> M {
    let mut values = Values(GradientsParams::new());
    module.visit(&mut values);
    join_launches(|| average.map(&mut Towards { values: values.0, share: 1.0 - decay }))
}

/// Returns `from + weight · (to - from)`, as `parareal_kernels` does, which is a dependency with the feature `cube` only.
#[cfg(not(feature = "cube"))]
fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, weight: f64) -> Tensor<D> {
    let step = (to - from.clone()) * weight;
    from + step
}

/// Tensors of any rank, keyed by the ids of their parameters.
struct Values(GradientsParams);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val().inner());
    }
}

struct Towards {
    values: GradientsParams,
    share: f64,
}

impl ModuleMapper for Towards {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(value) = self.values.get::<D>(param.id) else { return param };
        param.map(|average| lerp(average, value, self.share))
    }
}
