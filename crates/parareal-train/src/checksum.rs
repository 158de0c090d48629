//! Checksums of batches.

use burn::tensor::TensorData;
use parareal::net::Value;
use parareal_text::in_hexadecimal;
use sha2::{Digest, Sha256};

/// SHA-256 over the shapes, types and bytes of the inputs and targets of batches.
#[derive(Clone, Default)]
pub(crate) struct Checksum(Sha256);

impl Checksum {
    /// Returns the checksum of one batch in hexadecimal.
    pub(crate) fn of(input: &impl Value, target: &impl Value) -> String {
        let mut checksum = Self::default();
        checksum.add(input, target);
        checksum.finish()
    }

    /// Adds a batch.
    pub(crate) fn add(&mut self, input: &impl Value, target: &impl Value) {
        self.add_data(&input.clone().into_data());
        self.add_data(&target.clone().into_data());
    }

    /// Adds the input or the target of a batch.
    pub(crate) fn add_data(&mut self, tensors: &[TensorData]) {
        for data in tensors {
            self.0.update(format!("{:?} {:?};", data.dtype(), data.shape().as_slice()));
            self.0.update(data.as_bytes());
        }
    }

    /// Returns the checksum in hexadecimal.
    pub(crate) fn finish(self) -> String {
        in_hexadecimal(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor};

    use super::*;

    #[test]
    fn shapes_types_values_and_the_order_of_batches_count() {
        let device = Device::flex();
        let column = |values: [f32; 2]| Tensor::<1>::from_data(values, &device).reshape([2, 1]);
        let row = |values: [f32; 2]| Tensor::<1>::from_data(values, &device).reshape([1, 2]);
        let target = |value: i64| Tensor::<1, Int>::from_data([value, value], &device);
        let of = |batches: &[&(Tensor<2>, Tensor<1, Int>)]| {
            let mut checksum = Checksum::default();
            batches.iter().for_each(|(input, target)| checksum.add(input, target));
            checksum.finish()
        };
        let first = &(column([1.0, 2.0]), target(1));
        let second = &(column([1.0, 3.0]), target(1));
        assert_eq!(of(&[first]), of(&[&first.clone()]));
        let all = [
            of(&[first]),
            of(&[second]),
            of(&[&(row([1.0, 2.0]), target(1))]),
            of(&[&(column([1.0, 2.0]), target(2))]),
            of(&[first, second]),
            of(&[second, first]),
        ];
        for (position, checksum) in all.iter().enumerate() {
            assert!(!all[..position].contains(checksum), "{position}");
        }
    }
}
