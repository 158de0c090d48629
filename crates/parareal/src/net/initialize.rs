//! Initial weights of Burn's layers, determined by name.
//!
//! Burn's initializers draw from one process-wide generator when a parameter's value is first used. To make
//! the values depend only on the seed and the name, the generator is seeded again before each parameter,
//! under a lock.

use std::sync::{Mutex, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, Parameter};
use burn::tensor::{Bool, DType, Device, Distribution, Int, Tensor};

use super::Init;
use super::named_tensor::is_enum;

/// Uniform distribution of 31-bit integers.
const NUMBERS: Distribution = Distribution::Uniform(0.0, 2_147_483_647.0);

/// Lock for seeding Burn's generator and drawing from it.
static GENERATOR: Mutex<()> = Mutex::new(());

impl Init {
    /// Draws the initial values of a module's parameters that have no values yet.
    ///
    /// A module without such parameters is returned unchanged, unless [`Self::with_dtype`] was called. Any
    /// other module is moved to [`Self::device`].
    ///
    /// Burn's layers draw their parameters when they are used for the first time. This method draws each
    /// parameter as a function of the seed, the scope, and the parameter's name within the module. The same
    /// name gives the same values on any device, independently of other modules that this thread or other
    /// threads build. Values are drawn on the CPU. With [`Self::with_dtype`], all floats are converted to
    /// that precision.
    ///
    /// Building a parareal network calls this method for all its modules, so only modules that are used
    /// elsewhere need it.
    ///
    /// Existing values are kept. So the guarantee does not cover values that are drawn eagerly, for example
    /// by `Tensor::random` in the code that builds a module. During the call, other threads must not draw
    /// from Burn's generator on the CPU. Afterwards, the generator is seeded with a number that was drawn
    /// from it before.
    ///
    /// ```
    /// use parareal::burn::nn::LinearConfig;
    /// use parareal::burn::tensor::Device;
    /// use parareal::net::Init;
    ///
    /// let init = Init::new(7, &Device::flex());
    /// let build = |name| init.scope(name).initialize(LinearConfig::new(4, 4).init(init.device()));
    /// let values = |name| build(name).weight.val().into_data();
    /// let first = values("first");
    /// assert_ne!(values("second"), first);
    /// assert_eq!(values("first"), first);
    /// ```
    #[must_use]
    pub fn initialize<M: Module>(&self, module: M) -> M {
        if !has_undrawn(&module) && self.wanted_dtype().is_none() {
            return module;
        }
        let _guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        let cpu = Device::flex();
        let numbers = Tensor::<1, Int>::random([2], NUMBERS, &cpu).into_data();
        let next =
            numbers.iter::<i64>().fold(0_u64, |seed, number| (seed << 31) | number.cast_unsigned());
        let module = module.map(&mut Draw { init: self, path: Vec::new() });
        cpu.seed(next);
        module.fork(self.device())
    }
}

/// Returns true if a parameter has no value yet.
pub(super) fn has_undrawn(module: &impl Module) -> bool {
    let mut undrawn = Undrawn(0);
    module.visit(&mut undrawn);
    undrawn.0 > 0
}

/// Counts the parameters that have no value yet.
struct Undrawn(usize);

impl ModuleVisitor for Undrawn {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 += usize::from(!param.is_initialized());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.0 += usize::from(!param.is_initialized());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.0 += usize::from(!param.is_initialized());
    }
}

/// Draws parameters.
struct Draw<'a> {
    init: &'a Init,
    /// Names of the submodules on the path to the current one; `None` for the variant of an enum.
    path: Vec<Option<String>>,
}

impl Draw<'_> {
    /// Draws a parameter, unless it already has a value.
    ///
    /// A parameter without clones is moved to the CPU before it is drawn. A parameter that is shared with
    /// clones is drawn on its own device when it is moved, so the generator of that device is seeded as well.
    fn draw<T: Parameter>(&mut self, param: Param<T>) -> Param<T>
    where
        Param<T>: Module,
    {
        if param.is_initialized() {
            return param;
        }
        let path = self.path.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".");
        let (seed, cpu) = (self.init.seed_of(path), Device::flex());
        param.lazy_device().seed(seed);
        cpu.seed(seed);
        let param = param.fork(&cpu);
        let _ = param.val();
        param
    }
}

impl ModuleMapper for Draw<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((!is_enum(container)).then(|| name.to_string()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let param = self.draw(param);
        match self.init.wanted_dtype() {
            Some(dtype) if param.val().dtype() != dtype => param.map(|tensor| cast(tensor, dtype)),
            _ => param,
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.draw(param)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.draw(param)
    }
}

/// Converts a leaf to another precision.
fn cast<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    let is_autodiff = tensor.device().is_autodiff();
    let requires_gradient = tensor.is_require_grad();
    let values = tensor.inner().cast(dtype);
    if is_autodiff { values.autodiff().set_require_grad(requires_gradient) } else { values }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::TensorData;

    use super::*;

    fn weights(linear: &Linear) -> TensorData {
        linear.weight.val().into_data()
    }

    #[test]
    fn weights_are_drawn_by_name_in_the_requested_precision() {
        let init = Init::new(3, &Device::flex());
        let build = |init: &Init| init.initialize(LinearConfig::new(3, 3).init(init.device()));
        let first = build(&init.scope("a"));
        assert_ne!(weights(&build(&init.scope("b"))), weights(&first));
        assert!(first.weight.val().is_require_grad());
        let double = build(&init.with_dtype(DType::F64).scope("a"));
        let values = double.weight.val();
        assert_eq!(values.dtype(), DType::F64);
        assert!(values.is_require_grad());
        assert_eq!(values.into_data().convert::<f32>(), weights(&first));
    }

    #[test]
    fn values_that_exist_are_kept() {
        let init = Init::new(3, &Device::flex());
        let linear = init.initialize(LinearConfig::new(3, 3).init(init.device()));
        let (before, id) = (weights(&linear), linear.weight.id);
        let linear = Init::new(4, &Device::flex()).initialize(linear);
        assert_eq!((weights(&linear), linear.weight.id), (before, id));
    }

    #[test]
    fn parameters_that_clones_share_are_drawn_by_name_as_well() {
        let init = Init::new(3, &Device::flex());
        let tied = || {
            let linear = LinearConfig::new(3, 3).init(init.device());
            let (first, second) = init.scope("a").initialize((linear.clone(), linear));
            assert_eq!(weights(&first), weights(&second));
            weights(&first)
        };
        assert_eq!(tied(), tied());
        let alone = LinearConfig::new(3, 3).init(init.device());
        assert_eq!(weights(&init.scope("a").scope("0").initialize(alone)), tied());
    }
}
