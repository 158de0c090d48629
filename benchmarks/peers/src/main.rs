//! This project's part of the comparison with PyTorch: runs one case whenever `compare.py` requests it.
//!
//! ```sh
//! cargo run --release -p peers -- THREADS network DEPTH SUBNETWORKS KIND COARSE_UNITS BATCH WORKERS [K]
//! cargo run --release -p peers -- THREADS operation SIZE FROM TO KERNEL STRIDE BATCH
//! ```
//!
//! The threads are distributed evenly over the workers. With `K`, one state is kept for every `K` units and
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
    let before = memory::resident()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| -> Result<usize> {
        let text = arguments.get(index).ok_or("too few arguments; see the source")?;
        text.parse().map_err(|_| format!("expected a number, got `{text}`").into())
    };
    let threads = number(0)?;
    match arguments.get(1).map(String::as_str) {
        Some("network") => {
            let kind = arguments.get(4).ok_or("expected a kind of coarse unit")?.parse()?;
            let keep = if arguments.len() > 8 { Some(number(8)?) } else { None };
            let mut network = network::Network::new(&network::Settings {
                depth: number(2)?,
                subnetworks: number(3)?,
                kind,
                coarse_units: number(5)?,
                batch: number(6)?,
                workers: number(7)?,
                threads,
                keep,
            })?;
            serve(|| network.step(), before)
        }
        Some("operation") => {
            let operation = operation::Operation {
                size: number(2)?,
                from: number(3)?,
                to: number(4)?,
                kernel: number(5)?,
                stride: number(6)?,
                batch: number(7)?,
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
        _ => Err("expected THREADS, then `network` or `operation`".into()),
    }
}
