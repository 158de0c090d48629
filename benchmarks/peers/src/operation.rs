//! Forward and backward pass of the fused normalization, ReLU and convolution.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use parareal_autodiff::Vjp;
use parareal_kernels::{ConvOptions, NormStatistics, Normalization, preactivation_conv2d};
use parareal_models::Precision;

/// Number of runs that are timed together.
const REPETITIONS: u32 = 20;

pub(crate) struct Operation {
    /// Precision of the image, the output and their gradients.
    pub(crate) precision: Precision,
    pub(crate) size: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) batch: usize,
}

impl Operation {
    /// Returns a function that measures the mean time of a run.
    pub(crate) fn prepare(&self) -> impl FnMut() -> Duration {
        let Self { precision, size, from, to, kernel, stride, batch } = *self;
        let device = Device::flex().autodiff();
        let normal = |mean| Distribution::Normal(mean, 1.0);
        let dtype = match precision {
            Precision::Bf16 => FloatDType::BF16,
            _ => FloatDType::F32,
        };
        let input = Tensor::<4>::random([batch, size, size, from], normal(0.5), &device);
        let input = input.cast(dtype).detach();
        let weight = Tensor::<4>::random([to, from, kernel, kernel], normal(0.0), &device);
        let scale = Tensor::<1>::random([from], normal(1.0), &device).require_grad();
        let shift = Tensor::<1>::random([from], normal(0.0), &device).require_grad();
        let (input, weight) = (input.require_grad(), weight.require_grad());
        let smaller = size / stride;
        let cotangent =
            Tensor::<4>::random([batch, smaller, smaller, to], normal(0.0), &Device::flex());
        let cotangent = cotangent.cast(dtype);
        let options = ConvOptions { stride, padding: kernel / 2 };
        move || {
            let begun = Instant::now();
            for _ in 0..REPETITIONS {
                let (scale, shift) = (scale.clone(), shift.clone());
                let statistics = NormStatistics::Batch(None);
                let normalization =
                    Normalization { scale, shift, statistics, epsilon: 1e-5, running: None };
                let (output, _) = preactivation_conv2d(
                    input.clone(),
                    normalization,
                    weight.clone(),
                    options,
                    None,
                );
                drop(Vjp::new(output).pull_back(cotangent.clone()));
            }
            begun.elapsed() / REPETITIONS
        }
    }
}
