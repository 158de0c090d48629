//! The operands of a convolution, and the activation of its input.

use std::ops::Range;

use half::bf16;
use pulp::Simd;

use super::bf16_product::activate_narrow;
use super::element::{Element, as_bf16, widen_all, widened};
use super::elementwise::{Affine, activate};
use super::geometry::Geometry;
use super::implicit_gemm::{AnyGrid, Grid, Window};
use super::scratch::scratch_slice;

/// The operands of a convolution.
#[derive(Clone, Copy)]
pub(crate) struct Convolution<'a, E> {
    pub(crate) geometry: Geometry,
    /// `[batch, height, width, in_channels]`.
    pub(crate) input: &'a [E],
    /// Folded normalization and ReLU of each input channel, if any.
    pub(crate) activation: Option<&'a Affine>,
    /// `[out_channels, in_channels, kernel, kernel]`.
    pub(crate) weight: &'a [f32],
}

/// Reusable memory for activated pixels.
#[derive(Debug, Default)]
pub(crate) struct ActivatedBlock {
    wide: Vec<f32>,
    narrow: Vec<bf16>,
}

impl<E: Element> Convolution<'_, E> {
    pub(crate) fn check(&self) {
        let geometry = &self.geometry;
        assert!(geometry.is_supported(), "{geometry:?}");
        // Products of 32-bit floats may have an addend, which those of bfloat16 numbers do not support.
        assert!(geometry.products.is_none() || as_bf16::<E>(&[]).is_some(), "{geometry:?}");
        assert_eq!(self.input.len(), geometry.input_len());
        assert_eq!(self.weight.len(), geometry.weight_len());
        if let Some(activation) = self.activation {
            assert_eq!(activation.slope.len(), geometry.in_channels);
            assert_eq!(activation.offset.len(), geometry.in_channels);
        }
    }

    /// Returns activated pixels, which are written to `block`, or the input itself if there is nothing to compute.
    #[inline(always)]
    pub(crate) fn activated<'b, S: Simd>(
        &'b self,
        simd: S,
        pixel: usize,
        pixels: usize,
        block: &'b mut ActivatedBlock,
    ) -> AnyGrid<'b> {
        let in_channels = self.geometry.in_channels;
        let input = &self.input[pixel * in_channels..][..pixels * in_channels];
        if let Some(input) = self.geometry.narrow_pixels(input) {
            let Some(map) = self.activation else {
                return AnyGrid::Narrow(Grid::of_row(input, in_channels));
            };
            let to = scratch_slice(&mut block.narrow, input.len());
            activate_narrow(map, input, to);
            return AnyGrid::Narrow(Grid::of_row(to, in_channels));
        }
        let Some(map) = self.activation else {
            let values = widened(simd, input, &mut block.wide);
            return AnyGrid::Wide(Grid::of_row(values, in_channels));
        };
        let to = scratch_slice(&mut block.wide, input.len());
        // SAFETY: both slices have these pixels.
        unsafe { activate(simd, map, input.as_ptr(), to.as_mut_ptr(), pixels) };
        AnyGrid::Wide(Grid::of_row(to, in_channels))
    }

    /// Returns pixels of the output's gradient, which are written to `wide` if they have to be widened.
    #[inline(always)]
    pub(crate) fn gradient_row<'b, S: Simd>(
        &self,
        simd: S,
        gradient: &'b [E],
        wide: &'b mut Vec<f32>,
    ) -> AnyGrid<'b> {
        let channels = self.geometry.out_channels;
        if let Some(gradient) = self.geometry.narrow_pixels(gradient) {
            return AnyGrid::Narrow(Grid::of_row(gradient, channels));
        }
        AnyGrid::Wide(Grid::of_row(widened(simd, gradient, wide), channels))
    }

    /// Writes rows of some images, activated if there is an activation, to the interior of a padded grid.
    ///
    /// # Safety
    /// `grid` has `height + 2 padding` rows of `width + 2 padding` pixels for each image.
    #[inline(always)]
    pub(crate) unsafe fn fill_grid<S: Simd>(
        &self,
        simd: S,
        images: Range<usize>,
        rows: &Range<usize>,
        grid: &mut [f32],
    ) {
        let Geometry { height, width, in_channels, padding, .. } = self.geometry;
        let row = self.grid_row();
        for (index, image) in images.enumerate() {
            let grid = &mut grid[index * (height + 2 * padding) * row..];
            for y in rows.clone() {
                let begin = (image * height + y) * width * in_channels;
                let input = &self.input[begin..][..width * in_channels];
                let to =
                    &mut grid[(y + padding) * row + padding * in_channels..][..width * in_channels];
                match self.activation {
                    // SAFETY: both slices are one row of pixels.
                    Some(map) => unsafe {
                        activate(simd, map, input.as_ptr(), to.as_mut_ptr(), width);
                    },
                    None => widen_all(simd, input, to),
                }
            }
        }
    }

    /// Creates a grid of zeros for [`Self::fill_grid`], with room for a [group](Geometry::group) of images.
    pub(crate) fn new_grid(&self) -> Vec<f32> {
        let rows = self.geometry.height + 2 * self.geometry.padding;
        vec![0.0; self.geometry.group() * rows * self.grid_row()]
    }

    /// Returns the positions of the kernel on the grid.
    pub(crate) fn window(&self) -> Window {
        let [rows, columns] = self.geometry.output();
        Window {
            images: 1,
            rows,
            columns,
            kernel: [self.geometry.kernel; 2],
            stride: self.geometry.stride,
        }
    }

    /// Row stride of the grid, in values.
    pub(crate) fn grid_row(&self) -> usize {
        (self.geometry.width + 2 * self.geometry.padding) * self.geometry.in_channels
    }
}
