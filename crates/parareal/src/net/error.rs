use thiserror::Error;

use super::SampleShape;

/// A module cannot take a tensor of the given shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}, found a sample of shape {found}")]
pub struct ShapeError {
    /// The shapes that the module takes, in words.
    pub expected: String,
    /// The shape of one sample that was offered.
    pub found: SampleShape,
}

/// An error from cutting, building or loading a network.
///
/// Interfaces are counted as in the paper: interface `j` lies between the subnetworks `j` and
/// `j + 1`, with `j = 1..N-1`. Shapes are those of one sample, without the batch dimension.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetError {
    /// There is no sample to apply the network to.
    #[error("the example sample is empty: expected a batch of one sample")]
    NoSample,
    /// A unit returns another context than it was given. Units after the next cut would not see it.
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
    /// A cut does not come after the one before it.
    #[error("cuts must increase strictly: {cut} follows {previous}")]
    CutsOutOfOrder {
        /// The cut before.
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
    /// The cuts were made for a network with another number of units.
    #[error("the cuts are for a network of {expected} units, but this one has {found}")]
    OtherNetwork {
        /// Units that the cuts were made for.
        expected: usize,
        /// Units of the network.
        found: usize,
    },
    /// A subnetwork index beyond the last.
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
    /// `C_1` does not produce what the first unit is declared to take.
    #[error("the preprocessing returns shape {found}, but the first unit expects {expected}")]
    Preprocessing {
        /// The declared shape `X_0`.
        expected: SampleShape,
        /// The inferred output shape.
        found: SampleShape,
    },
    /// `C_{j+1}` does not produce what subnetwork `j + 1` takes.
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
    /// `F_j` does not produce what subnetwork `j + 1` passes on.
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
    /// A unit does not produce what the next one is declared to take.
    #[error("unit {unit} returns shape {found}, but the network declares {expected} after it")]
    Unit {
        /// The unit, from 0.
        unit: usize,
        /// The declared shape after the unit.
        expected: SampleShape,
        /// The inferred output shape.
        found: SampleShape,
    },
    /// A module refuses the shape that it is given.
    #[error("{module}: {source}")]
    Refused {
        /// The module, by the name that its parameters have.
        module: String,
        /// The shapes that it expected and found.
        source: ShapeError,
    },
    /// A layer draws from the generator of the whole process in the forward pass, so that recomputation and
    /// other executors would see other numbers.
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
    /// A layer that may draw such numbers: the `Debug` output of its module does not show whether it does.
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
    /// Two subnetworks hold the same parameter, and each would train a copy of its own.
    #[error(
        "`{first}` and `{second}` are one parameter in two subnetworks, which would train two \
         copies of it; give each its own parameter, or cut the network elsewhere"
    )]
    SharedParameter {
        /// Its name in the first subnetwork.
        first: String,
        /// Its name in the other one.
        second: String,
    },
    /// State to be loaded belongs to a network of another number of units.
    #[error("the weights are of a network of {found} units, but this one has {expected}")]
    OtherUnits {
        /// Units of this network.
        expected: usize,
        /// Units of the network that the state belongs to.
        found: usize,
    },
    /// State to be loaded belongs to a network that is cut elsewhere.
    #[error(
        "the weights are of a network that is cut {}, but this one is cut {}; load its units only",
        places(found),
        places(expected)
    )]
    OtherCuts {
        /// The cuts of this network.
        expected: Vec<usize>,
        /// The cuts of the network that the state belongs to.
        found: Vec<usize>,
    },
    /// A tensor to be loaded has no place in the network.
    #[error("tensor `{name}` not found in the network")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor to be loaded is missing.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor to be loaded has another shape.
    #[error("tensor `{name}` has shape {found:?}: expected {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// The shape of the parameter.
        expected: Vec<usize>,
        /// The shape of what was to be loaded.
        found: Vec<usize>,
    },
}

/// Advice on what to do without a random layer of Burn.
fn replacement(kind: &str) -> &'static str {
    match kind {
        "Dropout" => "use `parareal::nn::Dropout`, or set its probability to 0",
        _ => "remove it, or freeze it",
    }
}

/// Positions of cuts, in words.
fn places(cuts: &[usize]) -> String {
    match cuts {
        [] => "nowhere".into(),
        _ => format!("at {cuts:?}"),
    }
}
