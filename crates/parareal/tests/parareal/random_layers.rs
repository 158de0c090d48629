//! The numbers of random layers depend on the seed, step, replica and unit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use parareal::exec::{CrossEntropy, Executor, StateKind};
use parareal::net::{Coarsen, Cuts, FeedForward, Init, Interface, Layer, SampleShape, ShapeError};
use parareal::nn::{Dropout, DropoutConfig};
use parareal_testing::{
    AnyExecutor, LayerNet, assert_all_close, assert_executors_agree, assert_recomputing_is_exact,
    batch, builder, executors, init, start,
};

const NET: LayerNet = LayerNet { units: 5, dropout: 0.3 };

#[test]
fn threads_and_sequential_agree() {
    let cuts = Cuts::even(5, 3).unwrap();
    for dtype in [DType::F32, DType::F64] {
        for workers in 1..=3 {
            let (mut sequential, mut threads) = executors(&NET, &cuts, &init(1, dtype), workers);
            let batch = |step| batch(100 + step, 12, dtype);
            assert_executors_agree(&mut *sequential, &mut *threads, batch, dtype);
        }
    }
}

#[test]
fn recomputed_units_drop_the_same_elements() {
    let cuts = Cuts::even(5, 2).unwrap();
    for units in [1, 2, usize::MAX] {
        assert_recomputing_is_exact(&NET, &cuts, &init(1, DType::F32), units, |step| {
            batch(step, 12, DType::F32)
        });
    }
}

/// The masks of each unit, and those of the network's other modules with the key `None`.
type Masks = BTreeMap<Option<usize>, Vec<Vec<f64>>>;

/// A module that records its masks and multiplies its input by a weight.
#[derive(Module, Debug)]
struct Probe {
    weight: Param<Tensor<1>>,
    first: Dropout,
    second: Dropout,
    #[module(skip)]
    unit: Option<usize>,
    #[module(skip)]
    masks: Arc<Mutex<Masks>>,
}

impl Layer<Tensor<2>, Tensor<2>> for Probe {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        for dropout in [&self.first, &self.second] {
            let mask = dropout.forward(input.ones_like()).into_data().iter::<f64>().collect();
            self.masks.lock().unwrap().entry(self.unit).or_default().push(mask);
        }
        input * self.weight.val().unsqueeze()
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        Ok(input.clone())
    }
}

/// A network of such modules.
#[derive(Clone, Default)]
struct Probes(Arc<Mutex<Masks>>);

impl Probes {
    fn probe(&self, unit: Option<usize>, init: &Init) -> Probe {
        let dropout = || DropoutConfig::new(0.5).init();
        let (first, second, masks) = (dropout(), dropout(), Arc::clone(&self.0));
        Probe { weight: init.constant([4], 0.9), first, second, unit, masks }
    }

    /// Removes and returns the recorded masks.
    fn masks(&self) -> Masks {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl FeedForward for Probes {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = Probe;
    type Unit = Probe;
    type Postprocessing = Probe;

    fn units(&self) -> usize {
        6
    }

    fn input_shape(&self) -> SampleShape {
        [4].into()
    }

    fn state_shape(&self, _: usize) -> SampleShape {
        [4].into()
    }

    fn preprocessing(&self, init: &Init) -> Probe {
        self.probe(None, init)
    }

    fn unit(&self, index: usize, init: &Init) -> Probe {
        self.probe(Some(index), init)
    }

    fn postprocessing(&self, init: &Init) -> Probe {
        self.probe(None, init)
    }
}

impl Coarsen for Probes {
    type Coarse = Probe;

    fn interface_preprocessing(&self, _: &Interface, init: &Init) -> Probe {
        self.probe(None, init)
    }

    fn coarse(&self, _: &Interface, init: &Init) -> Probe {
        self.probe(None, init)
    }
}

type Any = AnyExecutor<Probes>;

fn threads(net: &Probes, subnetworks: usize, workers: usize, replicas: usize, seed: u64) -> Any {
    let cuts = Cuts::even(6, subnetworks).unwrap();
    start(builder().workers(workers).replicas(replicas), net, &cuts, &init(seed, DType::F32))
}

fn sequential(net: &Probes, subnetworks: usize, seed: u64) -> Any {
    let cuts = Cuts::even(6, subnetworks).unwrap();
    start(builder().sequential().threads(4), net, &cuts, &init(seed, DType::F32))
}

fn step(executor: &mut Any) {
    let (_, labels) = batch(1, 8, DType::F32);
    executor.train_step(Tensor::ones([8, 4], &Device::flex()), labels, 0.1).unwrap();
}

#[test]
fn masks_of_a_unit_depend_on_the_seed_and_the_step_and_not_on_the_cuts() {
    let net = Probes::default();
    let mut serial = sequential(&net, 1, 1);
    step(&mut serial);
    let mut first = net.masks();
    first.remove(&None);
    step(&mut serial);
    let second = net.masks();
    // All masks of both steps are different, and different from the masks of another seed.
    let all: BTreeSet<_> = [&first, &second]
        .into_iter()
        .flat_map(|masks| masks.values().flatten())
        .map(|mask| format!("{mask:?}"))
        .collect();
    assert_eq!(all.len(), 2 * 6 + 2 * (6 + 2));
    step(&mut sequential(&net, 1, 2));
    let other = net.masks();
    assert!(first.iter().all(|(unit, masks)| &other[unit] != masks));

    for subnetworks in [1, 2, 3, 6] {
        for workers in 0..=subnetworks {
            let mut executor = match workers {
                0 => sequential(&net, subnetworks, 1),
                _ => threads(&net, subnetworks, workers, 1, 1),
            };
            step(&mut executor);
            let mut masks = net.masks();
            // The masks of C_j, F_j and h are all different.
            let others = masks.remove(&None).unwrap();
            let different: BTreeSet<_> = others.iter().map(|mask| format!("{mask:?}")).collect();
            assert_eq!((others.len(), different.len()), (4 * subnetworks, 4 * subnetworks));
            assert_eq!(masks, first, "{subnetworks} subnetworks, {workers} workers");
        }
    }
}

#[test]
fn replicas_drop_different_elements() {
    let net = Probes::default();
    let mut executor = threads(&net, 2, 2, 2, 1);
    step(&mut executor);
    for (unit, masks) in net.masks() {
        let different: BTreeSet<_> = masks.iter().map(|mask| format!("{mask:?}")).collect();
        assert_eq!(different.len(), masks.len(), "unit {unit:?}");
    }
}

#[test]
fn evaluation_drops_nothing() {
    let net = Probes::default();
    for mut executor in [sequential(&net, 2, 1), threads(&net, 2, 2, 1, 1)] {
        executor.infer(Tensor::ones([3, 4], &Device::flex())).unwrap();
        let masks = net.masks();
        assert!(masks.values().flatten().flatten().all(|value| *value == 1.0));
        // Evaluation does not count as a step.
        assert_eq!(executor.step(), 0);
        step(&mut executor);
        let first = net.masks();
        executor.infer(Tensor::ones([3, 4], &Device::flex())).unwrap();
        net.masks();
        executor.set_step(0);
        step(&mut executor);
        let sorted = |masks: Masks| -> Vec<_> {
            let sort = |(unit, masks): (_, Vec<Vec<f64>>)| {
                (unit, masks.iter().map(|mask| format!("{mask:?}")).collect::<BTreeSet<_>>())
            };
            masks.into_iter().map(sort).collect()
        };
        assert_eq!(sorted(net.masks()), sorted(first));
    }
}

#[test]
fn only_steps_that_end_with_an_update_count() {
    let net = Probes::default();
    for mut executor in [sequential(&net, 2, 1), threads(&net, 2, 2, 1, 1)] {
        step(&mut executor);
        net.masks();
        let (_, labels) = batch(1, 8, DType::F32);
        let input = Tensor::<2>::ones([8, 4], &Device::flex());
        executor.gradients(input.clone(), labels.clone()).unwrap();
        let gradients = net.masks();
        let broken = input.clone() * f32::NAN;
        executor.train_step(broken, labels.clone(), 0.1).unwrap_err();
        executor.train_step(input, labels.clone() + 9, 0.1).unwrap_err();
        assert_eq!(executor.step(), 1);
        net.masks();
        step(&mut executor);
        assert_eq!(net.masks()[&Some(3)], gradients[&Some(3)]);
        assert_eq!(executor.step(), 2);
    }
}

#[test]
fn a_resumed_run_continues_bit_for_bit() {
    let cuts = Cuts::even(5, 3).unwrap();
    let run = |executor: &mut dyn Executor<LayerNet, CrossEntropy>, steps: std::ops::Range<u64>| {
        for step in steps {
            let (input, labels) = batch(step, 8, DType::F32);
            executor.train_step(input, labels, 0.05).unwrap();
        }
    };
    for workers in 1..=3 {
        let build = || executors(&NET, &cuts, &init(1, DType::F32), workers);
        let (sequential, threads) = build();
        let (resumed_sequential, resumed_threads) = build();
        for [mut whole, mut resumed] in
            [[sequential, resumed_sequential], [threads, resumed_threads]]
        {
            run(&mut *whole, 0..2);
            let kinds = [StateKind::Weights, StateKind::Optimizer];
            let states = kinds.map(|kind| (kind, whole.state_dict(kind).unwrap()));
            let step = whole.step();
            run(&mut *whole, 2..4);
            let mut resume = |step| {
                for (kind, state) in &states {
                    resumed.write(*kind, state.clone()).unwrap();
                }
                resumed.set_step(step);
                run(&mut *resumed, 2..4);
                resumed.read(StateKind::Weights).unwrap()
            };
            let expected = whole.read(StateKind::Weights).unwrap();
            assert_all_close(&resume(step), &expected, 0.0, "weights");
            let other = resume(0);
            assert!(other.iter().zip(&expected).any(|(other, own)| other.data != own.data));
        }
    }
}
