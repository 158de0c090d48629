//! This project's part of the comparison with PyTorch: runs one case whenever `compare.py` requests it.
//!
//! ```sh
//! cargo run --release -p peers -- THREADS PRECISION network DEPTH SUBNETWORKS KIND COARSE_UNITS BATCH WORKERS [K]
//! cargo run --release -p peers -- THREADS PRECISION operation SIZE FROM TO KERNEL STRIDE BATCH
//! ```
//!
//! The threads are distributed evenly over the workers. PRECISION is `f32` or `bf16`. With `K`, one state is kept for every `K` units and
//! the others are recomputed.
//!
//! The program prints `ready` once it has warmed up. For each line `time` on standard input, it then runs the
//! case and prints the duration in seconds. For each line `peak`, it prints the peak memory since the
//! warm-up, in gigabytes.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod memory;
mod network;
mod operation;

use std::error::Error;
use std::io::{self, BufRead};
use std::time::Duration;

use parareal_kernels::SimdLevel;
use parareal_kernels::allocator::{self, MiMalloc};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Number of warm-up runs.
const WARM_UP: usize = 2;

fn serve(mut case: impl FnMut() -> Result<Duration>, before: f64) -> Result<()> {
    for _ in 0..WARM_UP {
        case()?;
    }
    memory::forget_peak();
    println!("ready");
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "time" => println!("{}", case()?.as_secs_f64()),
            "peak" => println!("{}", memory::peak()? - before),
            other => return Err(format!("expected `time` or `peak`, got `{other}`").into()),
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    allocator::retain();
    SimdLevel::requested()?;
    let before = memory::resident()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| -> Result<usize> {
        let text = arguments.get(index).ok_or("too few arguments; see the source")?;
        text.parse().map_err(|_| format!("expected a number, got `{text}`").into())
    };
    let threads = number(0)?;
    let precision = arguments.get(1).ok_or("expected a precision")?.parse()?;
    match arguments.get(2).map(String::as_str) {
        Some("network") => {
            let kind = arguments.get(5).ok_or("expected a kind of coarse unit")?.parse()?;
            let keep = if arguments.len() > 9 { Some(number(9)?) } else { None };
            let mut network = network::Network::new(&network::Settings {
                precision,
                depth: number(3)?,
                subnetworks: number(4)?,
                kind,
                coarse_units: number(6)?,
                batch: number(7)?,
                workers: number(8)?,
                threads,
                keep,
            })?;
            serve(|| network.step(), before)
        }
        Some("operation") => {
            let operation = operation::Operation {
                precision,
                size: number(3)?,
                from: number(4)?,
                to: number(5)?,
                kernel: number(6)?,
                stride: number(7)?,
                batch: number(8)?,
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            pool.install(|| {
                let mut repeated = operation.prepare();
                serve(|| Ok(repeated()), before)
                    // Other errors cannot be sent between threads.
                    .map_err(|error| error.to_string())
            })?;
            Ok(())
        }
        _ => Err("expected THREADS PRECISION, then `network` or `operation`".into()),
    }
}
