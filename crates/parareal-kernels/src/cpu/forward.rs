//! The forward pass: `to = residual + convolution(activation(input))`.

use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;
use pulp::{Simd, WithSimd};

use super::bf16_product;
use super::chunks::{Chunk, block_pixels, map_chunks};
use super::convolution::{ActivatedBlock, Convolution};
use super::element::{Element, as_bf16, narrow_sum};
use super::geometry::Geometry;
use super::implicit_gemm::{AnyGrid, Grid, OutputView, Prefetch, Window};
use super::moments::Moments;
use super::packed_weight::PackedWeight;
use super::scratch::{Scratch, scratch_slice};
use super::shared_slice::{SharedSlice, vec_written_by};
use crate::simd::SimdLevel;

impl<E: Element> Convolution<'_, E> {
    /// Returns `residual + convolution`, `[batch, output height, output width, out_channels]`. If
    /// `statistics` is true, also returns the mean and the variance of each output channel. They
    /// are measured while the output is in the cache, at almost no cost.
    ///
    /// # Panics
    /// If the sizes of the operands do not match the geometry.
    pub(crate) fn forward(
        &self,
        level: SimdLevel,
        residual: Option<&[E]>,
        statistics: bool,
    ) -> (Vec<E>, Option<[Vec<f64>; 2]>) {
        self.check();
        let len = self.geometry.output_len();
        assert!(residual.is_none_or(|residual| residual.len() == len));
        let kernel = level.run(PackForward { weight: self.weight, geometry: &self.geometry });
        let convolution = *self;
        let mut moments = Vec::new();
        // SAFETY: the chunks write all output pixels, and read none before it is written.
        let output = unsafe {
            vec_written_by(len, |to| {
                moments = map_chunks(self.geometry.batch, self.geometry.bands(), |chunk| {
                    let kernel = &kernel;
                    level.run(Forward { convolution, kernel, residual, to, statistics, chunk })
                });
            })
        };
        let moments: Option<Vec<Moments>> = moments.into_iter().collect();
        (output, moments.map(|moments| Moments::finish(&moments, self.geometry.out_channels)))
    }
}

struct PackForward<'a> {
    weight: &'a [f32],
    geometry: &'a Geometry,
}

impl WithSimd for PackForward<'_> {
    type Output = PackedWeight;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> PackedWeight {
        let Geometry { in_channels, out_channels, kernel, .. } = *self.geometry;
        let places = kernel * kernel;
        let place = |step: usize| {
            let (place, channel) = (step / in_channels, step % in_channels);
            [channel * places + place, in_channels * places]
        };
        let channels = [in_channels, out_channels];
        PackedWeight::pack(simd, self.geometry, [kernel; 2], channels, self.weight, place)
    }
}

/// Reusable working memory.
#[derive(Default)]
struct Buffers {
    /// The convolution, before it is rounded to the elements of the output.
    sums: Vec<f32>,
    scratch: Scratch,
}

struct Forward<'a, E> {
    convolution: Convolution<'a, E>,
    kernel: &'a PackedWeight,
    residual: Option<&'a [E]>,
    to: SharedSlice<'a, E>,
    statistics: bool,
    chunk: Chunk,
}

impl<E: Element> WithSimd for Forward<'_, E> {
    type Output = Option<Moments>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<Moments> {
        let mut moments =
            self.statistics.then(|| Moments::new(self.convolution.geometry.out_channels));
        match self.convolution.geometry.is_pointwise() {
            true => self.pointwise(simd, &mut moments),
            false => self.spatial(simd, &mut moments),
        }
        moments
    }
}

impl<E: Element> Forward<'_, E> {
    /// Returns a pointer to the residual at `index`, or null if there is no residual.
    ///
    /// # Safety
    /// `index` is within the output.
    #[inline(always)]
    unsafe fn residual(&self, index: usize) -> *const E {
        // SAFETY: the residual is as long as the output.
        self.residual.map_or(std::ptr::null(), |values| unsafe { values.as_ptr().add(index) })
    }

    /// Writes the sum of the convolution of a grid and the residual, dense pixels that start at `first`. `sums` is
    /// where the convolution is computed if the output does not consist of 32-bit floats.
    ///
    /// # Safety
    /// As for [`PackedWeight::convolve`]. The pixels belong to this chunk alone.
    #[inline(always)]
    unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        (grid, window): (AnyGrid<'_>, Window),
        first: usize,
        prefetch: Prefetch,
        buffers: &mut Buffers,
        moments: &mut Option<Moments>,
    ) {
        let channels = self.convolution.geometry.out_channels;
        let pixels = window.images * window.rows * window.columns;
        let Buffers { sums, scratch } = buffers;
        // SAFETY: as the caller promises.
        unsafe {
            let to = self.to.at(first, pixels * channels);
            let add = self.residual(first);
            let (place, addend) = match E::IS_F32 {
                true => (to.cast::<f32>(), add.cast::<f32>()),
                false => (scratch_slice(sums, pixels * channels).as_mut_ptr(), std::ptr::null()),
            };
            let view = OutputView::dense(place, window.columns, channels, addend);
            let view = OutputView { prefetch, ..view };
            self.kernel.convolve(simd, grid, window, view, scratch);
            if !E::IS_F32 {
                self.round_sum(simd, &sums[..pixels * channels], first, to);
            }
            if let Some(moments) = moments {
                moments.accumulate(simd, to, pixels);
            }
        }
    }

    /// Writes `values + residual`, rounded, to the pixels that start at `first`.
    ///
    /// # Safety
    /// The pixels are within the output, and belong to this chunk alone. `to` is where they are written, as many numbers as
    /// there are values.
    #[inline(always)]
    unsafe fn round_sum<S: Simd>(&self, simd: S, values: &[f32], first: usize, to: *mut E) {
        // SAFETY: as the caller promises; the residual is as long as the output. There are products of bfloat16 numbers only
        // if `E` is bfloat16: see `Convolution::check`.
        unsafe {
            if self.convolution.geometry.products.is_some() {
                let residual = self.residual.map(|residual| &residual[first..][..values.len()]);
                let to =
                    std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<bf16>>(), values.len());
                bf16_product::round_sum(values, residual.and_then(as_bf16), to);
            } else {
                narrow_sum(simd, values, self.residual(first), to);
            }
        }
    }

    /// Convolves blocks of pixels, which are activated in the first-level cache.
    #[inline(always)]
    fn pointwise<S: Simd>(&self, simd: S, moments: &mut Option<Moments>) {
        let geometry = self.convolution.geometry;
        let Geometry { in_channels, out_channels: channels, .. } = geometry;
        // Sums that are rounded have to stay in the cache, too.
        let block = block_pixels(if E::IS_F32 { in_channels } else { in_channels.max(channels) });
        let mut activated = ActivatedBlock::default();
        let mut buffers = Buffers::default();
        let Range { start: mut pixel, end } = self.chunk.values(geometry.input_pixels());
        while pixel < end {
            let pixels = block.min(end - pixel);
            let window = Window::of_row(pixels);
            // SAFETY: these pixels belong to this chunk alone.
            unsafe {
                let grid = self.convolution.activated(simd, pixel, pixels, &mut activated);
                let mut prefetch = Prefetch::NOTHING;
                if pixel + pixels < end {
                    let next = self.convolution.input[(pixel + pixels) * in_channels..].as_ptr();
                    prefetch = Prefetch::new([next, std::ptr::null()], [in_channels, 0]);
                }
                let first = pixel * channels;
                self.convolve(simd, (grid, window), first, prefetch, &mut buffers, moments);
            }
            pixel += pixels;
        }
    }

    /// Convolves image by image, each activated into a padded grid.
    #[inline(always)]
    fn spatial<S: Simd>(&self, simd: S, moments: &mut Option<Moments>) {
        let geometry = self.convolution.geometry;
        let mut grid = self.convolution.new_grid();
        let mut buffers = Buffers::default();
        let [height, columns] = geometry.output();
        let size = columns * geometry.out_channels;
        for (images, rows) in self.chunk.parts(height, geometry.group()) {
            // SAFETY: the grid has the required size; these rows belong to this chunk alone.
            unsafe {
                let inputs = geometry.input_rows(&rows);
                self.convolution.fill_grid(simd, images.clone(), &inputs, &mut grid);
                let row = self.convolution.grid_row();
                let values = &grid[rows.start * geometry.stride * row..];
                let grid = AnyGrid::Wide(Grid { values, row, channels: geometry.in_channels });
                let first = (images.start * height + rows.start) * size;
                let window =
                    Window { images: images.len(), rows: rows.len(), ..self.convolution.window() };
                let prefetch = Prefetch::NOTHING;
                self.convolve(simd, (grid, window), first, prefetch, &mut buffers, moments);
            }
        }
    }
}
