//! The backward pass: gradients with respect to the kernel, the input, and its normalization.
//!
//! With `z = max(0, slope · x + offset)` and `to = convolution(z)`, the gradient `γ` of `to` gives
//!
//! ```text
//! ∂L/∂weight = correlation of z and γ                  z is recomputed, not stored
//! ∂L/∂z      = convolution of γ with the flipped kernel
//! δ          = ∂L/∂z where z > 0, otherwise 0
//! ∂L/∂shift  = Σ δ,   ∂L/∂scale = Σ δ · (x - mean) / deviation
//! ∂L/∂x      = slope · (δ - Σδ / n - (x - mean) · Σ(δ · (x - mean)) / (variance · n))
//! ```
//!
//! Here `n` is the number of pixels in the batch, and `variance` includes the small constant `ε`.
//! If the statistics are constants (in evaluation), the two terms with sums in the last line are
//! omitted. The last line needs complete sums, so it takes a second pass over the input (module
//! `norm_gradient`).

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::bf16_product;
use crate::cpu::chunks::{Chunk, block_pixels, map_chunks};
use crate::cpu::convolution::{ActivatedBlock, Convolution};
use crate::cpu::element::{Element, narrow_sum, widen_all, widened};
use crate::cpu::elementwise::{ReluGradient, Sums, relu_backward};
use crate::cpu::folded_norm::SavedStatistics;
use crate::cpu::geometry::Geometry;
use crate::cpu::gradients::{GradientMask, Gradients};
use crate::cpu::implicit_gemm::{AnyGrid, Grid, OutputView, Prefetch, Window, correlate};
use crate::cpu::microkernel::tile_width;
use crate::cpu::norm_gradient::DeltaSource;
use crate::cpu::scratch::{Scratch, scratch_slice};
use crate::cpu::shared_slice::{SharedSlice, vec_written_by};
use crate::cpu::stride_phase::{PackPhases, StridePhase, input_gradient_pointwise};
use crate::cpu::winograd::{self, InverseTransformKernel};
use crate::simd::SimdLevel;

impl<E: Element> Convolution<'_, E> {
    /// Computes the gradients in `mask` from the gradient of the output. With `sum`, the gradient
    /// of the input is added to `sum` instead of returned.
    ///
    /// # Panics
    /// If the size of an operand does not match the geometry, if only one of the activation and its
    /// `saved` statistics is given, or if there is a `sum` without an activation or a requested
    /// input gradient.
    pub(crate) fn backward(
        &self,
        level: SimdLevel,
        gradient: &[E],
        saved: Option<SavedStatistics<'_>>,
        mask: GradientMask,
        sum: Option<&mut [E]>,
    ) -> Gradients<E> {
        self.check();
        let geometry = self.geometry;
        assert_eq!(gradient.len(), geometry.output_len());
        assert_eq!(self.activation.is_some(), saved.is_some());
        if let Some(saved) = saved {
            let lengths = [saved.mean.len(), saved.mean_residual.len(), saved.inverse_std.len()];
            assert_eq!(lengths, [geometry.in_channels; 3]);
        }
        let phases = match mask.input {
            true => level.run(PackPhases { weight: self.weight, geometry: &geometry }),
            false => Vec::new(),
        };
        let pass = |delta: Delta<'_, E>| {
            map_chunks(geometry.batch, geometry.bands(), |chunk| {
                let (convolution, phases, weight) = (*self, &phases, mask.weight);
                level.run(Backward { convolution, phases, gradient, saved, delta, weight, chunk })
            })
        };
        let mut gradients = Gradients::default();
        let (mut partials, mut delta) = (Vec::new(), None);
        match mask.input {
            false => partials = pass(Delta::NotRequested),
            true if saved.is_some() && geometry.recomputes_delta() => {
                partials = pass(Delta::Recomputed)
            }
            true => {
                let len = geometry.input_len();
                // SAFETY: the chunks write the gradients of all input pixels before they read them.
                delta =
                    Some(unsafe { vec_written_by(len, |to| partials = pass(Delta::Stored(to))) });
            }
        }
        if let (true, Some(saved)) = (mask.input, saved) {
            let mut sums = Sums::new(geometry.in_channels);
            partials.iter().for_each(|partial| sums.add(&partial.sums));
            let source = match delta {
                Some(delta) => DeltaSource::Stored(delta),
                None => DeltaSource::Recomputed { gradient, phases: &phases },
            };
            self.norm_gradient(level, saved, &sums, source, sum, &mut gradients);
        } else {
            assert!(sum.is_none(), "a sum requires an activation and the input gradient");
            gradients.input = delta;
        }
        if mask.weight {
            let partials: Vec<_> = partials.into_iter().map(|partial| partial.weight).collect();
            gradients.weight = Some(self.sum_weight_gradients(level, &partials));
        }
        gradients
    }

    /// Sums the partial weight gradients of all chunks, in the layout of the weight.
    fn sum_weight_gradients(&self, level: SimdLevel, partials: &[Vec<f32>]) -> Vec<f32> {
        let Geometry { in_channels, out_channels, kernel, .. } = self.geometry;
        if let Some(tile) = self.geometry.winograd_tile() {
            return level.run(InverseTransformKernel { tile, partials, in_channels, out_channels });
        }
        let mut sum = vec![0.0; partials.first().map_or(0, Vec::len)];
        for partial in partials {
            sum.iter_mut().zip(partial).for_each(|(sum, term)| *sum += term);
        }
        let padded = sum.len() / self.geometry.depth();
        let mut weight = vec![0.0; self.geometry.weight_len()];
        for (step, line) in sum.chunks_exact(padded).enumerate() {
            let (place, channel) = (step / in_channels, step % in_channels);
            for (column, &value) in line.iter().enumerate().take(out_channels) {
                weight[(column * in_channels + channel) * kernel * kernel + place] = value;
            }
        }
        weight
    }
}

struct Backward<'a, E> {
    convolution: Convolution<'a, E>,
    phases: &'a [StridePhase],
    gradient: &'a [E],
    saved: Option<SavedStatistics<'a>>,
    delta: Delta<'a, E>,
    weight: bool,
    chunk: Chunk,
}

/// The use of `δ` in the first pass.
#[derive(Clone, Copy)]
enum Delta<'a, E> {
    /// `δ` is not computed, because the gradient of the input is not requested.
    NotRequested,
    /// Only the sums of `δ` are kept; the second pass recomputes `δ`.
    Recomputed,
    /// `δ` is written to memory.
    Stored(SharedSlice<'a, E>),
}

/// The contribution of one chunk to the gradients of the parameters.
struct PartialGradients {
    sums: Sums,
    /// `[kernel row, kernel column, in_channels][out_channels, padded]`, or transformed for
    /// Winograd's algorithm.
    weight: Vec<f32>,
}

/// Reusable working memory.
#[derive(Default)]
struct Buffers {
    /// Pixels of the output's gradient, with their channels padded to whole tiles.
    filled: Vec<f32>,
    scratch: Scratch,
}

impl<E: Element> WithSimd for Backward<'_, E> {
    type Output = PartialGradients;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> PartialGradients {
        let geometry = self.convolution.geometry;
        let padded = geometry.out_channels.next_multiple_of(tile_width::<S>(geometry.out_channels));
        let weight = match (self.weight, geometry.winograd_tile()) {
            (true, Some(tile)) => winograd::transformed_len(tile, geometry.in_channels, padded),
            (true, None) => geometry.depth() * padded,
            (false, _) => 0,
        };
        let mut done =
            PartialGradients { sums: Sums::new(geometry.in_channels), weight: vec![0.0; weight] };
        match geometry.is_pointwise() {
            true => self.pointwise(simd, padded, &mut done),
            false => self.spatial(simd, padded, &mut done),
        }
        done
    }
}

impl<E: Element> Backward<'_, E> {
    #[inline(always)]
    fn pointwise<S: Simd>(&self, simd: S, padded: usize, done: &mut PartialGradients) {
        let Convolution { geometry, input, .. } = self.convolution;
        let Geometry { in_channels, out_channels: channels, .. } = geometry;
        let block = block_pixels(in_channels.max(channels));
        let mut activated = ActivatedBlock::default();
        let requested = !matches!(self.delta, Delta::NotRequested);
        let (mut wide, mut buffers) = (Vec::new(), Buffers::default());
        let buffered = requested && (self.convolution.activation.is_some() || !E::IS_F32);
        let mut delta = vec![0.0; if buffered { block * in_channels } else { 0 }];
        let Range { start: mut pixel, end } = self.chunk.values(geometry.input_pixels());
        while pixel < end {
            let pixels = block.min(end - pixel);
            let window = Window::of_row(pixels);
            let input = &input[pixel * in_channels..][..pixels * in_channels];
            let gradient = &self.gradient[pixel * channels..][..pixels * channels];
            let after = gradient.as_ptr_range().end;
            let gradient = self.convolution.gradient_row(simd, gradient, &mut wide);
            // SAFETY: these pixels belong to this chunk alone; the blocks have room for them.
            unsafe {
                if self.weight {
                    let grid = self.convolution.activated(simd, pixel, pixels, &mut activated);
                    let to = &mut done.weight;
                    self.correlate(simd, (grid, window), gradient, padded, to, &mut buffers);
                }
                let to = match self.delta {
                    Delta::NotRequested => None,
                    Delta::Recomputed => Some(std::ptr::null_mut()),
                    Delta::Stored(to) => Some(to.at(pixel * in_channels, pixels * in_channels)),
                };
                if let Some(to) = to {
                    // With an activation, `∂L/∂z` stays in the cache and only `δ` goes to memory.
                    let delta = if buffered { delta.as_mut_ptr() } else { to.cast() };
                    let is_last = pixel + pixels == end;
                    let next = [input.as_ptr_range().end, after];
                    let from = if is_last { [std::ptr::null(); 2] } else { next };
                    let prefetch = Prefetch::new(from, [in_channels, channels]);
                    input_gradient_pointwise(
                        simd,
                        self.phases,
                        (gradient, window),
                        (delta, in_channels),
                        prefetch,
                        &mut buffers.scratch,
                    );
                    let x = input.as_ptr();
                    let operands = ReluGradient { pixels, x, gradient: delta, to };
                    self.relu_backward(simd, operands, &mut done.sums);
                }
            }
            pixel += pixels;
        }
    }

    #[inline(always)]
    fn spatial<S: Simd>(&self, simd: S, padded: usize, done: &mut PartialGradients) {
        let Convolution { geometry, input, .. } = self.convolution;
        let Geometry { height, width, in_channels, out_channels: channels, stride, .. } = geometry;
        let [output_rows, columns] = geometry.output();
        let (input_row, gradient_row) = (width * in_channels, columns * channels);
        let mut grid = if self.weight { self.convolution.new_grid() } else { Vec::new() };
        // The gradient of the output, padded with zeros for the flipped kernel.
        let margin = geometry.margin();
        let [framed_rows, framed_columns] = geometry.framed();
        let framed_row = framed_columns * channels;
        let stored = match self.delta {
            Delta::Stored(to) => Some(to),
            Delta::NotRequested => None,
            Delta::Recomputed => unreachable!("`δ` is recomputed only for pointwise convolutions"),
        };
        let group = geometry.group();
        // From one image of a group to the next: two more rows than an image has.
        let spacing = height + 2;
        let frames = framed_rows + (group - 1) * spacing;
        let mut framed = vec![0.0; if stored.is_some() { frames * framed_row } else { 0 }];
        // Gradients as 32-bit floats, if the states do not consist of them.
        let (mut wide, mut delta) = (Vec::new(), Vec::new());
        let mut buffers = Buffers::default();
        for (images, rows) in self.chunk.parts(output_rows, group) {
            let gradient = &self.gradient[images.start * output_rows * gradient_row..];
            let count = images.len();
            // SAFETY: the grids have the required sizes; these rows belong to this chunk alone.
            unsafe {
                if self.weight {
                    let inputs = geometry.input_rows(&rows);
                    self.convolution.fill_grid(simd, images.clone(), &inputs, &mut grid);
                    let row = self.convolution.grid_row();
                    let values = &grid[rows.start * stride * row..];
                    let grid = Grid { values, row, channels: in_channels };
                    let window = self.convolution.window();
                    let window = Window { images: count, rows: rows.len(), ..window };
                    let values =
                        &gradient[rows.start * gradient_row..][..count * rows.len() * gradient_row];
                    let values = widened(simd, values, &mut wide);
                    let gradient = Grid { values, row: gradient_row, channels };
                    let to = &mut done.weight;
                    if let Some(tile) = geometry.winograd_tile() {
                        let scratch = &mut buffers.scratch.winograd;
                        winograd::correlate(simd, tile, grid, window, gradient, to, scratch);
                    } else {
                        let operands = (AnyGrid::Wide(grid), window);
                        let gradient = AnyGrid::Wide(gradient);
                        self.correlate(simd, operands, gradient, padded, to, &mut buffers);
                    }
                }
                if let Some(to) = stored {
                    let inputs = if geometry.bands() == 1 { 0..height } else { rows };
                    for index in 0..count {
                        for y in geometry.output_rows(&inputs) {
                            let line = (index * output_rows + y) * gradient_row;
                            let line = &gradient[line..][..gradient_row];
                            let row = index * spacing + y + margin;
                            let place = row * framed_row + margin * channels;
                            widen_all(simd, line, &mut framed[place..][..gradient_row]);
                        }
                    }
                    let first = (images.start * height + inputs.start) * input_row;
                    let len = count * inputs.len() * input_row;
                    let to = to.at(first, len);
                    let delta = match E::IS_F32 {
                        true => to.cast::<f32>(),
                        false => scratch_slice(&mut delta, len).as_mut_ptr(),
                    };
                    for phase in self.phases {
                        let StridePhase { first: [y, x], start: [row, column], kernel, packed } =
                            phase;
                        let rows = (inputs.len() - y).div_ceil(stride);
                        let columns = (width - x).div_ceil(stride);
                        let pixel = stride * in_channels;
                        let to = delta.add((y * width + x) * in_channels);
                        let add = std::ptr::null();
                        let prefetch = Prefetch::NOTHING;
                        let place = OutputView { to, row: width * pixel, pixel, add, prefetch };
                        let Some(packed) = packed else {
                            clear(place, rows, columns, in_channels);
                            continue;
                        };
                        let row = row + inputs.start;
                        let values = &framed[row * framed_row + column * channels..];
                        let grid = AnyGrid::Wide(Grid { values, row: framed_row, channels });
                        let kernel = *kernel;
                        let window = Window { images: count, rows, columns, kernel, stride: 1 };
                        packed.convolve(simd, grid, window, place, &mut buffers.scratch);
                    }
                    let pixels = count * inputs.len() * width;
                    let input = input[first..][..pixels * in_channels].as_ptr();
                    let operands = ReluGradient { pixels, x: input, gradient: delta, to };
                    self.relu_backward(simd, operands, &mut done.sums);
                }
            }
        }
    }

    /// Adds the gradient of the kernel to `to`, in the layout of [`correlate`]. `gradient` consists of the contiguous pixels
    /// of the window, with the output channels each.
    ///
    /// # Safety
    /// The machine has the instructions of the geometry. The grid can be read at all positions of the window.
    ///
    /// # Panics
    /// If operands are narrow without products of bfloat16 numbers, if only one of them is, or if `to` does not have as many values
    /// as the gradient with its channels padded.
    #[inline(always)]
    unsafe fn correlate<S: Simd>(
        &self,
        simd: S,
        (grid, window): (AnyGrid<'_>, Window),
        gradient: AnyGrid<'_>,
        padded: usize,
        to: &mut [f32],
        Buffers { filled, scratch }: &mut Buffers,
    ) {
        let Geometry { products, out_channels: channels, .. } = self.convolution.geometry;
        assert_eq!(to.len(), self.convolution.geometry.depth() * padded);
        let (tiles, to) = (&mut scratch.tiles, (to.as_mut_ptr(), padded));
        // SAFETY: as the caller promises; `to` has room for the gradient.
        unsafe {
            match (grid, gradient, products) {
                (AnyGrid::Wide(grid), AnyGrid::Wide(gradient), products) => {
                    let gradient = padded_pixels(gradient.values, channels, padded, filled);
                    let pixels = Grid::of_row(gradient, padded);
                    let operands = (grid, window);
                    let multiplied = products.is_some_and(|products| {
                        bf16_product::correlate(products, operands, pixels, to, tiles)
                    });
                    if !multiplied {
                        let from = gradient.as_ptr();
                        correlate(simd, grid, window, from, channels, padded, to.0);
                    }
                }
                (AnyGrid::Narrow(grid), AnyGrid::Narrow(gradient), Some(products)) => {
                    let operands = (grid, window);
                    let multiplied =
                        bf16_product::correlate(products, operands, gradient, to, tiles);
                    assert!(multiplied, "narrow pixels have channels in whole tiles");
                }
                _ => panic!("narrow operands without products of them, or only one is narrow"),
            }
        }
    }

    /// Converts `∂L/∂z` to `δ`, and adds to `sums`. Without an activation, `∂L/∂z` is rounded.
    ///
    /// # Safety
    /// As for [`relu_backward`].
    #[inline(always)]
    unsafe fn relu_backward<S: Simd>(&self, simd: S, operands: ReluGradient<E>, sums: &mut Sums) {
        if let (Some(map), Some(saved)) = (self.convolution.activation, self.saved) {
            // Hidden from the compiler: if it knew that a gradient is overwritten, it would write with a mask,
            // which is several times slower on AMD processors.
            let gradient = std::hint::black_box(operands.gradient);
            let operands = ReluGradient { gradient, ..operands };
            // SAFETY: as the caller promises.
            unsafe { relu_backward(simd, map, saved.mean, operands, sums) };
        } else if !E::IS_F32 {
            let ReluGradient { pixels, gradient, to, .. } = operands;
            let len = pixels * self.convolution.geometry.in_channels;
            // SAFETY: as the caller promises.
            unsafe {
                let gradient = std::slice::from_raw_parts(gradient, len);
                narrow_sum(simd, gradient, std::ptr::null(), to);
            }
        }
    }
}

/// Writes zeros for pixels that no output depends on.
///
/// # Safety
/// `rows · columns` pixels of `channels` channels can be written in `place`.
unsafe fn clear(place: OutputView, rows: usize, columns: usize, channels: usize) {
    for y in 0..rows {
        for x in 0..columns {
            // SAFETY: the pixel is one that the caller allows to be written; zero bytes are the
            // number zero.
            unsafe {
                place.to.add(y * place.row + x * place.pixel).write_bytes(0, channels);
            }
        }
    }
}

/// Returns the pixels with their channels padded to whole tiles. The padded pixels are stored in
/// `filled`, unless no padding is needed.
fn padded_pixels<'a>(
    values: &'a [f32],
    channels: usize,
    padded: usize,
    filled: &'a mut Vec<f32>,
) -> &'a [f32] {
    if padded == channels {
        return values;
    }
    // The padding of each pixel stays zero.
    let filled = scratch_slice(filled, values.len() / channels * padded);
    for (pixel, to) in values.chunks_exact(channels).zip(filled.chunks_exact_mut(padded)) {
        to[..channels].copy_from_slice(pixel);
    }
    filled
}
