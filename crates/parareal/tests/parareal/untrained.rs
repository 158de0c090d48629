//! Networks that might silently not be trained, or trained incorrectly. Every executor trains them, or
//! rejects them with the same error.

use std::sync::atomic::{AtomicU32, Ordering};

use burn::module::{Initializer, Module, Param, RunningState};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecError, ExecutorBuilder, Loss, StateKind, Update};
use parareal::net::{
    Coarsen, Cuts, FeedForward, Init, Interface, Layer, NamedTensor, NetError, PararealNetwork,
    SampleShape, ShapeError,
};
use parareal_testing::{AnyExecutor, CLASSES, FEATURES, assert_all_close, batch, init, sgd, start};

const WIDTH: usize = 6;
const UNITS: usize = 5;
/// The number of calls of `Random` units, which never return the same result twice.
static CALLS: AtomicU32 = AtomicU32::new(1);

/// The special property of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Twist {
    None,
    /// The unit is in evaluation mode.
    Valid,
    /// Its parameters require no gradient.
    Frozen,
    /// Its parameters were changed within a graph, so they are no longer leaves.
    Mapped,
    /// Its output does not depend on its second layer.
    Unreached,
    /// No gradient passes through it.
    Detached,
    /// Its output does not depend on its input.
    Constant,
    /// It multiplies by a different number each time.
    Random,
}

/// A residual unit of Burn's layers.
#[derive(Module, Debug)]
struct Unit {
    linear: Linear,
    scale: Linear,
    calls: RunningState<Tensor<1>>,
    #[module(skip)]
    twist: Twist,
}

impl Unit {
    fn new(from: usize, to: usize, device: &Device, twist: Twist) -> Self {
        let linear = |from: usize, to: usize| {
            // The bias is lazy, as in all of Burn's layers. The weight is not random.
            let bias = Initializer::Constant { value: 0.1 };
            let lazy = LinearConfig::new(from, to).with_initializer(bias).init(device);
            let values = (0..from * to).map(|entry| (0.7 * entry as f32 + to as f32).sin() * 0.4);
            let data = TensorData::new(values.collect::<Vec<_>>(), [from, to]);
            Linear { weight: Param::from_data(data, device), ..lazy }
        };
        let unit = Self {
            linear: linear(from, to),
            scale: linear(to, to),
            calls: RunningState::new(Tensor::zeros([1], device)),
            twist,
        };
        match twist {
            Twist::Valid => unit.valid(),
            Twist::Frozen => unit.no_grad(),
            Twist::Mapped => Self { linear: mapped(unit.linear), ..unit },
            _ => unit,
        }
    }
}

fn mapped(linear: Linear) -> Linear {
    Linear { weight: linear.weight.map(|weight| weight * 2.0), ..linear }
}

impl Layer<Tensor<2>, Tensor<2>> for Unit {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let input = match self.twist {
            Twist::Detached => input.detach(),
            _ => input,
        };
        let hidden = self.linear.forward(input.clone()).tanh();
        let hidden = match self.twist {
            // The number is not drawn from Burn's generator, because other tests draw initial weights from
            // it.
            Twist::Random => hidden * (1.0 + 0.1 * CALLS.fetch_add(1, Ordering::Relaxed) as f32),
            _ => hidden,
        };
        let output = match self.twist {
            Twist::Unreached => hidden,
            _ => self.scale.forward(hidden),
        };
        match self.twist {
            Twist::Constant => output.zeros_like(),
            _ if input.dims() == output.dims() => input + output,
            _ => output,
        }
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [from, to] = self.linear.weight.lazy_shape().dims();
        match input.dims() == Some(&[from]) {
            true => Ok([to].into()),
            false => Err(ShapeError { expected: format!("{from} features"), found: input.clone() }),
        }
    }
}

/// A network of such units.
#[derive(Clone)]
struct Net {
    twists: [Twist; UNITS],
    ends: Twist,
    coarse: Twist,
    device: Device,
    /// Units that are clones of this one.
    shared: Option<(Unit, Vec<usize>)>,
}

impl Net {
    fn new() -> Self {
        let device = Device::flex();
        let (twists, ends, coarse) = ([Twist::None; UNITS], Twist::None, Twist::None);
        Self { twists, ends, coarse, device, shared: None }
    }

    fn with(unit: usize, twist: Twist) -> Self {
        let mut net = Self::new();
        net.twists[unit] = twist;
        net
    }
}

impl FeedForward for Net {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = Unit;
    type Unit = Unit;
    type Postprocessing = Unit;

    fn units(&self) -> usize {
        UNITS
    }

    fn input_shape(&self) -> SampleShape {
        [FEATURES].into()
    }

    fn state_shape(&self, _: usize) -> SampleShape {
        [WIDTH].into()
    }

    fn preprocessing(&self, _: &Init) -> Unit {
        Unit::new(FEATURES, WIDTH, &self.device, self.ends)
    }

    fn unit(&self, index: usize, _: &Init) -> Unit {
        match &self.shared {
            Some((unit, indices)) if indices.contains(&index) => unit.clone(),
            _ => Unit::new(WIDTH, WIDTH, &self.device, self.twists[index]),
        }
    }

    fn postprocessing(&self, _: &Init) -> Unit {
        Unit::new(WIDTH, CLASSES, &self.device, self.ends)
    }
}

impl Coarsen for Net {
    type Coarse = Unit;

    fn interface_preprocessing(&self, _: &Interface, _: &Init) -> Unit {
        Unit::new(FEATURES, WIDTH, &self.device, self.ends)
    }

    fn coarse(&self, _: &Interface, _: &Init) -> Unit {
        Unit::new(WIDTH, WIDTH, &self.device, self.coarse)
    }
}

type Any<L> = AnyExecutor<Net, L>;

/// Returns the network on every kind of executor. It is cut after units 2 and 3, and runs with one worker or
/// several, with recomputation, and with replicas.
fn executors_with<L: Loss<Tensor<2>>>(net: &Net, loss: L) -> Vec<(&'static str, Any<L>)> {
    let cuts = Cuts::new(UNITS, vec![2, 3]).unwrap();
    let builder = ExecutorBuilder::new(loss, sgd()).threads(1);
    let threads = |workers| builder.clone().workers(workers);
    let builders = vec![
        ("sequential", builder.clone().sequential()),
        ("one worker", threads(1).segment_units(1)),
        ("two workers", threads(2).segment_units(1)),
        ("three workers", threads(3).segment_units(1)),
        ("recomputation", threads(3).recompute(1)),
        ("replicas", threads(2).segment_units(1).replicas(2)),
    ];
    let start = |builder| start(builder, net, &cuts, &init(1, DType::F32));
    builders.into_iter().map(|(name, builder)| (name, start(builder))).collect()
}

fn executors(net: &Net) -> Vec<(&'static str, Any<CrossEntropy>)> {
    executors_with(net, CrossEntropy::default())
}

fn step<L>(executor: &mut Any<L>) -> Result<(), ExecError>
where
    L: Loss<Tensor<2>, Target = Tensor<1, Int>>,
{
    let (input, labels) = batch(1, 4, DType::F32);
    executor.train_step(input, labels, 0.1).map(|_| ())
}

/// Returns the names of the parameters and buffers that have changed.
fn moved(before: &[NamedTensor], after: &[NamedTensor]) -> Vec<String> {
    let changed = before.iter().zip(after).filter(|(before, after)| before.data != after.data);
    changed.map(|(before, _)| before.name.clone()).collect()
}

/// Asserts that every executor rejects the step with the same error and changes nothing.
fn refused<L>(executors: Vec<(&'static str, Any<L>)>) -> ExecError
where
    L: Loss<Tensor<2>, Target = Tensor<1, Int>>,
{
    let mut errors = Vec::new();
    for (name, mut executor) in executors {
        let before = executor.read(StateKind::Weights).unwrap();
        let mut error = step(&mut executor).unwrap_err();
        assert_eq!(step(&mut executor).unwrap_err(), error, "{name}, once more");
        assert!(moved(&before, &executor.read(StateKind::Weights).unwrap()).is_empty(), "{name}");
        executor.infer(batch(1, 4, DType::F32).0).unwrap();
        if let ExecError::NoGradient { names } = &mut error {
            names.sort();
        }
        errors.push((name, error));
    }
    let first = errors[0].1.clone();
    errors.into_iter().for_each(|(name, error)| assert_eq!(error, first, "{name}"));
    first
}

#[test]
fn layers_from_a_device_without_gradients_or_in_evaluation_mode_are_trained() {
    let ready = {
        let mut net = Net::new();
        net.device = net.device.autodiff();
        net
    };
    let mut valid = Net { twists: [Twist::Valid; UNITS], ends: Twist::Valid, ..Net::new() };
    valid.coarse = Twist::Valid;
    for (what, net) in [("plain device", Net::new()), ("evaluation mode", valid)] {
        for ((name, mut executor), (_, mut expected)) in
            executors(&net).into_iter().zip(executors(&ready))
        {
            let before = executor.read(StateKind::Weights).unwrap();
            step(&mut executor).unwrap();
            step(&mut expected).unwrap();
            let after = executor.read(StateKind::Weights).unwrap();
            let weights = before.iter().filter(|tensor| tensor.name.ends_with("weight")).count();
            let moved = moved(&before, &after);
            assert_eq!(
                moved.iter().filter(|name| name.ends_with("weight")).count(),
                weights,
                "{what}, {name}"
            );
            assert_all_close(&after, &expected.read(StateKind::Weights).unwrap(), 0.0, what);
        }
    }
}

#[test]
fn parameters_that_are_not_leaves_are_trained() {
    for (name, mut executor) in executors(&{
        let mut net = Net::with(3, Twist::Mapped);
        net.device = net.device.autodiff();
        net
    }) {
        let before = executor.read(StateKind::Weights).unwrap();
        step(&mut executor).unwrap();
        let moved = moved(&before, &executor.read(StateKind::Weights).unwrap());
        assert!(moved.contains(&"units.3.linear.weight".to_string()), "{name}: {moved:?}");
    }
}

#[test]
fn frozen_parameters_stay_and_the_others_are_trained() {
    for (name, mut executor) in executors(&Net::with(2, Twist::Frozen)) {
        let before = executor.read(StateKind::Weights).unwrap();
        step(&mut executor).unwrap();
        let moved = moved(&before, &executor.read(StateKind::Weights).unwrap());
        assert!(!moved.iter().any(|name| name.starts_with("units.2.")), "{name}: {moved:?}");
        for unit in [0, 1, 3, 4] {
            assert!(moved.contains(&format!("units.{unit}.linear.weight")), "{name}: {moved:?}");
        }
    }
}

#[test]
fn a_fully_frozen_network_is_refused() {
    let mut net = Net { twists: [Twist::Frozen; UNITS], ends: Twist::Frozen, ..Net::new() };
    net.coarse = Twist::Frozen;
    let error = refused(executors(&net));
    assert_eq!(error, ExecError::NothingToTrain);
    let message = "all parameters of the network are frozen: there is nothing to train";
    assert_eq!(error.to_string(), message);
}

#[test]
fn parameters_without_a_gradient_are_refused_by_name() {
    let error = refused(executors(&Net::with(3, Twist::Unreached)));
    let names = ["units.3.scale.bias", "units.3.scale.weight"].map(String::from);
    assert_eq!(error, ExecError::NoGradient { names: names.to_vec() });
    let message = "no gradient for `units.3.scale.bias`, `units.3.scale.weight`: the loss must \
                   depend on every parameter; freeze the parameters that should not be trained \
                   (`Module::no_grad`)";
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_unit_that_blocks_gradients_is_refused_with_all_parameters_before_it() {
    // The unit is the last one of the first or of the last subnetwork.
    for (net, expected) in [
        (Net::with(1, Twist::Detached), "preprocessing., units.0."),
        (Net::with(4, Twist::Detached), "units.3."),
    ] {
        let ExecError::NoGradient { names } = refused(executors(&net)) else { panic!() };
        let expected: Vec<_> = expected.split(", ").collect();
        for name in &names {
            assert!(expected.iter().any(|prefix| name.starts_with(prefix)), "{names:?}");
        }
        assert_eq!(names.len(), 4 * expected.len(), "{names:?}");
    }
    let mut net = Net::new();
    net.coarse = Twist::Detached;
    let ExecError::NoGradient { names } = refused(executors(&net)) else { panic!() };
    // The backward chain ends at F_2: parameters before it have no gradient, and parameters after it have
    // one.
    assert!(names.contains(&"units.0.linear.weight".into()), "{names:?}");
    assert!(names.contains(&"interfaces.1.coarse.linear.weight".into()), "{names:?}");
    assert!(!names.contains(&"interfaces.2.coarse.linear.weight".into()), "{names:?}");
    assert!(!names.contains(&"units.3.linear.weight".into()), "{names:?}");
    net.coarse = Twist::Constant;
    let ExecError::NoGradient { names } = refused(executors(&net)) else { panic!() };
    assert!(names.contains(&"interfaces.2.coarse.linear.weight".into()), "{names:?}");
    assert!(names.contains(&"interfaces.1.preprocessing.linear.weight".into()), "{names:?}");
    assert!(!names.contains(&"units.3.linear.weight".into()), "{names:?}");
}

/// A loss that does not depend on the output's graph.
#[derive(Clone)]
struct Blind;

impl Loss<Tensor<2>> for Blind {
    type Target = Tensor<1, Int>;

    fn forward(&self, output: Tensor<2>, target: Self::Target) -> Tensor<1> {
        CrossEntropy::default().forward(output.detach(), target)
    }
}

#[test]
fn a_loss_without_a_graph_gives_no_gradients() {
    let error = refused(executors_with(&Net::new(), Blind));
    let ExecError::NoGradient { names } = &error else { panic!() };
    assert_eq!(names.len(), 4 * (1 + UNITS + 1 + 2 * 2));
    assert!(error.to_string().contains(" and 41 more: "), "{error}");
}

#[test]
fn random_units_are_refused_when_recomputed() {
    let mut executors = executors(&Net::with(3, Twist::Random));
    let position = executors.iter().position(|(name, _)| *name == "recomputation").unwrap();
    let recomputing = executors.remove(position);
    let error = refused(vec![recomputing]);
    assert_eq!(error, ExecError::NotDeterministic { first: 3, last: 3 });
    let message = "unit 3 does not compute the same result twice, so gradients cannot be recomputed; train \
                   without `recompute`, or use the random layers of `parareal::nn` instead of those \
                   of `burn::nn`";
    assert_eq!(error.to_string(), message);
    let several = ExecError::NotDeterministic { first: 2, last: 3 }.to_string();
    assert!(
        several.starts_with("units 2 to 3 do not compute the same result twice, so "),
        "{several}"
    );
    executors.into_iter().for_each(|(name, mut executor)| {
        step(&mut executor).unwrap_or_else(|error| panic!("{name}: {error}"));
    });
}

fn shared(indices: &[usize]) -> Net {
    let unit = Unit::new(WIDTH, WIDTH, &Device::flex(), Twist::None);
    Net { shared: Some((unit, indices.to_vec())), ..Net::new() }
}

#[test]
fn a_parameter_in_two_subnetworks_is_refused_with_both_places() {
    let cuts = Cuts::new(UNITS, vec![2, 3]).unwrap();
    let net = shared(&[1, 4]);
    let built = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).map(|_| ());
    let (first, second) =
        ("units.1.linear.weight".to_string(), "units.4.linear.weight".to_string());
    assert_eq!(built.unwrap_err(), NetError::SharedParameter { first, second });
    // Cutting the serial network is rejected as well.
    let serial = Cuts::even(UNITS, 1).unwrap();
    let whole = PararealNetwork::build(&net, &serial, &init(1, DType::F32)).unwrap();
    let cut = whole.recut(&net, &cuts, &init(1, DType::F32)).map(|_| ());
    assert!(matches!(cut, Err(NetError::SharedParameter { .. })), "{cut:?}");
}

#[test]
fn a_parameter_that_occurs_twice_in_a_subnetwork_has_the_sum_of_its_gradients() {
    let of = |executor: &mut Any<CrossEntropy>| {
        let (input, labels) = batch(1, 4, DType::F32);
        executor.gradients(input, labels).unwrap().gradients
    };
    let gradient = |gradients: &[NamedTensor], unit: usize| {
        let name = format!("units.{unit}.linear.weight");
        let found = gradients.iter().find(|gradient| gradient.name == name).unwrap();
        found.data.iter::<f64>().collect::<Vec<_>>()
    };
    // `alone` has the same values in both units, but not shared, so each unit has its own gradient.
    let (alone, tied) = (executors(&Net::new()), executors(&shared(&[3, 4])));
    for ((name, mut alone), (_, mut tied)) in alone.into_iter().zip(tied) {
        let (own, sum) = (of(&mut alone), of(&mut tied));
        let terms = gradient(&own, 3).into_iter().zip(gradient(&own, 4));
        for ((a, b), sum) in terms.zip(gradient(&sum, 3)) {
            assert!((a + b - sum).abs() <= 1e-5 * sum.abs().max(1e-3), "{name}: {a} + {b} = {sum}");
        }
        // Both occurrences are updated with the sum of the gradients, which is clipped once, and have the
        // same average.
        let before = tied.read(StateKind::Weights).unwrap();
        let norm: f64 = sum
            .iter()
            .filter(|gradient| !gradient.name.starts_with("units.4."))
            .flat_map(|gradient| gradient.data.iter::<f64>().collect::<Vec<_>>())
            .map(|value| value * value)
            .sum::<f64>()
            .sqrt();
        let update =
            Update { learning_rate: 1.0, clip_norm: Some(norm / 2.0), average_decay: Some(0.5) };
        let (input, labels) = batch(1, 4, DType::F32);
        let report = tied.train_step_with(input, labels, update).unwrap();
        assert!((report.gradient_norm.unwrap() / norm - 1.0).abs() < 1e-5, "{name}");
        let after = tied.read(StateKind::Weights).unwrap();
        let (old, new) = (gradient(&before, 4), gradient(&after, 4));
        assert_eq!(gradient(&after, 3), new, "{name}");
        for ((old, new), sum) in old.into_iter().zip(new).zip(gradient(&sum, 3)) {
            assert!(
                (old - new - sum / 2.0).abs() < 1e-4,
                "{name}: {old} to {new}, not by {sum} / 2"
            );
        }
        step(&mut tied).unwrap();
        let average = tied.read(StateKind::Average).unwrap();
        assert_eq!(gradient(&average, 3), gradient(&average, 4), "{name}");
    }
}
