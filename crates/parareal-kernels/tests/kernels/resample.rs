//! Average pooling and interpolation: closed forms, and gradients compared with Burn's own
//! operations.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use parareal_autodiff::Vjp;
use parareal_kernels::{average_pool2d, upsample2d};
use parareal_testing::relative_difference;

use crate::common::{Precision, Source, rounded};

fn leaf(data: &TensorData, precision: Precision) -> Tensor<4> {
    let device = Device::flex().autodiff();
    Tensor::from_data(data.clone(), (&device, precision.states())).require_grad()
}

#[test]
fn a_block_of_four_pixels_becomes_its_mean_and_a_pixel_a_block() {
    let device = Device::flex();
    let image = Tensor::<4>::from_floats([[[[1.0], [2.0]], [[4.0], [9.0]]]], &device);
    let pooled = average_pool2d(image.clone());
    assert_eq!(pooled.to_data().try_to_vec::<f32>().unwrap(), [4.0]);
    let sum = upsample2d(pooled, image);
    assert_eq!(sum.into_data().try_to_vec::<f32>().unwrap(), [5.0, 6.0, 8.0, 13.0]);
    // The last row and the last column of an odd size are blocks of their own.
    let odd = Tensor::<4>::from_floats([[[[1.0], [2.0], [4.0]]]], &device);
    let pooled = average_pool2d(odd.clone());
    assert_eq!(pooled.to_data().try_to_vec::<f32>().unwrap(), [1.5, 4.0]);
    let sum = upsample2d(pooled, odd);
    assert_eq!(sum.into_data().try_to_vec::<f32>().unwrap(), [2.5, 3.5, 8.0]);
}

#[test]
fn pooling_and_interpolation_agree_with_burn() {
    // Numbers of channels that are multiples of a vector register, and others; odd sizes.
    let sizes = [[3, 8, 8, 64], [1, 2, 6, 5], [2, 4, 2, 1], [2, 7, 4, 16], [1, 3, 5, 3]];
    for [batch, height, width, channels] in sizes {
        let mut source = Source::new();
        let mut random = |size: [usize; 2]| {
            rounded(source.normal([batch, size[0], size[1], channels], 0.5, 2.0))
        };
        let (fine_size, coarse_size) = ([height, width], [height.div_ceil(2), width.div_ceil(2)]);
        let [fine, along_fine] = [0, 1].map(|_| random(fine_size));
        let [coarse, along_coarse] = [0, 1].map(|_| random(coarse_size));
        let run = |precision: Precision| {
            let (fine, coarse) = (leaf(&fine, precision), leaf(&coarse, precision));
            let pulled = |output: Tensor<4>, along: &TensorData, of: &Tensor<4>| {
                let along = Tensor::<4>::from_data(along.clone(), &Device::flex());
                let along = along.cast(FloatDType::from(precision.states()));
                let gradients = Vjp::new(output).pull_back(along).unwrap();
                of.grad(&gradients).unwrap().into_data()
            };
            let pooled = average_pool2d(fine.clone());
            let sum = upsample2d(coarse.clone(), fine.clone());
            [
                pooled.to_data(),
                sum.to_data(),
                pulled(pooled, &along_coarse, &fine),
                pulled(sum, &along_fine, &coarse),
            ]
        };
        let expected = run(Precision::Double);
        for precision in [Precision::Single, Precision::Bfloat16] {
            for (index, (found, expected)) in run(precision).iter().zip(&expected).enumerate() {
                let difference = relative_difference(found, expected);
                assert!(
                    difference <= precision.tolerance(1),
                    "{height}×{width}×{channels}, {precision:?}, {index}: {difference:.1e}"
                );
            }
        }
    }
}
