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
//! Channels are contiguous, so all three are sums of products of vectors, and no data are
//! rearranged. The compiler vectorizes the loops for the chosen instruction set.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::cpu::chunks::{Chunk, chunks, map_chunks};
use crate::cpu::element::Element;
use crate::simd::SimdLevel;

/// Rows and columns of the kernel.
const KERNEL: usize = 3;
/// Rows and columns of zeros on each side.
const PADDING: usize = 1;
/// Number of channels that are computed together, with their sums in registers.
const LANES: usize = 16;

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
        let weight = by_place(weight, self.channels);
        let add = add.map_or_else(
            || vec![E::default(); self.batch * rows * columns * self.channels],
            <[E]>::to_vec,
        );
        let steps =
            [self.steps_forward(self.height, rows), self.steps_forward(self.width, columns)];
        self.gather(
            level,
            &Gather { from: input, from_size: [self.height, self.width], weight: &weight, steps },
            add,
        )
    }

    /// Returns the gradient of the input, given the gradient of the output.
    pub(crate) fn input_gradient<E: Element>(
        &self,
        level: SimdLevel,
        gradient: &[E],
        weight: &[f32],
    ) -> Vec<E> {
        let [rows, columns] = self.output();
        let weight = by_place(weight, self.channels);
        let to = vec![E::default(); self.batch * self.height * self.width * self.channels];
        let steps =
            [self.steps_backward(self.height, rows), self.steps_backward(self.width, columns)];
        self.gather(
            level,
            &Gather { from: gradient, from_size: [rows, columns], weight: &weight, steps },
            to,
        )
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
        let mut weight = vec![0.0; self.channels * KERNEL * KERNEL];
        for partial in &partials {
            for (place, line) in partial.chunks_exact(self.channels).enumerate() {
                for (channel, value) in line.iter().enumerate() {
                    weight[channel * KERNEL * KERNEL + place] += value;
                }
            }
        }
        weight
    }

    /// Returns, for each row (or column) of the output, the rows of the input that it depends on,
    /// each with the corresponding row of the kernel.
    fn steps_forward(&self, from: usize, to: usize) -> Steps {
        let seen = |to: usize| {
            (0..KERNEL).filter_map(move |place| {
                let from_row = (to * self.stride + place).checked_sub(PADDING)?;
                (from_row < from).then_some((from_row, place))
            })
        };
        (0..to).map(|to| seen(to).collect()).collect()
    }

    /// Returns, for each row (or column) of the input, the rows of the output that depend on it,
    /// each with the corresponding row of the kernel.
    fn steps_backward(&self, from: usize, to: usize) -> Steps {
        let mut steps = vec![Vec::new(); from];
        for (to, seen) in self.steps_forward(from, to).into_iter().enumerate() {
            for (row, place) in seen {
                steps[row].push((to, place));
            }
        }
        steps
    }

    /// Adds all contributions to each pixel of `to`, image by image.
    fn gather<E: Element>(
        &self,
        level: SimdLevel,
        gather: &Gather<'_, E>,
        mut to: Vec<E>,
    ) -> Vec<E> {
        let channels = self.channels;
        let [rows, columns] = gather.from_size;
        let from_image = rows * columns * channels;
        let to_image = gather.steps[0].len() * gather.steps[1].len() * channels;
        let (mut rest, mut images) = (to.as_mut_slice(), Vec::new());
        for Range { start, end } in chunks(self.batch, 1).map(|chunk| chunk.values(1)) {
            let (own, others) = rest.split_at_mut((end - start) * to_image);
            images.push((&gather.from[start * from_image..end * from_image], own));
            rest = others;
        }
        let run = |(from, to)| level.run(GatherImages { gather, channels, from, to });
        match images.len() {
            1 => images.into_iter().for_each(run),
            _ => images.into_par_iter().for_each(run),
        }
        to
    }
}

/// For each row (or column) of the result, the rows that contribute to it, each with the
/// corresponding row of the kernel.
type Steps = Vec<Vec<(usize, usize)>>;

struct Gather<'a, E> {
    from: &'a [E],
    /// Rows and columns of an image in `from`.
    from_size: [usize; 2],
    /// `[3, 3, channels]`.
    weight: &'a [f32],
    steps: [Steps; 2],
}

/// Converts `[channels, 1, 3, 3]` to `[3, 3, channels]`.
fn by_place(weight: &[f32], channels: usize) -> Vec<f32> {
    let places = KERNEL * KERNEL;
    (0..places * channels).map(|at| weight[at % channels * places + at / channels]).collect()
}

struct GatherImages<'a, E> {
    gather: &'a Gather<'a, E>,
    channels: usize,
    from: &'a [E],
    to: &'a mut [E],
}

impl<E: Element> WithSimd for GatherImages<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { gather, channels, from, to } = self;
        let Gather { from_size: [rows, columns], weight, steps: [down, along], .. } = gather;
        let from = from.chunks_exact((rows * columns * channels).max(1));
        let to = to.chunks_exact_mut((down.len() * along.len() * channels).max(1));
        for (from, to) in from.zip(to) {
            let lines = to.chunks_exact_mut(along.len() * channels).zip(down);
            for (line, rows_seen) in lines {
                for (pixel, columns_seen) in line.chunks_exact_mut(channels).zip(along) {
                    let mut first = 0;
                    while first < channels {
                        let lanes = LANES.min(channels - first);
                        let mut sums = [0.0f32; LANES];
                        sums.iter_mut()
                            .zip(&pixel[first..][..lanes])
                            .for_each(|(sum, own)| *sum = own.widen());
                        for &(row, row_place) in rows_seen {
                            for &(column, column_place) in columns_seen {
                                let place = row_place * KERNEL + column_place;
                                let values = &from[(row * columns + column) * channels + first..];
                                let weight = &weight[place * channels + first..];
                                add_products(&mut sums, values, weight, lanes);
                            }
                        }
                        let own = pixel[first..][..lanes].iter_mut().zip(sums);
                        own.for_each(|(own, sum)| *own = E::narrow(sum));
                        first += lanes;
                    }
                }
            }
        }
    }
}

/// Computes `sums += a · b`, lane by lane.
#[inline(always)]
fn add_products<A: Element, B: Element>(sums: &mut [f32; LANES], a: &[A], b: &[B], lanes: usize) {
    match (a.first_chunk::<LANES>(), b.first_chunk::<LANES>()) {
        (Some(a), Some(b)) if lanes == LANES => {
            for lane in 0..LANES {
                sums[lane] += a[lane].widen() * b[lane].widen();
            }
        }
        _ => {
            for ((sum, a), b) in sums.iter_mut().zip(&a[..lanes]).zip(&b[..lanes]) {
                *sum += a.widen() * b.widen();
            }
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
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let Self { depthwise, input, gradient, chunk } = self;
        let Depthwise { height, width, channels, stride, .. } = depthwise;
        let [rows, columns] = depthwise.output();
        let mut weight = vec![0.0; KERNEL * KERNEL * channels];
        for image in chunk.values(1) {
            let input = &input[image * height * width * channels..][..height * width * channels];
            let gradient = &gradient[image * rows * columns * channels..];
            let mut first = 0;
            while first < channels {
                let lanes = LANES.min(channels - first);
                let mut sums = [[0.0f32; LANES]; KERNEL * KERNEL];
                for row in 0..rows {
                    for column in 0..columns {
                        let along = &gradient[(row * columns + column) * channels + first..];
                        for (place, sums) in sums.iter_mut().enumerate() {
                            let from =
                                [row * stride + place / KERNEL, column * stride + place % KERNEL];
                            let [y, x] = from.map(|at| at.wrapping_sub(PADDING));
                            if y < height && x < width {
                                let seen = &input[(y * width + x) * channels + first..];
                                add_products(sums, seen, along, lanes);
                            }
                        }
                    }
                }
                for (place, sums) in sums.iter().enumerate() {
                    let to = &mut weight[place * channels + first..][..lanes];
                    to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
                }
                first += lanes;
            }
        }
        weight
    }
}
