//! Flags of `ode`.

use std::path::PathBuf;

use clap::Args;
use parareal_ode::{Complex, Method};

/// Flags of `ode`.
#[derive(Args)]
#[command(after_help = "\
Methods: exact (linear problems up to 2,048 unknowns), backward-euler:STEPS, midpoint:STEPS (implicit;
for linear problems it is the trapezoidal rule), rk4:STEPS. STEPS are those of one slice.

Defaults by problem (--interval, --slices, --fine, --coarse):
  dahlquist            10    10  exact               backward-euler:1   u' = λu
  heat                 0.1   10  backward-euler:100  backward-euler:1   u_t = u_xx
  advection-diffusion  0.5   20  backward-euler:100  backward-euler:1   u_t + u_x = u_xx / 50
  lotka-volterra       9     15  rk4:100             rk4:1              prey and predator
  lorenz               10   180  rk4:80              rk4:1              x' = 10(y - x), ..

The bound is the superlinear one of Gander and Vandewalle (2007) with what rounding may add; for
problems that are not linear none is known.")]
pub(crate) struct Ode {
    /// Problem: dahlquist, heat, advection-diffusion, lotka-volterra or lorenz
    #[arg(long, value_name = "NAME", default_value = "dahlquist")]
    pub(crate) problem: String,
    /// λ of dahlquist, real or complex such as -1+2i [default: -1]
    #[arg(long, value_name = "RE+IMi", allow_hyphen_values = true)]
    pub(crate) lambda: Option<Complex<f64>>,
    /// Unknowns of heat and advection-diffusion [default: 1000]
    #[arg(long, value_name = "UNKNOWNS")]
    pub(crate) size: Option<usize>,
    /// Length of the time interval
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) interval: Option<f64>,
    /// Slices of equal length
    #[arg(long, value_name = "N")]
    pub(crate) slices: Option<usize>,
    /// Iterations at most [default: N]
    #[arg(long, value_name = "K")]
    pub(crate) iterations: Option<usize>,
    /// End behind an iteration whose jumps were all at most E; 0 runs until all are 0
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub(crate) tolerance: Option<f64>,
    /// The same, times the norm of the largest state; added to --tolerance [default: 1e-6 where
    /// neither tolerance nor --iterations is given, for all problems but dahlquist]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub(crate) relative_tolerance: Option<f64>,
    /// Fine method
    #[arg(long, value_name = "METHOD:STEPS")]
    pub(crate) fine: Option<Method>,
    /// Coarse method
    #[arg(long, value_name = "METHOD:STEPS")]
    pub(crate) coarse: Option<Method>,
    /// Threads that share the slices [default: the number of cores, at most N]
    #[arg(long, value_name = "P")]
    pub(crate) threads: Option<usize>,
    /// SVG file to draw: errors and bounds over the iterations, and the trajectory as it converges
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Overwrite a plot that is there already
    #[arg(long, requires = "plot")]
    pub(crate) overwrite: bool,
    /// Print the result as one JSON value on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
