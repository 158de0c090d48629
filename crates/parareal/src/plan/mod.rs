//! What a training step will take: costs of its parts, a model of the program that
//! [`crate::exec`] runs, and the cuts that make it shortest.
//!
//! A network's [`CostModel`] says what each part costs; a [`Stopwatch`] measures it. A [`Setting`] puts the parts of a cut network on devices with links between them, and
//! [`Setting::predict`] follows the program of a step through them: who waits for whom, how long,
//! and which path decides. [`balance`] finds the cuts with the smallest predicted step.
//!
//! With one subnetwork on each of `N` devices, links without cost, and `f`, `b` for forward and
//! backward times (`b(F) = i(F) + w(F)`: the gradient of the input, and those of the weights), the
//! model is
//!
//! ```text
//! U_1 at  e_1 = f(C_1) + f(g_1)
//! U_j at  e_j = max(e_{j-1}, f(C_j) + f(g_j)) + f(F_{j-1})
//! ρ_N at  r_N = e_N + f(h) + b(h),       r_{j-1} = r_j + i(F_{j-1})
//! done    max over j of  r_j + b(F_{j-1}) + b(g_j) + b(C_j)
//! ```
//!
//! So low subnetworks get their cotangent last and should be small, and of the chain's backward
//! pass only `i` is passed on from one to the next.

mod balance;
mod cost;
mod measure;
mod predict;
mod setting;
mod virtual_clock;

pub use balance::{Balanced, balance};
pub use cost::{CostModel, Part};
pub use measure::{Sample, Stopwatch, SubnetworkTiming, Timing};
pub use predict::Prediction;
pub use setting::{Held, Link, PlanError, Schedule, Setting, Subnet, even_spread};
