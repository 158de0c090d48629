use crate::resnet::image::Image;

/// One convolution of a residual unit, from which its costs follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    input: Image,
    output: Image,
    /// Rows and columns of the kernel.
    kernel: usize,
    /// True if batch normalization comes before it.
    is_normalized: bool,
    /// Input channels that an output channel depends on, by a kernel each.
    kernels: usize,
}

impl ConvShape {
    /// A convolution after batch normalization and ReLU.
    pub(super) fn preactivation(kernel: usize, input: Image, output: Image) -> Self {
        Self { input, output, kernel, is_normalized: true, kernels: input.channels }
    }

    /// A 3×3 depthwise convolution of its input as it is.
    pub(super) fn depthwise(input: Image, output: Image) -> Self {
        Self { input, output, kernel: 3, is_normalized: false, kernels: 1 }
    }

    /// A 3×3 balanced group convolution after batch normalization and ReLU: of the own group and of the
    /// mean of all groups.
    pub(super) fn balanced_groups(groups: usize, input: Image, output: Image) -> Self {
        let kernels = 2 * input.channels / groups;
        Self { input, output, kernel: 3, is_normalized: true, kernels }
    }

    /// Multiply-adds for one image.
    pub(crate) fn multiply_adds(self) -> usize {
        self.kernel_values() * self.output.pixels()
    }

    /// Parameters, with those of the normalization.
    pub(crate) fn parameters(self) -> usize {
        let normalization = if self.is_normalized { 2 * self.input.channels } else { 0 };
        self.kernel_values() + normalization
    }

    /// Values that one image leaves for the backward pass: the input.
    pub(crate) fn stored(self) -> usize {
        self.input.values()
    }

    fn kernel_values(self) -> usize {
        self.kernel * self.kernel * self.kernels * self.output.channels
    }
}
