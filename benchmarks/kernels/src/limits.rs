//! The limits of the machine: arithmetic and memory.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Repetitions, of which the fastest counts.
const ROUNDS: usize = 7;

/// Independent sums of the arithmetic loop: enough to hide the latency of each.
const SUMS: usize = 12;
const STEPS: usize = 2_000_000;

/// Bytes that each thread copies: larger than the caches.
const BYTES: usize = 64 << 20;

/// Highest rates that the threads of a pool achieve together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Floating-point operations per second, in single precision.
    pub(crate) operations: f64,
    /// Bytes per second that a copy reads and writes.
    pub(crate) bytes: f64,
}

impl Limits {
    /// Measures the limits of the current thread pool.
    pub(crate) fn measure() -> Self {
        let threads = rayon::current_num_threads();
        let fastest = |mut once: Box<dyn FnMut() + '_>| {
            let time = || {
                let begun = Instant::now();
                once();
                begun.elapsed().as_secs_f64()
            };
            std::iter::repeat_with(time).take(ROUNDS).fold(f64::INFINITY, f64::min)
        };
        let arch = Arch::new();
        let lanes = arch.dispatch(Lanes);
        let arithmetic = fastest(Box::new(|| {
            rayon::broadcast(|_| black_box(arch.dispatch(MultiplyAdds)));
        }));
        let source = vec![1.0_f32; threads * BYTES / size_of::<f32>()];
        let mut target = vec![0.0_f32; source.len()];
        let part = BYTES / size_of::<f32>();
        let copies = fastest(Box::new(|| {
            let parts = target.par_chunks_mut(part).zip(source.par_chunks(part));
            parts.for_each(|(target, source)| target.copy_from_slice(source));
        }));
        let operations = 2 * threads * lanes * SUMS * STEPS;
        let bytes = 2 * threads * BYTES;
        Self { operations: operations as f64 / arithmetic, bytes: bytes as f64 / copies }
    }

    /// Returns the time that these operations and these bytes take at least, if both happen at the same time.
    pub(crate) fn least_time(&self, operations: f64, bytes: f64) -> f64 {
        (operations / self.operations).max(bytes / self.bytes)
    }
}

/// Number of values in a vector.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Multiplications with additions that depend on nothing but themselves.
struct MultiplyAdds;

impl WithSimd for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let factor = simd.splat_f32s(black_box(0.999));
        let term = simd.splat_f32s(black_box(0.001));
        let mut sums = [simd.splat_f32s(1.0); SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, term);
            }
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}
