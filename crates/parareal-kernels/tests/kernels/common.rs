//! Values for tests.

use burn::tensor::TensorData;
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
