//! Values that flow through networks: inputs, states, outputs and targets.

mod list;
mod pair;
mod tensor;
mod with_context;

use std::ops::Range;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::SampleShape;
pub use with_context::WithContext;

/// A value that flows through a network: a tensor of any rank, of floats, integers or booleans, a pair of
/// values, or a list of tensors. Pairs nest, so they hold any number of tensors of different ranks.
///
/// The first dimension of each tensor counts the samples of the batch.
pub trait Value: Clone + Send + 'static {
    /// The number of tensors that [`Self::into_data`] returns; `None` if it differs from value to value.
    const COMPONENTS: Option<usize>;

    /// The device of the value.
    fn device(&self) -> Device;

    /// The number of samples.
    fn samples(&self) -> usize;

    /// The shape of one sample.
    fn shape(&self) -> SampleShape;

    /// Returns the samples of a range.
    ///
    /// # Panics
    /// If there are fewer.
    fn part(self, samples: Range<usize>) -> Self;

    /// Returns the samples with these indices, in this order.
    ///
    /// # Panics
    /// If there is no sample with one of the indices.
    fn select(self, indices: &[usize]) -> Self;

    /// Concatenates the samples of several values.
    ///
    /// # Panics
    /// If there is no value, or samples differ in shape.
    fn join(parts: Vec<Self>) -> Self;

    /// Copies each tensor of the value to the host.
    fn into_data(self) -> Vec<TensorData>;

    /// Creates a value on a device from the tensors of [`Self::into_data`]. Floats get this type there.
    ///
    /// # Panics
    /// If the number of tensors or of their dimensions differs from that of this type.
    fn from_data(data: Vec<TensorData>, device: &Device, dtype: DType) -> Self;

    /// Converts the floats to another type.
    fn to_dtype(self, dtype: DType) -> Self;

    /// Adds two gradients of the same leaf.
    fn accumulate(self, other: Self) -> Self;

    /// Copies the value to a device; costs nothing if it is there already.
    fn to_device(self, device: &Device) -> Self;

    /// The value as the leaf of a new graph that keeps its gradient. Integers have none and stay
    /// as they are.
    fn leaf(self) -> Self;

    /// Returns the value as a constant of a graph, which gets no gradient.
    fn constant(self) -> Self;

    /// The same values, through which no gradient flows, on the same device.
    fn detach(self) -> Self;

    /// Takes the gradient of this leaf out of `gradients`, if it has one.
    fn take_gradient(&self, gradients: &mut Gradients) -> Option<Self>;

    /// Floats of the same shape that are all zero, outside every graph. Other tensors stay as they are.
    fn zero(self) -> Self;
}

/// The state of a network, which flows through the units and crosses interfaces: a float tensor of any rank, or
/// several of them.
///
/// A state of several tensors is an element of the product of their spaces: sums and differences are taken
/// tensor by tensor, and one message holds all of them when it crosses an interface. So a long skip connection
/// or a memory travels along the chain as a component of the state: as a pair of states, or as a
/// `Vec<Tensor<D>>` if their number differs from position to position (a state has at most one such list).
/// Values that are not differentiated, such as masks, are not components: see [`WithContext`].
pub trait Activation: Value {
    /// `self + other`.
    fn plus(self, other: Self) -> Self;

    /// `self - other`.
    fn minus(self, other: Self) -> Self;

    /// The values alone, outside every graph.
    fn values(self) -> Self;

    /// The same values with the [context](WithContext) of another state, if states have one.
    #[must_use]
    fn with_context_of(self, other: &Self) -> Self {
        let _ = other;
        self
    }

    /// Returns true if the [context](WithContext) is that of another state, or states have none.
    fn has_context_of(&self, other: &Self) -> bool {
        let _ = other;
        true
    }

    /// Returns true if `other` may be a recomputation of this value: on the CPU if the values are bitwise
    /// equal, on other devices, which may choose other kernels meanwhile, if they agree up to a relative
    /// difference of 0.01.
    fn is_repeated_by(&self, other: &Self) -> bool;

    /// The sum over all elements of the products of two values, as part of the graph of the first; `None` if
    /// the first is part of no graph. The other one is outside every graph.
    fn inner_product(self, other: Self) -> Option<Tensor<1>>;

    /// The vector-Jacobian product of a graph, without the values of its output if possible.
    type Vjp: Send;

    /// Takes over the graph that computes this value, to be differentiated later.
    fn vjp(self) -> Self::Vjp;

    /// Returns the gradients of a graph's leaves along `cotangent`, a tensor of the output's shape
    /// outside every graph.
    ///
    /// Burn differentiates scalars, so these are the gradients of `sum(output · cotangent)`. The
    /// graph is consumed. Returns `None` if the output was in no graph, so that there is nothing to
    /// differentiate.
    fn pull_back(vjp: Self::Vjp, cotangent: Self) -> Option<Gradients>;
}

/// The sum of several inner products in one graph; `None` if none of them is in a graph.
fn add_products(products: impl IntoIterator<Item = Option<Tensor<1>>>) -> Option<Tensor<1>> {
    products.into_iter().flatten().reduce(|sum, product| {
        let dtype = sum.dtype();
        sum + product.cast(dtype)
    })
}
