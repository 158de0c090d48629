//! Times of the individual fused operations at the sizes that occur in ResNets.
//!
//! ```sh
//! cargo run --release -p kernels -- [THREADS [BATCH]]
//! ```
#![allow(clippy::print_stdout)]

mod limits;

use std::error::Error;
use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor};
use limits::Limits;
use parareal_autodiff::Vjp;
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_kernels::{
    ConvOptions, NormStatistics, Normalization, SimdLevel, preactivation_conv2d,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Image size, input channels, output channels, kernel size and stride.
type Case = (usize, usize, usize, usize, usize);

const CASES: [Case; 13] = [
    (32, 64, 16, 1, 1),
    (32, 16, 16, 3, 1),
    (32, 16, 64, 1, 1),
    (16, 128, 32, 1, 1),
    (16, 32, 32, 3, 1),
    (16, 32, 128, 1, 1),
    (8, 256, 64, 1, 1),
    (8, 64, 64, 3, 1),
    (16, 128, 128, 3, 1),
    (8, 256, 256, 3, 1),
    (8, 64, 256, 1, 1),
    (32, 64, 64, 3, 1),
    (32, 32, 32, 3, 2),
];
const ROUNDS: usize = 15;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A type of states, with its name.
const STATES: [(FloatDType, &str); 2] = [(FloatDType::F32, "f32"), (FloatDType::BF16, "bf16")];

/// Returns the times of the forward and the backward pass in seconds.
fn time(case: Case, batch: usize, states: FloatDType) -> [f64; 2] {
    let (size, from, to, kernel, stride) = case;
    let device = Device::flex().autodiff();
    let normal = |mean| Distribution::Normal(mean, 1.0);
    let input = Tensor::<4>::random([batch, size, size, from], normal(0.5), &device);
    let weight = Tensor::<4>::random([to, from, kernel, kernel], normal(0.0), &device);
    let scale = Tensor::<1>::random([from], normal(1.0), &device).require_grad();
    let shift = Tensor::<1>::random([from], normal(0.0), &device).require_grad();
    let input: Tensor<4> = input.cast(states);
    let (input, weight) = (input.require_grad(), weight.require_grad());
    let options = ConvOptions { stride, padding: kernel / 2 };
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (scale, shift) = (scale.clone(), shift.clone());
        let statistics = NormStatistics::Batch(None);
        let normalization =
            Normalization { scale, shift, statistics, epsilon: 1e-5, running: None };
        let begun = Instant::now();
        let (output, _) =
            preactivation_conv2d(input.clone(), normalization, weight.clone(), options, None);
        forward.push(begun.elapsed().as_secs_f64());
        let cotangent = output.clone().inner().ones_like();
        let vjp = Vjp::new(output);
        let begun = Instant::now();
        drop(vjp.pull_back(cotangent));
        backward.push(begun.elapsed().as_secs_f64());
    }
    [median(forward), median(backward)]
}

fn run(batch: usize) {
    println!("{:?}, batch {batch}, {} threads", SimdLevel::current(), rayon::current_num_threads());
    let limits = Limits::measure();
    println!(
        "at most {:.0} GFLOP/s (multiplications and additions in registers) and {:.1} GB/s (copies of large arrays)",
        1e-9 * limits.operations,
        1e-9 * limits.bytes
    );
    println!(
        "size  from   to  k s states   forward ms  GFLOP/s  GB/s  limit   backward ms  GFLOP/s  GB/s  limit"
    );
    for case in CASES {
        let (size, from, to, kernel, stride) = case;
        let pixels = (size / stride).pow(2) * batch;
        let operations = 2.0 * (pixels * from * to * kernel * kernel) as f64;
        let (input, output) = (size * size * batch * from, pixels * to);
        for (states, name) in STATES {
            let bytes = |values: usize| (DType::from(states).size() * values) as f64;
            // The forward pass reads the input and writes the output. The backward pass reads both the input and the
            // output's gradient, and writes the input's.
            let passes = [
                (operations, bytes(input + output)),
                (2.0 * operations, bytes(2 * input + output)),
            ];
            print!("{size:4} {from:5} {to:4}  {kernel} {stride} {name:>6}");
            for (time, (operations, bytes)) in time(case, batch, states).into_iter().zip(passes) {
                print!(
                    "{:13.2} {:8.1} {:5.1} {:4.0} %",
                    1e3 * time,
                    1e-9 * operations / time,
                    1e-9 * bytes / time,
                    100.0 * limits.least_time(operations, bytes) / time,
                );
            }
            println!();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    allocator::retain();
    SimdLevel::requested()?;
    let argument = |index: usize, default: usize| -> Result<usize, Box<dyn Error>> {
        std::env::args().nth(index).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (threads, batch) = (argument(1, 1)?, argument(2, 32)?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| run(batch));
    Ok(())
}
