//! Values to test with, and how results are compared.
#![allow(unreachable_pub)]

use burn::tensor::TensorData;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

pub const EPSILON: f64 = 1e-5;

/// The same values on every machine: a gradient that is a single number can happen to be next to
/// nothing beside the terms that it sums, and then no precision is enough.
pub struct Source(ChaCha8Rng);

impl Source {
    pub fn new() -> Self {
        Self(ChaCha8Rng::seed_from_u64(1))
    }

    pub fn normal<const D: usize>(
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

/// `‖a − b‖ / max(‖b‖, 1e-6·√n)`.
pub fn relative_difference(a: &TensorData, b: &TensorData) -> f64 {
    assert_eq!(a.shape().as_slice(), b.shape().as_slice());
    let values = |data: &TensorData| data.clone().convert::<f64>().try_into_vec::<f64>().unwrap();
    let (a, b) = (values(a), values(b));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    difference / norm(&mut b.iter().copied()).max(1e-6 * (b.len() as f64).sqrt())
}
