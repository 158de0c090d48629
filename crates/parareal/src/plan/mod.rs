//! Prediction of training steps: costs of modules, a simulation of the program that [`crate::exec`] executes,
//! and a search for the cuts with the shortest step.
//!
//! The [`CostModel`] of a network contains the [`Cost`] of each module, which a [`Stopwatch`] can measure. A
//! [`Scenario`] places the subnetworks of a network on devices with links between them. [`Scenario::predict`]
//! simulates the [`Program`](crate::exec::Program) of a step and returns its timeline, including the times at
//! which devices wait, and the critical path. [`balance`] finds the cuts with the shortest predicted step.
//! [`replay`] simulates a recorded step with its own durations, and reproduces the recorded order and end
//! times.
//!
//! Let `f` and `b` be the times of forward and backward passes, with `b(F) = i(F) + w(F)` for the gradients
//! of the input and of the weights. With one subnetwork on each of `N` devices, and links without cost, the
//! model is
//!
//! ```text
//! U_1 at  e_1 = f(C_1) + f(g_1)
//! U_j at  e_j = max(e_{j-1}, f(C_j) + f(g_j)) + f(F_{j-1})
//! ρ_N at  r_N = e_N + f(h) + b(h),       r_{j-1} = r_j + i(F_{j-1})
//! step    max over j of (r_j + b(F_{j-1}) + b(g_j) + b(C_j))  +  max over j of update_j
//! ```
//!
//! No device updates its parameters before all devices have finished their backward pass, because a loss that
//! is not finite or a missing gradient ends the step on all devices. The first subnetworks receive their
//! cotangents last, so they should be small. In the backward pass of the chain, only `i` delays the next
//! device.
//!
//! # Example
//! Sixty equal units, with coarse networks that each cost half as much as a unit:
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
//! // The forward passes end at 20, 20.5 and 21, and the chain sends ρ_2 at 21.5 and ρ_1 at 22. The second
//! // device then computes gradients of weights (0.5) and the backward pass of its 20 units (40).
//! let even = Scenario::new(&Equal, &Cuts::even(60, 3)?, Layout::threads(3, 3, 1)?)?.predict()?;
//! assert_eq!(even.makespan(), 22.0 + 0.5 + 40.0);
//! assert_eq!(even.timeline.waiting(0)[0], [20.0, 22.0]);
//!
//! // With twelve devices, the first ones receive their cotangents late, so they should hold fewer units.
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
