//! Batches of images as tensors.

use burn::tensor::{Device, Tensor, TensorData};
use parareal_train::task::Batch;

/// A batch of images `[batch, channels, height, width]` with the shares of their classes `[batch, classes]`, and the
/// class numbers with the largest shares on the host.
pub(crate) type ImageBatch = Batch<Tensor<4>, Tensor<2>, Vec<u16>>;

/// Converts a batch of images of this number of classes to tensors on the CPU.
pub(crate) fn to_tensors(batch: parareal_data::Batch, classes: usize) -> ImageBatch {
    let device = Device::flex();
    let shares = TensorData::new(batch.class_shares(classes), [batch.labels.len(), classes]);
    let labels = batch.dominant_labels().to_vec();
    let input = Tensor::from_data(TensorData::new(batch.images, batch.shape), &device);
    Batch { input, target: Tensor::from_data(shares, &device), labels }
}
