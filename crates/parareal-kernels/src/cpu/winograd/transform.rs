//! The transforms of Winograd's algorithm along one axis.

use pulp::Simd;

use crate::cpu::microkernel::fma;

/// The transforms of `F(M, 3)`: `M` outputs of a filter of three values are computed from `N = M + 2` inputs.
///
/// All functions are linear. The names of the matrices are those of Lavin and Gray.
pub(super) trait Transform<const M: usize, const N: usize> {
    /// Applies `Bᵀ`.
    fn input<S: Simd>(simd: S, inputs: [S::f32s; N]) -> [S::f32s; N];

    /// Applies `G`.
    fn kernel<S: Simd>(simd: S, kernel: [S::f32s; 3]) -> [S::f32s; N];

    /// Applies `Aᵀ`.
    fn output<S: Simd>(simd: S, products: [S::f32s; N]) -> [S::f32s; M];

    /// Applies `A`, the adjoint of [`Self::output`].
    fn output_gradient<S: Simd>(simd: S, gradient: [S::f32s; M]) -> [S::f32s; N];

    /// Applies `Gᵀ`, the adjoint of [`Self::kernel`].
    fn kernel_gradient<S: Simd>(simd: S, sums: [S::f32s; N]) -> [S::f32s; 3];
}

/// `F(2, 3)`, with the points 0, ±1 and ∞:
///
/// ```text
///      ⎡ 1  0 -1  0 ⎤       ⎡ 1   0   0 ⎤
/// Bᵀ = ⎢ 0  1  1  0 ⎥   G = ⎢ ½   ½   ½ ⎥   Aᵀ = ⎡ 1  1  1  0 ⎤
///      ⎢ 0 -1  1  0 ⎥       ⎢ ½  -½   ½ ⎥        ⎣ 0  1 -1  1 ⎦
///      ⎣ 0 -1  0  1 ⎦       ⎣ 0   0   1 ⎦
/// ```
///
/// The last rows of `Bᵀ` and `A` have the opposite sign of those in the paper, which saves a negation.
pub(super) struct TwoOutputs;

impl Transform<2, 4> for TwoOutputs {
    #[inline(always)]
    fn input<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
        [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(d, b)]
    }

    #[inline(always)]
    fn kernel<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
        let half = simd.splat_f32s(0.5);
        let [outer, inner] = [simd.mul_f32s(simd.add_f32s(a, c), half), simd.mul_f32s(b, half)];
        [a, simd.add_f32s(outer, inner), simd.sub_f32s(outer, inner), c]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
        let [sum, difference] = [simd.add_f32s(b, c), simd.sub_f32s(b, c)];
        [simd.add_f32s(a, sum), simd.add_f32s(difference, d)]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
        [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), b]
    }

    #[inline(always)]
    fn kernel_gradient<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 3] {
        let half = simd.splat_f32s(0.5);
        let sum = simd.mul_f32s(simd.add_f32s(b, c), half);
        let difference = simd.mul_f32s(simd.sub_f32s(b, c), half);
        [simd.add_f32s(a, sum), difference, simd.add_f32s(sum, d)]
    }
}

/// `F(4, 3)`, with the points 0, ±p, ±q and ∞, where `p = 3/4` and `q = 3/2`:
///
/// ```text
///      ⎡ p²q²   0   -p²-q²    0    1  0 ⎤
///      ⎢  0   -pq²   -q²      p    1  0 ⎥        ⎡ 1  1   1   1   1  0 ⎤
/// Bᵀ = ⎢  0    pq²   -q²     -p    1  0 ⎥   Aᵀ = ⎢ 0  p  -p   q  -q  0 ⎥
///      ⎢  0   -p²q   -p²      q    1  0 ⎥        ⎢ 0  p²  p²  q²  q² 0 ⎥
///      ⎢  0    p²q   -p²     -q    1  0 ⎥        ⎣ 0  p³ -p³  q³ -q³ 1 ⎦
///      ⎣  0   p²q²    0    -p²-q²  0  1 ⎦
/// ```
///
/// The row of `G` for a point `t` is `[1, t, t²]`, divided by the product of the differences from `t` to the other
/// points; the last row is `[0, 0, 1]`. In single precision these points halve the error of the usual ones, 0, ±1, ±2
/// (16 to 256 channels, activated normal inputs).
pub(super) struct FourOutputs;

const P: f32 = 0.75;
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;
/// One over the product of the differences to the other points: of 0, of ±p, and of ±q.
const SCALES: [f32; 3] =
    [1.0 / (P2 * Q2), 1.0 / (2.0 * P2 * (P2 - Q2)), 1.0 / (2.0 * Q2 * (Q2 - P2))];

impl Transform<4, 6> for FourOutputs {
    #[inline(always)]
    fn input<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; 6]) -> [S::f32s; 6] {
        let (p, q, less_p2, less_q2) =
            (simd.splat_f32s(P), simd.splat_f32s(Q), simd.splat_f32s(-P2), simd.splat_f32s(-Q2));
        let (product, less_sum) = (simd.splat_f32s(P2 * Q2), simd.splat_f32s(-P2 - Q2));
        let first = fma(simd, product, a, fma(simd, less_sum, c, e));
        let last = fma(simd, product, b, fma(simd, less_sum, d, f));
        let [even, odd] = [fma(simd, less_q2, c, e), fma(simd, less_q2, b, d)];
        let odd = simd.mul_f32s(p, odd);
        let at_p = [simd.add_f32s(even, odd), simd.sub_f32s(even, odd)];
        let [even, odd] = [fma(simd, less_p2, c, e), fma(simd, less_p2, b, d)];
        let odd = simd.mul_f32s(q, odd);
        [first, at_p[0], at_p[1], simd.add_f32s(even, odd), simd.sub_f32s(even, odd), last]
    }

    #[inline(always)]
    fn kernel<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 6] {
        let first = simd.mul_f32s(a, simd.splat_f32s(SCALES[0]));
        let even = simd.mul_f32s(fma(simd, c, simd.splat_f32s(P2), a), simd.splat_f32s(SCALES[1]));
        let odd = simd.mul_f32s(b, simd.splat_f32s(P * SCALES[1]));
        let at_p = [simd.add_f32s(even, odd), simd.sub_f32s(even, odd)];
        let even = simd.mul_f32s(fma(simd, c, simd.splat_f32s(Q2), a), simd.splat_f32s(SCALES[2]));
        let odd = simd.mul_f32s(b, simd.splat_f32s(Q * SCALES[2]));
        [first, at_p[0], at_p[1], simd.add_f32s(even, odd), simd.sub_f32s(even, odd), c]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; 6]) -> [S::f32s; 4] {
        let [even_p, odd_p] = [simd.add_f32s(b, c), simd.sub_f32s(b, c)];
        let [even_q, odd_q] = [simd.add_f32s(d, e), simd.sub_f32s(d, e)];
        let odd = combine(simd, [P2 * P, Q2 * Q], [odd_p, odd_q]);
        [
            simd.add_f32s(a, simd.add_f32s(even_p, even_q)),
            combine(simd, [P, Q], [odd_p, odd_q]),
            combine(simd, [P2, Q2], [even_p, even_q]),
            simd.add_f32s(odd, f),
        ]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 6] {
        let even = fma(simd, simd.splat_f32s(P2), c, a);
        let odd = simd.mul_f32s(simd.splat_f32s(P), fma(simd, simd.splat_f32s(P2), d, b));
        let at_p = [simd.add_f32s(even, odd), simd.sub_f32s(even, odd)];
        let even = fma(simd, simd.splat_f32s(Q2), c, a);
        let odd = simd.mul_f32s(simd.splat_f32s(Q), fma(simd, simd.splat_f32s(Q2), d, b));
        [a, at_p[0], at_p[1], simd.add_f32s(even, odd), simd.sub_f32s(even, odd), d]
    }

    #[inline(always)]
    fn kernel_gradient<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; 6]) -> [S::f32s; 3] {
        let even_p = simd.mul_f32s(simd.add_f32s(b, c), simd.splat_f32s(SCALES[1]));
        let even_q = simd.mul_f32s(simd.add_f32s(d, e), simd.splat_f32s(SCALES[2]));
        let odd_p = simd.mul_f32s(simd.sub_f32s(b, c), simd.splat_f32s(P * SCALES[1]));
        let odd_q = simd.mul_f32s(simd.sub_f32s(d, e), simd.splat_f32s(Q * SCALES[2]));
        [
            fma(simd, a, simd.splat_f32s(SCALES[0]), simd.add_f32s(even_p, even_q)),
            simd.add_f32s(odd_p, odd_q),
            fma(simd, simd.splat_f32s(P2), even_p, fma(simd, simd.splat_f32s(Q2), even_q, f)),
        ]
    }
}

/// Computes a linear combination.
#[inline(always)]
fn combine<S: Simd>(simd: S, [p, q]: [f32; 2], [a, b]: [S::f32s; 2]) -> S::f32s {
    fma(simd, simd.splat_f32s(p), a, simd.mul_f32s(simd.splat_f32s(q), b))
}

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;

    /// Numbers between -1 and 1, none of them special.
    fn numbers<const L: usize>(seed: usize) -> [f32; L] {
        std::array::from_fn(|index| ((1 + index + 7 * seed) as f32 * 1.7).sin())
    }

    fn dot<const L: usize>(a: [f32; L], b: [f32; L]) -> f32 {
        a.into_iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn check<T: Transform<M, N>, const M: usize, const N: usize>() {
        let simd = Scalar::new();
        for seed in 0..20 {
            let (kernel, inputs): ([f32; 3], [f32; N]) = (numbers(seed), numbers(seed + 100));
            let (gradient, products): ([f32; M], [f32; N]) =
                (numbers(seed + 200), numbers(seed + 300));
            let transformed = T::kernel(simd, kernel);
            let at_points = T::input(simd, inputs);
            let outputs =
                T::output(simd, std::array::from_fn(|point| transformed[point] * at_points[point]));
            for (first, output) in outputs.into_iter().enumerate() {
                let expected = dot(kernel, [inputs[first], inputs[first + 1], inputs[first + 2]]);
                assert!((output - expected).abs() < 3e-6, "{output} instead of {expected}");
            }
            let adjoints = [
                (
                    dot(gradient, T::output(simd, products)),
                    dot(T::output_gradient(simd, gradient), products),
                ),
                (dot(transformed, products), dot(kernel, T::kernel_gradient(simd, products))),
            ];
            for (a, b) in adjoints {
                assert!((a - b).abs() < 1e-5, "{a} and {b}");
            }
        }
    }

    #[test]
    fn transforms_compute_a_filter_and_its_adjoints() {
        check::<TwoOutputs, 2, 4>();
        check::<FourOutputs, 4, 6>();
    }
}
