//! Convergence bounds of the parareal iteration for linear systems.
//!
//! See M. J. Gander, S. Vandewalle, "Analysis of the parareal time-parallel time-integration method", SIAM J.
//! Sci. Comput. 29 (2007). For a scalar linear equation, the fine propagator multiplies a state by a number
//! `F` and the coarse propagator by a number `R`. Let `e_n^k` be the error of iterate `k` at `T_n` against
//! the serial fine solution. Then
//!
//! ```text
//! e_{n+1}^{k+1} = R e_n^{k+1} + (F - R) e_n^k
//! ```
//!
//! so `e^k = (F - R)^k M^k e^0` with a strictly lower triangular Toeplitz matrix `M_{ij} = R^{i-j-1}`. The
//! bounds follow from bounds of the maximum norm of `M^k`.
//!
//! They also hold in the Euclidean norm for systems with a normal matrix, with the largest `|R|` and `|F -
//! R|` over the eigenvalues, and for slices of unequal length, with the largest values over the slices. In
//! both cases, the recursion for the norms is bounded by the one with the largest values.

use num_complex::Complex;

use crate::grid::Grid;
use crate::method::Method;

/// The quantities that the bounds depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contraction {
    /// `|R|`, the amplification of the coarse propagator over a slice.
    pub coarse: f64,
    /// `|F - R|`, the distance between the fine and the coarse amplification.
    pub difference: f64,
}

impl Contraction {
    /// Returns the largest `|R|` and `|F - R|` of two methods over all eigenvalues and slices, for a system
    /// with a normal matrix.
    ///
    /// ```
    /// use parareal_ode::{Complex, Contraction, Grid, Method, Scheme};
    ///
    /// let grid = Grid::uniform(10.0, 10)?;
    /// let coarse = Method::Implicit { scheme: Scheme::BackwardEuler, steps: 1 };
    /// let decay = Contraction::of(Method::Exact, coarse, &grid, &[Complex::new(-1.0, 0.0)]);
    /// assert_eq!(decay.coarse, 0.5);
    /// assert!((decay.difference - (0.5 - f64::exp(-1.0))).abs() < 1e-15);
    /// # Ok::<(), parareal_ode::OdeError>(())
    /// ```
    pub fn of(fine: Method, coarse: Method, grid: &Grid, eigenvalues: &[Complex<f64>]) -> Self {
        let mut largest = Self { coarse: 0.0, difference: 0.0 };
        for length in grid.lengths() {
            for eigenvalue in eigenvalues {
                let z = eigenvalue * length;
                let (fine, coarse) = (fine.amplification(z), coarse.amplification(z));
                largest.coarse = largest.coarse.max(coarse.norm());
                largest.difference = largest.difference.max((fine - coarse).norm());
            }
        }
        largest
    }

    /// The superlinear bound: after `k` iterations over `N = slices` slices, the largest error is at most
    /// this factor times the largest error of iterate 0. The factor is 0 for `k ≥ N`.
    ///
    /// It is `|F - R|^k / k! · (N-1)(N-2)..(N-k)`, multiplied by `|R|^(N-1-k)` if `|R| > 1`.
    pub fn superlinear(&self, slices: usize, k: usize) -> f64 {
        if k == 0 {
            return 1.0;
        }
        if k >= slices {
            return 0.0;
        }
        // Logarithms avoid overflow, because large factors are multiplied by powers of small ones.
        let choices: f64 = (1..=k).map(|j| ((slices - j) as f64 / j as f64).ln()).sum();
        let growth = (slices - 1 - k) as f64 * self.coarse.max(1.0).ln();
        (choices + growth + k as f64 * self.difference.ln()).exp()
    }

    /// The linear bound, `(|F - R| / (1 - |R|))^k`, which holds for any number of slices; `None` if `|R| ≥
    /// 1`.
    pub fn linear(&self, k: usize) -> Option<f64> {
        let rate = self.difference / (1.0 - self.coarse);
        (self.coarse < 1.0).then(|| rate.powi(i32::try_from(k).unwrap_or(i32::MAX)))
    }
}

/// An estimate of the rounding errors of a solution whose error is zero in exact arithmetic. `largest` is the
/// largest norm of a state. Each of the `slices · steps` fine steps may lose a few of the last bits.
pub fn rounding_floor(slices: usize, fine: Method, largest: f64) -> f64 {
    let steps = (slices * (fine.steps() + 1)) as f64;
    4.0 * steps * f64::EPSILON * largest
}
