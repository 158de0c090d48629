use burn::module::{Module, ModuleDisplay};
use burn::tensor::DType;

use super::{Activation, Init, Interface, SampleShape, ShapeError, Value};

/// A Burn module that maps one tensor or other value to another.
///
/// [`layer`](super::layer) creates a layer from any Burn module and a function.
pub trait Layer<A, B>: Module + ModuleDisplay + 'static {
    /// Applies the module to a batch.
    fn forward(&self, input: A) -> B;

    /// Returns the shape of one output sample for an input sample of this shape. Does not change parameters
    /// or running statistics.
    ///
    /// # Errors
    /// [`ShapeError`] if the module does not accept such an input.
    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError>;
}

/// The specification of a feed-forward network `f = h ∘ g ∘ C`, from which each part can be built separately.
///
/// `C` is the preprocessing, `g` is the sequence of units, and `h` is the postprocessing. A *position* in the
/// network is given by the number of units before it: position 0 is after `C`, and position `units()` is
/// before `h`.
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
    /// The type of `C` and of every `C_j`. Use an enum or a configurable struct if they differ.
    type Preprocessing: Layer<Self::Input, Self::State>;
    /// The type of the units.
    type Unit: Layer<Self::State, Self::State>;
    /// The type of `h`.
    type Postprocessing: Layer<Self::State, Self::Output>;

    /// Returns the number of units.
    fn units(&self) -> usize;

    /// Returns the shape of one input sample.
    fn input_shape(&self) -> SampleShape;

    /// Returns the shape of one sample of the state at a position in `0..=units()`.
    fn state_shape(&self, position: usize) -> SampleShape;

    /// Returns the type of the floats of states if they differ from those of parameters, `None` otherwise.
    ///
    /// The modules convert: `C` and `C_j` return states of this type, the units and `F_j` keep it, and `h` accepts it.
    fn state_dtype(&self) -> Option<DType> {
        None
    }

    /// Builds `C`.
    fn preprocessing(&self, init: &Init) -> Self::Preprocessing;

    /// Builds one unit, with an index in `0..units()`.
    fn unit(&self, index: usize, init: &Init) -> Self::Unit;

    /// Builds `h`.
    fn postprocessing(&self, init: &Init) -> Self::Postprocessing;
}

/// A network that can be cut: it builds the modules that a cut adds at each interface.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network that can be cut",
    note = "`Sequential::head` returns a `Result`: add `?`"
)]
pub trait Coarsen: FeedForward {
    /// The type of the `F_j`.
    type Coarse: Layer<Self::State, Self::State>;

    /// Builds `C_{j+1}: X → X_j` for interface `j`, which replaces all modules before the cut.
    fn interface_preprocessing(&self, interface: &Interface, init: &Init) -> Self::Preprocessing;

    /// Builds `F_j: X_j → X_{j+1}` for interface `j`. It approximates subnetwork `j + 1` and should be much
    /// cheaper.
    fn coarse(&self, interface: &Interface, init: &Init) -> Self::Coarse;
}
