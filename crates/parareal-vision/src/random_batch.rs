//! Batches for timing steps.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use parareal::net::SampleShape;

/// A batch of normally distributed images. The label of image `i` is `i` modulo the number of classes.
#[derive(Clone)]
pub(crate) struct RandomBatch {
    pub(crate) images: Tensor<4>,
    pub(crate) labels: Tensor<1, Int>,
}

impl RandomBatch {
    pub(crate) fn new(shape: &SampleShape, classes: usize, count: usize, device: &Device) -> Self {
        let noise = Distribution::Normal(0.0, 1.0);
        let shape: Vec<usize> = shape.dims().into_iter().flatten().copied().collect();
        let images = Tensor::random([vec![count], shape].concat(), noise, device);
        let labels: Vec<i64> = (0..count).map(|image| (image % classes) as i64).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [count]), device);
        Self { images, labels }
    }
}
