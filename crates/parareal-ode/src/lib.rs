//! The parareal algorithm for differential equations `u' = f(t, u)`: the paper's Algorithm 1, in the form
//! that converges.
//!
//! The time interval is cut into slices ([`Grid`]). A fine [`Propagator`] solves all slices in parallel, from
//! approximate initial states. A coarse propagator then corrects the jumps between slices sequentially. See
//! [`Parareal`] for the equations.
//!
//! The built-in propagators are [`Exact`], [`LinearImplicit`] (backward Euler, implicit midpoint),
//! [`NonlinearImplicit`] and [`RungeKutta4`]. They solve a linear system given by its [`Matrix`] (dense or
//! sparse), or a user-defined [`System`]. States implement [`State`].
//!
//! [`residual_iterates`] is the algorithm as the paper writes it, which propagates jumps; it adds the two
//! terms that are missing in the paper. [`Contraction`] computes the convergence bounds of Gander and
//! Vandewalle (2007), and [`model_speedup`] models the speedup. [`Problem`] has the built-in problems.
//!
//! A parareal network (crate `parareal`, on which this crate does not depend) corresponds to one iteration.
//! Its subnetworks are the fine propagators, `C_j` gives the initial states, and `F_j` is the coarse
//! propagator. The example `time_stepping` of `parareal` compares both.

mod bounds;
mod error;
mod explicit;
mod exponential;
mod grid;
mod iteration;
mod linear;
mod matrix;
mod method;
mod newton;
mod options;
mod problems;
mod propagator;
mod record;
mod residual;
mod speedup;
mod state;

pub use bounds::{Contraction, rounding_floor};
pub use error::OdeError;
pub use explicit::RungeKutta4;
pub use grid::{Grid, Slice};
pub use iteration::Parareal;
pub use linear::{Exact, LinearImplicit};
pub use matrix::Matrix;
pub use method::{Method, Scheme};
pub use newton::NonlinearImplicit;
pub use num_complex::Complex;
pub use options::Options;
pub use problems::{Defaults, Lorenz, LotkaVolterra, Problem};
pub use propagator::{AnyPropagator, Differentiable, Propagator, System, Workspace};
pub use record::{Ending, Iterate, Record, Solution};
pub use residual::{ResidualForm, residual_iterates};
pub use speedup::model_speedup;
pub use state::State;

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
