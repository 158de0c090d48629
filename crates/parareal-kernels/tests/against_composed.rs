//! The fused operations against Burn's own, composed in double precision.

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use parareal_kernels::{
    Center, Normalization, Statistics, Stepping, conv2d, is_fused, preactivation_conv2d,
};

const EPSILON: f64 = 1e-5;

/// One convolution to try.
#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    size: [usize; 2],
    from: usize,
    to: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    normalized: bool,
    of_batch: bool,
    residual: bool,
}

/// The values that a case starts from, in single precision so that both sides get the same.
struct Values {
    input: TensorData,
    weight: TensorData,
    scale: TensorData,
    shift: TensorData,
    mean: TensorData,
    variance: TensorData,
    residual: TensorData,
    cotangent: TensorData,
}

fn random<const D: usize>(shape: [usize; D], mean: f64, deviation: f64) -> TensorData {
    let device = Device::flex();
    Tensor::<D>::random(shape, Distribution::Normal(mean, deviation), &device).into_data()
}

impl Case {
    fn values(&self) -> Values {
        let [height, width] = self.size;
        let [rows, columns] =
            self.size.map(|size| (size + 2 * self.padding - self.kernel) / self.stride + 1);
        let variance =
            Tensor::<1>::random([self.from], Distribution::Uniform(0.5, 2.0), &Device::flex());
        Values {
            input: random([self.batch, height, width, self.from], 1.5, 2.0),
            weight: random([self.to, self.from, self.kernel, self.kernel], 0.0, 0.3),
            scale: random([self.from], 1.0, 0.3),
            shift: random([self.from], 0.1, 0.3),
            mean: random([self.from], 1.5, 0.2),
            variance: variance.into_data(),
            residual: random([self.batch, rows, columns, self.to], 0.0, 1.0),
            cotangent: random([self.batch, rows, columns, self.to], 0.0, 1.0),
        }
    }

    /// Output, then the gradients of input, kernel, scale, shift and residual.
    fn run(&self, values: &Values, dtype: DType) -> Vec<TensorData> {
        let device = Device::flex().autodiff();
        fn leaf<const D: usize>(data: &TensorData, device: &Device, dtype: DType) -> Tensor<D> {
            Tensor::from_data(data.clone(), (device, dtype)).require_grad()
        }
        let constant =
            |data: &TensorData| Tensor::<1>::from_data(data.clone(), (&Device::flex(), dtype));
        let input: Tensor<4> = leaf(&values.input, &device, dtype);
        let weight: Tensor<4> = leaf(&values.weight, &device, dtype);
        let [scale, shift]: [Tensor<1>; 2] =
            [&values.scale, &values.shift].map(|data| leaf(data, &device, dtype));
        let residual: Tensor<4> = leaf(&values.residual, &device, dtype);
        let stepping = Stepping { stride: self.stride, padding: self.padding };
        assert_eq!(is_fused(&input), dtype == DType::F32);
        let output = match self.normalized {
            true => {
                let center = match self.of_batch {
                    true => Center::OfBatch(None),
                    false => Center::Constant(Statistics {
                        mean: constant(&values.mean),
                        variance: constant(&values.variance),
                    }),
                };
                let (scale, shift) = (scale.clone(), shift.clone());
                let normalization = Normalization { scale, shift, center, epsilon: EPSILON };
                let residual = self.residual.then(|| residual.clone());
                preactivation_conv2d(
                    input.clone(),
                    normalization,
                    weight.clone(),
                    stepping,
                    residual,
                )
                .0
            }
            false => conv2d(input.clone(), weight.clone(), stepping),
        };
        let cotangent = Tensor::<4>::from_data(values.cotangent.clone(), (&device, dtype));
        let gradients = (output.clone() * cotangent).sum().backward();
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
        let values = self.values();
        let expected = self.run(&values, DType::F64);
        let found = self.run(&values, DType::F32);
        let names = ["output", "input", "weight", "scale", "shift", "residual"];
        for ((found, expected), name) in found.iter().zip(&expected).zip(names) {
            let difference = relative_difference(found, expected);
            assert!(difference <= 1e-5, "{name} differs by {difference:.1e} in {self:?}");
        }
    }
}

/// `‖a − b‖ / max(‖b‖, 1e-6·√n)`.
fn relative_difference(a: &TensorData, b: &TensorData) -> f64 {
    assert_eq!(a.shape().as_slice(), b.shape().as_slice());
    let values = |data: &TensorData| data.clone().convert::<f64>().try_into_vec::<f64>().unwrap();
    let (a, b) = (values(a), values(b));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    difference / norm(&mut b.iter().copied()).max(1e-6 * (b.len() as f64).sqrt())
}

/// The convolutions of the networks, and shapes that fit no vector.
fn cases() -> Vec<Case> {
    let sizes = [
        // batch, size, from, to
        (2, [8, 8], 64, 16),
        (2, [8, 8], 16, 64),
        (3, [8, 8], 32, 32),
        (2, [16, 16], 16, 16),
        (1, [5, 7], 1, 1),
        (3, [9, 5], 3, 5),
        (2, [7, 7], 17, 33),
        (1, [1, 1], 20, 40),
        (5, [3, 4], 48, 70),
        (2, [32, 32], 3, 16),
    ];
    let mut cases = Vec::new();
    for (batch, size, from, to) in sizes {
        for (kernel, stride, padding) in
            [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (3, 1, 0), (3, 2, 0)]
        {
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
                of_batch: true,
                residual: false,
            };
            // A single value has no variance: its gradient is rounding alone.
            let single = batch * size[0] * size[1] == 1;
            cases.extend((!single).then_some(case));
            cases.push(Case { of_batch: false, residual: true, ..case });
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
