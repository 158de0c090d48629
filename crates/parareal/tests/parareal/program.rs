//! The program of a step: what workers executed is an order that it allows, and the one that follows from their
//! durations and the arrivals of their messages.

use std::time::Duration;

use burn::tensor::{DType, Tensor};
use parareal::exec::{
    CrossEntropy, Executor, Layout, LayoutError, Operation, Program, ProgramOptions, WorkerProgram,
};
use parareal::net::Cuts;
use parareal::plan::replay;
use parareal_testing::{DenseNet, assert_in_order, assert_replays, batch};

/// A network of dense units, wide enough that a unit takes longer than a look for a message.
fn wide() -> DenseNet {
    DenseNet::residual(vec![64; 15])
}
