//! The operands of chains of convolutions.

use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use super::shape::ConvShape;
use super::statistics::Running;
use super::tensors::Operand;
use crate::conv::{PreactivationConv, Projection};
use crate::fused_chain::{Residual, geometries};
use crate::normalization::{ChannelStatistics, NormStatistics, Normalization, RunningStatistics};

/// Returns the sizes of the projection of a unit.
pub(crate) fn projection_shape(input: &Tensor<4>, projection: &Projection) -> Option<ConvShape> {
    let Projection { weight, options } = projection.clone();
    let projection = PreactivationConv { normalization: None, weight, options };
    geometries(input, &[projection], &Residual::None)?.first().map(ConvShape::new)
}

/// The operands of one convolution.
pub(crate) struct Operands {
    pub(crate) weight: Operand,
    pub(crate) norm: Option<NormOperands>,
}

/// The operands of a normalization.
pub(crate) struct NormOperands {
    pub(crate) scale: Operand,
    pub(crate) shift: Operand,
    pub(crate) epsilon: f32,
    /// Mean and variance, if they are given.
    pub(crate) given: Option<[CubeTensor; 2]>,
    /// The running statistics, if they are updated.
    pub(crate) running: Option<Running>,
    /// True if the statistics depend on the input.
    pub(crate) is_batch: bool,
}

impl Operands {
    pub(crate) fn new(layer: &PreactivationConv) -> Option<Self> {
        let norm = match &layer.normalization {
            Some(normalization) => {
                let Normalization { scale, shift, statistics, epsilon, .. } = normalization;
                let given = match statistics.given() {
                    Some(ChannelStatistics { mean, variance, .. }) => {
                        Some([Operand::new(mean)?.values, Operand::new(variance)?.values])
                    }
                    None => None,
                };
                let running = match normalization.updates() {
                    Some(RunningStatistics { mean, variance, momentum }) => Some(Running {
                        mean: Operand::new(mean)?.values,
                        variance: Operand::new(variance)?.values,
                        momentum: *momentum,
                    }),
                    None => None,
                };
                let is_batch = matches!(statistics, NormStatistics::Batch(_));
                let (scale, shift) = (Operand::new(scale)?, Operand::new(shift)?);
                let epsilon = *epsilon as f32;
                Some(NormOperands { scale, shift, epsilon, given, running, is_batch })
            }
            None => None,
        };
        Some(Self { weight: Operand::new(&layer.weight)?, norm })
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &CubeTensor> {
        let of_norm = self.norm.iter().flat_map(|norm| {
            let affine = [&norm.scale.values, &norm.shift.values];
            let running =
                norm.running.iter().flat_map(|running| [&running.mean, &running.variance]);
            affine.into_iter().chain(norm.given.iter().flatten()).chain(running)
        });
        std::iter::once(&self.weight.values).chain(of_norm)
    }
}
