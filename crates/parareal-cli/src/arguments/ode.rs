//! Flags of `ode`.

use std::path::PathBuf;

use clap::Args;
use parareal_ode::{Complex, Method};

/// Flags of `ode`.
#[derive(Args)]
#[command(after_help = "\
Methods: exact (linear problems of up to 2,048 unknowns), backward-euler:STEPS, midpoint:STEPS (implicit; for \
linear problems the trapezoidal rule) and rk4:STEPS, with STEPS steps per slice.

Defaults (--interval, --slices, --fine, --coarse):
  dahlquist            10    10  exact               backward-euler:1
  heat                 0.1   10  backward-euler:100  backward-euler:1
  advection-diffusion  0.5   20  backward-euler:100  backward-euler:1
  lotka-volterra       9     15  rk4:100             rk4:1
  lorenz               10   180  rk4:80              rk4:1

Equations: u' = λu (dahlquist), u_t = u_xx (heat), u_t + u_x = u_xx / 50 (advection-diffusion).

The error bound is the superlinear one of Gander and Vandewalle (2007), plus rounding. It holds for linear \
problems only.")]
pub(crate) struct Ode {
    /// Problem: dahlquist, heat, advection-diffusion, lotka-volterra or lorenz
    #[arg(long, value_name = "NAME", default_value = "dahlquist")]
    pub(crate) problem: String,
    /// λ of dahlquist, real or complex such as -1+2i [default: -1]
    #[arg(long, value_name = "RE+IMi", allow_hyphen_values = true)]
    pub(crate) lambda: Option<Complex<f64>>,
    /// Number of unknowns of heat and advection-diffusion [default: 1000]
    #[arg(long, value_name = "UNKNOWNS")]
    pub(crate) size: Option<usize>,
    /// Length of the time interval
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) interval: Option<f64>,
    /// Number of slices, of equal length
    #[arg(long, value_name = "N")]
    pub(crate) slices: Option<usize>,
    /// Largest number of iterations [default: N]
    #[arg(long, value_name = "K")]
    pub(crate) iterations: Option<usize>,
    /// Absolute tolerance: stop after an iteration with all jumps at most E
    ///
    /// With 0, the iteration stops when all jumps are 0.
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub(crate) tolerance: Option<f64>,
    /// Relative tolerance: E times the norm of the largest state, added to --tolerance
    ///
    /// The default is 1e-6 if neither tolerance nor --iterations is given, except for dahlquist.
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub(crate) relative_tolerance: Option<f64>,
    /// Fine method
    #[arg(long, value_name = "METHOD:STEPS")]
    pub(crate) fine: Option<Method>,
    /// Coarse method
    #[arg(long, value_name = "METHOD:STEPS")]
    pub(crate) coarse: Option<Method>,
    /// Number of threads that share the slices [default: the number of cores, at most N]
    #[arg(long, value_name = "P")]
    pub(crate) threads: Option<usize>,
    /// SVG file to write, with the errors over the iterations and the trajectory
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Overwrite an existing plot
    #[arg(long, requires = "plot")]
    pub(crate) overwrite: bool,
    /// Print the result as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
