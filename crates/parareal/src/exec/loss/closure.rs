use std::fmt;
use std::marker::PhantomData;

use burn::tensor::Tensor;

use super::Loss;
use crate::net::{Activation, Value};

/// A loss that is computed by a function; see [`loss_fn`].
pub struct ClosureLoss<F, T> {
    function: F,
    target: PhantomData<fn(T)>,
}

/// Creates a loss from a function of the output and the target.
///
/// The function must return a tensor of one element, the mean over the samples of the batch; see [`Loss`].
/// Targets are not checked before the function is called, so it should panic if it cannot compare them with
/// the output.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use parareal::exec::{Loss, loss_fn};
///
/// let absolute = loss_fn(|output: Tensor<2>, target: Tensor<2>| (output - target).abs().mean());
/// let device = Device::flex();
/// let output = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// let target = Tensor::from_floats([[1.0, 0.0]], &device);
/// assert_eq!(absolute.forward(output, target).into_scalar::<f32>(), 1.0);
/// ```
pub fn loss_fn<O, T, F>(function: F) -> ClosureLoss<F, T>
where
    O: Activation,
    T: Value,
    F: Fn(O, T) -> Tensor<1> + Clone + Send + 'static,
{
    ClosureLoss { function, target: PhantomData }
}

impl<O, T, F> Loss<O> for ClosureLoss<F, T>
where
    O: Activation,
    T: Value,
    F: Fn(O, T) -> Tensor<1> + Clone + Send + 'static,
{
    type Target = T;

    fn forward(&self, output: O, target: T) -> Tensor<1> {
        (self.function)(output, target)
    }
}

impl<F: Clone, T> Clone for ClosureLoss<F, T> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), target: PhantomData }
    }
}

impl<F, T> fmt::Debug for ClosureLoss<F, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClosureLoss").finish_non_exhaustive()
    }
}
