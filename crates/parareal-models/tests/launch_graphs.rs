//! Steps whose launches are recorded and replayed, on a Vulkan device, equal steps that are executed: to the last bit with the
//! project's own kernels.

mod device;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use device::other_device;
use parareal::exec::{CrossEntropy, ExecError, ExecutorBuilder, StateKind, Update};
use parareal::net::{
    AnyLayer, Coarsen, Cuts, Init, NamedTensor, Sequential, StateDict, layer, layer_fn,
};
use parareal::nn::{Dropout, DropoutConfig};
use parareal_kernels::{AdamW, Sgd, SgdState};
use parareal_models::ImageNetwork;
use parareal_testing::{AnyExecutor, assert_all_close, assert_close, init, missing, start};

const CLASSES: usize = 10;

fn device() -> Device {
    other_device().unwrap_or_else(|| {
        missing("a Vulkan device (Debian package mesa-vulkan-drivers has one in software)")
    })
}

/// A command of a run.
#[derive(Clone, Copy)]
enum Do {
    /// A training step with the inputs of a seed, and a number of samples.
    Step(u64, usize, Update),
    /// A training step whose labels are too large.
    WrongTarget,
    /// Gradients without an update, of a number of samples.
    Gradients(usize),
    Infer,
    /// Reads the weights.
    Read,
    /// Reads the weights and loads them.
    Load,
}

/// The results of a run.
#[derive(Default)]
struct Run {
    losses: Vec<f64>,
    outputs: Vec<TensorData>,
    tensors: Vec<NamedTensor>,
    /// For each step, `Some` if it was replayed, with true if its update was.
    replayed: Vec<Option<bool>>,
}

/// A run of commands on a network.
struct Runner<'a, N: Coarsen> {
    net: &'a N,
    cuts: Cuts,
    optimizer: ModuleOptimizer,
    workers: usize,
    /// Returns the inputs of a seed.
    inputs: fn(u64, usize) -> N::Input,
    /// The largest relative difference: 0, or that of matrix products, for which Burn may choose another kernel.
    tolerance: f64,
}

impl<N: Coarsen<Output = Tensor<2>>> Runner<'_, N> {
    fn run(&self, commands: &[Do], records: bool) -> Run {
        let builder = ExecutorBuilder::new(CrossEntropy::default(), self.optimizer.clone());
        let builder = builder.devices([device()]).workers(self.workers);
        let builder = if records { builder.launch_graphs() } else { builder };
        let mut executor: AnyExecutor<N> =
            start(builder, self.net, &self.cuts, &init(1, DType::F32));
        let labels = |seed: u64, samples: usize| {
            let labels = (0..samples).map(|sample| (sample + seed as usize) % CLASSES);
            let labels: Vec<_> = labels.map(|label| label as i64).collect();
            Tensor::<1, Int>::from_data(TensorData::new(labels, [samples]), &Device::flex())
        };
        let mut run = Run::default();
        for command in commands {
            match *command {
                Do::Step(seed, samples, update) => {
                    let learning_rate = update.learning_rate / (1 + seed % 3) as f64;
                    let update = Update { learning_rate, ..update };
                    let (input, target) = ((self.inputs)(seed, samples), labels(seed, samples));
                    let report = executor.train_step_with(input, target, update).unwrap();
                    run.losses.push(report.loss);
                    run.losses.extend(report.gradient_norm);
                    run.outputs.push(report.output.into_data());
                    run.replayed.push(report.is_replayed.then_some(report.is_update_replayed));
                }
                Do::WrongTarget => {
                    let (input, target) = ((self.inputs)(9, 4), labels(9, 4) * 1000 + 50);
                    let error = executor.train_step(input, target, 0.1).unwrap_err();
                    assert!(matches!(error, ExecError::Target(_)), "{error}");
                }
                Do::Gradients(samples) => {
                    let (input, target) = ((self.inputs)(8, samples), labels(8, samples));
                    run.tensors.extend(executor.gradients(input, target).unwrap().gradients);
                }
                Do::Infer => {
                    run.outputs.push(executor.infer((self.inputs)(7, 4)).unwrap().into_data());
                }
                Do::Read => run.tensors.extend(executor.read(StateKind::Weights).unwrap()),
                Do::Load => {
                    let weights = executor.read(StateKind::Weights).unwrap();
                    let weights = StateDict::from_named(self.cuts.clone(), weights);
                    executor.write(StateKind::Weights, weights).unwrap();
                }
            }
        }
        for kind in [StateKind::Weights, StateKind::Optimizer, StateKind::Average] {
            run.tensors.extend(executor.read(kind).unwrap());
        }
        run
    }

    /// Checks that a run with launch graphs has the same results, and returns which steps were replayed.
    fn assert_same(&self, commands: &[Do]) -> Vec<Option<bool>> {
        let launched = self.run(commands, false);
        let replayed = self.run(commands, true);
        let losses = |run: &Run| TensorData::new(run.losses.clone(), [run.losses.len()]);
        assert_close(&losses(&replayed), &losses(&launched), self.tolerance, "losses");
        for (found, expected) in replayed.outputs.iter().zip(&launched.outputs) {
            assert_close(found, expected, self.tolerance, "output");
        }
        assert_all_close(&replayed.tensors, &launched.tensors, self.tolerance, "tensor");
        assert!(launched.replayed.iter().all(Option::is_none));
        replayed.replayed
    }
}

fn sgd() -> Sgd {
    Sgd { momentum: 0.9, weight_decay: 1e-3, joins_launches: true, ..Sgd::default() }
}

const PLAIN: Update = Update { learning_rate: 0.05, clip_norm: None, average_decay: None };
const CLIPPED: Update = Update { clip_norm: Some(0.5), ..PLAIN };
const AVERAGED: Update = Update { average_decay: Some(0.9), ..CLIPPED };

/// Steps with 4 samples.
fn steps(seeds: std::ops::Range<u64>, update: Update) -> Vec<Do> {
    seeds.map(|seed| Do::Step(seed, 4, update)).collect()
}

fn images(seed: u64, samples: usize) -> Tensor<4> {
    init(seed, DType::F32).normal("images", [samples, 3, 32, 32], 1.0).val().inner()
}

#[test]
fn replayed_steps_equal_executed_ones() {
    let net = ImageNetwork::resnet(11).unwrap().with_width(4);
    let commands = [
        steps(0..5, PLAIN),
        // Another shape once.
        vec![Do::Step(5, 3, PLAIN), Do::Infer],
        steps(6..8, PLAIN),
        vec![Do::Gradients(4), Do::Read, Do::Step(8, 4, PLAIN), Do::Step(9, 4, PLAIN)],
        steps(20..24, CLIPPED),
        vec![Do::WrongTarget],
        steps(24..26, CLIPPED),
        // A moving average begins, so that parameters move to other memory.
        steps(10..15, AVERAGED),
        vec![Do::Load],
        // Another shape for good.
        (15..20).map(|seed| Do::Step(seed, 3, AVERAGED)).collect(),
    ];
    let commands = commands.concat();
    for (subnetworks, workers) in [(1, 1), (3, 1), (3, 2)] {
        let cuts = net.default_cuts(subnetworks).unwrap();
        let optimizer = sgd().into();
        let runner = Runner { net: &net, cuts, optimizer, workers, inputs: images, tolerance: 0.0 };
        let replayed = runner.assert_same(&commands);
        let (none, pass, all) = (None, Some(false), Some(true));
        let expected = [
            // The first update creates the velocities, the second one is in place, so that the third one is recorded.
            vec![none, pass, all, all, all],
            vec![none, all, all, all, all],
            // Clipping is recorded anew.
            vec![none, all, all, all, all, all],
            // The parameters are shared with the average in its first step.
            vec![none, none, pass, all, all],
            // Loaded weights end the average.
            vec![none, none, pass, all, all],
        ];
        match workers {
            1 => assert_eq!(replayed, expected.concat(), "{subnetworks} subnetworks"),
            // A recording may need memory that the steps before it have not left.
            _ => {
                let executed = replayed.iter().filter(|step| step.is_none()).count();
                assert!(executed < replayed.len() / 2, "{replayed:?}");
                assert!(replayed.contains(&all), "{replayed:?}");
            }
        }
    }
}

fn features(seed: u64, samples: usize) -> Tensor<2> {
    init(seed, DType::F32).normal("features", [samples, 6], 1.0).val().inner()
}

fn linear(from: usize, to: usize, init: &Init) -> Linear {
    LinearConfig::new(from, to).init(init.device())
}

/// A network with units of one kind.
fn network<Fn1>(unit: Fn1) -> impl Coarsen<Input = Tensor<2>, Output = Tensor<2>>
where
    Fn1: Fn(usize, &Init) -> AnyLayer<Tensor<2>, Tensor<2>> + Clone + Send + Sync + 'static,
{
    let sample = Tensor::<2>::zeros([1, 6], &Device::flex());
    Sequential::stem(sample, |init| layer(linear(6, 8, init), Linear::forward))
        .units(4, unit)
        .head(|init| layer(linear(8, CLASSES, init), Linear::forward))
        .unwrap()
}

/// A unit with Burn's batch normalization, whose running statistics are merged after a pass. The weights of the second unit are frozen.
fn normalized(index: usize, init: &Init) -> AnyLayer<Tensor<2>, Tensor<2>> {
    let linear = linear(8, 8, init);
    let linear = if index == 1 { linear.no_grad() } else { linear };
    let norm = BatchNormConfig::new(8).init(init.device());
    layer((linear, norm), |(linear, norm): &(Linear, BatchNorm), state: Tensor<2>| {
        state.clone() + norm.forward(linear.forward(state)).tanh()
    })
}

#[test]
fn steps_that_end_without_an_update_leave_no_trace() {
    let net = network(normalized);
    let mut commands = vec![Do::WrongTarget];
    for seed in 0..5 {
        commands.extend([Do::Step(seed, 4, PLAIN), Do::WrongTarget]);
    }
    commands.extend(steps(5..8, PLAIN));
    commands.extend([Do::Step(8, 3, PLAIN), Do::WrongTarget, Do::Gradients(2)]);
    commands.extend(steps(9..12, CLIPPED));
    let optimizers: [ModuleOptimizer; 2] =
        [sgd().into(), AdamW { weight_decay: 0.01, ..AdamW::default() }.into()];
    for (optimizer, is_recorded) in optimizers.into_iter().zip([true, false]) {
        for subnetworks in [1, 2] {
            let cuts = Cuts::even(4, subnetworks).unwrap();
            let optimizer = optimizer.clone();
            let runner = Runner {
                net: &net,
                cuts,
                optimizer,
                workers: 1,
                inputs: features,
                tolerance: 1e-3,
            };
            let replayed = runner.assert_same(&commands);
            assert!(replayed.contains(&Some(is_recorded)), "{replayed:?}");
            assert!(is_recorded || !replayed.contains(&Some(true)), "{replayed:?}");
            let executed = replayed.iter().filter(|step| step.is_none()).count();
            assert!(executed <= 3, "{replayed:?}");
        }
    }
}

#[test]
fn messages_of_other_steps_are_not_recorded() {
    let net = network(normalized);
    let cuts = Cuts::even(4, 2).unwrap();
    let runner = Runner {
        net: &net,
        cuts,
        optimizer: sgd().into(),
        workers: 2,
        inputs: features,
        tolerance: 1e-3,
    };
    let mut commands = vec![Do::Step(0, 4, PLAIN), Do::Gradients(3)];
    commands.extend(steps(1..9, PLAIN));
    let replayed = runner.assert_same(&commands);
    assert!(replayed.contains(&Some(true)), "{replayed:?}");
}

/// SGD with an update that cannot be recorded, because it does more.
#[derive(Clone, Copy)]
struct More {
    sgd: Sgd,
    kind: MoreKind,
}

#[derive(Clone, Copy)]
enum MoreKind {
    /// Writes from the host.
    Writes,
    /// Reads from the device.
    Reads,
    /// Updates another tensor than the module's.
    Moves,
}

impl Optimizer for More {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        let parameter = match self.kind {
            MoreKind::Writes => {
                let _ = Tensor::<1>::from_data([1.0], &parameter.device());
                parameter
            }
            MoreKind::Reads => {
                let _ = gradient.clone().max().into_scalar::<f32>();
                parameter
            }
            MoreKind::Moves => {
                // Not in place, since there is another reference.
                let kept = parameter.clone();
                let moved = parameter.mul_scalar(0.875);
                drop(kept);
                moved
            }
        };
        self.sgd.step(learning_rate, parameter, gradient, state)
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        Sgd::to_device(state, device)
    }
}

#[test]
fn updates_that_cannot_be_recorded_are_executed() {
    let net = network(normalized);
    for kind in [MoreKind::Writes, MoreKind::Reads, MoreKind::Moves] {
        for momentum in [0.9, 0.0] {
            let cuts = Cuts::even(4, 2).unwrap();
            let optimizer = More { sgd: Sgd { momentum, ..sgd() }, kind }.into();
            let (inputs, tolerance) = (features as fn(u64, usize) -> _, 1e-3);
            let runner = Runner { net: &net, cuts, optimizer, workers: 1, inputs, tolerance };
            let replayed = runner.assert_same(&steps(0..9, CLIPPED));
            assert!(replayed.contains(&Some(false)), "{replayed:?}");
            assert!(!replayed.contains(&Some(true)), "{replayed:?}");
        }
    }
}

#[test]
fn clipping_that_comes_and_goes_is_recorded_once() {
    let net = network(normalized);
    let cuts = Cuts::even(4, 1).unwrap();
    let optimizer = sgd().into();
    let runner =
        Runner { net: &net, cuts, optimizer, workers: 1, inputs: features, tolerance: 1e-3 };
    let commands =
        (0..12).map(|seed| Do::Step(seed, 4, if seed % 2 == 1 { CLIPPED } else { PLAIN }));
    let replayed = runner.assert_same(&commands.collect::<Vec<_>>());
    assert_eq!(replayed[4..], [Some(true); 8], "{replayed:?}");
}

/// Needs memory for three tensors in every second forward pass of a run with graphs: in those that are recorded.
fn memory_hungry(_: usize, _: &Init) -> AnyLayer<Tensor<2>, Tensor<2>> {
    let passes = Arc::new(AtomicUsize::new(0));
    layer_fn(move |state: Tensor<2>| {
        let is_recorded = passes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let size = if is_recorded { 8 << 20 } else { 8 };
        let value = state.clone().slice([0..1, 0..1]).expand([1, size]);
        let tensors = [1.0, 2.0, 3.0].map(|factor| value.clone() * factor);
        drop(tensors);
        state.tanh()
    })
}

#[test]
fn recordings_that_lack_memory_are_repeated() {
    let net = network(|index, init| match index {
        2 => memory_hungry(index, init),
        _ => normalized(index, init),
    });
    let cuts = Cuts::even(4, 1).unwrap();
    let optimizer = sgd().into();
    let runner =
        Runner { net: &net, cuts, optimizer, workers: 1, inputs: features, tolerance: 1e-3 };
    let replayed = runner.assert_same(&steps(0..8, PLAIN));
    // Without the memory that is reserved, no recording would succeed.
    assert_eq!(replayed[..2], [None; 2], "{replayed:?}");
    assert_eq!(replayed[7], Some(true), "{replayed:?}");
}

/// Trains a network with a layer in its units, and returns the error of the second step, which is recorded.
fn recording_error(
    unit: impl Fn(usize, &Init) -> AnyLayer<Tensor<2>, Tensor<2>> + Clone + Send + Sync + 'static,
) -> String {
    let net = network(unit);
    let builder = ExecutorBuilder::new(CrossEntropy::default(), sgd());
    let builder = builder.devices([device()]).workers(1);
    let cuts = Cuts::even(4, 1).unwrap();
    let start = |builder| start(builder, &net, &cuts, &init(1, DType::F32));
    let target = || Tensor::<1, Int>::from_data([0, 2], &Device::flex());
    let mut executor = start(builder.clone().launch_graphs());
    executor.train_step(features(1, 2), target(), 0.1).unwrap();
    let error = executor.train_step(features(1, 2), target(), 0.1).unwrap_err();
    let ExecError::LaunchGraphs(reason) = error else { panic!("{error}") };
    // The passes of the step were executed, and updated the running statistics, but no parameter.
    let mut expected = start(builder);
    expected.train_step(features(1, 2), target(), 0.1).unwrap();
    expected.gradients(features(1, 2), target()).unwrap();
    let [found, expected] =
        [executor, expected].map(|mut executor| executor.read(StateKind::Weights).unwrap());
    assert_all_close(&found, &expected, 1e-3, "tensor");
    reason
}

#[test]
fn steps_that_cannot_be_replayed_are_refused() {
    let random = recording_error(|_, _| layer(DropoutConfig::new(0.5).init(), Dropout::forward));
    assert_eq!(random, "a layer draws random numbers, which each replay would repeat");
    let reads = recording_error(|index, init| match index {
        // Running statistics that are updated before are not lost.
        0 => normalized(index, init),
        _ => layer_fn(|state: Tensor<2>| {
            let largest: f32 = state.clone().abs().max().into_scalar();
            state / f64::from(largest)
        }),
    });
    assert!(reads.contains("panicked, which reading from the GPU leads to"), "{reads}");
}
