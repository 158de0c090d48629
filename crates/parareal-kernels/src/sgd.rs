//! Stochastic gradient descent in one pass over each parameter.

use burn::backend::Flex;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use parareal_autodiff::FlexTensor;
use pulp::{Simd, WithSimd};

use crate::flex::{is_fused, slice, slice_mut, to_contiguous};
use crate::simd::SimdLevel;

/// Stochastic gradient descent with PyTorch's conventions:
///
/// ```text
/// g = gradient + weight_decay · parameter
/// v ← momentum · v + g                                  v starts from zero
/// parameter ← parameter - learning_rate · v             with Nesterov: · (g + momentum · v)
/// ```
///
/// The default is plain gradient descent, without momentum and weight decay.
///
/// On Burn's CPU backend with 32-bit floats, a step is one pass over the parameter. The parameter
/// and `v` are updated in place if there are no other references to them. On CubeCL's devices (feature `cube`), the
/// parameters of a step within [`parareal_autodiff::join_launches`] can share their launches as well
/// ([`joins_launches`](Self::joins_launches)). On other backends and with other precisions, a step uses Burn's own operations.
///
/// ```
/// use burn::optim::ModuleOptimizer;
/// use parareal_kernels::Sgd;
///
/// let sgd = Sgd { momentum: 0.9, weight_decay: 5e-4, ..Sgd::default() };
/// let optimizer: ModuleOptimizer = sgd.into();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sgd {
    /// Momentum, in [0, 1).
    pub momentum: f64,
    /// Weight decay: the multiple of a parameter that is added to its gradient.
    pub weight_decay: f64,
    /// True for Nesterov momentum.
    pub nesterov: bool,
    /// True if weight decay leaves out parameters of one dimension: biases, and scale and shift of a
    /// normalization (He et al., "Bag of Tricks for Image Classification", section 3.1).
    pub decay_weights_only: bool,
    /// True if steps may be launched together at the end of the surrounding [`parareal_autodiff::join_launches`], in which
    /// executors update all parameters of a subnetwork. On a GPU this saves most launches of an update. The updated parameter and
    /// the state have their values only after that: it must be false in an optimizer that computes with the result of a step.
    pub joins_launches: bool,
}

/// The state of [`Sgd`] for one parameter.
#[derive(Clone, Debug)]
pub struct SgdState<const D: usize> {
    /// The momentum buffer `v`.
    velocity: Tensor<D>,
}

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "velocity", self.velocity.clone().into_data());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let velocity = source.take_tensor(prefix, "velocity")?;
        let dtype = velocity.dtype();
        Some(Self { velocity: Tensor::from_data(velocity, (device, dtype)) })
    }
}

impl Optimizer for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        let rule = self.for_rank(D);
        let velocity = state.map(|state| state.velocity);
        let fits = |is_fused: fn(&Tensor<D>) -> bool| {
            let fits = |tensor: &Tensor<D>| {
                let outside = !tensor.device().is_autodiff();
                outside && is_fused(tensor) && tensor.dims() == parameter.dims()
            };
            [&parameter, &gradient].into_iter().chain(&velocity).all(fits)
        };
        let update = match () {
            () if fits(is_fused) => Self::fused,
            #[cfg(feature = "cube")]
            () if fits(crate::cube::is_fused) => crate::cube::sgd_step,
            () => Self::composed,
        };
        let (parameter, velocity) = update(&rule, learning_rate, parameter, gradient, velocity);
        (parameter, (self.momentum != 0.0).then_some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        SgdState { velocity: state.velocity.to_device(device) }
    }
}

impl Sgd {
    /// Returns the optimizer for parameters of `rank` dimensions.
    fn for_rank(self, rank: usize) -> Self {
        let weight_decay = decay_of_rank(self.weight_decay, self.decay_weights_only, rank);
        Self { weight_decay, ..self }
    }

    fn composed<const D: usize>(
        &self,
        learning_rate: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Tensor<D>) {
        let gradient = match self.weight_decay != 0.0 {
            true => gradient + parameter.clone().mul_scalar(self.weight_decay),
            false => gradient,
        };
        let velocity = match velocity {
            Some(velocity) => velocity.mul_scalar(self.momentum) + gradient.clone(),
            None => gradient.clone(),
        };
        let step = match self.nesterov {
            true => gradient + velocity.clone().mul_scalar(self.momentum),
            false => velocity.clone(),
        };
        (parameter - step.mul_scalar(learning_rate), velocity)
    }

    fn fused<const D: usize>(
        &self,
        learning_rate: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Tensor<D>) {
        let [momentum, weight_decay] = [self.momentum, self.weight_decay].map(|value| value as f32);
        let ahead = self.nesterov.then_some(momentum);
        let rule =
            UpdateRule { momentum, weight_decay, learning_rate: learning_rate as f32, ahead };
        let (mut parameter, mut gradient) = (values(parameter), values(gradient));
        let (level, changed) = (SimdLevel::current(), slice_mut(&mut parameter));
        let velocity = match velocity.map(values) {
            Some(mut kept) => {
                let (gradient, velocity) = (slice(&gradient), slice_mut(&mut kept));
                level.run(MomentumStep { rule, parameter: changed, gradient, velocity });
                kept
            }
            // The gradient becomes the first velocity.
            None => {
                let velocity = slice_mut(&mut gradient);
                level.run(FirstStep { rule, parameter: changed, velocity });
                gradient
            }
        };
        (tensor(parameter), tensor(velocity))
    }
}

/// Returns the weight decay of a parameter of `rank` dimensions.
pub(crate) fn decay_of_rank(weight_decay: f64, weights_only: bool, rank: usize) -> f64 {
    if rank > 1 || !weights_only { weight_decay } else { 0.0 }
}

fn values<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let primitive = tensor.try_into_primitive::<Flex>();
    to_contiguous(primitive.expect("an optimizer sees tensors outside every graph"))
}

fn tensor<const D: usize>(primitive: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(primitive)
}

#[derive(Clone, Copy)]
struct UpdateRule {
    momentum: f32,
    weight_decay: f32,
    learning_rate: f32,
    /// The momentum for Nesterov steps, otherwise `None`.
    ahead: Option<f32>,
}

/// Any step after the first. The loops do not use vectors explicitly: within [`SimdLevel::run`] the
/// compiler vectorizes them, and their speed is limited by memory.
struct MomentumStep<'a> {
    rule: UpdateRule,
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    velocity: &'a mut [f32],
}

impl WithSimd for MomentumStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let UpdateRule { momentum, weight_decay, learning_rate, ahead } = self.rule;
        let all = self.parameter.iter_mut().zip(self.gradient).zip(self.velocity);
        match ahead {
            None => all.for_each(|((parameter, gradient), velocity)| {
                *velocity = momentum * *velocity + (gradient + weight_decay * *parameter);
                *parameter -= learning_rate * *velocity;
            }),
            Some(ahead) => all.for_each(|((parameter, gradient), velocity)| {
                let g = gradient + weight_decay * *parameter;
                *velocity = momentum * *velocity + g;
                *parameter -= learning_rate * (g + ahead * *velocity);
            }),
        }
    }
}

/// The first step: the velocity starts as the gradient.
struct FirstStep<'a> {
    rule: UpdateRule,
    parameter: &'a mut [f32],
    velocity: &'a mut [f32],
}

impl WithSimd for FirstStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let UpdateRule { weight_decay, learning_rate, ahead, .. } = self.rule;
        let length = 1.0 + ahead.unwrap_or(0.0);
        for (parameter, velocity) in self.parameter.iter_mut().zip(self.velocity) {
            *velocity += weight_decay * *parameter;
            *parameter -= learning_rate * (length * *velocity);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};

    use super::*;

    /// Repeats the values to fill several whole vectors and a remainder.
    fn numbers(values: [f64; 5], dtype: DType) -> Tensor<1> {
        let values: Vec<f64> = values.into_iter().cycle().take(37).collect();
        Tensor::from_data(TensorData::new(values, [37]), (&Device::flex(), dtype))
    }

    fn doubles(tensor: Tensor<1>) -> Vec<f64> {
        tensor.into_data().convert::<f64>().try_into_vec::<f64>().unwrap()
    }

    #[test]
    fn three_steps_are_those_of_the_formula() {
        for nesterov in [false, true] {
            three_steps(Sgd { momentum: 0.9, weight_decay: 0.01, nesterov, ..Sgd::default() });
        }
    }

    fn three_steps(sgd: Sgd) {
        let start = [1.0, -2.0, 0.5, 0.0, 3.0];
        let gradients = [[0.5, -1.0, 0.0, 2.0, -0.25], [1.0, 1.0, -1.0, 0.5, 0.0], [0.0; 5]];
        let (mut parameter, mut velocity) = (start, [0.0; 5]);
        for (gradient, index) in gradients.iter().flat_map(|g| g.iter().zip(0..5)) {
            let g = gradient + 0.01 * parameter[index];
            velocity[index] = 0.9 * velocity[index] + g;
            let ahead = if sgd.nesterov { g + 0.9 * velocity[index] } else { velocity[index] };
            parameter[index] -= 0.1 * ahead;
        }
        for (dtype, precision) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
            let (mut found, mut state) = (numbers(start, dtype), None);
            for gradient in gradients {
                (found, state) = sgd.step(0.1, found, numbers(gradient, dtype), state);
            }
            for (found, expected) in doubles(found).into_iter().zip(parameter.into_iter().cycle()) {
                assert!((found - expected).abs() <= precision, "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn weight_decay_can_leave_out_vectors() {
        let weights_only = Sgd { weight_decay: 0.5, decay_weights_only: true, ..Sgd::default() };
        let all = Sgd { decay_weights_only: false, ..weights_only };
        for dtype in [DType::F32, DType::F64] {
            let vector = || numbers([1.0; 5], dtype);
            let matrix = || vector().reshape([1, 37]);
            let of_vector =
                |sgd: Sgd| doubles(sgd.step(1.0, vector(), vector().zeros_like(), None).0);
            let of_matrix = |sgd: Sgd| {
                doubles(sgd.step(1.0, matrix(), matrix().zeros_like(), None).0.reshape([37]))
            };
            assert_eq!(of_vector(weights_only), [1.0; 37]);
            for decayed in [of_vector(all), of_matrix(weights_only), of_matrix(all)] {
                assert_eq!(decayed, [0.5; 37]);
            }
        }
    }

    #[test]
    fn without_momentum_nothing_is_remembered() {
        let sgd = Sgd::default();
        let ones = || numbers([1.0; 5], DType::F32);
        let (parameter, state) = sgd.step(0.5, ones(), ones(), None);
        assert!(state.is_none());
        assert_eq!(doubles(parameter), [0.5; 37]);
    }

    #[test]
    fn a_parameter_with_other_owners_is_unchanged() {
        let sgd = Sgd { momentum: 0.9, ..Sgd::default() };
        let held = numbers([1.0; 5], DType::F32);
        let (changed, _) = sgd.step(0.5, held.clone(), held.clone(), None);
        assert_eq!(doubles(held), [1.0; 37]);
        assert_eq!(doubles(changed), [0.5; 37]);
    }
}
