//! Normalization and ReLU, folded into a slope and an offset for each channel.

use crate::cpu::elementwise::Affine;

/// Per-channel statistics that the backward pass of a normalization needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SavedStatistics<'a> {
    pub(crate) mean: &'a [f32],
    /// The exact mean minus `mean`. It corrects sums over all pixels, in which the rounding error
    /// of `mean` would add up.
    pub(crate) mean_residual: &'a [f64],
    /// One over the standard deviation.
    pub(crate) inverse_std: &'a [f64],
    /// True if they are statistics of the batch, which depend on the input.
    pub(crate) is_batch: bool,
}

/// The map `max(0, slope · x + offset)`, with the statistics that determine slope and offset.
#[derive(Clone, Debug)]
pub(crate) struct FoldedNorm {
    pub(crate) map: Affine,
    mean: Vec<f32>,
    mean_residual: Vec<f64>,
    inverse_std: Vec<f64>,
    is_batch: bool,
}

impl FoldedNorm {
    /// Folds the scale, shift, mean and variance of each channel.
    pub(crate) fn new(
        scales: &[f32],
        shifts: &[f32],
        [mean, variance]: &[Vec<f64>; 2],
        epsilon: f64,
        is_batch: bool,
    ) -> Self {
        let inverse_std = variance.iter().map(|variance| (variance + epsilon).sqrt().recip());
        let inverse_std: Vec<f64> = inverse_std.collect();
        let slope = scales.iter().zip(&inverse_std);
        let slope: Vec<f32> =
            slope.map(|(&s, inverse_std)| (f64::from(s) * inverse_std) as f32).collect();
        // The offset is computed from the rounded slope.
        let offset = shifts.iter().zip(mean.iter().zip(&slope));
        let offset =
            offset.map(|(&s, (mean, &slope))| (f64::from(s) - mean * f64::from(slope)) as f32);
        let map = Affine { offset: offset.collect(), slope };
        let rounded: Vec<f32> = mean.iter().map(|&mean| mean as f32).collect();
        let mean_residual =
            mean.iter().zip(&rounded).map(|(mean, &rounded)| mean - f64::from(rounded));
        let mean_residual = mean_residual.collect();
        Self { map, mean: rounded, mean_residual, inverse_std, is_batch }
    }

    pub(crate) fn saved_statistics(&self) -> SavedStatistics<'_> {
        let Self { mean, mean_residual, inverse_std, is_batch, .. } = self;
        SavedStatistics { mean, mean_residual, inverse_std, is_batch: *is_batch }
    }
}
