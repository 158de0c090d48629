//! The sizes of a convolution that its kernels are compiled for.

use crate::cpu::geometry::Geometry;

use super::tile::{MAX_BLOCKS, MAX_ELEMENTS};

/// The sizes of a convolution except for the batch. Kernels are compiled for each of them, so that divisions by these sizes
/// are cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvShape {
    /// Rows of the input.
    pub(crate) height: usize,
    /// Columns of the input.
    pub(crate) width: usize,
    /// Rows of the output.
    pub(crate) out_height: usize,
    /// Columns of the output.
    pub(crate) out_width: usize,
    /// Channels of the input.
    pub(crate) in_channels: usize,
    /// Channels of the output.
    pub(crate) out_channels: usize,
    /// Rows and columns of the kernel.
    pub(crate) kernel: usize,
    /// Distance between positions of the kernel, in rows and columns.
    pub(crate) stride: usize,
    /// Rows and columns of zeros on each side.
    pub(crate) padding: usize,
}

impl ConvShape {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let Geometry { height, width, in_channels, out_channels, kernel, stride, padding, .. } =
            *geometry;
        let [out_height, out_width] = geometry.output();
        #[rustfmt::skip]
        let shape = Self {
            height, width, out_height, out_width, in_channels, out_channels, kernel, stride, padding,
        };
        shape
    }

    /// Number of positions within the kernel.
    pub(crate) fn places(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Number of input values that one output value depends on.
    pub(crate) fn depth(&self) -> usize {
        self.places() * self.in_channels
    }

    /// Number of values in the weight.
    pub(crate) fn weight_len(&self) -> usize {
        self.depth() * self.out_channels
    }

    /// Returns true if devices support the grids and indices of all kernels of this convolution. `least` is the smallest
    /// number of rows of a block.
    pub(crate) fn is_supported(&self, batch: usize, least: usize) -> bool {
        let pixels = [self.height * self.width, self.out_height * self.out_width];
        let channels = [self.in_channels, self.out_channels];
        let fits = |(pixels, channels): (usize, usize)| {
            let pixels = batch * pixels;
            pixels > 0 && pixels.div_ceil(least) <= MAX_BLOCKS && pixels * channels < MAX_ELEMENTS
        };
        pixels.into_iter().zip(channels).all(fits)
            && channels.into_iter().all(|channels| channels <= MAX_BLOCKS)
            && self.depth() <= MAX_BLOCKS
    }

    /// Returns true if each output pixel depends only on the input pixel of the same number.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }
}
