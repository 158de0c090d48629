use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Gradients;

use super::Part;
use crate::exec::Loss;
use crate::net::{Activation, Coarsen, Map, SubnetworkOf, Value};

/// Times of the same thing, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Another time.
    pub fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    /// The median; nothing takes no time.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// From the lower to the upper quartile.
    pub fn spread(&self) -> f64 {
        self.quantile(0.75) - self.quantile(0.25)
    }

    /// Between the two nearest values in proportion.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = share * sorted.len().saturating_sub(1) as f64;
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let (below, part) = (place.floor(), place.fract());
        let (low, high) = (at(below as usize), at(place.ceil() as usize));
        low + part * (high - low)
    }
}
