//! The fused operations on a device of CubeCL, compared with Burn's own on the CPU in double precision.
//!
//! With the feature `cube-wgpu` this is a WebGPU device, on which a block has several units. Otherwise it is CubeCL's CPU
//! runtime.

use burn::optim::Optimizer;
use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal_autodiff::{Vjp, defer_weight_gradients, join_launches};
use parareal_kernels::graph::TensorMemory;
use parareal_kernels::{
    ChannelStatistics, ConvOptions, NormStatistics, Normalization, PreactivationConv, Projection,
    RunningStatistics, Sgd, SgdState, conv2d, is_fused, projected_residual, residual,
};
use parareal_testing::{assert_close, relative_difference};

use crate::against_composed::Case;
use crate::common::{EPSILON, Precision, Source};
use crate::units::Unit;

#[cfg(feature = "cube-wgpu")]
fn device() -> Device {
    Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)
}

#[cfg(not(feature = "cube-wgpu"))]
fn device() -> Device {
    Device::cpu()
}

/// Convolutions with sizes that are not multiples of a tile.
fn cases() -> Vec<Case> {
    let sizes = [
        // batch, size, from, to, kernel, stride, padding
        (2, [4, 4], 16, 8, 1, 1, 0),
        (3, [5, 7], 5, 11, 1, 2, 0),
        (2, [6, 6], 8, 16, 3, 1, 1),
        (3, [7, 5], 3, 9, 3, 2, 1),
        (1, [5, 6], 2, 3, 2, 1, 1),
    ];
    let mut cases = Vec::new();
    for (batch, size, from, to, kernel, stride, padding) in sizes {
        let (normalized, batch_statistics, residual) = (true, true, false);
        #[rustfmt::skip]
        let case = Case {
            batch, size, from, to, kernel, stride, padding, normalized, batch_statistics, residual,
        };
        cases.push(case);
        cases.push(Case { residual: true, ..case });
        cases.push(Case { batch_statistics: false, residual: true, ..case });
        cases.push(Case { normalized: false, ..case });
    }
    cases
}

/// Returns the precisions that the device computes in: CubeCL's CPU runtime has bfloat16, WebGPU has not.
fn precisions() -> &'static [Precision] {
    let has_bfloat16 = device().supports_dtype(DType::BF16);
    assert!(has_bfloat16 || cfg!(feature = "cube-wgpu"), "no kernel would be tested in bfloat16");
    let all = &[Precision::Single, Precision::Bfloat16];
    if has_bfloat16 { all } else { &all[..1] }
}

#[test]
fn fused_and_composed_agree() {
    for case in cases() {
        case.check_on(&device(), precisions());
    }
}

#[test]
fn units_and_composed_agree() {
    for (channels, kernels) in
        [([10, 6], &[1, 3, 1][..]), ([6, 9], &[3, 3]), ([5, 3], &[1, 1]), ([4, 8], &[1, 3, 3, 1])]
    {
        for batch_statistics in [true, false] {
            let unit = Unit { channels, kernels, batch_statistics };
            unit.check_on(&device());
            if precisions().contains(&Precision::Bfloat16) {
                check_bfloat16(unit);
            }
        }
    }
}

/// Compares a unit with states in bfloat16 with the one on the CPU, and its output with Burn's own operations in double precision.
fn check_bfloat16(unit: Unit<'_>) {
    let run = |device: &Device, precision| unit.run_on(device, precision, |_| true);
    let found = run(&device(), Precision::Bfloat16);
    unit.check_bfloat16_output(&found, &run(&Device::flex(), Precision::Double));
    // Both have the same states, and so the same sides of ReLU. The CPU also rounds the gradients of inner states.
    unit.check_bfloat16_gradients(&found, &run(&Device::flex(), Precision::Bfloat16), 0.1);
}

#[test]
fn each_gradient_can_be_computed_alone() {
    let unit = Unit { channels: [5, 3], kernels: &[1, 3], batch_statistics: true };
    let run = |tracked: &dyn Fn(usize) -> bool| {
        unit.run_on(&device(), Precision::Single, tracked).gradients
    };
    let all = run(&|_| true);
    for wanted in 0..all.len() {
        let alone = run(&|operand| operand == wanted);
        for (operand, gradient) in alone.iter().enumerate() {
            assert_eq!(gradient.is_some(), operand == wanted);
        }
        let (alone, all) = (alone[wanted].as_ref().unwrap(), all[wanted].as_ref().unwrap());
        alone.assert_eq(all, true);
    }
}

/// Two units of two convolutions, one after the other.
struct Units {
    device: Device,
    precision: Precision,
    input: TensorData,
    cotangent: TensorData,
    /// Weight, scale and shift of each layer.
    parameters: Vec<[TensorData; 3]>,
}

/// Results of a training step with these units.
struct Step {
    /// Mean and variance of each normalization, then the output.
    values: Vec<TensorData>,
    /// The gradients of the input, then of the parameters.
    gradients: Vec<TensorData>,
}

const WIDE: usize = 6;
const NARROW: usize = 4;

impl Units {
    fn new(device: Device, precision: Precision) -> Self {
        let mut source = Source::new();
        let shape = [2, 4, 5, WIDE];
        let (input, cotangent) = (source.normal(shape, 1.5, 2.0), source.normal(shape, 0.0, 1.0));
        let layers = [(WIDE, NARROW, 1), (NARROW, WIDE, 3)];
        let parameters = layers.into_iter().cycle().take(4).map(|(before, after, kernel)| {
            let weight = source.normal([after, before, kernel, kernel], 0.0, 0.3);
            [weight, source.normal([before], 1.0, 0.3), source.normal([before], 0.1, 0.3)]
        });
        let parameters = parameters.collect();
        Self { device, precision, input, cotangent, parameters }
    }

    fn step(&self, defers: bool) -> Step {
        let device = self.device.clone().autodiff();
        fn leaf<const D: usize>(data: &TensorData, device: &Device, dtype: DType) -> Tensor<D> {
            Tensor::from_data(data.clone(), (device, dtype)).require_grad()
        }
        let [states, dtype] = [self.precision.states(), self.precision.parameters()];
        let input: Tensor<4> = leaf(&self.input, &device, states);
        let leaves = self.parameters.iter().map(|[weight, scale, shift]| {
            let weight: Tensor<4> = leaf(weight, &device, dtype);
            let [scale, shift]: [Tensor<1>; 2] =
                [scale, shift].map(|data| leaf(data, &device, dtype));
            (weight, scale, shift)
        });
        let leaves: Vec<_> = leaves.collect();
        let (mut state, mut values) = (input.clone(), Vec::new());
        for unit in leaves.chunks(2) {
            let layers = unit.iter().map(|(weight, scale, shift)| {
                let (scale, shift) = (scale.clone(), shift.clone());
                let statistics = NormStatistics::Batch(None);
                let normalization =
                    Normalization { scale, shift, statistics, epsilon: EPSILON, running: None };
                let options = ConvOptions { stride: 1, padding: weight.dims()[2] / 2 };
                let (normalization, weight) = (Some(normalization), weight.clone());
                PreactivationConv { normalization, weight, options }
            });
            let (output, statistics) = residual(state, layers.collect());
            for found in statistics {
                values.extend([found.mean, found.variance].map(Tensor::into_data));
            }
            state = output;
        }
        let cotangent = Tensor::<4>::from_data(self.cotangent.clone(), (&self.device, states));
        let vjp = Vjp::new(state.clone());
        // A copy, because CubeCL's CPU runtime returns its own memory, which a later operation may overwrite.
        let output = state.into_data();
        values.push(TensorData::new(output.iter::<f64>().collect(), output.shape().clone()));
        let (found, mut late) = match defers {
            true => {
                let (found, deferred) = defer_weight_gradients(|| vjp.pull_back(cotangent));
                assert!(!deferred.is_empty());
                (found, deferred.compute())
            }
            false => (vjp.pull_back(cotangent), Default::default()),
        };
        let found = found.unwrap();
        let mut gradients = vec![input.grad(&found).unwrap().into_data()];
        for (weight, scale, shift) in leaves {
            let of_weight = if defers { late.take(&weight) } else { weight.grad(&found) };
            assert_eq!(weight.grad(&found).is_none(), defers);
            gradients.push(of_weight.unwrap().into_data());
            gradients.push(scale.grad(&found).unwrap().into_data());
            gradients.push(shift.grad(&found).unwrap().into_data());
        }
        Step { values, gradients }
    }
}

/// Compares results on the device with those on the CPU: of 32-bit floats with double precision to this tolerance, of states in
/// bfloat16 with the same, nearly all of which are on the same sides of ReLU.
fn check_results(tolerance: f64, run: impl Fn(&Device, Precision) -> Vec<TensorData>) {
    for &precision in precisions() {
        // The CPU also rounds the gradients of inner states.
        let (reference, tolerance) = match precision {
            Precision::Bfloat16 => (Precision::Bfloat16, 0.05),
            _ => (Precision::Double, tolerance),
        };
        let (found, expected) = (run(&device(), precision), run(&Device::flex(), reference));
        assert_results(&found, &expected, tolerance);
    }
}

fn assert_results(found: &[TensorData], expected: &[TensorData], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_close(found, expected, tolerance, &format!("result {index}"));
    }
}

/// The second unit gets the statistics of its input from the first.
#[test]
fn consecutive_units_agree_with_the_cpu() {
    check_results(1e-5, |device, precision| {
        let Step { values, gradients } = Units::new(device.clone(), precision).step(false);
        values.into_iter().chain(gradients).collect()
    });
}

#[test]
fn results_are_reproducible_and_independent_of_deferral() {
    for &precision in precisions() {
        let units = Units::new(device(), precision);
        let [first, again, deferred] = [false, false, true].map(|defers| units.step(defers));
        for other in [again, deferred] {
            let all = first.values.iter().chain(&first.gradients);
            for (first, other) in all.zip(other.values.iter().chain(&other.gradients)) {
                first.assert_eq(other, true);
            }
        }
    }
}

/// Compares derivatives along random directions with central differences.
#[test]
fn gradients_agree_with_finite_differences() {
    const STEP: f32 = 2e-3;
    let numbers = |data: &TensorData| data.iter::<f64>().collect::<Vec<_>>();
    let product = |a: &TensorData, b: &TensorData| -> f64 {
        numbers(a).into_iter().zip(numbers(b)).map(|(a, b)| a * b).sum()
    };
    let gradients = Units::new(device(), Precision::Single).step(false).gradients;
    let mut source = Source::new();
    for (operand, gradient) in gradients.iter().enumerate() {
        let direction = source.normal([gradient.num_elements()], 0.0, 1.0);
        let loss = |factor: f32| {
            let mut units = Units::new(device(), Precision::Single);
            let moved = match operand.checked_sub(1) {
                None => &mut units.input,
                Some(index) => &mut units.parameters[index / 3][index % 3],
            };
            let steps = direction.iter::<f32>().map(|step| factor * step);
            let values = moved.iter::<f32>().zip(steps).map(|(value, step)| value + step);
            *moved = TensorData::new(values.collect::<Vec<f32>>(), moved.shape().clone());
            let step = units.step(false);
            product(step.values.last().unwrap(), &units.cotangent)
        };
        let expected = (loss(STEP) - loss(-STEP)) / (2.0 * f64::from(STEP));
        let found = product(gradient, &direction);
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(error < 2e-2, "operand {operand}: {found}, not {expected}");
    }
}

#[test]
fn what_cannot_be_fused_is_composed() {
    let device = device();
    let input = Tensor::<4>::ones([2, 4, 4, 3], &device);
    assert!(is_fused(&input));
    assert!(!is_fused(&Tensor::<4>::ones([2, 4, 4, 3], (&device, DType::F64))));
    // At the corners, the kernel covers only padding.
    let options = ConvOptions { stride: 1, padding: 1 };
    let output = conv2d(input, Tensor::ones([5, 3, 1, 1], &device), options);
    assert_eq!(output.dims(), [2, 6, 6, 5]);
}

#[test]
fn running_statistics_are_those_of_the_batch() {
    let mut source = Source::new();
    let (input, weight) =
        (source.normal([2, 3, 5, 6], 1.0, 2.0), source.normal([6, 6, 1, 1], 0.0, 0.3));
    let [mean, variance] = [0.5, 2.0].map(|mean| source.normal([6], mean, 0.1));
    let running = |device: &Device, precision: Precision| {
        let dtype = precision.parameters();
        let layers = [(); 2].map(|()| {
            let [mean, variance] =
                [&mean, &variance].map(|data| Tensor::from_data(data.clone(), (device, dtype)));
            let normalization = Normalization {
                scale: Tensor::ones([6], (device, dtype)),
                shift: Tensor::zeros([6], (device, dtype)),
                statistics: NormStatistics::Batch(None),
                epsilon: EPSILON,
                running: Some(RunningStatistics { mean, variance, momentum: 0.1 }),
            };
            let weight = Tensor::from_data(weight.clone(), (device, dtype));
            let options = ConvOptions { stride: 1, padding: 0 };
            PreactivationConv { normalization: Some(normalization), weight, options }
        });
        let input = Tensor::from_data(input.clone(), (device, precision.states()));
        let (_, statistics) = residual(input, layers.into());
        let running = statistics.into_iter().flat_map(|statistics| {
            let RunningStatistics { mean, variance, momentum } = statistics.running.unwrap();
            assert_eq!(momentum, 0.1);
            [mean, variance].map(Tensor::into_data)
        });
        running.collect::<Vec<_>>()
    };
    check_results(1e-6, running);
}

/// Three steps with parameters of several sizes, more than fit into one launch on some devices.
fn steps_of(sgd: Sgd, device: &Device, dtype: DType, joins: bool) -> Vec<TensorData> {
    let mut source = Source::new();
    let mut number = |len: usize| source.normal([len], 0.0, 1.0);
    let mut parameters: Vec<_> = (0..70)
        .map(|index| {
            let parameter = Tensor::<1>::from_data(number(1 + 41 * index), (device, dtype));
            (Some(parameter.unsqueeze::<2>()), None)
        })
        .collect();
    let mut vector = (Some(Tensor::<1>::from_data(number(300), (device, dtype))), None);
    fn step<const D: usize>(
        sgd: Sgd,
        rate: f64,
        (parameter, state): &mut (Option<Tensor<D>>, Option<SgdState<D>>),
        gradient: TensorData,
    ) {
        // Nothing else refers to the parameter, so that it is updated in place.
        let old = parameter.take().unwrap();
        let gradient = Tensor::<1>::from_data(gradient, (&old.device(), old.dtype()));
        let gradient = gradient.reshape(old.dims());
        let (new, kept) = sgd.step(rate, old, gradient, state.take());
        (*parameter, *state) = (Some(new), kept);
    }
    for rate in [0.1, 0.05, 0.2] {
        let mut update = || {
            for parameter in &mut parameters {
                let len = parameter.0.as_ref().unwrap().dims()[1];
                step(sgd, rate, parameter, number(len));
            }
            step(sgd, rate, &mut vector, number(300));
        };
        if joins { join_launches(update) } else { update() }
    }
    let matrices = parameters.into_iter().map(|(parameter, _)| parameter.unwrap().into_data());
    matrices.chain([vector.0.unwrap().into_data()]).collect()
}

#[test]
fn joint_steps_of_gradient_descent_are_those_of_the_formula() {
    for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
        let rule = Sgd { momentum, nesterov, weight_decay: 0.01, ..Sgd::default() };
        let sgd = Sgd { decay_weights_only: true, ..rule };
        let expected = steps_of(sgd, &Device::flex(), DType::F64, false);
        for joins in [true, false] {
            let sgd = Sgd { joins_launches: joins, ..sgd };
            let found = steps_of(sgd, &device(), DType::F32, joins);
            for (found, expected) in found.iter().zip(&expected) {
                let difference = relative_difference(found, expected);
                assert!(difference <= 1e-6, "{sgd:?}: differs by {difference:.1e}");
            }
        }
    }
}

#[test]
fn joint_interpolations_are_those_of_the_formula_and_in_place() {
    let mut source = Source::new();
    // More tensors than a launch takes, and one that something else refers to.
    let pairs: Vec<_> = (0..70)
        .map(|index| [0.0, 1.0].map(|mean| source.normal([1 + 41 * index], mean, 1.0)))
        .collect();
    let run = |device: &Device, dtype| {
        let tensor = |data: &TensorData| Tensor::<1>::from_data(data.clone(), (device, dtype));
        let tensors: Vec<_> = pairs.iter().map(|pair| pair.each_ref().map(tensor)).collect();
        let held = tensors[3][0].clone();
        let lerp = |[from, to]: [Tensor<1>; 2]| parareal_kernels::lerp(from, to, 0.1);
        let place = |tensor: &Tensor<1>| Some(TensorMemory::of(tensor.clone())?.place());
        let before: Vec<_> = tensors.iter().map(|[from, _]| place(from)).collect();
        let moved: Vec<_> = join_launches(|| tensors.into_iter().map(lerp).collect());
        for (index, (moved, before)) in moved.iter().zip(before).enumerate() {
            assert_eq!(place(moved) == before, before.is_none() || index != 3, "{index}");
        }
        held.into_data().convert_dtype(DType::F32).assert_eq(&pairs[3][0], true);
        moved.into_iter().map(Tensor::into_data).collect::<Vec<_>>()
    };
    let expected = run(&Device::flex(), DType::F64);
    for (found, expected) in run(&device(), DType::F32).iter().zip(&expected) {
        let difference = relative_difference(found, expected);
        assert!(difference <= 1e-6, "differs by {difference:.1e}");
    }
}

#[test]
fn a_parameter_with_other_owners_is_unchanged() {
    let sgd = Sgd { momentum: 0.9, ..Sgd::default() };
    let ones = || Tensor::<1>::ones([37], &device());
    let numbers = |tensor: Tensor<1>| tensor.into_data().try_into_vec::<f32>().unwrap();
    // An optimizer may compute with a step that joins no launches.
    let clamped = join_launches(|| sgd.step(0.5, ones(), ones(), None).0.clamp_min(0.75));
    assert_eq!(numbers(clamped), [0.75; 37]);
    let held = ones();
    let (changed, state) = sgd.step(0.5, held.clone(), ones(), None);
    let copy = changed.clone();
    let (twice, _) = sgd.step(0.5, changed, ones(), state);
    assert_eq!(numbers(held), [1.0; 37]);
    assert_eq!(numbers(copy), [0.5; 37]);
    assert!(numbers(twice).iter().all(|value| (value + 0.45).abs() < 1e-6));
}

/// A unit that changes the shape: a 1×1, a strided 3×3 and a 1×1 convolution, and a projection.
struct ProjectedUnit {
    input: TensorData,
    cotangent: TensorData,
    /// Weight, scale and shift of each layer.
    layers: Vec<(TensorData, [TensorData; 2])>,
    projection: TensorData,
}

impl ProjectedUnit {
    fn new() -> Self {
        let mut source = Source::new();
        let layers = [(6, 3, 1), (3, 3, 3), (3, 10, 1)].map(|(before, after, kernel)| {
            let weight = source.normal([after, before, kernel, kernel], 0.0, 0.4);
            (weight, [1.0, 0.1].map(|mean| source.normal([before], mean, 0.3)))
        });
        Self {
            input: source.normal([2, 6, 8, 6], 1.5, 2.0),
            cotangent: source.normal([2, 3, 4, 10], 0.0, 1.0),
            layers: layers.into(),
            projection: source.normal([10, 6, 1, 1], 0.0, 0.4),
        }
    }

    /// Returns the statistics and the output, and the gradients of the input, the projection and all parameters.
    fn run(
        &self,
        device: &Device,
        precision: Precision,
        is_batch: bool,
        defers: bool,
    ) -> Vec<TensorData> {
        let [states, dtype] = [precision.states(), precision.parameters()];
        let graph = device.clone().autodiff();
        let options = |stride, kernel| ConvOptions { stride, padding: kernel / 2 };
        let leaf = |data: &TensorData| Tensor::from_data(data.clone(), (&graph, dtype));
        let input = Tensor::<4>::from_data(self.input.clone(), (&graph, states)).require_grad();
        let projected: Tensor<4> = leaf(&self.projection).require_grad();
        let leaves = self.layers.iter().map(|(weight, affine)| {
            let affine = affine
                .each_ref()
                .map(|data| Tensor::<1>::from_data(data.clone(), (&graph, dtype)).require_grad());
            (leaf(weight).require_grad(), affine)
        });
        let leaves: Vec<(Tensor<4>, _)> = leaves.collect();
        let layers = leaves.iter().map(|(weight, [scale, shift])| {
            let kernel = weight.dims()[2];
            let constant = |value| Tensor::full([weight.dims()[1]], value, (device, dtype));
            let statistics = match is_batch {
                true => NormStatistics::Batch(None),
                false => NormStatistics::Running(ChannelStatistics {
                    mean: constant(0.4),
                    variance: constant(1.7),
                    count: 0,
                    running: None,
                }),
            };
            let (scale, shift) = (scale.clone(), shift.clone());
            let normalization =
                Normalization { scale, shift, statistics, epsilon: EPSILON, running: None };
            PreactivationConv {
                normalization: Some(normalization),
                weight: weight.clone(),
                options: options(if kernel == 3 { 2 } else { 1 }, kernel),
            }
        });
        let projection = Projection { weight: projected.clone(), options: options(2, 1) };
        let (output, statistics) = projected_residual(input.clone(), layers.collect(), projection);
        assert_eq!(statistics.len(), 3);
        let mut results: Vec<TensorData> = statistics
            .into_iter()
            .flat_map(|statistics| [statistics.mean, statistics.variance].map(Tensor::into_data))
            .collect();
        let vjp = Vjp::new(output.clone());
        let output = output.into_data();
        results.push(TensorData::new(output.iter::<f64>().collect(), output.shape().clone()));
        let cotangent = Tensor::<4>::from_data(self.cotangent.clone(), (device, states));
        let (found, mut late) = match defers {
            true => {
                let (found, deferred) = defer_weight_gradients(|| vjp.pull_back(cotangent));
                (found, deferred.compute())
            }
            false => (vjp.pull_back(cotangent), Default::default()),
        };
        let found = found.unwrap();
        results.push(input.grad(&found).unwrap().into_data());
        for (weight, affine) in leaves {
            let of_weight = if defers { late.take(&weight) } else { weight.grad(&found) };
            results.push(of_weight.unwrap().into_data());
            results.extend(affine.map(|tensor| tensor.grad(&found).unwrap().into_data()));
        }
        let of_weight = if defers { late.take(&projected) } else { projected.grad(&found) };
        results.push(of_weight.unwrap().into_data());
        results
    }
}

#[test]
fn projected_units_agree_with_the_cpu() {
    let unit = ProjectedUnit::new();
    for is_batch in [true, false] {
        let run = |device: &Device, precision| unit.run(device, precision, is_batch, false);
        check_results(1e-5, run);
        let on_cpu =
            [Precision::Single, Precision::Double].map(|precision| run(&Device::flex(), precision));
        assert_results(&on_cpu[0], &on_cpu[1], 1e-5);
        for &precision in precisions() {
            let deferred = unit.run(&device(), precision, is_batch, true);
            for (found, deferred) in run(&device(), precision).iter().zip(&deferred) {
                found.assert_eq(deferred, true);
            }
        }
    }
}
