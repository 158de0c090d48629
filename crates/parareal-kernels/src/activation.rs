//! A normalization and its ReLU, boiled down to numbers.

use crate::backward::Center;
use crate::elementwise::Affine;

/// `max(0, slope · x + offset)`, and the statistics that slope and offset were made of.
#[derive(Clone, Debug)]
pub(crate) struct Activation {
    pub(crate) map: Affine,
    mean: Vec<f32>,
    rest: Vec<f64>,
    inverse: Vec<f64>,
    of_batch: bool,
}

impl Activation {
    /// Of scale and shift, mean and variance, channel by channel.
    pub(crate) fn new(
        scales: &[f32],
        shifts: &[f32],
        [mean, variance]: &[Vec<f64>; 2],
        epsilon: f64,
        of_batch: bool,
    ) -> Self {
        let inverse = variance.iter().map(|variance| (variance + epsilon).sqrt().recip());
        let inverse: Vec<f64> = inverse.collect();
        let slope = scales.iter().zip(&inverse);
        let slope: Vec<f32> = slope.map(|(&s, inverse)| (f64::from(s) * inverse) as f32).collect();
        // The offset belongs to the slope as it is rounded.
        let offset = shifts.iter().zip(mean.iter().zip(&slope));
        let offset =
            offset.map(|(&s, (mean, &slope))| (f64::from(s) - mean * f64::from(slope)) as f32);
        let map = Affine { offset: offset.collect(), slope };
        let rounded: Vec<f32> = mean.iter().map(|&mean| mean as f32).collect();
        let rest = mean.iter().zip(&rounded).map(|(mean, &rounded)| mean - f64::from(rounded));
        let rest = rest.collect();
        Self { map, mean: rounded, rest, inverse, of_batch }
    }

    pub(crate) fn center(&self) -> Center<'_> {
        let Self { mean, rest, inverse, of_batch, .. } = self;
        Center { mean, rest, inverse, of_batch: *of_batch }
    }
}
