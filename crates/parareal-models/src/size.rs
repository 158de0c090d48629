use std::iter::Sum;
use std::ops::Add;

use crate::image::Image;

/// Costs of a layer or a unit that follow from its shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Number of parameters.
    pub(crate) parameters: usize,
    /// Number of values stored per image for the backward pass.
    pub(crate) stored: usize,
    /// Number of multiply-adds for one image.
    pub(crate) multiply_adds: usize,
}

impl Size {
    /// A convolution with a square kernel and no bias, which stores its input.
    pub(crate) fn convolution(kernel: usize, input: Image, output: Image) -> Self {
        Self::kernels(kernel, input.channels, input, output)
    }

    /// A convolution after batch normalization and ReLU. The normalized input is not stored.
    pub(crate) fn preactivation(kernel: usize, input: Image, output: Image) -> Self {
        Self::convolution(kernel, input, output) + Self::normalization(input)
    }

    /// A 3×3 depthwise convolution.
    pub(crate) fn depthwise(input: Image, output: Image) -> Self {
        Self::kernels(3, 1, input, output)
    }

    /// A 3×3 balanced group convolution after batch normalization and ReLU. Each output channel has kernels
    /// for its own group and for the mean of all groups.
    pub(crate) fn balanced_groups(groups: usize, input: Image, output: Image) -> Self {
        let kernels = 2 * input.channels / groups;
        Self::kernels(3, kernels, input, output) + Self::normalization(input)
    }

    /// A convolution with this number of kernels per output channel.
    fn kernels(kernel: usize, kernels: usize, input: Image, output: Image) -> Self {
        let parameters = kernel * kernel * kernels * output.channels;
        let multiply_adds = parameters * output.pixels();
        Self { parameters, stored: input.values(), multiply_adds }
    }

    /// Scale and shift of each channel.
    pub(crate) fn normalization(image: Image) -> Self {
        Self { parameters: 2 * image.channels, ..Self::default() }
    }

    /// A linear layer with bias, applied to each pixel, which stores its input.
    pub(crate) fn linear(from: Image, to: usize) -> Self {
        let weight = from.channels * to;
        Self {
            parameters: weight + to,
            stored: from.values(),
            multiply_adds: weight * from.pixels(),
        }
    }

    /// The same layer if another one stores its input.
    pub(crate) fn with_shared_input(self) -> Self {
        Self { stored: 0, ..self }
    }

    /// The same layer with additional values stored for the backward pass.
    pub(crate) fn storing(self, values: usize) -> Self {
        Self { stored: self.stored + values, ..self }
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            parameters: self.parameters + other.parameters,
            stored: self.stored + other.stored,
            multiply_adds: self.multiply_adds + other.multiply_adds,
        }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Self::add)
    }
}
