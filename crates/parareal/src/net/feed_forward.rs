use burn::module::{Module, ModuleDisplay};

use super::{Activation, Init, Interface, SampleShape, ShapeError, Value};

/// A layer: a Burn module that maps one tensor, or other value, to another. [`layer`](super::layer) creates
/// one from any Burn module and a function.
pub trait Layer<A, B>: Module + ModuleDisplay + 'static {
    /// Applies the module to a batch.
    fn forward(&self, input: A) -> B;

    /// The shape of one output sample, given that of one input sample. No parameter and no running statistic
    /// changes.
    ///
    /// # Errors
    /// [`ShapeError`] if the module cannot take such an input.
    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError>;
}

/// The specification of a feed-forward network `f = h ∘ g ∘ C`, from which any part can be built
/// without the others.
///
/// `C` is the preprocessing, `g` the sequence of units, `h` the postprocessing. A *position* counts the
/// units before it: position 0 lies after `C`, position `units()` before `h`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a feed-forward network",
    note = "`Sequential::head` returns a `Result`: add `?`"
)]
pub trait FeedForward: Clone + Send + 'static {
    /// The space `X` of inputs.
    type Input: Value;
    /// The type of the states, elements of the spaces `X_0 .. X_N`.
    type State: Activation;
    /// The space `Y` of outputs.
    type Output: Activation;
    /// The type of `C`, and of every `C_j` (an enum or a configurable struct where they differ).
    type Preprocessing: Layer<Self::Input, Self::State>;
    /// The type of the units.
    type Unit: Layer<Self::State, Self::State>;
    /// The type of `h`.
    type Postprocessing: Layer<Self::State, Self::Output>;

    /// The number of units.
    fn units(&self) -> usize;

    /// The shape of one input sample.
    fn input_shape(&self) -> SampleShape;

    /// The shape of one sample at a position, `0..=units()`.
    fn state_shape(&self, position: usize) -> SampleShape;

    /// Builds `C`.
    fn preprocessing(&self, init: &Init) -> Self::Preprocessing;

    /// Builds one unit, `index` in `0..units()`.
    fn unit(&self, index: usize, init: &Init) -> Self::Unit;

    /// Builds `h`.
    fn postprocessing(&self, init: &Init) -> Self::Postprocessing;
}

/// A network that can be cut: builds the modules that a cut adds at each interface.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network that can be cut",
    note = "`Sequential::head` returns a `Result`: add `?`"
)]
pub trait Coarsen: FeedForward {
    /// The type of the `F_j`.
    type Coarse: Layer<Self::State, Self::State>;

    /// Builds `C_{j+1}: X → X_j` for interface `j`, in place of everything before the cut.
    fn interface_preprocessing(&self, interface: &Interface, init: &Init) -> Self::Preprocessing;

    /// Builds `F_j: X_j → X_{j+1}` for interface `j`; it approximates subnetwork `j + 1` and
    /// should be much cheaper.
    fn coarse(&self, interface: &Interface, init: &Init) -> Self::Coarse;
}
