//! Instructions of a device that multiply small matrices: tensor cores.

use burn::tensor::DType;
use cubecl::client::Client;
use cubecl::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind};

/// Shared memory that a product by such instructions needs at most, in bytes.
pub(crate) const MATRIX_PRODUCT_BYTES: usize = 32 << 10;

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

/// The type to which the factors of a product are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FactorType {
    /// bfloat16.
    Bfloat16,
    /// Half precision: the only one that Mesa's Vulkan driver in software has such an instruction for.
    #[cfg(all(test, feature = "cube-wgpu"))]
    Half,
}

impl FactorType {
    fn element(self) -> ElemType {
        ElemType::Float(match self {
            Self::Bfloat16 => FloatKind::BF16,
            #[cfg(all(test, feature = "cube-wgpu"))]
            Self::Half => FloatKind::F16,
        })
    }
}

impl MatrixInstruction {
    /// Returns the instruction for products of states of this type, if the device has one. Those of 32-bit floats are computed
    /// without: their factors would be rounded.
    pub(crate) fn for_states(client: &Client, states: DType) -> Option<Self> {
        match states {
            DType::BF16 => Self::of(client, FactorType::Bfloat16),
            _ => None,
        }
    }

    /// Returns the device's instruction for factors of this type: square, and the largest of several.
    pub(crate) fn of(client: &Client, factors: FactorType) -> Option<Self> {
        let properties = client.properties();
        let (plane, widest) =
            (properties.hardware.plane_size_min, properties.hardware.plane_size_max);
        let fits = |config: &&MmaConfig| {
            (config.a_type, config.b_type, config.cd_type)
                == (factors.element(), factors.element(), ElemType::Float(FloatKind::F32))
                && config.m == config.n
        };
        let found = properties.features.matmul.cmma.iter().filter(fits);
        let found = found.max_by_key(|config| (config.m, config.k))?;
        // A tile is divided among planes, whose size has to be known when a kernel is compiled.
        let is_usable =
            plane == widest && properties.hardware.max_shared_memory_size >= MATRIX_PRODUCT_BYTES;
        is_usable.then_some(Self {
            factors,
            rows: found.m as usize,
            columns: found.n as usize,
            depth: found.k as usize,
            plane: plane as usize,
        })
    }
}
