//! A batch to time steps with.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

use crate::plan::Machine;

/// A batch of noise.
pub(super) struct Batch {
    pub(super) images: Tensor<4>,
    pub(super) labels: Tensor<1, Int>,
}

impl Batch {
    pub(super) fn new(shape: &[usize], classes: usize, machine: &Machine, device: &Device) -> Self {
        let count = machine.batch;
        let noise = Distribution::Normal(0.0, 1.0);
        let images = Tensor::random([count, shape[0], shape[1], shape[2]], noise, device);
        let labels: Vec<i64> = (0..count).map(|image| (image % classes) as i64).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [count]), device);
        Self { images, labels }
    }
}
