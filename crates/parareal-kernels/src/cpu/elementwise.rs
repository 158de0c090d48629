//! Operations on pixels with separate parameters for each channel.

use parareal_autodiff::replica_sum;
use pulp::Simd;

use crate::cpu::element::Element;
use crate::cpu::microkernel::{fma, load, store};

/// `max(0, slope · x + offset)` for each channel.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    pub(crate) slope: Vec<f32>,
    pub(crate) offset: Vec<f32>,
}

/// Replaces negative values with zero. NaN stays NaN.
#[inline(always)]
fn relu<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(value, zero), zero, value)
}

/// Writes `max(0, slope · x + offset)` for each pixel to `to`.
///
/// # Safety
/// `pixels` pixels with as many channels as `map` can be read from `x` and written to `to`.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd, E: Element>(
    simd: S,
    map: &Affine,
    x: *const E,
    to: *mut f32,
    pixels: usize,
) {
    debug_assert_eq!(map.slope.len(), map.offset.len());
    let (channels, lanes) = (map.slope.len(), S::F32_LANES);
    let mut c = 0;
    // SAFETY: these channels are within the pixels that the caller promises.
    unsafe {
        while c + 4 * lanes <= channels {
            activate_columns::<S, E, 4>(simd, map, c, x, to, pixels);
            c += 4 * lanes;
        }
        while c + lanes <= channels {
            activate_columns::<S, E, 1>(simd, map, c, x, to, pixels);
            c += lanes;
        }
        for pixel in (0..pixels).map(|pixel| pixel * channels).filter(|_| c < channels) {
            for c in c..channels {
                let value = map.slope[c] * (*x.add(pixel + c)).widen() + map.offset[c];
                *to.add(pixel + c) = if value < 0.0 { 0.0 } else { value };
            }
        }
    }
}

/// Applies [`activate`] to `NV` vectors of channels, starting at channel `c`. Their slopes and
/// offsets stay in registers.
///
/// # Safety
/// As for [`activate`], and `map` has all of these channels.
#[inline(always)]
unsafe fn activate_columns<S: Simd, E: Element, const NV: usize>(
    simd: S,
    map: &Affine,
    c: usize,
    x: *const E,
    to: *mut f32,
    pixels: usize,
) {
    let (channels, lanes) = (map.slope.len(), S::F32_LANES);
    let zero = simd.splat_f32s(0.0);
    let (mut slope, mut offset) = ([zero; NV], [zero; NV]);
    // SAFETY: as the caller promises.
    unsafe {
        for v in 0..NV {
            slope[v] = load::<S>(map.slope.as_ptr().add(c + v * lanes));
            offset[v] = load::<S>(map.offset.as_ptr().add(c + v * lanes));
        }
        for pixel in 0..pixels {
            for v in 0..NV {
                let place = pixel * channels + c + v * lanes;
                let value = fma(simd, E::load(simd, x.add(place)), slope[v], offset[v]);
                store::<S>(to.add(place), relu(simd, value));
            }
        }
    }
}

/// Sums over pixels, for each channel, that the gradient of a normalization needs.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// Sum of the gradient.
    pub(crate) gradient: Vec<f64>,
    /// Sum of the gradient times the deviation of `x` from its mean.
    pub(crate) product: Vec<f64>,
}

impl Sums {
    pub(crate) fn new(channels: usize) -> Self {
        Self { gradient: vec![0.0; channels], product: vec![0.0; channels] }
    }

    /// Returns the sums over `count` pixels of this replica and those of all others, with their total number; no sums if
    /// there are no other replicas.
    pub(crate) fn over_replicas(&self, count: f64) -> (Option<Self>, f64) {
        let Some(replicas) = replica_sum() else { return (None, count) };
        let channels = self.gradient.len();
        let mut terms = [&self.gradient[..], &self.product, &[count]].concat();
        replicas.sum(&mut terms);
        let (gradient, rest) = terms.split_at(channels);
        let (product, count) = rest.split_at(channels);
        (Some(Self { gradient: gradient.to_vec(), product: product.to_vec() }), count[0])
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, term) in self.gradient.iter_mut().zip(&other.gradient) {
            *sum += term;
        }
        for (sum, term) in self.product.iter_mut().zip(&other.product) {
            *sum += term;
        }
    }
}

/// The pixels of [`relu_backward`]. Each has as many channels as the activation.
#[derive(Clone, Copy)]
pub(crate) struct ReluGradient<E> {
    pub(crate) pixels: usize,
    /// The input of the activation.
    pub(crate) x: *const E,
    /// The gradient of its output.
    pub(crate) gradient: *const f32,
    /// The destination; null for none.
    pub(crate) to: *mut E,
}

/// Copies the gradients to the destination, zero where the activation was zero, and adds them to `sums`.
///
/// # Safety
/// `map`, `mean` and `sums` have the same number of channels. All pixels can be read from `x` and `gradient`, and
/// written to `to` unless it is null. `to` may be equal to `gradient`.
#[inline(always)]
pub(crate) unsafe fn relu_backward<S: Simd, E: Element>(
    simd: S,
    map: &Affine,
    mean: &[f32],
    operands: ReluGradient<E>,
    sums: &mut Sums,
) {
    debug_assert_eq!(map.slope.len(), map.offset.len());
    let (channels, lanes) = (map.slope.len(), S::F32_LANES);
    let mut c = 0;
    // SAFETY: these channels are within the pixels that the caller promises.
    unsafe {
        while c + 2 * lanes <= channels {
            relu_backward_columns::<S, E, 2>(simd, map, mean, c, operands, sums);
            c += 2 * lanes;
        }
        while c + lanes <= channels {
            relu_backward_columns::<S, E, 1>(simd, map, mean, c, operands, sums);
            c += lanes;
        }
    }
    let ReluGradient { pixels, x, gradient, to } = operands;
    for (c, &mean) in mean.iter().enumerate().skip(c) {
        for pixel in 0..pixels {
            let place = pixel * channels + c;
            // SAFETY: this channel is within a pixel that the caller promises.
            unsafe {
                let (x, mut kept) = ((*x.add(place)).widen(), *gradient.add(place));
                if map.slope[c] * x + map.offset[c] <= 0.0 {
                    kept = 0.0;
                }
                if !to.is_null() {
                    *to.add(place) = E::narrow(kept);
                }
                sums.gradient[c] += f64::from(kept);
                sums.product[c] += f64::from(kept * (x - mean));
            }
        }
    }
}

/// Applies [`relu_backward`] to `NV` vectors of channels, starting at channel `c`.
///
/// # Safety
/// As for [`relu_backward`], and `map` has all of these channels.
#[inline(always)]
unsafe fn relu_backward_columns<S: Simd, E: Element, const NV: usize>(
    simd: S,
    map: &Affine,
    mean: &[f32],
    c: usize,
    ReluGradient { pixels, x, gradient, to }: ReluGradient<E>,
    sums: &mut Sums,
) {
    let (channels, lanes) = (map.slope.len(), S::F32_LANES);
    let zero = simd.splat_f32s(0.0);
    let (mut slope, mut offset, mut means) = ([zero; NV], [zero; NV], [zero; NV]);
    let (mut total, mut product) = ([zero; NV], [zero; NV]);
    // SAFETY: as the caller promises.
    unsafe {
        for v in 0..NV {
            slope[v] = load::<S>(map.slope.as_ptr().add(c + v * lanes));
            offset[v] = load::<S>(map.offset.as_ptr().add(c + v * lanes));
            means[v] = load::<S>(mean.as_ptr().add(c + v * lanes));
        }
        for pixel in 0..pixels {
            for v in 0..NV {
                let place = pixel * channels + c + v * lanes;
                let (x, gradient) = (E::load(simd, x.add(place)), load::<S>(gradient.add(place)));
                // Where the activation is NaN, the gradient is kept: NaN is not zero in the forward
                // pass either.
                let passive = simd.less_than_or_equal_f32s(fma(simd, x, slope[v], offset[v]), zero);
                let kept = simd.select_f32s(passive, zero, gradient);
                if !to.is_null() {
                    E::store(simd, to.add(place), kept);
                }
                total[v] = simd.add_f32s(total[v], kept);
                product[v] = fma(simd, kept, simd.sub_f32s(x, means[v]), product[v]);
            }
        }
    }
    for v in 0..NV {
        let first = c + v * lanes;
        for (sums, total) in [(&mut sums.gradient, &total[v]), (&mut sums.product, &product[v])] {
            for (sum, &total) in sums[first..].iter_mut().zip(lanes_of::<S>(total)) {
                *sum += f64::from(total);
            }
        }
    }
}

/// Returns the values of a vector.
#[inline(always)]
fn lanes_of<S: Simd>(vector: &S::f32s) -> &[f32] {
    // SAFETY: a vector consists of `F32_LANES` plain numbers.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(vector).cast(), S::F32_LANES) }
}

/// Conversion of `δ` to the gradient of the normalization's input, for each channel.
#[derive(Clone, Copy)]
pub(crate) struct NormCorrection<'a> {
    /// The activation, whose slope scales `δ`.
    pub(crate) map: &'a Affine,
    /// The term `slope · (x - mean) + offset`, which accounts for the dependence of the statistics
    /// on the input.
    pub(crate) terms: &'a Affine,
    pub(crate) mean: &'a [f32],
}

/// Computes `to = scale · δ + slope · (x - mean) + offset`. With `ADD`, this is added to the value
/// of `to`. `δ` is the value of `delta`; with `MASK`, it is zero where the activation was zero.
///
/// # Safety
/// `mean` and the maps have the same number of channels. `pixels` pixels with this number of
/// channels can be read from `x` and `delta`, and written to `to`. With `ADD`, they can also be
/// read from `to`. `to` may be equal to `delta`.
#[inline(always)]
pub(crate) unsafe fn input_gradient<
    S: Simd,
    E: Element,
    D: Element,
    const MASK: bool,
    const ADD: bool,
>(
    simd: S,
    correction: NormCorrection<'_>,
    x: *const E,
    delta: *const D,
    to: *mut E,
    pixels: usize,
) {
    let NormCorrection { map, terms, mean } = correction;
    let (channels, lanes) = (mean.len(), S::F32_LANES);
    debug_assert!(
        [&map.slope, &map.offset, &terms.slope, &terms.offset]
            .iter()
            .all(|values| values.len() == channels)
    );
    let whole = channels - channels % lanes;
    let zero = simd.splat_f32s(0.0);
    // The outer loop is over pixels, in memory order. This order matters here, because the pixels
    // are not a block in the first-level cache.
    for pixel in 0..pixels {
        let first = pixel * channels;
        // SAFETY: this pixel is one that the caller promises.
        unsafe {
            for c in (0..whole).step_by(lanes) {
                let at = |values: &[f32]| load::<S>(values.as_ptr().add(c));
                let (scale, x) = (at(&map.slope), E::load(simd, x.add(first + c)));
                let mut delta = D::load(simd, delta.add(first + c));
                if MASK {
                    let passive = fma(simd, x, scale, at(&map.offset));
                    let passive = simd.less_than_or_equal_f32s(passive, zero);
                    delta = simd.select_f32s(passive, zero, delta);
                }
                let distance = simd.sub_f32s(x, at(mean));
                let value = fma(simd, distance, at(&terms.slope), at(&terms.offset));
                let mut value = fma(simd, delta, scale, value);
                let place = to.add(first + c);
                if ADD {
                    value = simd.add_f32s(value, E::load(simd, place));
                }
                E::store(simd, place, value);
            }
            for (c, mean) in mean.iter().enumerate().skip(whole) {
                let (x, place) = ((*x.add(first + c)).widen(), to.add(first + c));
                let passive = MASK && map.slope[c] * x + map.offset[c] <= 0.0;
                let delta = if passive { 0.0 } else { (*delta.add(first + c)).widen() };
                let terms = terms.slope[c] * (x - mean) + terms.offset[c];
                let value = map.slope[c] * delta + terms;
                *place = E::narrow(if ADD { (*place).widen() + value } else { value });
            }
        }
    }
}

/// For each channel of some pixels, the sum of the deviations from a center, and the sum of their squares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deviations {
    /// A number near the mean, or zero.
    pub(crate) center: Vec<f32>,
    pub(crate) sum: Vec<f32>,
    pub(crate) squares: Vec<f32>,
}

impl Deviations {
    pub(crate) fn new(channels: usize) -> Self {
        let zeros = || vec![0.0; channels];
        Self { center: zeros(), sum: zeros(), squares: zeros() }
    }

    /// Moves the center to the mean of the `count` pixels that were measured.
    #[inline(always)]
    pub(crate) fn move_center(&mut self, count: f32) {
        let share = 1.0 / count;
        for (center, sum) in self.center.iter_mut().zip(&self.sum) {
            *center += sum * share;
        }
    }
}

/// Sums the deviations of the given pixels from the center, and their squares.
///
/// # Safety
/// `pixels` pixels with as many channels as `to` can be read from `x`.
#[inline(always)]
pub(crate) unsafe fn deviations<S: Simd, E: Element>(
    simd: S,
    x: *const E,
    pixels: usize,
    to: &mut Deviations,
) {
    let (channels, lanes) = (to.center.len(), S::F32_LANES);
    let mut c = 0;
    // SAFETY: these channels are within the pixels that the caller promises.
    unsafe {
        while c + 4 * lanes <= channels {
            deviations_of_columns::<S, E, 4>(simd, c, x, pixels, to);
            c += 4 * lanes;
        }
        while c + 2 * lanes <= channels {
            deviations_of_columns::<S, E, 2>(simd, c, x, pixels, to);
            c += 2 * lanes;
        }
        while c + lanes <= channels {
            deviations_of_columns::<S, E, 1>(simd, c, x, pixels, to);
            c += lanes;
        }
    }
    for c in c..channels {
        // SAFETY: this channel is within a pixel that the caller promises.
        let value = |pixel: usize| unsafe { *x.add(pixel * channels + c) }.widen();
        let center = to.center[c];
        to.sum[c] = (0..pixels).map(|pixel| value(pixel) - center).sum();
        to.squares[c] = (0..pixels).map(|pixel| (value(pixel) - center).powi(2)).sum();
    }
}

/// Applies [`deviations`] to `NV` vectors of channels, starting at channel `c`. Their sums are independent of
/// each other, so an addition does not wait for the one before it.
///
/// # Safety
/// As for [`deviations`], and `to` has all of these channels.
#[inline(always)]
unsafe fn deviations_of_columns<S: Simd, E: Element, const NV: usize>(
    simd: S,
    c: usize,
    x: *const E,
    pixels: usize,
    to: &mut Deviations,
) {
    let (channels, lanes) = (to.center.len(), S::F32_LANES);
    let zero = simd.splat_f32s(0.0);
    let (mut center, mut sum, mut squares) = ([zero; NV], [zero; NV], [zero; NV]);
    // SAFETY: as the caller promises.
    unsafe {
        for (v, center) in center.iter_mut().enumerate() {
            *center = load::<S>(to.center.as_ptr().add(c + v * lanes));
        }
        for pixel in 0..pixels {
            for v in 0..NV {
                let place = pixel * channels + c + v * lanes;
                let distance = simd.sub_f32s(E::load(simd, x.add(place)), center[v]);
                sum[v] = simd.add_f32s(sum[v], distance);
                squares[v] = fma(simd, distance, distance, squares[v]);
            }
        }
        for (to, vectors) in [(&mut to.sum, sum), (&mut to.squares, squares)] {
            for (v, vector) in vectors.into_iter().enumerate() {
                store::<S>(to.as_mut_ptr().add(c + v * lanes), vector);
            }
        }
    }
}
