//! Training steps of a parareal network, on one device or on several in parallel.
//!
//! Subnetwork `j` of `N` has the preprocessing `C_j`, which computes its initial state `x_j` from the input
//! `x`, and the units `g_j`, with `y_j = g_j(x_j)`. The coarse network `F_{j-1}` uses `U_{j-1}` of the
//! previous subnetwork to correct `y_j` to `U_j`. `h` computes the output from `U_N`. `ρ_j` is the gradient
//! of the loss with respect to `U_j`, the *cotangent*.
//!
//! A *worker* drives one device and holds one or more consecutive subnetworks. It executes its part of a
//! [`Program`]: a list of instructions with the dependencies between them. The following diagram is the
//! program of a step with three workers, each with one subnetwork. Time goes to the right, and arrows mark
//! the messages to the next and to the previous worker ([`Program::diagram`] explains the symbols):
#![doc = include_str!("three_workers.txt")]
//! `C2` and `g2` compute `x_2` and `y_2`, `F1` corrects `y_2` to `U_2`, `h` is the head with the loss, `F1'`
//! computes the cotangent of the previous subnetwork, `∇F1` are gradients of weights, `∇g2` and `∇C2`
//! backward passes, and `upd` is the update. In the diagram, all cells have the same width, and messages take
//! no time.
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
//! `ρ_{j-1}` needs only the gradient with respect to the input of `F_{j-1}`. So a worker with an upstream
//! neighbor first sends `ρ_{j-1}`, and then computes the gradients of `F_{j-1}`'s weights, if its operations
//! support this ([`parareal_autodiff::defer_weight_gradients`]).
//!
//! Automatic differentiation is cut at the interfaces and, within a subnetwork, into segments of a few units.
//! Each segment has its own graph, which is freed as soon as its gradients have been computed.
//!
//! An [`ExecutorBuilder`] starts any [`Executor`]. Parallel workers execute the program on threads of this
//! process or, with the feature `mpi`, on the ranks of an MPI program. The sequential executor is the
//! reference, which computes the same step as one graph on one device ([`ExecutorBuilder::sequential`]).
//! [`crate::plan`] simulates the same program with given durations.
//!
//! *Replicas* are copies of the network, each of which processes a part of the batch. The workers that hold
//! the same subnetworks all-reduce their gradients, segment by segment during the backward pass, and average
//! their running statistics, so that all replicas stay bitwise equal. A [`Layout`] describes the subnetworks
//! that each rank, worker and replica holds. Batch normalization computes its statistics over the samples of
//! one replica. So a step with `R` replicas is equivalent to a step of a serial program that accumulates
//! gradients over `R` smaller batches, not to a step with one large batch, unless the statistics are those of all replicas
//! ([`ExecutorBuilder::sync_batch_norm`]).

mod all_reduce;
mod batch_split;
mod builder;
mod clock;
mod collectives;
mod command;
mod device;
mod distillation;
mod error;
mod executor;
mod gradient_clipping;
mod interface_trainer;
#[cfg(feature = "cube")]
mod launch_graphs;
#[cfg(not(feature = "cube"))]
#[path = "launch_graphs/absent.rs"]
mod launch_graphs;
mod layout;
mod link;
mod loss;
mod moving_average;
#[cfg(feature = "mpi")]
mod mpi;
mod optimizer;
mod parallel;
mod program;
mod reducer;
mod running_statistics;
mod sequential;
mod shared_parameters;
mod stamp;
mod state_kind;
mod statistics_sum;
mod step;
mod step_decision;
mod step_failure;
mod subnetwork_runner;
mod subnetwork_time;
mod thread_pool;
mod trace;
mod trained_module;
mod transport;
mod update;
mod worker;
mod worker_pool;

pub use builder::ExecutorBuilder;
pub use device::passes_states_directly;
pub use distillation::{DistillOptions, InterfaceLosses, InterfaceModule, distill};
pub use error::ExecError;
pub use executor::{Executor, GradientReport, StepReport};
pub use layout::{Layout, LayoutError, RankLayout};
pub use loss::{
    ClosureLoss, CrossEntropy, Loss, MeanSquaredError, SoftTargetCrossEntropy, TargetError,
    batch_loss, loss_fn,
};
#[cfg(feature = "mpi")]
pub use parareal_mpi::{Communicator, MpiError, SilentRank, Traffic, World};
pub use program::{Instruction, Operation, Program, ProgramOptions, WorkerProgram};
pub use state_kind::StateKind;
pub use subnetwork_time::SubnetworkTime;
pub use trace::{ExecutedInstruction, WorkerTrace};
pub use update::Update;

pub(crate) use program::{Message, Moment, Simulation, TimingModel, segments};
pub(crate) use stamp::Stamp;
pub(crate) use trained_module::TrainedModule;
