use thiserror::Error;

use super::SampleShape;

/// A module does not accept a value of the given shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}, found a sample of shape {found}")]
pub struct ShapeError {
    /// A description of the shapes that the module accepts.
    pub expected: String,
    /// The shape of one sample of the value.
    pub found: SampleShape,
}

/// An error from cutting, building or loading a network.
///
/// Interfaces are counted as in the paper: interface `j` lies between the subnetworks `j` and
/// `j + 1`, with `j = 1..N-1`. Shapes are those of one sample, without the batch dimension.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetError {
    /// The example that the network is applied to has no samples.
    #[error("the example sample is empty: expected a batch of one sample")]
    NoSample,
    /// A unit returns a different context than it received. Units after the next cut would not receive the
    /// change.
    #[error(
        "units.{unit} changes the context of the state: every `C_j` computes the context from the \
         input, so units must pass it on unchanged"
    )]
    ChangedContext {
        /// The unit, from 0.
        unit: usize,
    },
    /// Receptive fields were declared along an axis that a state does not have.
    #[error(
        "receptive fields along axis {axis}: a state has shape {shape} (axes are counted from 0, \
         without the batch)"
    )]
    NoAxis {
        /// The axis.
        axis: usize,
        /// The shape of the state.
        shape: SampleShape,
    },
    /// The network has no units to cut between.
    #[error("the network has no units: expected at least 1")]
    NoUnits,
    /// The number of subnetworks is 0.
    #[error("expected at least 1 subnetwork, got 0")]
    NoSubnetworks,
    /// There are fewer units than subnetworks.
    #[error(
        "{subnetworks} subnetworks need at least {subnetworks} units, but the network has {units}"
    )]
    TooManySubnetworks {
        /// The number of subnetworks.
        subnetworks: usize,
        /// The number of units of the network.
        units: usize,
    },
    /// A cut is not greater than the previous cut.
    #[error("cuts must increase strictly: {cut} follows {previous}")]
    CutsOutOfOrder {
        /// The previous cut.
        previous: usize,
        /// The offending cut.
        cut: usize,
    },
    /// A cut does not lie between two units.
    #[error(
        "cut {cut} is out of range: a network of {units} units can be cut after units 1 to {last}",
        last = units - 1
    )]
    CutOutOfRange {
        /// The offending cut.
        cut: usize,
        /// The number of units of the network.
        units: usize,
    },
    /// The cuts are for a network with a different number of units.
    #[error("the cuts are for a network of {expected} units, but this one has {found}")]
    OtherNetwork {
        /// The number of units that the cuts are for.
        expected: usize,
        /// The number of units of the network.
        found: usize,
    },
    /// A subnetwork index is out of range.
    #[error(
        "subnetwork index {index} is out of range: the network has {subnetworks} subnetworks, \
         counted from 0"
    )]
    NoSuchSubnetwork {
        /// The index, from 0.
        index: usize,
        /// The number of subnetworks.
        subnetworks: usize,
    },
    /// The output shape of `C_1` differs from the declared input shape of the first unit.
    #[error("the preprocessing returns shape {found}, but the first unit expects {expected}")]
    Preprocessing {
        /// The declared shape `X_0`.
        expected: SampleShape,
        /// The inferred output shape.
        found: SampleShape,
    },
    /// The output shape of `C_{j+1}` differs from the input shape of subnetwork `j + 1`.
    #[error(
        "interface {interface}: C_{next} returns shape {found}, but subnetwork {next} expects \
         {expected}",
        next = interface + 1
    )]
    InterfacePreprocessing {
        /// The interface `j`.
        interface: usize,
        /// The declared shape `X_j`.
        expected: SampleShape,
        /// The inferred output shape of `C_{j+1}`.
        found: SampleShape,
    },
    /// The output shape of `F_j` differs from the output shape of subnetwork `j + 1`.
    #[error(
        "interface {interface}: F_{interface} returns shape {found}, but subnetwork {next} returns \
         {expected}",
        next = interface + 1
    )]
    Coarse {
        /// The interface `j`.
        interface: usize,
        /// The declared shape `X_{j+1}`.
        expected: SampleShape,
        /// The inferred output shape of `F_j`.
        found: SampleShape,
    },
    /// The output shape of a unit differs from the declared input shape of the next unit.
    #[error("unit {unit} returns shape {found}, but the network declares {expected} after it")]
    Unit {
        /// The unit, from 0.
        unit: usize,
        /// The declared shape after the unit.
        expected: SampleShape,
        /// The inferred output shape.
        found: SampleShape,
    },
    /// A module rejects the shape of its input.
    #[error("{module}: {source}")]
    Refused {
        /// The name of the module, as in the names of its parameters.
        module: String,
        /// The shapes that it expected and found.
        source: ShapeError,
    },
    /// A layer draws from a process-wide generator in the forward pass, so recomputation and other executors
    /// would get different numbers.
    #[error(
        "`{name}` is a {kind} of Burn that draws random numbers, which no other executor can \
         reproduce; {}",
        replacement(kind)
    )]
    RandomLayer {
        /// The name of the layer in the network.
        name: String,
        /// Its type.
        kind: &'static str,
    },
    /// A layer may draw from a process-wide generator, but the `Debug` output of its module does not show
    /// whether it does.
    #[error(
        "`{name}` is a {kind} of Burn, and the `Debug` output of the module around it does not \
         show whether it draws random numbers; derive `Debug`"
    )]
    HiddenLayer {
        /// The name of the layer in the network.
        name: String,
        /// Its type.
        kind: &'static str,
    },
    /// Two subnetworks hold the same parameter, and each would train its own copy.
    #[error(
        "`{first}` and `{second}` are one parameter in two subnetworks, which would train two \
         copies of it; give each its own parameter, or cut the network elsewhere"
    )]
    SharedParameter {
        /// The name of the parameter in the first subnetwork.
        first: String,
        /// The name of the parameter in the second subnetwork.
        second: String,
    },
    /// The state to load is for a network with a different number of units.
    #[error("the weights are for a network with {found} units, but this one has {expected}")]
    OtherUnits {
        /// The number of units of this network.
        expected: usize,
        /// The number of units of the network that the state is for.
        found: usize,
    },
    /// The state to load is for a network with different cuts.
    #[error(
        "the weights are for a network that is cut {}, but this one is cut {}; load its units only",
        places(found),
        places(expected)
    )]
    OtherCuts {
        /// The cuts of this network.
        expected: Vec<usize>,
        /// The cuts of the network that the state is for.
        found: Vec<usize>,
    },
    /// A tensor to load does not exist in the network.
    #[error("tensor `{name}` not found in the network")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor of the network is missing from the state to load.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor to load has a different shape than the parameter.
    #[error("tensor `{name}` has shape {found:?}: expected {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// The shape of the parameter.
        expected: Vec<usize>,
        /// The shape of the tensor to load.
        found: Vec<usize>,
    },
}

/// Returns advice on how to replace a random layer of Burn.
fn replacement(kind: &str) -> &'static str {
    match kind {
        "Dropout" => "use `parareal::nn::Dropout`, or set its probability to 0",
        _ => "remove it, or freeze it",
    }
}

/// Describes the positions of cuts.
fn places(cuts: &[usize]) -> String {
    match cuts {
        [] => "nowhere".into(),
        _ => format!("at {cuts:?}"),
    }
}
