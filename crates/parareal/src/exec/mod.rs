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
//! [`Threads`] runs the program above on threads. With the feature `mpi`, `Ranks` runs it on the
//! processes of an MPI program.
//!
//! With *replicas* there are several copies of the chain, each with a part of the batch. The workers
//! that hold the same subnetworks add up their gradients, segment by segment while the backward
//! pass goes on, and average their running statistics, so that all copies stay the same to the last
//! bit. Batch normalization takes its statistics over the part of the batch that a replica sees: so
//! a step with `R` replicas is the step of a serial program that accumulates gradients over `R`
//! smaller batches, and not that of one large batch.

mod average;
mod clip;
mod clock;
mod control;
mod crew;
mod device;
mod error;
mod executor;
mod fault;
mod link;
mod loss;
#[cfg(feature = "mpi")]
mod mpi;
mod optimizer;
mod piece;
mod replicas;
mod sequential;
mod shared;
mod threads;
mod times;
mod trained;
mod worker;

pub use control::{Control, Disconnected};
pub use crew::{panic_message, pool};
pub use error::ExecError;
pub use executor::{Executor, GradientReport, StepReport, Update};
pub use link::Link;
pub use loss::{CrossEntropy, Loss, TargetError};
#[cfg(feature = "mpi")]
pub use mpi::{Ranks, Seat};
#[cfg(feature = "mpi")]
pub use parareal_mpi::{Communicator, MpiError, Traffic, World};
pub use sequential::Sequential;
pub use threads::{Placement, Threads};
pub use times::SubnetworkTime;
pub use trained::Part;

pub(crate) use trained::Trained;
