//! Built-in problems, each with a reference solution that is independent of the methods.

mod linear;
mod nonlinear;

use std::fmt;
use std::sync::Arc;

use num_complex::Complex;

pub use nonlinear::{Lorenz, LotkaVolterra};

use crate::error::{OdeError, in_range};
use crate::explicit::RungeKutta4;
use crate::grid::Grid;
use crate::linear::{Exact, LinearImplicit};
use crate::matrix::Matrix;
use crate::method::{Method, Scheme};
use crate::newton::NonlinearImplicit;
use crate::propagator::{AnyPropagator, Differentiable};

/// An initial value problem.
///
/// ```
/// use parareal_ode::{Grid, Problem};
///
/// let problem = Problem::heat(1000)?;
/// let defaults = problem.defaults();
/// let grid = Grid::uniform(defaults.interval, defaults.slices)?;
/// let fine = problem.propagator(defaults.fine, &grid)?;
/// # let _ = fine;
/// # Ok::<(), parareal_ode::OdeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Problem {
    /// `u' = λu`, `u(0) = 1`. The unknowns are the real and the imaginary part.
    Dahlquist {
        /// `λ`.
        lambda: Complex<f64>,
    },
    /// `u_t = u_xx` on `(0, 1)` with zero boundary values, discretized with second differences at `size`
    /// inner points. `u(0) = sin πx + sin 2πx / 2 + sin 5πx / 4`.
    Heat {
        /// Number of unknowns.
        size: usize,
    },
    /// `u_t + u_x = u_xx / 50` on `(0, 1)` with periodic boundary conditions, discretized with central
    /// differences at `size` points. `u(0) = 1 + cos 2πx + cos 4πx / 2 + cos 6πx / 4`.
    AdvectionDiffusion {
        /// Number of unknowns.
        size: usize,
    },
    /// The predator-prey model [`LotkaVolterra`] with initial value (4, 2).
    LotkaVolterra,
    /// [`Lorenz`] with initial value (20, 5, -5), as in Gander and Hairer (2008).
    Lorenz,
}

/// Default settings of a problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Length of the time interval.
    pub interval: f64,
    /// Number of slices.
    pub slices: usize,
    /// Fine method.
    pub fine: Method,
    /// Coarse method.
    pub coarse: Method,
}

impl Problem {
    /// The names of the problems, as they are displayed.
    pub const NAMES: [&str; 5] =
        ["dahlquist", "heat", "advection-diffusion", "lotka-volterra", "lorenz"];

    /// Largest number of unknowns of a problem on a mesh.
    pub const MAX_SIZE: usize = 1_000_000;

    /// Creates [`Dahlquist`](Self::Dahlquist).
    ///
    /// # Errors
    /// If `λ` is not finite.
    pub fn dahlquist(lambda: Complex<f64>) -> Result<Self, OdeError> {
        match lambda.is_finite() {
            true => Ok(Self::Dahlquist { lambda }),
            false => Err(OdeError::Name(format!(
                "invalid value `{lambda}` for λ: expected a finite number"
            ))),
        }
    }

    /// Creates [`Heat`](Self::Heat).
    ///
    /// # Errors
    /// If `size` is 0 or greater than [`MAX_SIZE`](Self::MAX_SIZE).
    pub fn heat(size: usize) -> Result<Self, OdeError> {
        Ok(Self::Heat { size: in_range("the number of unknowns", size, 1..=Self::MAX_SIZE)? })
    }

    /// Creates [`AdvectionDiffusion`](Self::AdvectionDiffusion).
    ///
    /// # Errors
    /// If `size` is 0 or greater than [`MAX_SIZE`](Self::MAX_SIZE).
    pub fn advection_diffusion(size: usize) -> Result<Self, OdeError> {
        let size = in_range("the number of unknowns", size, 1..=Self::MAX_SIZE)?;
        Ok(Self::AdvectionDiffusion { size })
    }

    /// Returns the default settings.
    pub fn defaults(&self) -> Defaults {
        let euler = |steps| Method::Implicit { scheme: Scheme::BackwardEuler, steps };
        let rk4 = |steps| Method::RungeKutta4 { steps };
        let (interval, slices, fine, coarse) = match self {
            Self::Dahlquist { .. } => (10.0, 10, Method::Exact, euler(1)),
            Self::Heat { .. } => (0.1, 10, euler(100), euler(1)),
            Self::AdvectionDiffusion { .. } => (0.5, 20, euler(100), euler(1)),
            Self::LotkaVolterra => (9.0, 15, rk4(100), rk4(1)),
            Self::Lorenz => (10.0, 180, rk4(80), rk4(1)),
        };
        Defaults { interval, slices, fine, coarse }
    }

    /// The initial value `u(0)`.
    pub fn initial(&self) -> Vec<f64> {
        match *self {
            Self::Dahlquist { .. } => vec![1.0, 0.0],
            Self::Heat { size } => linear::heat(size, 0.0),
            Self::AdvectionDiffusion { size } => linear::advection_diffusion(size, 0.0),
            Self::LotkaVolterra => vec![4.0, 2.0],
            Self::Lorenz => vec![20.0, 5.0, -5.0],
        }
    }

    /// The factor for Euclidean norms: the square root of the mesh width for problems on a mesh, otherwise 1.
    /// See [`Parareal::with_norm_scale`](crate::Parareal::with_norm_scale).
    pub fn norm_scale(&self) -> f64 {
        match *self {
            Self::Heat { size } => (1.0 / (size as f64 + 1.0)).sqrt(),
            Self::AdvectionDiffusion { size } => (1.0 / size as f64).sqrt(),
            _ => 1.0,
        }
    }

    /// The matrix of a linear problem; `None` for nonlinear problems.
    ///
    /// # Errors
    /// If the matrix cannot be allocated.
    pub fn matrix(&self) -> Result<Option<Matrix>, OdeError> {
        match *self {
            Self::Dahlquist { lambda } => {
                Matrix::dense(2, &[lambda.re, -lambda.im, lambda.im, lambda.re]).map(Some)
            }
            Self::Heat { size } => linear::heat_matrix(size).map(Some),
            Self::AdvectionDiffusion { size } => linear::advection_diffusion_matrix(size).map(Some),
            Self::LotkaVolterra | Self::Lorenz => Ok(None),
        }
    }

    /// The eigenvalues of a linear problem; `None` for nonlinear problems. The matrices of the linear
    /// problems are normal.
    pub fn eigenvalues(&self) -> Option<Vec<Complex<f64>>> {
        match *self {
            Self::Dahlquist { lambda } => Some(vec![lambda]),
            Self::Heat { size } => {
                let real = |p| Complex::new(linear::heat_eigenvalue(size, p), 0.0);
                Some((1..=size).map(real).collect())
            }
            Self::AdvectionDiffusion { size } => {
                Some((0..size).map(|p| linear::advection_diffusion_eigenvalue(size, p)).collect())
            }
            Self::LotkaVolterra | Self::Lorenz => None,
        }
    }

    /// Creates a propagator of this problem on a grid.
    ///
    /// # Errors
    /// If the number of steps is out of range, or the method cannot solve the problem. [`Method::Exact`]
    /// requires a linear problem that is not too large, and implicit methods require that the linear systems
    /// of their steps are not singular.
    pub fn propagator(&self, method: Method, grid: &Grid) -> Result<AnyPropagator, OdeError> {
        let system: Arc<dyn Differentiable> = match self {
            Self::LotkaVolterra => Arc::new(LotkaVolterra),
            Self::Lorenz => Arc::new(Lorenz),
            _ => {
                let matrix = self.matrix()?.expect("all others are linear");
                return linear_propagator(matrix, method, grid);
            }
        };
        Ok(match method {
            Method::Exact => {
                let message = format!("{self} is not linear, so it has no exact propagator");
                return Err(OdeError::Name(message));
            }
            Method::Implicit { scheme, steps } => {
                Box::new(NonlinearImplicit::new(system, scheme, steps)?)
            }
            Method::RungeKutta4 { steps } => Box::new(RungeKutta4::new(system, steps)?),
        })
    }

    /// The reference solution at increasing times, from 0. It does not depend on the choice of methods.
    ///
    /// For linear problems, the solution has a closed form; on a mesh, it solves the difference equations
    /// exactly in time. For nonlinear problems, the steps are halved until the solution changes by less than
    /// about 1e-10.
    pub fn reference(&self, times: &[f64]) -> Vec<Vec<f64>> {
        match *self {
            Self::Dahlquist { lambda } => {
                let at = |t: &f64| (lambda * *t).exp();
                times.iter().map(at).map(|u| vec![u.re, u.im]).collect()
            }
            Self::Heat { size } => times.iter().map(|t| linear::heat(size, *t)).collect(),
            Self::AdvectionDiffusion { size } => {
                times.iter().map(|t| linear::advection_diffusion(size, *t)).collect()
            }
            Self::LotkaVolterra => nonlinear::reference(&LotkaVolterra, &self.initial(), times),
            Self::Lorenz => nonlinear::reference(&Lorenz, &self.initial(), times),
        }
    }
}

fn linear_propagator(
    matrix: Matrix,
    method: Method,
    grid: &Grid,
) -> Result<AnyPropagator, OdeError> {
    Ok(match method {
        Method::Exact => Box::new(Exact::new(&matrix, grid)?),
        Method::Implicit { scheme, steps } => {
            Box::new(LinearImplicit::new(&matrix, grid, scheme, steps)?)
        }
        Method::RungeKutta4 { steps } => Box::new(RungeKutta4::new(matrix, steps)?),
    })
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dahlquist { .. } => Self::NAMES[0],
            Self::Heat { .. } => Self::NAMES[1],
            Self::AdvectionDiffusion { .. } => Self::NAMES[2],
            Self::LotkaVolterra => Self::NAMES[3],
            Self::Lorenz => Self::NAMES[4],
        })
    }
}
