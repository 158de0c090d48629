//! States with additional values that are not differentiated.

use std::ops::Range;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::super::SampleShape;
use super::{Activation, Value, ValueMapper};

/// A state with a context: values that units read but that are not differentiated, such as a mask, indices or
/// a condition.
///
/// Only the state crosses an interface. Each `C_j` recomputes the context from the input and returns it as
/// part of `x_j`, and units must return it unchanged. A state that is received from another subnetwork gets
/// the context of this subnetwork's `x_j`.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use parareal::net::WithContext;
///
/// let tokens = Tensor::<2, Int>::from_data([[5, 7, 0, 0]], &Device::flex());
/// let embedded = Tensor::<3>::ones([1, 4, 8], &Device::flex());
/// let padding = tokens.equal_elem(0);
/// let state = WithContext::new(embedded, padding);
/// assert_eq!(state.context().dims(), [1, 4]);
/// ```
#[derive(Clone, Debug)]
pub struct WithContext<S, K> {
    /// The state that units change and that crosses interfaces.
    pub state: S,
    /// `None` in a message between subnetworks.
    context: Option<K>,
}

impl<S, K: Value> WithContext<S, K> {
    /// Creates a state with its context, to be returned by a `C_j`. No gradient flows through the context,
    /// even if it consists of floats.
    pub fn new(state: S, context: K) -> Self {
        Self { state, context: Some(context.detach()) }
    }

    /// Returns the context.
    ///
    /// # Panics
    /// If this is a message between subnetworks, which has no context. Layers are never applied to messages.
    pub fn context(&self) -> K {
        self.context.clone().expect("a layer is applied to a state with its context")
    }

    /// Returns another state with the same context, to be returned by a unit.
    pub fn with_state<T>(&self, state: T) -> WithContext<T, K> {
        WithContext { state, context: self.context.clone() }
    }
}

impl<S: Value, K: Value> Value for WithContext<S, K> {
    const COMPONENTS: Option<usize> = S::COMPONENTS;

    fn device(&self) -> Device {
        self.state.device()
    }

    fn samples(&self) -> usize {
        self.state.samples()
    }

    fn shape(&self) -> SampleShape {
        self.state.shape()
    }

    fn part(self, samples: Range<usize>) -> Self {
        Self {
            state: self.state.part(samples.clone()),
            context: self.context.map(|context| context.part(samples)),
        }
    }

    fn select(self, indices: &[usize]) -> Self {
        Self {
            state: self.state.select(indices),
            context: self.context.map(|context| context.select(indices)),
        }
    }

    fn join(parts: Vec<Self>) -> Self {
        let (states, contexts): (_, Vec<_>) =
            parts.into_iter().map(|part| (part.state, part.context)).unzip();
        let contexts: Option<Vec<_>> = contexts.into_iter().collect();
        Self { state: S::join(states), context: contexts.map(K::join) }
    }

    fn into_data(self) -> Vec<TensorData> {
        self.state.into_data()
    }

    fn from_data(data: Vec<TensorData>, device: &Device, dtype: DType) -> Self {
        Self { state: S::from_data(data, device, dtype), context: None }
    }

    fn to_dtype(self, dtype: DType) -> Self {
        Self {
            state: self.state.to_dtype(dtype),
            context: self.context.map(|context| context.to_dtype(dtype)),
        }
    }

    fn accumulate(self, other: Self) -> Self {
        Self { state: self.state.accumulate(other.state), context: self.context.or(other.context) }
    }

    fn to_device(self, device: &Device) -> Self {
        Self {
            state: self.state.to_device(device),
            context: self.context.map(|context| context.to_device(device)),
        }
    }

    fn leaf(self) -> Self {
        Self { state: self.state.leaf(), context: self.context.map(Value::constant) }
    }

    fn constant(self) -> Self {
        Self { state: self.state.constant(), context: self.context.map(Value::constant) }
    }

    fn detach(self) -> Self {
        Self { state: self.state.detach(), context: self.context }
    }

    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self> {
        let state = self.state.take_gradient(gradients)?;
        Some(self.with_state(state))
    }

    fn zero(self) -> Self {
        Self { state: self.state.zero(), context: self.context }
    }

    fn map(self, mapper: &mut impl ValueMapper) -> Self {
        Self {
            state: self.state.map(mapper),
            context: self.context.map(|context| context.map(mapper)),
        }
    }
}

impl<S: Activation, K: Value> Activation for WithContext<S, K> {
    fn plus(self, other: Self) -> Self {
        Self { state: self.state.plus(other.state), context: self.context.or(other.context) }
    }

    /// Computes the difference, with the context of `other` if it has one, because `self` may be a message.
    fn minus(self, other: Self) -> Self {
        Self { state: self.state.minus(other.state), context: other.context.or(self.context) }
    }

    fn values(self) -> Self {
        Self { state: self.state.values(), context: self.context.map(Value::detach) }
    }

    fn with_context_of(self, other: &Self) -> Self {
        Self { state: self.state.with_context_of(&other.state), context: other.context.clone() }
    }

    fn has_context_of(&self, other: &Self) -> bool {
        let data = |state: &Self| state.context.clone().map(Value::into_data);
        data(self) == data(other) && self.state.has_context_of(&other.state)
    }

    fn is_repeated_by(&self, other: &Self) -> bool {
        self.state.is_repeated_by(&other.state)
    }

    fn inner_product(self, other: Self) -> Option<Tensor<1>> {
        self.state.inner_product(other.state)
    }

    type Vjp = S::Vjp;

    fn vjp(self) -> Self::Vjp {
        self.state.vjp()
    }

    fn pull_back(vjp: Self::Vjp, cotangent: Self) -> Option<Gradients> {
        S::pull_back(vjp, cotangent.state)
    }
}
