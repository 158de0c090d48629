//! The sizes of a convolution.

use std::ops::Range;

use half::bf16;

use crate::cpu::bf16_product::{self, Bf16Products};
use crate::cpu::element::{Element, as_bf16};

/// Number of tiles from which on an image is computed alone.
const MIN_GROUP_TILES: usize = 16;

/// The sizes of a convolution of images stored as `[batch, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Number of images.
    pub(crate) batch: usize,
    /// Rows of the input.
    pub(crate) height: usize,
    /// Columns of the input.
    pub(crate) width: usize,
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
    /// Instructions for products of bfloat16 numbers, which this machine has; `None` to multiply 32-bit floats.
    pub(crate) products: Option<Bf16Products>,
}

impl Geometry {
    /// Rows and columns of the output.
    ///
    /// # Panics
    /// If the kernel is larger than the padded input, or the stride is zero.
    pub(crate) fn output(&self) -> [usize; 2] {
        [self.height, self.width]
            .map(|size| (size + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    /// Returns true if the fused passes support this convolution: no size is zero, the kernel fits
    /// into the padded input, and no position of the kernel covers only padding.
    pub(crate) fn is_supported(&self) -> bool {
        let padded = self.height.min(self.width) + 2 * self.padding;
        let sizes =
            [self.batch, self.height, self.width, self.in_channels, self.out_channels, self.stride];
        !sizes.contains(&0) && (1..=padded).contains(&self.kernel) && self.padding < self.kernel
    }

    /// Returns true if each output pixel depends only on the input pixel at the same position.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// Returns true if pixels are multiplied as bfloat16 numbers, without being widened. This holds for pointwise
    /// convolutions whose numbers of channels are multiples of a tile's.
    pub(crate) fn has_narrow_pixels(&self) -> bool {
        let channels = [self.in_channels, self.out_channels];
        self.products.is_some()
            && self.is_pointwise()
            && channels.iter().all(|channels| channels.is_multiple_of(bf16_product::TILE))
    }

    /// Returns the pixels if they are [multiplied without being widened](Self::has_narrow_pixels), otherwise `None`.
    pub(crate) fn narrow_pixels<'a, E: Element>(&self, pixels: &'a [E]) -> Option<&'a [bf16]> {
        as_bf16(pixels).filter(|_| self.has_narrow_pixels())
    }

    /// Number of bands of an image that can be computed apart from each other: pixels if the convolution is pointwise,
    /// rows of tiles for Winograd's algorithm, and the whole image otherwise.
    pub(crate) fn bands(&self) -> usize {
        match self.winograd_tile() {
            _ if self.is_pointwise() => self.input_pixels(),
            Some(tile) if self.output()[0] == self.height => self.height / tile.rows(),
            _ => 1,
        }
    }

    /// Number of images that are computed together: small ones, until they have as many tiles as a product has rows.
    pub(crate) fn group(&self) -> usize {
        match self.winograd_tile() {
            Some(tile) if self.output() == [self.height, self.width] => {
                MIN_GROUP_TILES.div_ceil(self.output_pixels() / tile.rows().pow(2))
            }
            _ => 1,
        }
    }

    /// Returns the input rows that these output rows depend on.
    pub(crate) fn input_rows(&self, rows: &Range<usize>) -> Range<usize> {
        let last = rows.end.saturating_sub(1) * self.stride + self.kernel;
        (rows.start * self.stride).saturating_sub(self.padding)
            ..last.saturating_sub(self.padding).min(self.height)
    }

    /// Returns the output rows that depend on these input rows, if the convolution has no stride, or if they are all
    /// rows.
    pub(crate) fn output_rows(&self, rows: &Range<usize>) -> Range<usize> {
        (rows.start + self.padding + 1).saturating_sub(self.kernel)
            ..(rows.end + self.padding).min(self.output()[0])
    }

    /// Number of pixels in an input image.
    pub(crate) fn input_pixels(&self) -> usize {
        self.height * self.width
    }

    /// Number of pixels in an output image.
    pub(crate) fn output_pixels(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    /// Number of values in the whole input.
    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.input_pixels() * self.in_channels
    }

    /// Number of values in the whole output.
    pub(crate) fn output_len(&self) -> usize {
        self.batch * self.output_pixels() * self.out_channels
    }

    /// Number of values in the weight.
    pub(crate) fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel * self.kernel
    }

    /// Number of input values that one output value depends on.
    pub(crate) fn depth(&self) -> usize {
        self.kernel * self.kernel * self.in_channels
    }
}
