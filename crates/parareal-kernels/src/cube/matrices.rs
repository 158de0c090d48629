//! Instructions of a device that multiply small matrices: tensor cores.

use burn::tensor::DType;
use cubecl::client::Client;
use cubecl::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind};

/// An instruction that all units of a plane execute together. It adds the product of a `rows × depth` and a `depth × columns`
/// matrix to a matrix of 32-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatrixInstruction {
    /// The type of the factors.
    pub(crate) factors: FactorType,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    /// Number of units in a plane.
    pub(crate) plane: usize,
}

/// The type to which the factors of a product are rounded for a matrix instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FactorType {
    /// bfloat16.
    Bfloat16,
    /// Half precision: the only one that Mesa's Vulkan driver in software has such an instruction for.
    #[cfg(all(test, feature = "cube-wgpu"))]
    Half,
}

impl FactorType {
    /// Returns the type for products of states of this type. Products of 32-bit floats do without, since their factors would be
    /// rounded.
    pub(crate) fn for_states(states: DType) -> Option<Self> {
        (states == DType::BF16).then_some(Self::Bfloat16)
    }

    fn element(self) -> ElemType {
        ElemType::Float(match self {
            Self::Bfloat16 => FloatKind::BF16,
            #[cfg(all(test, feature = "cube-wgpu"))]
            Self::Half => FloatKind::F16,
        })
    }
}

impl MatrixInstruction {
    /// Returns the device's instructions for square results and factors of this type.
    pub(crate) fn all(client: &Client, factors: FactorType) -> impl Iterator<Item = Self> {
        let properties = client.properties();
        let (plane, widest) =
            (properties.hardware.plane_size_min, properties.hardware.plane_size_max);
        let types = (factors.element(), factors.element(), ElemType::Float(FloatKind::F32));
        let is_usable = move |config: &&MmaConfig| {
            // A tile is divided among planes, whose size has to be known when a kernel is compiled.
            plane == widest
                && (config.a_type, config.b_type, config.cd_type) == types
                && config.m == config.n
        };
        properties.features.matmul.cmma.iter().filter(is_usable).map(move |config| Self {
            factors,
            rows: config.m as usize,
            columns: config.n as usize,
            depth: config.k as usize,
            plane: plane as usize,
        })
    }
}
