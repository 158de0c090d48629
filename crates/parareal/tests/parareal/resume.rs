//! Training continues unchanged after parameters and optimizer state move to another executor.

use std::collections::HashMap;

use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::{DType, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecError, ExecutorBuilder, StateKind};
use parareal::net::{Cuts, NamedTensor, StateDict};
use parareal_kernels::Sgd;
use parareal_testing::{AnyExecutor, DenseNet, batch, init, start};

fn by_name(tensors: Vec<NamedTensor>) -> HashMap<String, TensorData> {
    tensors.into_iter().map(|tensor| (tensor.name, tensor.data)).collect()
}

type Any = AnyExecutor<DenseNet>;

/// Creates a new executor, as another process would.
fn executor(seed: u64, optimizer: &ModuleOptimizer, workers: usize) -> Any {
    let net = DenseNet::residual(vec![6, 6, 6, 9, 9, 5, 5, 5, 7, 7, 7]);
    let cuts = Cuts::even(10, 3).unwrap();
    let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer.clone()).threads(1);
    let builder = if workers == 0 { builder.sequential() } else { builder.workers(workers) };
    start(builder, &net, &cuts, &init(seed, DType::F32))
}

fn steps(executor: &mut Any, from: u64, to: u64) {
    for step in from..to {
        let (input, labels): (Tensor<2>, _) = batch(step, 12, DType::F32);
        executor.train_step(input, labels, 0.01).unwrap();
    }
}

#[test]
fn a_restored_state_continues_bit_for_bit() {
    let sgd: ModuleOptimizer = Sgd { momentum: 0.9, weight_decay: 1e-3, ..Sgd::default() }.into();
    // Adam has a number, its count of steps, in addition to tensors.
    let adam = AdamConfig::new().init();
    for (optimizer, fields) in [(sgd, 1), (adam, 2)] {
        for [before, behind] in [[0, 0], [2, 2], [1, 3]] {
            let mut whole = executor(1, &optimizer, before);
            steps(&mut whole, 0, 3);
            let weights = whole.state_dict(StateKind::Weights).unwrap();
            let state = whole.read(StateKind::Optimizer).unwrap();
            let memory = whole.state_dict(StateKind::Optimizer).unwrap();
            // Every reader of safetensors supports these types.
            let types = [DType::F32, DType::F64, DType::I64];
            assert!(state.iter().all(|tensor| types.contains(&tensor.data.dtype())));
            let tensors = state.iter().filter(|tensor| tensor.data.shape().rank() > 0);
            assert_eq!(tensors.count(), fields * weights.tensors().len());
            steps(&mut whole, 3, 6);

            for unsigned in [false, true] {
                let mut resumed = executor(2, &optimizer, behind);
                resumed.write(StateKind::Weights, weights.clone()).unwrap();
                resumed
                    .write(
                        StateKind::Optimizer,
                        if unsigned { as_unsigned(&memory) } else { memory.clone() },
                    )
                    .unwrap();
                steps(&mut resumed, 3, 6);
                let expected = by_name(whole.read(StateKind::Weights).unwrap());
                let found = by_name(resumed.read(StateKind::Weights).unwrap());
                for (name, expected) in &expected {
                    assert_eq!(&found[name], expected, "{name}, {before} to {behind} workers");
                }
                let states = [&mut whole, &mut resumed]
                    .map(|e| by_name(e.read(StateKind::Optimizer).unwrap()));
                assert_eq!(states[0], states[1]);
            }
        }
    }
}

#[test]
fn optimizer_numbers_of_another_type_are_refused_with_nothing_replaced() {
    let adam = AdamConfig::new().init();
    for workers in [0, 2] {
        let mut executor = executor(1, &adam, workers);
        steps(&mut executor, 0, 2);
        let cuts = executor.cuts().clone();
        let before = by_name(executor.read(StateKind::Optimizer).unwrap());
        let number = before.iter().find(|(_, data)| data.shape().rank() == 0).unwrap().0.clone();
        let wrong = TensorData::new(vec![2.0f32], [0usize; 0]);
        let with = |name: &str| {
            let wrong = (name.to_string(), wrong.clone());
            StateDict::new(cuts.clone(), before.clone().into_iter().chain([wrong]))
        };
        let error = executor.write(StateKind::Optimizer, with(&number)).unwrap_err();
        let expected = format!("`{number}` is a number of type F32: expected I64, U64 or F64");
        assert_eq!(error, ExecError::Optimizer(expected));
        assert_eq!(by_name(executor.read(StateKind::Optimizer).unwrap()), before);
        steps(&mut executor, 2, 3);
    }
}

/// Returns the same state with unsigned integers, as earlier versions wrote it.
fn as_unsigned(state: &StateDict) -> StateDict {
    let tensors = state.tensors().iter().map(|(name, data)| {
        let data = match data.dtype() {
            DType::I64 => data.clone().convert_dtype(DType::U64),
            _ => data.clone(),
        };
        (name.clone(), data)
    });
    StateDict::new(state.cuts().clone(), tensors)
}

#[test]
fn without_its_state_the_optimizer_starts_from_scratch() {
    let sgd: ModuleOptimizer = Sgd { momentum: 0.9, ..Sgd::default() }.into();
    let mut whole = executor(1, &sgd, 2);
    assert!(whole.read(StateKind::Optimizer).unwrap().is_empty());
    steps(&mut whole, 0, 3);
    let weights = whole.state_dict(StateKind::Weights).unwrap();
    steps(&mut whole, 3, 4);
    let mut resumed = executor(1, &sgd, 2);
    resumed.write(StateKind::Weights, weights).unwrap();
    steps(&mut resumed, 3, 4);
    let [a, b] = [whole, resumed].map(|mut e| by_name(e.read(StateKind::Weights).unwrap()));
    assert!(a.iter().any(|(name, data)| &b[name] != data));
}
