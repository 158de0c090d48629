use burn::module::{Module, Param};
use burn::tensor::Tensor;
use parareal::net::Init;
use parareal_kernels::{ConvOptions, conv2d};

/// 3×3 balanced group convolution without a bias, padded to keep the size at stride 1 (Lee, Park
/// and Lee, "Balanced Group Convolution", [arXiv:2310.12461](https://arxiv.org/abs/2310.12461)).
///
/// The channels are divided into groups. Each group of the output is the sum of two convolutions: one of the
/// same group of the input, and one of the mean of all input groups, which passes information between groups.
/// With `G` groups, the layer has `2/G` of the parameters and multiply-adds of a full convolution.
#[derive(Module, Debug)]
pub struct BalancedGroupConv2d {
    /// Kernels of the groups, `[out_channels, in_channels / groups, 3, 3]`, as in PyTorch for grouped
    /// convolutions.
    pub weight: Param<Tensor<4>>,
    /// Kernels that are applied to the mean of the groups, with the same shape.
    pub mean_weight: Param<Tensor<4>>,
    stride: usize,
}

impl BalancedGroupConv2d {
    /// Creates a layer with He initialization: normal with variance `2 / (2 · 9 · out_channels / groups)`
    /// (fan-out). The factor 2 in the denominator accounts for the two kernels of each output group.
    ///
    /// # Panics
    /// If the number of input or output channels is not a multiple of the number of groups.
    pub fn new(from: usize, to: usize, groups: usize, stride: usize, init: &Init) -> Self {
        assert!(
            from.is_multiple_of(groups) && to.is_multiple_of(groups),
            "channels of equal groups"
        );
        let deviation = (2.0 / (2 * 9 * (to / groups)) as f64).sqrt();
        let shape = [to, from / groups, 3, 3];
        Self {
            weight: init.normal("weight", shape, deviation),
            mean_weight: init.normal("mean_weight", shape, deviation),
            stride,
        }
    }

    /// Applies the convolution.
    ///
    /// # Shapes
    /// `[batch, h, w, in_channels]` to `[batch, ⌈h/stride⌉, ⌈w/stride⌉, out_channels]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions { stride: self.stride, padding: 1 };
        let [batch, height, width, channels] = input.dims();
        let [to, size, ..] = self.weight.dims();
        let groups = channels / size;
        let means = input.clone().reshape([batch * height * width, groups, size]).mean_dim(1);
        let means = means.reshape([batch, height, width, size]);
        let weight = self.weight.val();
        let groups = (0..groups).map(|group| {
            let own = input.clone().narrow(3, group * size, size);
            let weight = weight.clone().narrow(0, group * to / groups, to / groups);
            conv2d(own, weight, options)
        });
        Tensor::cat(groups.collect(), 3) + conv2d(means, self.mean_weight.val(), options)
    }

    /// Returns the height (or width) of the output for an input of this height (or width).
    pub fn output_size(&self, size: usize) -> usize {
        size.div_ceil(self.stride)
    }

    /// The number of output channels.
    pub fn out_channels(&self) -> usize {
        self.weight.shape()[0]
    }
}
