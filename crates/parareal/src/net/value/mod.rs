//! Values that flow through networks: inputs, states, outputs and targets.

mod list;
mod pair;
mod tensor;
mod with_context;

use std::ops::Range;

use burn::tensor::{Bool, DType, Device, Gradients, Int, Tensor, TensorData};

use super::SampleShape;
pub use with_context::WithContext;

/// A value that flows through a network.
///
/// It is a tensor of floats, integers or booleans with any rank, a pair of values, or a list of tensors.
/// Pairs can be nested to combine any number of tensors with different ranks.
///
/// The first dimension of each tensor is the batch dimension.
pub trait Value: Clone + Send + 'static {
    /// The number of tensors that [`Self::into_data`] returns; `None` if it is not the same for all values.
    const COMPONENTS: Option<usize>;

    /// Returns the device of the value.
    fn device(&self) -> Device;

    /// Returns the number of samples.
    fn samples(&self) -> usize;

    /// Returns the shape of one sample.
    fn shape(&self) -> SampleShape;

    /// Returns the samples of a range.
    ///
    /// # Panics
    /// If there are fewer samples.
    fn part(self, samples: Range<usize>) -> Self;

    /// Returns the samples with these indices, in this order.
    ///
    /// # Panics
    /// If there is no sample with one of the indices.
    fn select(self, indices: &[usize]) -> Self;

    /// Concatenates the samples of several values.
    ///
    /// # Panics
    /// If there are no values, or their samples differ in shape.
    fn join(parts: Vec<Self>) -> Self;

    /// Copies each tensor of the value to the host.
    fn into_data(self) -> Vec<TensorData>;

    /// Creates a value on a device from the tensors that [`Self::into_data`] returned. Floats are converted
    /// to `dtype`.
    ///
    /// # Panics
    /// If the number of tensors, or the number of their dimensions, does not match this type.
    fn from_data(data: Vec<TensorData>, device: &Device, dtype: DType) -> Self;

    /// Converts floats to another type. Other tensors are unchanged.
    fn to_dtype(self, dtype: DType) -> Self;

    /// Adds two gradients of the same leaf.
    fn accumulate(self, other: Self) -> Self;

    /// Copies the value to a device. Costs nothing if it is already there.
    fn to_device(self, device: &Device) -> Self;

    /// Returns the value as a leaf of a new graph that requires a gradient. Integers and booleans have no
    /// gradient and are unchanged.
    fn leaf(self) -> Self;

    /// Returns the value as a constant of a graph, which has no gradient.
    fn constant(self) -> Self;

    /// Returns the same values on the same device, detached from their graph.
    fn detach(self) -> Self;

    /// Removes and returns the gradient of this leaf from `gradients`, if it has one.
    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self>;

    /// Returns zeros of the same shape, outside every graph, in place of floats. Other tensors are unchanged.
    fn zero(self) -> Self;

    /// Replaces each tensor of the value, in the order of [`Self::into_data`]. Contexts ([`WithContext`]) are included, after
    /// their state.
    #[must_use]
    fn map(self, mapper: &mut impl ValueMapper) -> Self;
}

/// A function of tensors of every kind and rank, for [`Value::map`].
pub trait ValueMapper {
    /// Returns the tensor that replaces a tensor of floats.
    fn map_float<const D: usize>(&mut self, tensor: Tensor<D>) -> Tensor<D>;

    /// Returns the tensor that replaces a tensor of integers.
    fn map_int<const D: usize>(&mut self, tensor: Tensor<D, Int>) -> Tensor<D, Int>;

    /// Returns the tensor that replaces a tensor of booleans.
    fn map_bool<const D: usize>(&mut self, tensor: Tensor<D, Bool>) -> Tensor<D, Bool>;
}

/// The state of a network, which flows through the units and crosses interfaces. It consists of one or
/// several float tensors of any rank.
///
/// A state with several tensors is an element of the product of their spaces. Sums and differences are
/// computed tensor by tensor, and all tensors cross an interface in one message. So a long skip connection or
/// a memory can be a component of the state: use a pair of states, or a `Vec<Tensor<D>>` if the number of
/// tensors differs between positions. A state can contain at most one such list. Values that are not
/// differentiated, such as masks, must not be components: see [`WithContext`].
pub trait Activation: Value {
    /// `self + other`.
    fn plus(self, other: Self) -> Self;

    /// `self - other`.
    fn minus(self, other: Self) -> Self;

    /// Returns the values, outside every graph.
    fn values(self) -> Self;

    /// Returns the same values with the [context](WithContext) of another state, if states have a context.
    #[must_use]
    fn with_context_of(self, other: &Self) -> Self {
        let _ = other;
        self
    }

    /// Returns true if the [context](WithContext) equals that of another state, or if states have no context.
    fn has_context_of(&self, other: &Self) -> bool {
        let _ = other;
        true
    }

    /// Returns true if `other` may be a recomputation of this value.
    ///
    /// On the CPU, the values must be bitwise equal. Other devices may use different kernels for a
    /// recomputation, so there a relative difference of 0.01 is allowed.
    fn is_repeated_by(&self, other: &Self) -> bool;

    /// Returns the inner product of two values (the sum of the products of their elements), as part of the
    /// graph of `self`; `None` if `self` is not part of a graph. `other` must be outside every graph. 16-bit floats
    /// are converted to 32-bit floats before they are multiplied.
    fn inner_product(self, other: Self) -> Option<Tensor<1>>;

    /// The vector-Jacobian product of a graph. It does not keep the values of the output if possible.
    type Vjp: Send;

    /// Creates the vector-Jacobian product of the graph that computes this value.
    fn vjp(self) -> Self::Vjp;

    /// Returns the gradients of a graph's leaves along `cotangent`, a tensor of the output's shape
    /// outside every graph.
    ///
    /// Burn differentiates only scalars, so the result is computed as the gradients of
    /// `sum(output · cotangent)`. The graph is consumed. Returns `None` if the output was in no graph, so
    /// that there is nothing to differentiate.
    fn pull_back(vjp: Self::Vjp, cotangent: Self) -> Option<Gradients>;
}

/// Returns the sum of several inner products in one graph; `None` if none of them is in a graph.
fn add_products(products: impl IntoIterator<Item = Option<Tensor<1>>>) -> Option<Tensor<1>> {
    products.into_iter().flatten().reduce(|sum, product| {
        let dtype = sum.dtype();
        sum + product.cast(dtype)
    })
}
