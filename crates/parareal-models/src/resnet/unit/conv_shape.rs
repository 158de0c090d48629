use crate::resnet::image::Image;

/// The shape of one convolution of a residual unit, from which its costs are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    input: Image,
    output: Image,
    /// Height and width of the kernel.
    kernel: usize,
    /// True if batch normalization and ReLU precede the convolution.
    is_normalized: bool,
    /// True if another convolution has the same input.
    shares_input: bool,
    /// Number of kernels per output channel.
    kernels: usize,
}

impl ConvShape {
    /// A convolution after batch normalization and ReLU.
    pub(super) fn preactivation(kernel: usize, input: Image, output: Image) -> Self {
        let kernels = input.channels;
        Self { input, output, kernel, kernels, is_normalized: true, shares_input: false }
    }

    /// A 3×3 depthwise convolution, without normalization of its input.
    pub(super) fn depthwise(input: Image, output: Image) -> Self {
        Self { input, output, kernel: 3, kernels: 1, is_normalized: false, shares_input: false }
    }

    /// A 3×3 balanced group convolution after batch normalization and ReLU. Each output channel has kernels
    /// for its own group and for the mean of all groups.
    pub(super) fn balanced_groups(groups: usize, input: Image, output: Image) -> Self {
        let kernels = 2 * input.channels / groups;
        Self { input, output, kernel: 3, kernels, is_normalized: true, shares_input: false }
    }

    /// The projection of a skip connection. If `has_first` is true, it shares the normalized input of the
    /// unit's first convolution.
    pub(super) fn projection(input: Image, output: Image, has_first: bool) -> Self {
        let projection = Self::preactivation(1, input, output);
        Self { is_normalized: !has_first, shares_input: has_first, ..projection }
    }

    /// Number of multiply-adds for one image.
    pub(crate) fn multiply_adds(self) -> usize {
        self.kernel_values() * self.output.pixels()
    }

    /// Number of parameters, including the normalization.
    pub(crate) fn parameters(self) -> usize {
        let normalization = if self.is_normalized { 2 * self.input.channels } else { 0 };
        self.kernel_values() + normalization
    }

    /// Number of values stored per image for the backward pass: the input, unless another convolution stores
    /// it.
    pub(crate) fn stored(self) -> usize {
        if self.shares_input { 0 } else { self.input.values() }
    }

    fn kernel_values(self) -> usize {
        self.kernel * self.kernel * self.kernels * self.output.channels
    }
}
