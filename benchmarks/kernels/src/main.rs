//! Times of the individual fused operations at the sizes that occur in ResNets.
//!
//! ```sh
//! cargo run --release -p kernels -- [THREADS [BATCH]]
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_kernels::{
    ConvOptions, NormStatistics, Normalization, SimdLevel, preactivation_conv2d,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Image size, input channels, output channels, kernel size and stride.
const CASES: [(usize, usize, usize, usize, usize); 13] = [
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

fn run(batch: usize) {
    println!("{:?}, batch {batch}, {} threads", SimdLevel::current(), rayon::current_num_threads());
    println!("size  from   to  k s   forward ms  GFLOP/s   backward ms  GFLOP/s");
    let device = Device::flex().autodiff();
    let normal = |mean| Distribution::Normal(mean, 1.0);
    for (size, from, to, kernel, stride) in CASES {
        let input = Tensor::<4>::random([batch, size, size, from], normal(0.5), &device);
        let weight = Tensor::<4>::random([to, from, kernel, kernel], normal(0.0), &device);
        let scale = Tensor::<1>::random([from], normal(1.0), &device).require_grad();
        let shift = Tensor::<1>::random([from], normal(0.0), &device).require_grad();
        let (input, weight) = (input.require_grad(), weight.require_grad());
        let options = ConvOptions { stride, padding: kernel / 2 };
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (scale, shift) = (scale.clone(), shift.clone());
            let statistics = NormStatistics::Batch(None);
            let normalization = Normalization { scale, shift, statistics, epsilon: 1e-5 };
            let begun = Instant::now();
            let (output, _) =
                preactivation_conv2d(input.clone(), normalization, weight.clone(), options, None);
            forward.push(begun.elapsed().as_secs_f64());
            let output = output.sum();
            let begun = Instant::now();
            drop(output.backward());
            backward.push(begun.elapsed().as_secs_f64());
        }
        let pixels = (size / stride).pow(2) * batch;
        let work = 2e-9 * (pixels * from * to * kernel * kernel) as f64;
        let (forward, backward) = (median(forward), median(backward));
        println!(
            "{size:4} {from:5} {to:4}  {kernel} {stride} {:12.2} {:8.1} {:13.2} {:8.1}",
            1e3 * forward,
            work / forward,
            1e3 * backward,
            2.0 * work / backward,
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    allocator::retain();
    let argument = |index: usize, default: usize| -> Result<usize, Box<dyn Error>> {
        std::env::args().nth(index).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (threads, batch) = (argument(1, 1)?, argument(2, 32)?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| run(batch));
    Ok(())
}
