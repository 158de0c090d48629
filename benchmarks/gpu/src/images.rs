//! Batches of images for the commands `agree` and `step`.

use std::path::PathBuf;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal_data::{Batches, Dataset, DatasetName, LoadOptions};

use crate::Result;

/// Number of classes of both data sets.
pub(crate) const CLASSES: usize = 10;

/// A batch in the memory of the CPU.
pub(crate) type Batch = (Tensor<4>, Tensor<1, Int>);

/// Returns the first `count` batches of CIFAR-10 in `data_dir`, or of the built-in shapes.
pub(crate) fn batches(data_dir: Option<PathBuf>, size: usize, count: usize) -> Result<Vec<Batch>> {
    let name = if data_dir.is_some() { DatasetName::Cifar10 } else { DatasetName::Shapes };
    let limit_train = Some(size * count);
    let options =
        LoadOptions { data_dir, limit_train, limit_test: Some(0), ..LoadOptions::default() };
    let Dataset { train, normalization, .. } = Dataset::load(name, &options)?;
    let batches: Vec<_> = Batches::evaluation(&train, &normalization, size)?
        .map(|batch| batch.expect("images in memory"))
        .filter(|batch| batch.labels.len() == size)
        .map(|batch| {
            let device = Device::flex();
            let images = TensorData::new(batch.images, batch.shape);
            let labels = batch.labels.into_iter().map(i64::from).collect();
            let labels = TensorData::new::<i64, _>(labels, [size]);
            (Tensor::from_data(images, (&device, DType::F32)), Tensor::from_data(labels, &device))
        })
        .collect();
    match batches.len() == count {
        true => Ok(batches),
        false => Err(format!("{name} has fewer than {count} batches of {size} images").into()),
    }
}
