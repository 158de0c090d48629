//! The state of every optimizer is restored exactly, or rejected with the names of its tensors.

use std::collections::BTreeMap;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, LambConfig, LionConfig,
    ModuleOptimizer, MuonConfig, RmsPropConfig, SgdConfig,
};
use burn::tensor::{DType, TensorData};
use parareal::exec::{CrossEntropy, ExecError, ExecutorBuilder, StateKind};
use parareal::net::{Cuts, NamedTensor, StateDict};
use parareal_testing::{AnyExecutor, DenseNet, batch, init, sgd, start};

type Any = AnyExecutor<DenseNet>;

fn cuts() -> Cuts {
    Cuts::even(5, 3).unwrap()
}

/// Creates a new executor, as another process would. It is sequential if `workers` is 0.
fn executor(optimizer: &ModuleOptimizer, dtype: DType, workers: usize, replicas: usize) -> Any {
    let net = DenseNet::residual(vec![6, 6, 9, 9, 5, 7]);
    let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer.clone()).threads(1);
    let builder = match workers {
        0 => builder.sequential(),
        _ => builder.workers(workers).replicas(replicas),
    };
    start(builder, &net, &cuts(), &init(1, dtype))
}

fn all(dtype: DType, optimizer: &ModuleOptimizer) -> Vec<Any> {
    [(0, 1), (1, 1), (3, 1), (2, 2)]
        .map(|(workers, replicas)| executor(optimizer, dtype, workers, replicas))
        .into()
}

fn steps(executor: &mut Any, dtype: DType, steps: std::ops::Range<u64>) {
    for step in steps {
        let (input, labels) = batch(step, 12, dtype);
        executor.train_step(input, labels, 0.01).unwrap();
    }
}

fn by_name(tensors: Vec<NamedTensor>) -> BTreeMap<String, TensorData> {
    tensors.into_iter().map(|tensor| (tensor.name, tensor.data)).collect()
}

/// Returns the weights and the optimizer state of an executor.
fn state(executor: &mut Any) -> [BTreeMap<String, TensorData>; 2] {
    [StateKind::Weights, StateKind::Optimizer].map(|kind| by_name(executor.read(kind).unwrap()))
}

#[test]
fn every_optimizer_of_burn_continues_bit_for_bit() {
    let momentum = MomentumConfig::new().with_dampening(0.0);
    let optimizers: Vec<(&str, ModuleOptimizer)> = vec![
        ("SGD", SgdConfig::new().with_momentum(Some(momentum)).init()),
        ("Adam", AdamConfig::new().init()),
        ("Adam with AMSGrad", AdamConfig::new().with_amsgrad(true).init()),
        ("AdamW", AdamWConfig::new().init()),
        ("LAMB", LambConfig::new().init()),
        ("RMSprop", RmsPropConfig::new().init()),
        ("RMSprop, centered", RmsPropConfig::new().with_centered(true).init()),
        ("AdaGrad", AdaGradConfig::new().init()),
        ("Lion", LionConfig::new().init()),
        ("Adan", AdanConfig::new().init()),
        ("Adafactor", AdafactorConfig::new().init()),
        ("Muon", MuonConfig::new().init()),
    ];
    for (name, optimizer) in optimizers {
        let dtype = DType::F32;
        for (mut whole, mut resumed) in
            all(dtype, &optimizer).into_iter().zip(all(dtype, &optimizer))
        {
            steps(&mut whole, dtype, 0..3);
            let kinds = [StateKind::Weights, StateKind::Optimizer];
            assert!(!whole.read(StateKind::Optimizer).unwrap().is_empty(), "{name}");
            for kind in kinds {
                resumed.write(kind, whole.state_dict(kind).unwrap()).unwrap();
            }
            steps(&mut whole, dtype, 3..8);
            steps(&mut resumed, dtype, 3..8);
            assert_eq!(state(&mut resumed), state(&mut whole), "{name}");
        }
    }
}

/// Asserts that the state is rejected with this message, and that nothing is replaced.
fn assert_refused(executor: &mut Any, given: StateDict, expected: &str) {
    let before = state(executor);
    let error = executor.write(StateKind::Optimizer, given).unwrap_err();
    assert_eq!(error, ExecError::Optimizer(expected.into()));
    assert_eq!(state(executor), before);
}

#[test]
fn state_of_another_optimizer_is_refused_by_name() {
    let dtype = DType::F32;
    let mut adam = executor(&AdamConfig::new().init(), dtype, 0, 1);
    steps(&mut adam, dtype, 0..1);
    let given = adam.state_dict(StateKind::Optimizer).unwrap();
    for mut executor in all(dtype, &sgd()) {
        steps(&mut executor, dtype, 0..2);
        let before = state(&mut executor);
        let error = executor.write(StateKind::Optimizer, given.clone()).unwrap_err().to_string();
        assert!(error.starts_with("the state of the optimizer: cannot restore `"), "{error}");
        assert!(error.contains("`preprocessing.weight.momentum.moment_1`"), "{error}");
        let advice = "more: the optimizer must be the one that wrote them";
        assert!(error.contains(advice), "{error}");
        assert_eq!(state(&mut executor), before);
        steps(&mut executor, dtype, 2..3);
    }
}

#[test]
fn missing_optimizer_state_of_the_last_subnetwork_is_refused_with_nothing_replaced() {
    let (dtype, optimizer) = (DType::F32, AdamConfig::new().init());
    let mut source = executor(&optimizer, dtype, 0, 1);
    steps(&mut source, dtype, 0..1);
    let mut tensors = by_name(source.read(StateKind::Optimizer).unwrap());
    let time = "postprocessing.weight.momentum.time";
    assert!(tensors.remove(time).is_some(), "{:?}", tensors.keys());
    for mut executor in all(dtype, &optimizer) {
        steps(&mut executor, dtype, 0..2);
        let expected = "cannot restore `postprocessing.weight.__rank`, `postprocessing.weight.momentum.moment_1`, \
                        `postprocessing.weight.momentum.moment_2`: the optimizer must be the one that \
                        wrote them, with parameters of the same type";
        assert_refused(&mut executor, StateDict::new(cuts(), tensors.clone()), expected);
        steps(&mut executor, dtype, 2..3);
    }
}

#[test]
fn names_that_belong_to_no_parameter_are_refused() {
    let (dtype, optimizer) = (DType::F32, AdamConfig::new().init());
    for mut executor in all(dtype, &optimizer) {
        steps(&mut executor, dtype, 0..2);
        let tensors = by_name(executor.read(StateKind::Optimizer).unwrap());
        for name in ["units.99.weight.time", "units.1.bias.time", "time", "units.1.weight"] {
            let number = (name.to_string(), TensorData::new(vec![1i64], [0usize; 0]));
            let given = StateDict::new(cuts(), tensors.clone().into_iter().chain([number]));
            let expected = format!("the network has no parameter for `{name}`");
            assert_refused(&mut executor, given, &expected);
        }
    }
}

#[test]
fn numbers_are_compared_by_value() {
    let (dtype, optimizer) = (DType::F32, AdamConfig::new().init());
    let mut executor = executor(&optimizer, dtype, 2, 1);
    steps(&mut executor, dtype, 0..2);
    let before = state(&mut executor);
    let unsigned = before[1].iter().map(|(name, data)| match data.dtype() {
        DType::I64 => (name.clone(), data.clone().convert_dtype(DType::U64)),
        _ => (name.clone(), data.clone()),
    });
    executor.write(StateKind::Optimizer, StateDict::new(cuts(), unsigned)).unwrap();
    assert_eq!(state(&mut executor), before);
}

#[test]
fn state_that_would_be_rounded_is_refused() {
    let dtype = DType::F64;
    // Burn restores tensors as 32-bit floats, whereas this project's optimizer keeps their type.
    for (optimizer, is_kept) in [(sgd(), true), (AdamConfig::new().init(), false)] {
        for (mut whole, mut resumed) in
            all(dtype, &optimizer).into_iter().zip(all(dtype, &optimizer))
        {
            steps(&mut whole, dtype, 0..2);
            resumed
                .write(StateKind::Weights, whole.state_dict(StateKind::Weights).unwrap())
                .unwrap();
            let given = whole.state_dict(StateKind::Optimizer).unwrap();
            let loaded = resumed.write(StateKind::Optimizer, given);
            assert_eq!(loaded.is_ok(), is_kept, "{loaded:?}");
            if is_kept {
                steps(&mut whole, dtype, 2..4);
                steps(&mut resumed, dtype, 2..4);
                assert_eq!(state(&mut resumed), state(&mut whole));
            }
        }
    }
}
