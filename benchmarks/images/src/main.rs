//! Measures the time that training steps wait for their images.
//!
//! ```sh
//! cargo run --release -p images -- [DATA_DIR]         # data sets in memory
//! cargo run --release -p images -- --streamed         # a folder of larger images
//! cargo run --release -p images -- --index [FILES]    # time and memory to index a folder
//! ```
#![allow(clippy::print_stdout)]

mod index;
mod pictures;
mod streamed;

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use parareal_data::{Batches, Dataset, DatasetName};
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_run::{EpochRecord, StepRecord};
use parareal_train::{Observer, ProcessGroup, Resources};
use parareal_vision::{ClassificationRun, Config, Settings};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const IMAGES: usize = 2048;

/// Observer that collects the samples per second of each step.
struct Rates(Vec<f64>);

impl Observer for Rates {
    fn on_step(&mut self, record: &StepRecord) {
        self.0.push(record.samples_per_second);
    }

    fn on_epoch(&mut self, _: &EpochRecord) {}
}

fn main() -> Result<()> {
    allocator::retain();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--streamed") => streamed::run(),
        Some("--index") => index::run(match arguments.get(1) {
            Some(count) => count.parse()?,
            None => 200_000,
        }),
        data_dir => in_memory(data_dir.map(PathBuf::from)),
    }
}

/// Trains on data sets in memory.
fn in_memory(data_dir: Option<PathBuf>) -> Result<()> {
    use DatasetName::{Cifar10, Mnist, Shapes, Svhn};

    let sets = match data_dir {
        Some(_) => &[Shapes, Mnist, Cifar10, Svhn][..],
        None => &[Shapes],
    };
    println!("ResNet-20, N = 2; times of a batch, medians");
    println!(
        "{:<8} {:>6} {:>14} {:>10} {:>9}",
        "images", "batch", "to prepare it", "a step", "waiting"
    );
    for &set in sets {
        for batch in [16, 128] {
            let settings = Settings {
                dataset: Some(set),
                data_dir: data_dir.clone(),
                limit_train: Some(IMAGES),
                limit_test: Some(0),
                epochs: Some(2),
                batch_size: Some(batch),
                ..Settings::default()
            };
            let config = Config::resolve(settings, &Resources::alone())?;
            let prepare = prepare(&config)?;
            let folder = tempfile::tempdir()?;
            let mut rates = Rates(Vec::new());
            let run = ClassificationRun::create(
                &ProcessGroup::alone(),
                config,
                Some(folder.path().join("run")),
                None,
            )?;
            let outcome = run.train(&mut rates, &|| false)?;
            let step = 1e3 * batch as f64 / median(rates.0);
            let waiting = 100.0 * outcome.waiting_for_data;
            println!("{set:<8} {batch:>6} {prepare:>11.2} ms {step:>7.0} ms {waiting:>7.2} %");
        }
    }
    Ok(())
}

/// Returns the time to prepare a batch of training images, in milliseconds.
fn prepare(config: &Config) -> Result<f64> {
    let Dataset { train, normalization, augmentation, .. } =
        Dataset::load(config.dataset, &config.load)?;
    let mut batches =
        Batches::training(&train, &normalization, augmentation, config.run.batch_size, 1, 1)?;
    let mut times = Vec::new();
    loop {
        let begun = Instant::now();
        let Some(batch) = batches.next() else { return Ok(median(times)) };
        black_box(batch?);
        times.push(1e3 * begun.elapsed().as_secs_f64());
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
