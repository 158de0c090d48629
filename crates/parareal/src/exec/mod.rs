//! One training step of a parareal network, on one device or on several at once.
//!
//! A *worker* drives one device and holds one or more consecutive subnetworks. With three workers
//! of one subnetwork each, a step runs as follows; time goes to the right, `▒` is fine work (`C_j`
//! and `g_j`), `█` is the coarse chain (`F_j`), arrows cross the interfaces:
//!
//! ```text
//! 1  ▒x_1,y_1▒                             ρ_1 ▒g_1 C_1▒ update
//!             ╲U_1                          ╱
//! 2  ▒x_2,y_2▒ █U_2█                   █ρ_1█▒g_2 C_2▒ update
//!                   ╲U_2               ╱
//! 3  ▒x_3,y_3▒       █U_3█ h loss h █ρ_2█▒g_3 C_3▒ update
//! ```
//!
//! Forward, `U_1 = y_1` and `U_j = y_j + F_{j-1}(U_{j-1} - x_j)`. Backward, with
//! `ρ_N = ∂L/∂U_N` from `h` and the loss:
//!
//! ```text
//! ρ_{j-1} = F_{j-1}'(U_{j-1} - x_j)ᵀ ρ_j       sent at once: it is the critical path
//! ∂L/∂y_j = ρ_j                                fine backward, in parallel with all below
//! ∂L/∂x_j = g_j'(x_j)ᵀ ρ_j - ρ_{j-1}           (j = 1: the first term alone), into C_j
//! ```
//!
//! `ρ_{j-1}` needs the gradient of `F_{j-1}`'s input alone: a worker that somebody waits for sends
//! it and computes the gradients of `F_{j-1}`'s weights afterwards, where its operations allow it
//! ([`parareal_kernels::defer_weights`]).
//!
//! Automatic differentiation is cut at the interfaces and, within a subnetwork, into segments of
//! a few units: each has a graph of its own, which is freed as soon as its gradients are out.
//!
//! [`Sequential`] computes the same step as one graph on one device: it is the reference.
//! [`Threads`] runs the program above on threads.

mod average;
mod clip;
mod control;
mod error;
mod executor;
mod link;
mod loss;
mod optimizer;
mod piece;
mod sequential;
mod threads;
mod trained;
mod worker;

pub use control::{Control, Disconnected};
pub use error::ExecError;
pub use executor::{Executor, GradientReport, StepReport, SubnetworkTime, Update};
pub use link::Link;
pub use loss::{CrossEntropy, Loss};
pub use sequential::Sequential;
pub use threads::{Placement, Threads, pool};

pub(crate) use trained::Trained;
