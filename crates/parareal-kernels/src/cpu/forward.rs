//! The forward pass: `to = residual + convolution(activation(input))`.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::chunks::{Chunk, block_pixels, map_chunks};
use super::convolution::Convolution;
use super::geometry::Geometry;
use super::implicit_gemm::{Grid, OutputView, Prefetch, Window};
use super::moments::Moments;
use super::packed_weight::PackedWeight;
use super::shared_slice::{SharedSlice, vec_written_by};
use super::winograd::Scratch;
use crate::simd::SimdLevel;

impl Convolution<'_> {
    /// Returns `residual + convolution`, `[batch, output height, output width, out_channels]`. If
    /// `statistics` is true, also returns the mean and the variance of each output channel. They
    /// are measured while the output is in the cache, at almost no cost.
    ///
    /// # Panics
    /// If the sizes of the operands do not match the geometry.
    pub(crate) fn forward(
        &self,
        level: SimdLevel,
        residual: Option<&[f32]>,
        statistics: bool,
    ) -> (Vec<f32>, Option<[Vec<f64>; 2]>) {
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
        let tile = self.geometry.winograd_tile();
        PackedWeight::pack(simd, tile, places, [in_channels, out_channels], self.weight, place)
    }
}

struct Forward<'a> {
    convolution: Convolution<'a>,
    kernel: &'a PackedWeight,
    residual: Option<&'a [f32]>,
    to: SharedSlice<'a>,
    statistics: bool,
    chunk: Chunk,
}

impl WithSimd for Forward<'_> {
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

impl Forward<'_> {
    /// Returns a pointer to the residual at `index`, or null if there is no residual.
    ///
    /// # Safety
    /// `index` is within the output.
    #[inline(always)]
    unsafe fn residual(&self, index: usize) -> *const f32 {
        // SAFETY: the residual is as long as the output.
        self.residual.map_or(std::ptr::null(), |values| unsafe { values.as_ptr().add(index) })
    }

    /// Convolves blocks of pixels, which are activated in the first-level cache.
    #[inline(always)]
    fn pointwise<S: Simd>(&self, simd: S, moments: &mut Option<Moments>) {
        let geometry = self.convolution.geometry;
        let Geometry { in_channels, out_channels: channels, .. } = geometry;
        let block = block_pixels(in_channels);
        let mut activated = vec![0.0; block * in_channels];
        let mut scratch = Scratch::default();
        let Range { start: mut pixel, end } = self.chunk.values(geometry.input_pixels());
        while pixel < end {
            let pixels = block.min(end - pixel);
            let window = Window { images: 1, rows: 1, columns: pixels, kernel: [1, 1], stride: 1 };
            // SAFETY: these pixels belong to this chunk alone; the block has room for them.
            unsafe {
                let values = self.convolution.activated(simd, pixel, pixels, &mut activated);
                let grid = Grid { values, row: 0, channels: in_channels };
                let to = self.to.at(pixel * channels, pixels * channels);
                let add = self.residual(pixel * channels);
                let mut place = OutputView::dense(to, pixels, channels, add);
                if pixel + pixels < end {
                    let next = self.convolution.input[(pixel + pixels) * in_channels..].as_ptr();
                    place.prefetch =
                        Prefetch { from: [next, std::ptr::null()], pixel: [in_channels, 0] };
                }
                self.kernel.convolve(simd, grid, window, place, &mut scratch);
                if let Some(moments) = moments {
                    moments.accumulate(simd, to, pixels);
                }
            }
            pixel += pixels;
        }
    }

    /// Convolves image by image, each activated into a padded grid.
    #[inline(always)]
    fn spatial<S: Simd>(&self, simd: S, moments: &mut Option<Moments>) {
        let geometry = self.convolution.geometry;
        let mut grid = self.convolution.new_grid();
        let mut scratch = Scratch::default();
        let [height, columns] = geometry.output();
        let size = columns * geometry.out_channels;
        for (images, rows) in self.chunk.parts(height, geometry.group()) {
            // SAFETY: the grid has the required size; these rows belong to this chunk alone.
            unsafe {
                let inputs = geometry.input_rows(&rows);
                self.convolution.fill_grid(simd, images.clone(), &inputs, &mut grid);
                let row = self.convolution.grid_row();
                let values = &grid[rows.start * geometry.stride * row..];
                let grid = Grid { values, row, channels: geometry.in_channels };
                let first = (images.start * height + rows.start) * size;
                let to = self.to.at(first, images.len() * rows.len() * size);
                let window =
                    Window { images: images.len(), rows: rows.len(), ..self.convolution.window() };
                let add = self.residual(first);
                let place = OutputView::dense(to, columns, geometry.out_channels, add);
                self.kernel.convolve(simd, grid, window, place, &mut scratch);
                if let Some(moments) = moments {
                    moments.accumulate(simd, to, images.len() * rows.len() * columns);
                }
            }
        }
    }
}
