//! The exponential of a matrix, computed by scaling and squaring with the Padé approximant of degree 13.
//!
//! See N. J. Higham, "The scaling and squaring method for the matrix exponential revisited", SIAM J. Matrix
//! Anal. Appl. 26 (2005), algorithm 2.3. The matrix products and the linear solver are those of `faer`.

use faer::Mat;
use faer::prelude::Solve;

/// Coefficients of the numerator, from the constant term on.
const PADE: [f64; 14] = [
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
];

/// The largest 1-norm for which the approximant is accurate to double precision.
const RADIUS: f64 = 5.371920351148152;

/// Returns `e^matrix`.
pub(crate) fn exponential(matrix: &Mat<f64>) -> Mat<f64> {
    let size = matrix.nrows();
    let column = |j| (0..size).map(|i| f64::abs(matrix[(i, j)])).sum::<f64>();
    let norm = (0..size).map(column).fold(0.0, f64::max);
    let squarings = (norm / RADIUS).log2().ceil().clamp(0.0, 1100.0) as i32;
    let scale =
        |matrix: &Mat<f64>, factor: f64| Mat::from_fn(size, size, |i, j| factor * matrix[(i, j)]);
    // The scale factor is applied as two factors, because a single one may underflow.
    let half = squarings / 2;
    let a = scale(&scale(matrix, 2.0_f64.powi(-half)), 2.0_f64.powi(half - squarings));
    let a2 = &a * &a;
    let a4 = &a2 * &a2;
    let a6 = &a4 * &a2;
    let identity = Mat::<f64>::identity(size, size);
    let sum = |b: [f64; 4]| {
        Mat::from_fn(size, size, |i, j| {
            b[0] * identity[(i, j)] + b[1] * a2[(i, j)] + b[2] * a4[(i, j)] + b[3] * a6[(i, j)]
        })
    };
    let odd_high = sum([0.0, PADE[9], PADE[11], PADE[13]]);
    let even_high = sum([0.0, PADE[8], PADE[10], PADE[12]]);
    let odd = &a * (&a6 * odd_high + sum([PADE[1], PADE[3], PADE[5], PADE[7]]));
    let even = &a6 * even_high + sum([PADE[0], PADE[2], PADE[4], PADE[6]]);
    let mut result = (&even - &odd).partial_piv_lu().solve(&even + &odd);
    for _ in 0..squarings {
        result = &result * &result;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &Mat<f64>, expected: impl Fn(usize, usize) -> f64, tolerance: f64) {
        for i in 0..found.nrows() {
            for j in 0..found.ncols() {
                let difference = (found[(i, j)] - expected(i, j)).abs();
                assert!(difference <= tolerance, "({i}, {j}) differs by {difference:.1e}");
            }
        }
    }

    #[test]
    fn closed_forms_are_met() {
        for angle in [0.0, 0.3, 3.0, 40.0] {
            let generator = Mat::from_fn(2, 2, |i, j| angle * (i as f64 - j as f64));
            let expected =
                [[f64::cos(angle), -f64::sin(angle)], [f64::sin(angle), f64::cos(angle)]];
            assert_close(&exponential(&generator), |i, j| expected[i][j], 1e-13);
        }
        // A Jordan block cannot be made diagonal: e^(tJ) has t^k/k! above the diagonal.
        let jordan = Mat::from_fn(3, 3, |i, j| if j == i + 1 { 2.0 } else { 0.0 });
        let expected = [[1.0, 2.0, 2.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]];
        assert_close(&exponential(&jordan), |i, j| expected[i][j], 1e-14);
    }

    #[test]
    fn a_stiff_matrix_decays() {
        let stiff = Mat::from_fn(2, 2, |i, j| if i == j { -1e8 } else { 1e8 });
        assert_close(&exponential(&stiff), |_, _| 0.5, 1e-7);
    }
}
