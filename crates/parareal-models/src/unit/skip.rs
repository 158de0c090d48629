//! The skip connection of a residual unit: the identity, or a projection if the shape changes.

use burn::tensor::Tensor;
use parareal::net::Init;
use parareal_kernels::{projected_residual, residual};

use crate::image::Image;
use crate::layers::{BatchNorm, Conv2d};
use crate::size::Size;

/// Creates the 1×1 convolution of the skip connection; `None` if the shape does not change.
pub(super) fn projection(from: Image, to: Image, init: &Init) -> Option<Conv2d> {
    let stride = from.size / to.size;
    let project = || Conv2d::new(from.channels, to.channels, 1, stride, &init.scope("projection"));
    (from != to).then(project)
}

/// Returns the size of a unit of these convolutions and, if the shape changes, of the projection. The projection
/// shares the normalized input of the first convolution.
pub(super) fn with_projection(
    convs: impl IntoIterator<Item = Size>,
    from: Image,
    to: Image,
) -> Size {
    let projection = || Size::convolution(1, from, to).with_shared_input();
    convs.into_iter().chain((from != to).then(projection)).sum()
}

/// Applies convolutions, each after batch normalization and ReLU, and adds the input, or with a projection the projected input
/// of the first convolution. Fused into one operation where that is possible; on the CPU, a projection is a separate one.
pub(super) fn residual_unit(
    input: Tensor<4>,
    convs: &[(&BatchNorm, &Conv2d)],
    projection: Option<&Conv2d>,
) -> Tensor<4> {
    let layers = convs.iter().map(|(norm, conv)| norm.preactivation_conv(conv)).collect();
    let (output, statistics) = match projection {
        Some(projection) => projected_residual(input, layers, projection.as_projection()),
        None => residual(input, layers),
    };
    for ((norm, _), statistics) in convs.iter().zip(&statistics) {
        norm.update_running_statistics(statistics);
    }
    output
}

/// Applies the first convolution and the projection of a unit to the same activated input. Returns the
/// outputs of both, in this order.
pub(super) fn conv_and_projection(
    input: Tensor<4>,
    norm: &BatchNorm,
    conv: &Conv2d,
    projection: &Conv2d,
) -> (Tensor<4>, Tensor<4>) {
    let (state, statistics) = norm.relu_conv2d(input.clone(), conv, None);
    let skip = norm.relu_conv2d_with(input, projection, statistics, None).0;
    (state, skip)
}
