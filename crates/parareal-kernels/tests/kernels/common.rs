//! Values for tests.

use burn::tensor::{DType, TensorData};
use parareal_kernels::SimdLevel;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

pub(crate) const EPSILON: f64 = 1e-5;

/// A source of values that are the same on every machine. With other values, a gradient of a single
/// number might be almost zero compared to its terms, and no precision would suffice.
pub(crate) struct Source(ChaCha8Rng);

impl Source {
    pub(crate) fn new() -> Self {
        Self(ChaCha8Rng::seed_from_u64(1))
    }

    pub(crate) fn normal<const D: usize>(
        &mut self,
        shape: [usize; D],
        mean: f32,
        deviation: f32,
    ) -> TensorData {
        let mut value = || {
            let standard: f32 = StandardNormal.sample(&mut self.0);
            mean + deviation * standard
        };
        TensorData::new((0..shape.iter().product()).map(|_| value()).collect::<Vec<f32>>(), shape)
    }
}

/// The types of states and parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// Both in double precision: the reference, composed of Burn's operations.
    Double,
    /// Both in single precision.
    Single,
    /// States in bfloat16, parameters in single precision.
    Bfloat16,
}

impl Precision {
    pub(crate) fn states(self) -> DType {
        match self {
            Self::Double => DType::F64,
            Self::Single => DType::F32,
            Self::Bfloat16 => DType::BF16,
        }
    }

    pub(crate) fn parameters(self) -> DType {
        if self == Self::Double { DType::F64 } else { DType::F32 }
    }

    /// The largest relative difference of a result that is rounded `roundings` times, besides single precision. Both factors
    /// of a product are rounded as well if its instructions take bfloat16 numbers.
    pub(crate) fn tolerance(self, roundings: u8) -> f64 {
        let is_narrow = matches!(SimdLevel::current(), SimdLevel::Amx | SimdLevel::Avx512Bf16);
        let roundings = if is_narrow { roundings + 2 } else { roundings };
        let unit_roundoff = if self == Self::Bfloat16 { 1.0 / 256.0 } else { 0.0 };
        1e-5 + f64::from(roundings) * unit_roundoff
    }
}

/// Rounds values to bfloat16, so that states of all types have the same values.
pub(crate) fn rounded(values: TensorData) -> TensorData {
    values.convert_dtype(DType::BF16).convert_dtype(DType::F32)
}
