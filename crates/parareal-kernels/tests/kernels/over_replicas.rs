//! Normalization with the statistics of all replicas, compared with that of the joined batch.

use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData, s};
use parareal_autodiff::{ReplicaSum, Vjp, with_replica_sum};
use parareal_kernels::{ConvOptions, NormStatistics, Normalization, preactivation_conv2d};
use parareal_testing::relative_difference;

use crate::common::{EPSILON, Precision, Source, rounded};

/// The images of each replica.
const PARTS: [std::ops::Range<usize>; 3] = [0..2, 2..3, 3..6];
const CHANNELS: [usize; 2] = [5, 4];
const SIZE: usize = 6;

/// Sums over threads, in the order of the replicas.
#[derive(Clone)]
struct Threads {
    replica: usize,
    terms: Arc<Mutex<Vec<Vec<f64>>>>,
    barrier: Arc<Barrier>,
}

impl ReplicaSum for Threads {
    fn sum(&self, terms: &mut [f64]) {
        self.terms.lock().unwrap()[self.replica] = terms.to_vec();
        self.barrier.wait();
        let all = self.terms.lock().unwrap().clone();
        for (index, sum) in terms.iter_mut().enumerate() {
            *sum = all.iter().map(|terms| terms[index]).sum();
        }
        self.barrier.wait();
    }
}

/// The values of one convolution. The parameters are those of all replicas.
struct Values {
    input: TensorData,
    residual: TensorData,
    cotangent: TensorData,
    weight: TensorData,
    scale: TensorData,
    shift: TensorData,
}

impl Values {
    fn new() -> Self {
        let [from, to] = CHANNELS;
        let images = PARTS[PARTS.len() - 1].end;
        let mut source = Source::new();
        Self {
            // Far from zero, where the difference of two mean squares would lose most digits.
            input: rounded(source.normal([images, SIZE, SIZE, from], 30.0, 2.0)),
            residual: rounded(source.normal([images, SIZE, SIZE, to], 0.0, 1.0)),
            cotangent: rounded(source.normal([images, SIZE, SIZE, to], 0.0, 1.0)),
            weight: source.normal([to, from, 3, 3], 0.0, 0.3),
            scale: source.normal([from], 1.0, 0.3),
            shift: source.normal([from], 0.1, 0.3),
        }
    }

    /// Returns output, gradients of input and residual, then the gradients of weight, scale and shift and the mean and
    /// variance of the input, computed from some of the images.
    fn run(&self, images: std::ops::Range<usize>, precision: Precision) -> Vec<TensorData> {
        let (states, parameters) = (precision.states(), precision.parameters());
        let device = Device::flex().autodiff();
        let part = |data: &TensorData| {
            let all = Tensor::<4>::from_data(data.clone(), (&Device::flex(), DType::F32));
            let part = all.slice(s![images.clone()]).cast(FloatDType::from(states));
            Tensor::from_inner(part).require_grad()
        };
        let [input, residual] = [&self.input, &self.residual].map(part);
        let weight: Tensor<4> =
            Tensor::from_data(self.weight.clone(), (&device, parameters)).require_grad();
        let [scale, shift] = [&self.scale, &self.shift]
            .map(|data| Tensor::<1>::from_data(data.clone(), (&device, parameters)).require_grad());
        let normalization = Normalization {
            scale: scale.clone(),
            shift: shift.clone(),
            statistics: NormStatistics::Batch(None),
            epsilon: EPSILON,
            running: None,
        };
        let options = ConvOptions { stride: 1, padding: 1 };
        let (output, statistics) = preactivation_conv2d(
            input.clone(),
            normalization,
            weight.clone(),
            options,
            Some(residual.clone()),
        );
        assert_eq!(statistics.count, PARTS[PARTS.len() - 1].end * SIZE * SIZE);
        let vjp = Vjp::new(output.clone());
        let gradients = vjp.pull_back(part(&self.cotangent).inner()).unwrap();
        vec![
            output.into_data(),
            input.grad(&gradients).unwrap().into_data(),
            residual.grad(&gradients).unwrap().into_data(),
            weight.grad(&gradients).unwrap().into_data(),
            scale.grad(&gradients).unwrap().into_data(),
            shift.grad(&gradients).unwrap().into_data(),
            statistics.mean.into_data(),
            statistics.variance.into_data(),
        ]
    }

    /// Returns the results of [`run`](Self::run) of all replicas, images joined and gradients of parameters added.
    fn run_replicas(&self, precision: Precision) -> Vec<TensorData> {
        let barrier = Arc::new(Barrier::new(PARTS.len()));
        let terms = Arc::new(Mutex::new(vec![Vec::new(); PARTS.len()]));
        let parts: Vec<Vec<TensorData>> = thread::scope(|scope| {
            let run = |(replica, images): (usize, std::ops::Range<usize>)| {
                let threads = Threads { replica, terms: terms.clone(), barrier: barrier.clone() };
                scope.spawn(move || {
                    with_replica_sum(Rc::new(threads), || self.run(images, precision))
                })
            };
            let running: Vec<_> = PARTS.into_iter().enumerate().map(run).collect();
            running.into_iter().map(|replica| replica.join().unwrap()).collect()
        });
        let values = |part: &Vec<TensorData>, index: usize| -> Vec<f64> {
            part[index].iter::<f64>().collect()
        };
        (0..parts[0].len())
            .map(|index| {
                let joined: Vec<f64> = match index {
                    0..3 => parts.iter().flat_map(|part| values(part, index)).collect(),
                    3..6 => parts.iter().map(|part| values(part, index)).reduce(added).unwrap(),
                    // All replicas have the same statistics.
                    _ => values(&parts[1], index),
                };
                let length = joined.len();
                TensorData::new(joined, [length])
            })
            .collect()
    }
}

fn added(left: Vec<f64>, right: Vec<f64>) -> Vec<f64> {
    left.into_iter().zip(right).map(|(left, right)| left + right).collect()
}

#[test]
fn replicas_normalize_like_the_joined_batch() {
    let values = Values::new();
    let joined = values.run(0..PARTS[PARTS.len() - 1].end, Precision::Double);
    // States are rounded where they are stored, the gradient of the input before and after that of the normalization.
    let names = [
        ("output", 1),
        ("gradient of the input", 3),
        ("gradient of the residual", 0),
        ("gradient of the weight", 0),
        ("gradient of the scale", 0),
        ("gradient of the shift", 0),
        ("mean", 0),
        ("variance", 0),
    ];
    for precision in [Precision::Double, Precision::Single, Precision::Bfloat16] {
        let found = values.run_replicas(precision);
        for ((found, joined), (name, roundings)) in found.iter().zip(&joined).zip(names) {
            let length = joined.num_elements();
            let joined = TensorData::new(joined.iter::<f64>().collect::<Vec<_>>(), [length]);
            let difference = relative_difference(found, &joined);
            let tolerance = match precision {
                Precision::Double => 1e-12,
                other => other.tolerance(roundings),
            };
            assert!(difference <= tolerance, "{name}: {difference:.1e} in {precision:?}");
        }
    }
}
