//! Steps on images that are read from their files, beside the same steps on a batch in memory.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecutorBuilder};
use parareal::net::{Init, PararealNetwork};
use parareal_data::{Batch, Batches, Dataset, DatasetName, LoadOptions};
use parareal_kernels::Sgd;
use parareal_models::ImageNetwork;
use parareal_train::prefetch;

use crate::{Result, median, pictures};

/// Height and width of the network's images.
const SIDE: usize = 64;
const FILES: usize = 3_000;
/// Sizes of the files.
const SIZES: [(u32, u32); 2] = [(160, 120), (500, 375)];
const BATCH: usize = 32;
const STEPS: usize = 40;

pub(crate) fn run() -> Result<()> {
    println!("ResNet-20, N = 2, images of {SIDE}x{SIDE} pixels, batch {BATCH}; times of a batch");
    println!(
        "{:<10} {:>12} {:>10} {:>16} {:>14} {:>9}",
        "files", "to decode it", "in memory", "step, streamed", "with the wait", "waiting"
    );
    for (width, height) in SIZES {
        let folder = tempfile::tempdir()?;
        pictures::shapes(folder.path(), FILES, width, height)?;
        measure(folder.path().to_path_buf(), &format!("{width}x{height}"))?;
    }
    Ok(())
}

fn measure(folder: std::path::PathBuf, name: &str) -> Result<()> {
    let options =
        LoadOptions { data_dir: Some(folder), image_size: Some(SIDE), ..Default::default() };
    let dataset = Dataset::load(DatasetName::Folder, &options)?;
    let Dataset { train, normalization, augmentation, .. } = &dataset;
    let batches = |epoch| Batches::training(train, normalization, *augmentation, BATCH, 1, epoch);

    // Decoding alone, on all cores.
    let mut times = Vec::new();
    let mut alone = batches(1)?;
    let batch = alone.next().ok_or("there are no images")??;
    for _ in 0..STEPS {
        let begun = Instant::now();
        alone.next().ok_or("there are too few images")??;
        times.push(in_milliseconds(begun.elapsed()));
    }
    let decode = median(times);

    let net = ImageNetwork::resnet(20)?.with_image_size(SIDE)?.with_classes(train.classes());
    let cuts = net.default_cuts(2)?;
    let network = PararealNetwork::build(&net, &cuts, &Init::new(1, &Device::flex()))?;
    let optimizer = Sgd { momentum: 0.9, weight_decay: 5e-4, ..Sgd::default() };
    let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer).workers(2).threads(1);
    let mut executor = builder.start(network)?;
    let mut step = |batch: Batch| -> Result<f64> {
        let (images, labels) = to_tensors(batch);
        Ok(in_milliseconds(executor.train_step(images, labels, 0.01)?.duration))
    };
    for _ in 0..3 {
        step(batch.clone())?;
    }
    let (mut in_memory, mut streamed, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    let mut whole = Vec::new();
    // Both kinds of steps alternate in blocks, because other programs may use the machine.
    for epoch in 2..6 {
        for _ in 0..STEPS / 4 {
            in_memory.push(step(batch.clone())?);
        }
        prefetch(batches(epoch)?, |mut batches| -> Result<()> {
            // The first batch of an epoch is waited for; the share of a long epoch is without it.
            step(batches.next().ok_or("there are no images")??)?;
            for _ in 0..STEPS / 4 {
                let begun = Instant::now();
                let batch = batches.next().ok_or("there are too few images")??;
                waits.push(in_milliseconds(batches.waited));
                streamed.push(step(batch)?);
                whole.push(in_milliseconds(begun.elapsed()));
            }
            Ok(())
        })??;
    }
    let waiting = 100.0 * waits.iter().sum::<f64>() / whole.iter().sum::<f64>();
    println!(
        "{name:<10} {decode:>9.1} ms {:>7.0} ms {:>13.0} ms {:>11.0} ms {waiting:>7.2} %",
        median(in_memory),
        median(streamed),
        median(whole),
    );
    Ok(())
}

fn to_tensors(batch: Batch) -> (Tensor<4>, Tensor<1, Int>) {
    let device = Device::flex();
    let labels: Vec<i64> = batch.labels.iter().map(|&label| i64::from(label)).collect();
    let count = labels.len();
    (
        Tensor::from_data(TensorData::new(batch.images, batch.shape), &device),
        Tensor::from_data(TensorData::new(labels, [count]), &device),
    )
}

fn in_milliseconds(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}
