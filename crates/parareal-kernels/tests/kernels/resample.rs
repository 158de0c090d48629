//! Average pooling and interpolation: closed forms, and gradients compared with Burn's own
//! operations.

use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal_kernels::{average_pool2d, upsample2d};
use parareal_testing::relative_difference;

use crate::common::Source;

fn leaf(data: &TensorData, dtype: DType) -> Tensor<4> {
    Tensor::from_data(data.clone(), (&Device::flex().autodiff(), dtype)).require_grad()
}

#[test]
fn a_block_of_four_pixels_becomes_its_mean_and_a_pixel_a_block() {
    let device = Device::flex();
    let image = Tensor::<4>::from_floats([[[[1.0], [2.0]], [[4.0], [9.0]]]], &device);
    let pooled = average_pool2d(image.clone());
    assert_eq!(pooled.to_data().try_to_vec::<f32>().unwrap(), [4.0]);
    let sum = upsample2d(pooled, image);
    assert_eq!(sum.into_data().try_to_vec::<f32>().unwrap(), [5.0, 6.0, 8.0, 13.0]);
}

#[test]
fn pooling_and_interpolation_agree_with_burn() {
    // Numbers of channels that are multiples of a vector register, and others.
    for [batch, height, width, channels] in [[3, 8, 8, 64], [1, 2, 6, 5], [2, 4, 2, 1]] {
        let mut source = Source::new();
        let fine = source.normal([batch, height, width, channels], 0.5, 2.0);
        let coarse = source.normal([batch, height / 2, width / 2, channels], 0.0, 1.0);
        let run = |dtype| {
            let (fine, coarse) = (leaf(&fine, dtype), leaf(&coarse, dtype));
            // Each result is weighted with the input of the other operation, so that gradients
            // differ between pixels.
            let pooled = average_pool2d(fine.clone());
            let sum = upsample2d(coarse.clone(), fine.clone());
            let loss = (pooled.clone() * coarse.clone()).sum()
                + (sum.clone() * fine.clone().powi_scalar(2)).sum();
            let gradients = loss.backward();
            let gradient = |leaf: &Tensor<4>| leaf.grad(&gradients).unwrap().into_data();
            [pooled.into_data(), sum.into_data(), gradient(&fine), gradient(&coarse)]
        };
        let (found, expected) = (run(DType::F32), run(DType::F64));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = relative_difference(found, expected);
            assert!(difference <= 1e-5, "{height}×{width}×{channels}, {index}: {difference:.1e}");
        }
    }
}
