//! Depthwise convolutions (one kernel per channel), forward and backward.
//!
//! For a kernel `w` of `[channels, 1, 3, 3]`, output pixels `p`, input pixels `q` and the gradient
//! `γ` of the output:
//!
//! ```text
//! to[p, c]         = residual[p, c] + Σ over positions k of  w[c, k] · input[p · stride + k - padding, c]
//! ∂L/∂input[q, c]  = Σ over p and k with p · stride + k - padding = q of  w[c, k] · γ[p, c]
//! ∂L/∂w[c, k]      = Σ over p of  input[p · stride + k - padding, c] · γ[p, c]
//! ```
//!
//! Channels are contiguous, so all three are sums of products of vectors. The sums stay in registers, and no data are
//! rearranged.

use std::ptr;

use pulp::{Simd, WithSimd};

use crate::cpu::chunks::{Chunk, map_chunks};
use crate::cpu::element::Element;
use crate::cpu::microkernel::{fma, load, store};
use crate::cpu::shared_slice::{SharedSlice, vec_written_by};
use crate::simd::SimdLevel;

/// Rows and columns of the kernel.
const KERNEL: usize = 3;
/// Rows and columns of zeros on each side.
const PADDING: usize = 1;
/// Number of positions in the kernel.
const POSITIONS: usize = KERNEL * KERNEL;
/// Number of vectors of channels of a pixel that are computed together.
const VECTORS: usize = 4;

/// The sizes of a depthwise 3×3 convolution with a padding of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depthwise {
    pub(crate) batch: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) stride: usize,
}

impl Depthwise {
    pub(crate) fn output(&self) -> [usize; 2] {
        [self.height, self.width].map(|size| size.div_ceil(self.stride))
    }

    /// Convolves `[batch, rows, columns, channels]` with `[channels, 1, 3, 3]`, and adds `add` if there is
    /// one.
    pub(crate) fn forward<E: Element>(
        &self,
        level: SimdLevel,
        input: &[E],
        weight: &[f32],
        add: Option<&[E]>,
    ) -> Vec<E> {
        let [rows, columns] = self.output();
        let steps =
            [self.steps_forward(self.height, rows), self.steps_forward(self.width, columns)];
        self.gather(level, input, [self.height, self.width], weight, &steps, add)
    }

    /// Returns the gradient of the input, given the gradient of the output.
    pub(crate) fn input_gradient<E: Element>(
        &self,
        level: SimdLevel,
        gradient: &[E],
        weight: &[f32],
    ) -> Vec<E> {
        let [rows, columns] = self.output();
        let steps =
            [self.steps_backward(self.height, rows), self.steps_backward(self.width, columns)];
        self.gather(level, gradient, [rows, columns], weight, &steps, None)
    }

    /// Returns the gradient of the kernel, `[channels, 1, 3, 3]`.
    pub(crate) fn weight_gradient<E: Element>(
        &self,
        level: SimdLevel,
        input: &[E],
        gradient: &[E],
    ) -> Vec<f32> {
        let partials = map_chunks(self.batch, 1, |chunk| {
            level.run(WeightGradient { depthwise: *self, input, gradient, chunk })
        });
        let mut weight = vec![0.0; self.channels * POSITIONS];
        for partial in &partials {
            for (position, line) in partial.chunks_exact(self.channels).enumerate() {
                for (channel, value) in line.iter().enumerate() {
                    weight[channel * POSITIONS + position] += value;
                }
            }
        }
        weight
    }

    /// Returns the row (or column) of the input, of which there are `size`, that meets a row of the kernel at a row of the
    /// output; `None` if it is padding.
    #[inline(always)]
    fn seen(&self, to: usize, position: usize, size: usize) -> Option<usize> {
        let from = (to * self.stride + position).wrapping_sub(PADDING);
        (from < size).then_some(from)
    }

    /// Returns, for each row (or column) of the output, the rows of the input that it depends on,
    /// each with the corresponding row of the kernel.
    fn steps_forward(&self, from: usize, to: usize) -> Steps {
        let seen = |to: usize| {
            (0..KERNEL).filter_map(move |position| Some((self.seen(to, position, from)?, position)))
        };
        (0..to).map(|to| seen(to).collect()).collect()
    }

    /// Returns, for each row (or column) of the input, the rows of the output that depend on it,
    /// each with the corresponding row of the kernel.
    fn steps_backward(&self, from: usize, to: usize) -> Steps {
        let mut steps = vec![Vec::new(); from];
        for (to, seen) in self.steps_forward(from, to).into_iter().enumerate() {
            for (row, position) in seen {
                steps[row].push((to, position));
            }
        }
        steps
    }

    /// Returns the sum of all contributions to each pixel, and of `add` if there is one. The images of `from` have
    /// `from_size` rows and columns.
    fn gather<E: Element>(
        &self,
        level: SimdLevel,
        from: &[E],
        from_size: [usize; 2],
        weight: &[f32],
        steps: &[Steps; 2],
        add: Option<&[E]>,
    ) -> Vec<E> {
        let channels = self.channels;
        let [down, along] = steps;
        let len = self.batch * down.len() * along.len() * channels;
        assert_eq!(from.len(), self.batch * from_size[0] * from_size[1] * channels);
        assert_eq!(weight.len(), POSITIONS * channels);
        assert!(add.is_none_or(|add| add.len() == len));
        let weight = &by_position(weight, channels);
        // SAFETY: each chunk writes all pixels of its images, and the chunks are all images. Nothing is read from the result.
        unsafe {
            vec_written_by(len, |to| {
                map_chunks(self.batch, 1, |chunk| {
                    level.run(Gather { from, from_size, channels, weight, steps, add, chunk, to });
                });
            })
        }
    }
}

/// For each row (or column) of the result, the rows that contribute to it, each with the
/// corresponding row of the kernel.
type Steps = Vec<Vec<(usize, usize)>>;

/// Converts `[channels, 1, 3, 3]` to `[3, 3, channels]`.
fn by_position(weight: &[f32], channels: usize) -> Vec<f32> {
    (0..POSITIONS * channels).map(|at| weight[at % channels * POSITIONS + at / channels]).collect()
}

/// The operands of [`Depthwise::gather`], with the images to compute and where they are written.
struct Gather<'a, E> {
    from: &'a [E],
    from_size: [usize; 2],
    channels: usize,
    /// `[3, 3, channels]`.
    weight: &'a [f32],
    steps: &'a [Steps; 2],
    add: Option<&'a [E]>,
    chunk: Chunk,
    to: SharedSlice<'a, E>,
}

/// Pointers to the channels of a pixel and of a position of the kernel.
#[derive(Clone, Copy)]
struct Term<E> {
    from: *const E,
    weight: *const f32,
}

impl<E: Element> WithSimd for Gather<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, from_size: [rows, columns], channels, weight, steps, .. } = self;
        let [down, along] = steps;
        let mut terms = [Term::<E> { from: ptr::null(), weight: ptr::null() }; POSITIONS];
        for image in self.chunk.values(1) {
            let from = &from[image * rows * columns * channels..][..rows * columns * channels];
            for (to_row, rows_seen) in down.iter().enumerate() {
                for (to_column, columns_seen) in along.iter().enumerate() {
                    let mut count = 0;
                    for &(row, row_position) in rows_seen {
                        for &(column, column_position) in columns_seen {
                            let pixel = row * columns + column;
                            let position = row_position * KERNEL + column_position;
                            terms[count] = Term {
                                from: from[pixel * channels..][..channels].as_ptr(),
                                weight: weight[position * channels..][..channels].as_ptr(),
                            };
                            count += 1;
                        }
                    }
                    let pixel = (image * down.len() + to_row) * along.len() + to_column;
                    let add = self.add.map(|add| add[pixel * channels..][..channels].as_ptr());
                    let add = add.unwrap_or(ptr::null());
                    // SAFETY: all pointers are those of slices of `channels` values, and no other thread writes to
                    // this image.
                    unsafe {
                        let to = self.to.at(pixel * channels, channels);
                        sum_terms(simd, &terms[..count], channels, add, to);
                    }
                }
            }
        }
    }
}

/// Writes the sum of the products of all terms, and of `add` unless it is null, for each channel of a pixel.
///
/// # Safety
/// `channels` values can be read from both factors of all terms and, unless it is null, from `add`, and written to `to`.
#[inline(always)]
unsafe fn sum_terms<S: Simd, E: Element>(
    simd: S,
    terms: &[Term<E>],
    channels: usize,
    add: *const E,
    to: *mut E,
) {
    let lanes = S::F32_LANES;
    let mut c = 0;
    // SAFETY: these channels are within the pixels that the caller promises.
    unsafe {
        while c + VECTORS * lanes <= channels {
            sum_vectors::<S, E, VECTORS>(simd, terms, c, add, to);
            c += VECTORS * lanes;
        }
        while c + lanes <= channels {
            sum_vectors::<S, E, 1>(simd, terms, c, add, to);
            c += lanes;
        }
        for c in c..channels {
            let mut sum = if add.is_null() { 0.0 } else { (*add.add(c)).widen() };
            for term in terms {
                sum += (*term.from.add(c)).widen() * *term.weight.add(c);
            }
            *to.add(c) = E::narrow(sum);
        }
    }
}

/// Applies [`sum_terms`] to `NV` vectors of channels, starting at channel `c`.
///
/// # Safety
/// As for [`sum_terms`], and the pixels have all of these channels.
#[inline(always)]
unsafe fn sum_vectors<S: Simd, E: Element, const NV: usize>(
    simd: S,
    terms: &[Term<E>],
    c: usize,
    add: *const E,
    to: *mut E,
) {
    let mut sums = [simd.splat_f32s(0.0); NV];
    // SAFETY: as the caller promises.
    unsafe {
        if !add.is_null() {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = E::load(simd, add.add(c + v * S::F32_LANES));
            }
        }
        for term in terms {
            for (v, sum) in sums.iter_mut().enumerate() {
                let at = c + v * S::F32_LANES;
                let value = E::load(simd, term.from.add(at));
                *sum = fma(simd, value, load::<S>(term.weight.add(at)), *sum);
            }
        }
        for (v, &sum) in sums.iter().enumerate() {
            E::store(simd, to.add(c + v * S::F32_LANES), sum);
        }
    }
}

struct WeightGradient<'a, E> {
    depthwise: Depthwise,
    input: &'a [E],
    gradient: &'a [E],
    chunk: Chunk,
}

impl<E: Element> WithSimd for WeightGradient<'_, E> {
    /// `[3, 3, channels]`.
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { depthwise, input, gradient, chunk } = self;
        let Depthwise { height, width, channels, .. } = depthwise;
        let [rows, columns] = depthwise.output();
        let (input_line, gradient_line) = (width * channels, columns * channels);
        let mut weight = vec![0.0; POSITIONS * channels];
        for image in chunk.values(1) {
            let input = &input[image * height * input_line..][..height * input_line];
            let gradient = &gradient[image * rows * gradient_line..][..rows * gradient_line];
            for row in 0..rows {
                let gradient = &gradient[row * gradient_line..][..gradient_line];
                let inputs = [0, 1, 2].map(|position| {
                    let seen = depthwise.seen(row, position, height)?;
                    Some(&input[seen * input_line..][..input_line])
                });
                depthwise.add_row(simd, inputs, gradient, &mut weight);
            }
        }
        weight
    }
}

impl Depthwise {
    /// Adds the products of a row of the gradient and the three rows of the input that meet the kernel there, `None` for
    /// padding, to `weight`, `[3, 3, channels]`.
    #[inline(always)]
    fn add_row<S: Simd, E: Element>(
        &self,
        simd: S,
        inputs: [Option<&[E]>; KERNEL],
        gradient: &[E],
        weight: &mut [f32],
    ) {
        let (channels, width) = (self.channels, self.width);
        assert!(inputs.iter().flatten().all(|line| line.len() == width * channels));
        assert_eq!(weight.len(), POSITIONS * channels);
        let whole = channels - channels % S::F32_LANES;
        for c in (0..whole).step_by(S::F32_LANES) {
            let mut sums = [[simd.splat_f32s(0.0); KERNEL]; KERNEL];
            // SAFETY: a vector of channels from `c` on is within each pixel and each position of `weight`, and `seen` is less
            // than the number of pixels of a line.
            unsafe {
                for (column, pixel) in gradient.chunks_exact(channels).enumerate() {
                    let factor = E::load(simd, pixel.as_ptr().add(c));
                    for (sums, line) in sums.iter_mut().zip(inputs) {
                        let Some(line) = line else { continue };
                        for (position, sum) in sums.iter_mut().enumerate() {
                            if let Some(seen) = self.seen(column, position, width) {
                                let value = E::load(simd, line.as_ptr().add(seen * channels + c));
                                *sum = fma(simd, value, factor, *sum);
                            }
                        }
                    }
                }
                for (position, &sum) in sums.as_flattened().iter().enumerate() {
                    let to = weight.as_mut_ptr().add(position * channels + c);
                    store::<S>(to, simd.add_f32s(load::<S>(to), sum));
                }
            }
        }
        for c in whole..channels {
            let mut sums = [[0.0; KERNEL]; KERNEL];
            for (column, pixel) in gradient.chunks_exact(channels).enumerate() {
                let factor = pixel[c].widen();
                for (sums, line) in sums.iter_mut().zip(inputs) {
                    let Some(line) = line else { continue };
                    for (position, sum) in sums.iter_mut().enumerate() {
                        if let Some(seen) = self.seen(column, position, width) {
                            *sum += line[seen * channels + c].widen() * factor;
                        }
                    }
                }
            }
            for (position, sum) in sums.as_flattened().iter().enumerate() {
                weight[position * channels + c] += sum;
            }
        }
    }
}
