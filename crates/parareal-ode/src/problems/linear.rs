//! Partial differential equations on a mesh. Sines or complex exponentials are eigenvectors of the difference
//! matrices, so the solution as a function of time has a closed form.

use std::f64::consts::PI;

use num_complex::Complex;

use crate::error::OdeError;
use crate::matrix::Matrix;

/// The terms `factor · sin pπx` of the initial value, as `(p, factor)`.
const SINES: [(usize, f64); 3] = [(1, 1.0), (2, 0.5), (5, 0.25)];
/// The terms `factor · cos 2pπx` of the initial value, as `(p, factor)`.
const COSINES: [(usize, f64); 4] = [(0, 1.0), (1, 1.0), (2, 0.5), (3, 0.25)];
/// The diffusion coefficient of the advection-diffusion equation. The velocity is 1.
const DIFFUSION: f64 = 0.02;

/// The eigenvalue `-4/h² sin²(pπh/2)` with `h = 1/(size + 1)`.
pub(crate) fn heat_eigenvalue(size: usize, p: usize) -> f64 {
    let h = 1.0 / (size as f64 + 1.0);
    let sine = (p as f64 * PI * h / 2.0).sin();
    -4.0 / (h * h) * sine * sine
}

/// The solution at time `t` at all mesh points.
pub(crate) fn heat(size: usize, t: f64) -> Vec<f64> {
    let h = 1.0 / (size as f64 + 1.0);
    let waves =
        SINES.map(|(p, factor)| (PI * p as f64, factor * (heat_eigenvalue(size, p) * t).exp()));
    let at = |x: f64| waves.iter().map(|(wave, factor)| factor * (wave * x).sin()).sum();
    (1..=size).map(|i| at(i as f64 * h)).collect()
}

pub(crate) fn heat_matrix(size: usize) -> Result<Matrix, OdeError> {
    let coupling = (size as f64 + 1.0).powi(2);
    let inner = (0..size).map(|i| (i, i, -2.0 * coupling));
    let sides = (1..size).flat_map(|i| [(i, i - 1, coupling), (i - 1, i, coupling)]);
    Matrix::sparse(size, &inner.chain(sides).collect::<Vec<_>>())
}

/// The eigenvalue `-4ν/h² sin²(pπh) - i/h sin(2pπh)` with `h = 1/size`.
pub(crate) fn advection_diffusion_eigenvalue(size: usize, p: usize) -> Complex<f64> {
    let h = 1.0 / size as f64;
    let angle = p as f64 * PI * h;
    let sine = angle.sin();
    Complex::new(-4.0 * DIFFUSION / (h * h) * sine * sine, -(2.0 * angle).sin() / h)
}

/// The solution at time `t` at all mesh points.
pub(crate) fn advection_diffusion(size: usize, t: f64) -> Vec<f64> {
    let waves = COSINES.map(|(p, factor)| {
        (2.0 * PI * p as f64, factor * (advection_diffusion_eigenvalue(size, p) * t).exp())
    });
    let at = |x: f64| {
        let value =
            |(wave, factor): &(f64, Complex<f64>)| (factor * Complex::from_polar(1.0, wave * x)).re;
        waves.iter().map(value).sum()
    };
    (0..size).map(|i| at(i as f64 / size as f64)).collect()
}

pub(crate) fn advection_diffusion_matrix(size: usize) -> Result<Matrix, OdeError> {
    let n = size as f64;
    let (diffusion, advection) = (DIFFUSION * n * n, n / 2.0);
    let row = |i| {
        let (left, right) = ((i + size - 1) % size, (i + 1) % size);
        [
            (i, left, diffusion + advection),
            (i, i, -2.0 * diffusion),
            (i, right, diffusion - advection),
        ]
    };
    Matrix::sparse(size, &(0..size).flat_map(row).collect::<Vec<_>>())
}
