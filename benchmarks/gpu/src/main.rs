//! Training steps on a GPU: agreement with the CPU, times, counts and predictions.
//!
//! ```sh
//! cargo run --release -p gpu --features cuda -- agree --device cuda:0
//! cargo run --release -p gpu --features cuda -- step --device cuda:0 --depth 164 --batch-size 128
//! ```
//!
//! Prints one JSON value on standard output and progress on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod agree;
mod bench;
mod counts;
mod device;
mod images;
mod network;
mod step;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use parareal::exec::ExecError;
use parareal_kernels::allocator::{self, MiMalloc};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Training steps on a GPU.
#[derive(Parser)]
#[command(name = "gpu")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare a device with the CPU over a few training steps.
    Agree(agree::Agree),
    /// Time the components of a step, as in the paper's Table 2, and predict the step.
    Bench(bench::Components),
    /// Time training steps, and count their calls of the device.
    Step(step::Step),
}

fn main() -> ExitCode {
    allocator::retain();
    let done = match Arguments::parse().command {
        Command::Agree(agree) => agree.run(),
        Command::Bench(components) => components.run().map(|()| true),
        Command::Step(step) => step.run().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            // The exit code is 1 for a failed step and 2 for invalid input.
            ExitCode::from(if error.is::<ExecError>() { 1 } else { 2 })
        }
    }
}
