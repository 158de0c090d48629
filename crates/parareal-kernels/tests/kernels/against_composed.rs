//! The fused operations in single precision and bfloat16, compared with Burn's own, composed in double precision.

use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor, TensorData};
use parareal_autodiff::Vjp;
use parareal_testing::relative_difference;

use crate::common::{EPSILON, Precision, Source, rounded};
use parareal_kernels::{
    ChannelStatistics, ConvOptions, NormStatistics, Normalization, conv2d, is_fused,
    preactivation_conv2d,
};

/// A convolution to test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) batch: usize,
    pub(crate) size: [usize; 2],
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) normalized: bool,
    pub(crate) batch_statistics: bool,
    pub(crate) residual: bool,
}

/// The values that a case starts from. They are in single precision, so that both precisions get
/// the same values.
pub(crate) struct Values {
    input: TensorData,
    weight: TensorData,
    scale: TensorData,
    shift: TensorData,
    mean: TensorData,
    variance: TensorData,
    residual: TensorData,
    cotangent: TensorData,
}

impl Case {
    pub(crate) fn values(&self) -> Values {
        let [height, width] = self.size;
        let [rows, columns] =
            self.size.map(|size| (size + 2 * self.padding - self.kernel) / self.stride + 1);
        let mut source = Source::new();
        let mut random = |shape: &[usize], mean, deviation| match *shape {
            [n] => source.normal([n], mean, deviation),
            [a, b, c, d] => source.normal([a, b, c, d], mean, deviation),
            _ => unreachable!("parameters and images"),
        };
        Values {
            input: rounded(random(&[self.batch, height, width, self.from], 1.5, 2.0)),
            weight: random(&[self.to, self.from, self.kernel, self.kernel], 0.0, 0.3),
            scale: random(&[self.from], 1.0, 0.3),
            shift: random(&[self.from], 0.1, 0.3),
            mean: random(&[self.from], 1.5, 0.2),
            variance: random(&[self.from], 1.5, 0.2),
            residual: rounded(random(&[self.batch, rows, columns, self.to], 0.0, 1.0)),
            cotangent: rounded(random(&[self.batch, rows, columns, self.to], 0.0, 1.0)),
        }
    }

    fn run(&self, values: &Values, precision: Precision) -> Vec<TensorData> {
        self.run_on(&Device::flex(), values, precision)
    }

    /// Returns the output, then the gradients of input, kernel, scale, shift and residual.
    pub(crate) fn run_on(
        &self,
        plain: &Device,
        values: &Values,
        precision: Precision,
    ) -> Vec<TensorData> {
        let [states, dtype] = [precision.states(), precision.parameters()];
        let device = plain.clone().autodiff();
        fn leaf<const D: usize>(data: &TensorData, device: &Device, dtype: DType) -> Tensor<D> {
            Tensor::from_data(data.clone(), (device, dtype)).require_grad()
        }
        let constant = |data: &TensorData| Tensor::<1>::from_data(data.clone(), (plain, dtype));
        let input: Tensor<4> = leaf(&values.input, &device, states);
        let weight: Tensor<4> = leaf(&values.weight, &device, dtype);
        let [scale, shift]: [Tensor<1>; 2] =
            [&values.scale, &values.shift].map(|data| leaf(data, &device, dtype));
        let residual: Tensor<4> = leaf(&values.residual, &device, states);
        let options = ConvOptions { stride: self.stride, padding: self.padding };
        assert_eq!(is_fused(&input), precision != Precision::Double);
        let output = match self.normalized {
            true => {
                let statistics = match self.batch_statistics {
                    true => NormStatistics::Batch(None),
                    false => NormStatistics::Running(ChannelStatistics {
                        mean: constant(&values.mean),
                        variance: constant(&values.variance),
                        count: 0,
                        running: None,
                    }),
                };
                let (scale, shift) = (scale.clone(), shift.clone());
                let normalization =
                    Normalization { scale, shift, statistics, epsilon: EPSILON, running: None };
                let residual = self.residual.then(|| residual.clone());
                preactivation_conv2d(
                    input.clone(),
                    normalization,
                    weight.clone(),
                    options,
                    residual,
                )
                .0
            }
            false => conv2d(input.clone(), weight.clone(), options),
        };
        let cotangent = Tensor::<4>::from_data(values.cotangent.clone(), plain);
        let vjp = Vjp::new(output.clone());
        let gradients = vjp.pull_back(cotangent.cast(FloatDType::from(states))).unwrap();
        let mut found = vec![output.into_data()];
        found.push(input.grad(&gradients).unwrap().into_data());
        found.push(weight.grad(&gradients).unwrap().into_data());
        if self.normalized {
            found.push(scale.grad(&gradients).unwrap().into_data());
            found.push(shift.grad(&gradients).unwrap().into_data());
        }
        if self.residual && self.normalized {
            found.push(residual.grad(&gradients).unwrap().into_data());
        }
        found
    }

    fn check(&self) {
        self.check_on(&Device::flex(), &[Precision::Single, Precision::Bfloat16]);
    }

    /// Compares the operation on a device with Burn's own on the CPU in double precision.
    pub(crate) fn check_on(&self, device: &Device, precisions: &[Precision]) {
        let values = self.values();
        let expected = self.run(&values, Precision::Double);
        // The gradients of parameters are sums in single precision. That of the input is rounded where it is stored,
        // before and after the gradient of the normalization. That of the residual is the cotangent.
        let names = [
            ("output", 1),
            ("input", 3),
            ("weight", 0),
            ("scale", 0),
            ("shift", 0),
            ("residual", 0),
        ];
        for &precision in precisions {
            let found = self.run_on(device, &values, precision);
            for ((found, expected), (name, roundings)) in found.iter().zip(&expected).zip(names) {
                let difference = relative_difference(found, expected);
                assert!(
                    difference <= precision.tolerance(roundings),
                    "{name} differs by {difference:.1e} in {precision:?} in {self:?}"
                );
            }
        }
    }
}

/// The convolutions of the networks, and shapes that are not multiples of a vector.
fn cases() -> Vec<Case> {
    let sizes = [
        // batch, size, from, to
        (2, [8, 8], 64, 16),
        (2, [8, 8], 16, 64),
        (3, [8, 8], 32, 32),
        (9, [8, 8], 16, 32),
        (2, [16, 16], 16, 16),
        (1, [20, 16], 32, 48),
        (1, [6, 140], 16, 48),
        (1, [5, 7], 1, 1),
        (3, [9, 5], 3, 5),
        (2, [7, 7], 17, 33),
        (1, [1, 1], 20, 40),
        (5, [3, 4], 48, 70),
        (2, [32, 32], 3, 16),
    ];
    let mut cases = Vec::new();
    for (batch, size, from, to) in sizes {
        for (kernel, stride, padding) in [
            (1, 1, 0),
            (1, 2, 0),
            (1, 3, 0),
            (2, 1, 1),
            (3, 1, 1),
            (3, 2, 1),
            (3, 1, 0),
            (3, 2, 0),
            (3, 1, 2),
            (3, 4, 1),
            (5, 2, 2),
        ] {
            if size[0].min(size[1]) + 2 * padding < kernel {
                continue;
            }
            let case = Case {
                batch,
                size,
                from,
                to,
                kernel,
                stride,
                padding,
                normalized: true,
                batch_statistics: true,
                residual: false,
            };
            // A single value has no variance, so its gradient is only rounding error.
            let single = batch * size[0] * size[1] == 1;
            cases.extend((!single).then_some(case));
            cases.extend((!single).then_some(Case { residual: true, ..case }));
            cases.push(Case { batch_statistics: false, residual: true, ..case });
            cases.push(Case { normalized: false, ..case });
        }
    }
    cases
}

#[test]
fn fused_and_composed_agree() {
    for case in cases() {
        case.check();
    }
}

#[test]
fn shapes_that_cannot_be_fused_are_composed() {
    let device = Device::flex();
    let input = || Tensor::<4>::ones([2, 4, 4, 3], &device);
    // At the corners, the kernel covers only padding, which is not supported: composed even in
    // single precision.
    let options = ConvOptions { stride: 1, padding: 1 };
    let output = conv2d(input(), Tensor::ones([5, 3, 1, 1], &device), options);
    assert_eq!(output.dims(), [2, 6, 6, 5]);
}

#[test]
fn the_memory_layout_of_images_does_not_change_results() {
    let device = Device::flex();
    let planes = Tensor::<4>::random([2, 3, 8, 8], Distribution::Default, &device);
    let pixels = planes.clone().permute([0, 2, 3, 1]);
    let copied = Tensor::<4>::from_data(pixels.clone().into_data(), &device);
    let weight = Tensor::<4>::random([4, 3, 3, 3], Distribution::Default, &device);
    let options = ConvOptions { stride: 1, padding: 1 };
    let found = conv2d(pixels, weight.clone(), options).into_data();
    found.assert_eq(&conv2d(copied, weight, options).into_data(), true);
}

#[test]
fn either_gradient_can_be_computed_alone() {
    let device = Device::flex().autodiff();
    let options = ConvOptions { stride: 2, padding: 1 };
    let random = |shape| Tensor::<4>::random(shape, Distribution::Default, &device);
    let (input, weight) = (random([2, 8, 8, 5]), random([7, 5, 3, 3]));
    let gradients = |input: &Tensor<4>, weight: &Tensor<4>| {
        let gradients = conv2d(input.clone(), weight.clone(), options).sum().backward();
        [input, weight].map(|leaf| leaf.grad(&gradients).map(Tensor::into_data))
    };
    let leaf = |tensor: &Tensor<4>| tensor.clone().require_grad();
    let [both_input, both_weight] = gradients(&leaf(&input), &leaf(&weight));
    let [alone, none] = gradients(&leaf(&input), &weight);
    assert!(none.is_none());
    alone.unwrap().assert_eq(&both_input.unwrap(), true);
    let [none, alone] = gradients(&input, &leaf(&weight));
    assert!(none.is_none());
    alone.unwrap().assert_eq(&both_weight.unwrap(), true);
}

#[test]
fn sums_are_deterministic_and_agree_for_any_number_of_threads() {
    // Direct products of whole images; Winograd's algorithm on pairs of rows, with a partly filled panel; pointwise
    // convolutions with `δ` stored and recomputed.
    for (size, from, to, kernel) in [
        ([9, 9], 20, 12, 3),
        ([8, 6], 48, 48, 3),
        ([8, 8], 16, 32, 3),
        ([16, 32], 32, 16, 3),
        ([5, 7], 16, 40, 1),
        ([5, 7], 40, 16, 1),
        ([16, 17], 16, 48, 1),
        ([16, 17], 48, 16, 1),
    ] {
        // With several threads, they share an image. Nine small images are computed in groups.
        for batch in [1, 3, 9] {
            let (stride, padding) = (1, kernel / 2);
            let (normalized, batch_statistics, residual) = (true, true, true);
            #[rustfmt::skip]
            let case = Case {
                batch, size, from, to, kernel, stride, padding, normalized, batch_statistics, residual,
            };
            split_alike(case, Precision::Single);
            split_alike(case, Precision::Bfloat16);
        }
    }
}

fn split_alike(case: Case, precision: Precision) {
    let values = case.values();
    let on_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.run(&values, precision))
    };
    let one = on_threads(1);
    for threads in [2, 5, 50] {
        let (found, again) = (on_threads(threads), on_threads(threads));
        for ((found, again), one) in found.iter().zip(&again).zip(&one) {
            found.assert_eq(again, true);
            // Sums of different order may be rounded to different neighbors.
            assert!(relative_difference(found, one) < precision.tolerance(1));
        }
    }
}
