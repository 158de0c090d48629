//! Prediction of training steps: costs of the modules, a simulation of the program that [`crate::exec`]
//! executes, and the cuts that make a step shortest.
//!
//! A network's [`CostModel`] has the [`Cost`] of each module; a [`Stopwatch`] measures it. A [`Scenario`]
//! places a cut network on devices with links between them, and [`Scenario::predict`] simulates the
//! [`Program`](crate::exec::Program) of a step: which device waits for which, how long, and the critical
//! path. [`balance`] finds the cuts with the smallest predicted step. [`replay`] simulates a recorded step with
//! its own durations, and finds the recorded order and ends again.
//!
//! With one subnetwork on each of `N` devices, links without cost, and `f`, `b` for forward and
//! backward times (`b(F) = i(F) + w(F)`: the gradient of the input, and those of the weights), the
//! model is
//!
//! ```text
//! U_1 at  e_1 = f(C_1) + f(g_1)
//! U_j at  e_j = max(e_{j-1}, f(C_j) + f(g_j)) + f(F_{j-1})
//! ρ_N at  r_N = e_N + f(h) + b(h),       r_{j-1} = r_j + i(F_{j-1})
//! step    max over j of (r_j + b(F_{j-1}) + b(g_j) + b(C_j))  +  max over j of update_j
//! ```
//!
//! No device updates its parameters before all have finished their backward pass, because a loss that is not finite
//! and a missing gradient end the step for all.
//! So the first subnetworks get their cotangent last and should be small, and in the chain's backward pass only `i`
//! delays the next device.
//!
//! # Example
//! Sixty equal units, with coarse networks that cost as much as half a unit each:
//! ```
//! use parareal::exec::{Layout, ProgramOptions};
//! use parareal::net::{Cuts, Interface};
//! use parareal::plan::{Cost, CostModel, Link, PlanError, Scenario, balance};
//!
//! struct Equal;
//!
//! impl CostModel for Equal {
//!     fn units(&self) -> usize {
//!         60
//!     }
//!     fn preprocessing(&self, _position: usize) -> Cost {
//!         Cost::default()
//!     }
//!     fn unit(&self, _index: usize) -> Cost {
//!         let (forward, input_gradient, weight_gradient) = (1.0, 1.0, 1.0);
//!         Cost { forward, input_gradient, weight_gradient, ..Cost::default() }
//!     }
//!     fn coarse(&self, _interface: &Interface) -> Cost {
//!         let (forward, input_gradient, weight_gradient) = (0.5, 0.5, 0.5);
//!         Cost { forward, input_gradient, weight_gradient, ..Cost::default() }
//!     }
//!     fn postprocessing(&self) -> Cost {
//!         Cost::default()
//!     }
//!     fn interface_bytes(&self, _position: usize) -> f64 {
//!         0.0
//!     }
//! }
//!
//! // Forward until 20, 20.5 and 21 with the chain; ρ_2 leaves at 21.5, ρ_1 at 22. The second device
//! // has gradients of weights to compute and 20 units to go back through.
//! let even = Scenario::new(&Equal, &Cuts::even(60, 3)?, Layout::threads(3, 3, 1)?)?.predict()?;
//! assert_eq!(even.makespan(), 22.0 + 0.5 + 40.0);
//! assert_eq!(even.timeline.waiting(0)[0], [20.0, 22.0]);
//!
//! // On twelve devices the first ones get their cotangent late, so they should hold less.
//! let layout = Layout::threads(12, 12, 1)?;
//! let even = Scenario::new(&Equal, &Cuts::even(60, 12)?, layout.clone())?.predict()?;
//! let balanced = balance(&Equal, &layout, Link::FREE, ProgramOptions::default())?;
//! assert!(balanced.step < even.makespan());
//! assert!(balanced.cuts.units_of(0).len() < balanced.cuts.units_of(11).len());
//! # Ok::<(), PlanError>(())
//! ```

mod balance;
mod cost;
mod error;
mod operation_time;
mod overlap;
mod prediction;
mod replay;
mod scenario;
mod stopwatch;
mod tasks;
mod virtual_clock;

pub use balance::{Balanced, balance, check_balance};
pub use cost::{Cost, CostModel};
pub use error::PlanError;
pub use prediction::Prediction;
pub use replay::{replay, replay_scaled};
pub use scenario::{Link, Scenario, Schedule, SubnetworkCosts};
pub use stopwatch::{Sample, Stopwatch, SubnetworkTiming, Timing};
