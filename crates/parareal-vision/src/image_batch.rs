//! Batches of images as tensors.

use burn::tensor::{Device, Int, Tensor, TensorData};
use parareal_train::task::Batch;

/// A batch of images `[batch, channels, height, width]` with their classes `[batch]`, and the class
/// numbers on the host.
pub(crate) type ImageBatch = Batch<Tensor<4>, Tensor<1, Int>, Vec<u8>>;

/// Converts a batch to tensors on the CPU.
pub(crate) fn to_tensors(batch: parareal_data::Batch) -> ImageBatch {
    let device = Device::flex();
    let parareal_data::Batch { images, labels, shape } = batch;
    let count = labels.len();
    let numbers: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    let input = Tensor::from_data(TensorData::new(images, shape), &device);
    let target = Tensor::from_data(TensorData::new(numbers, [count]), &device);
    Batch { input, target, labels }
}
