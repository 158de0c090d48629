use std::fmt;
use std::str::FromStr;

use num_complex::Complex;

use crate::error::OdeError;
use crate::propagator::{MAX_STEPS, check_steps};

/// An implicit one-stage method. The stage `v` solves `v = u + γh f(t + γh, v)` and determines the new state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Backward Euler: `γ = 1`, order 1. The new state is `v`.
    BackwardEuler,
    /// Implicit midpoint rule: `γ = 1/2`, order 2. The new state is `2v - u`. For linear systems, this is the
    /// trapezoidal rule.
    Midpoint,
}

impl Scheme {
    /// `γ`.
    pub(crate) fn weight(self) -> f64 {
        match self {
            Self::BackwardEuler => 1.0,
            Self::Midpoint => 0.5,
        }
    }

    /// Replaces `u` with the new state, given the stage.
    pub(crate) fn finish(self, stage: &[f64], u: &mut [f64]) {
        match self {
            Self::BackwardEuler => u.copy_from_slice(stage),
            Self::Midpoint => {
                u.iter_mut().zip(stage).for_each(|(u, stage)| *u = 2.0 * stage - *u);
            }
        }
    }
}

/// A method with its number of steps per slice, such as `rk4:10`.
///
/// ```
/// use parareal_ode::Method;
///
/// assert_eq!("rk4:10".parse(), Ok(Method::RungeKutta4 { steps: 10 }));
/// assert_eq!("exact".parse(), Ok(Method::Exact));
/// assert!("rk4:0".parse::<Method>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The exact solution of a linear system, computed with the matrix exponential.
    Exact,
    /// An implicit method.
    Implicit {
        /// The scheme.
        scheme: Scheme,
        /// Number of steps per slice.
        steps: usize,
    },
    /// The classical explicit Runge-Kutta method of order 4.
    RungeKutta4 {
        /// Number of steps per slice.
        steps: usize,
    },
}

impl Method {
    /// Description of the names that can be parsed.
    pub const NAMES: &str =
        "exact, backward-euler:STEPS, midpoint:STEPS or rk4:STEPS (steps per slice, default 1)";

    /// The number of steps per slice; 1 for [`Exact`](Self::Exact).
    pub fn steps(self) -> usize {
        match self {
            Self::Exact => 1,
            Self::Implicit { steps, .. } | Self::RungeKutta4 { steps } => steps,
        }
    }

    /// The factor by which the method multiplies the solution of `u' = λu` over a slice of length `ΔT`, with
    /// `z = λΔT`. It is `e^z` for [`Exact`](Self::Exact), and otherwise `R(z / m)^m` with the stability
    /// function `R` and `m` steps.
    pub fn amplification(self, z: Complex<f64>) -> Complex<f64> {
        let one = Complex::new(1.0, 0.0);
        let step = z / self.steps() as f64;
        let once = match self {
            Self::Exact => step.exp(),
            Self::Implicit { scheme: Scheme::BackwardEuler, .. } => one / (one - step),
            Self::Implicit { scheme: Scheme::Midpoint, .. } => {
                (one + step / 2.0) / (one - step / 2.0)
            }
            Self::RungeKutta4 { .. } => {
                let taylor = |sum, order: u32| one + step / f64::from(order) * sum;
                [4, 3, 2, 1].into_iter().fold(one, taylor)
            }
        };
        once.powu(self.steps() as u32)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Exact => return write!(f, "exact"),
            Self::Implicit { scheme: Scheme::BackwardEuler, .. } => "backward-euler",
            Self::Implicit { scheme: Scheme::Midpoint, .. } => "midpoint",
            Self::RungeKutta4 { .. } => "rk4",
        };
        write!(f, "{name}:{}", self.steps())
    }
}

impl FromStr for Method {
    type Err = OdeError;

    fn from_str(text: &str) -> Result<Self, OdeError> {
        let unknown = || OdeError::Name(format!("expected {}", Self::NAMES));
        let (name, steps) = match text.split_once(':') {
            Some((name, steps)) => (name, Some(steps.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let counted = check_steps(steps.unwrap_or(1));
        let implicit = |scheme| counted.clone().map(|steps| Self::Implicit { scheme, steps });
        match (name, steps) {
            ("exact", None) => Ok(Self::Exact),
            ("backward-euler", _) => implicit(Scheme::BackwardEuler),
            ("midpoint", _) => implicit(Scheme::Midpoint),
            ("rk4", _) => counted.map(|steps| Self::RungeKutta4 { steps }),
            _ => Err(unknown()),
        }
    }
}

const _: () = assert!(MAX_STEPS <= u32::MAX as usize, "steps are an exponent of 32 bits");
