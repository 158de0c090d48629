//! Compares the ways to use the cores of a machine for one training step: threads that share each operation,
//! replicas that share the batch, subnetworks that share the depth, and PyTorch.
//!
//! ```sh
//! cargo run --release -p strong-scaling -- --output DIR --python PYTHON
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod case;
mod contestant;
mod measurement;
mod network;
mod peer;
mod picture;
mod prediction;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, thread};

use clap::Parser;
use parareal_kernels::allocator::{self, MiMalloc};

use case::Case;
use peer::VARIANTS;
use report::Report;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Compares the ways to use the cores of a machine for one training step of a ResNet.
#[derive(Parser)]
#[command(name = "strong-scaling", max_term_width = 80)]
struct Arguments {
    /// Layers of the network, 9n+2.
    #[arg(long, value_delimiter = ',', default_value = "164,1001")]
    depth: Vec<usize>,
    /// Images of a step.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32")]
    batch: Vec<usize>,
    /// Numbers of subnetworks.
    #[arg(long, value_delimiter = ',', default_value = "2,3,6")]
    subnetworks: Vec<usize>,
    /// Cores to use, all by default.
    #[arg(long)]
    cores: Option<usize>,
    /// Timed steps of each way.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Python with the packages of benchmarks/peers/requirements.txt. Without it, PyTorch is left out.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Variants of PyTorch to try. Compiling takes minutes for each batch and number of threads.
    #[arg(long, value_delimiter = ',', default_values = VARIANTS, value_parser = VARIANTS)]
    variant: Vec<String>,
    /// Folder for results.json, results.md and picture.svg, written after each case. Cases that are already in
    /// results.json are not measured again.
    #[arg(long)]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    allocator::retain();
    let cores = match arguments.cores {
        Some(cores) => cores,
        None => thread::available_parallelism()?.get(),
    };
    if arguments.rounds == 0 || cores == 0 || arguments.batch.contains(&0) {
        return Err("expected at least one round, core and image".into());
    }
    let stored = arguments.output.as_ref().map(|folder| folder.join("results.json"));
    let mut report = match &stored {
        Some(path) if path.exists() => Report::read(path)?,
        _ => Report::new(cores),
    };
    report.check_machine(cores)?;
    for &depth in &arguments.depth {
        for &batch in &arguments.batch {
            let case = Case { depth, batch, cores, rounds: arguments.rounds };
            if report.has(&case) {
                eprintln!("{case}: already measured");
                continue;
            }
            let python = arguments.python.as_deref();
            let rows = case.measure(&arguments.subnetworks, python, &arguments.variant)?;
            report.add(&case, rows);
            if let Some(folder) = &arguments.output {
                fs::create_dir_all(folder)?;
                report.write(folder)?;
            }
        }
    }
    // Draws stored results anew if there was nothing to measure.
    if let Some(folder) = arguments.output.filter(|folder| folder.exists()) {
        report.write(&folder)?;
    }
    print!("{}", report.markdown());
    Ok(())
}
