//! Comparison of executors of the same network.

use std::collections::BTreeMap;

use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, Executor, ExecutorBuilder, Loss, StateKind};
use parareal::net::{Coarsen, Cuts, Init, NamedTensor, PararealNetwork};
use parareal_kernels::Sgd;

use crate::tensors::assert_close;

/// Returns the optimizer of the tests: SGD with a momentum of 0.9.
#[must_use]
pub fn sgd() -> ModuleOptimizer {
    Sgd { momentum: 0.9, ..Sgd::default() }.into()
}

/// An executor started by an [`ExecutorBuilder`].
pub type AnyExecutor<N, L = CrossEntropy> = Box<dyn Executor<N, L>>;

/// Returns a builder with cross entropy, the optimizer [`sgd`], and one thread per worker. Rounding errors depend
/// on the number of threads, so this number is fixed.
#[must_use]
pub fn builder() -> ExecutorBuilder<CrossEntropy> {
    ExecutorBuilder::new(CrossEntropy::default(), sgd()).threads(1)
}

/// Builds a network and starts an executor with it.
///
/// # Panics
/// Panics if the network cannot be built or the executor cannot be started.
#[track_caller]
pub fn start<N: Coarsen, L: Loss<N::Output>>(
    builder: ExecutorBuilder<L>,
    net: &N,
    cuts: &Cuts,
    init: &Init,
) -> AnyExecutor<N, L> {
    builder.start(PararealNetwork::build(net, cuts, init).unwrap()).unwrap()
}

/// Returns the sequential and the parallel executor of the same network. Each of the `workers` has one thread.
///
/// # Panics
/// Panics if the network cannot be built or placed.
pub fn executors<N: Coarsen<Output = Tensor<2>>>(
    net: &N,
    cuts: &Cuts,
    init: &Init,
    workers: usize,
) -> (AnyExecutor<N>, AnyExecutor<N>) {
    executors_with(net, cuts, init, workers, 1, &sgd())
}

/// Returns the executors of [`executors`] with the given optimizer, and with `threads` threads for the sequential
/// one.
///
/// # Panics
/// Panics if the network cannot be built or placed.
pub fn executors_with<N: Coarsen<Output = Tensor<2>>>(
    net: &N,
    cuts: &Cuts,
    init: &Init,
    workers: usize,
    threads: usize,
    optimizer: &ModuleOptimizer,
) -> (AnyExecutor<N>, AnyExecutor<N>) {
    let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer.clone());
    let sequential = builder.clone().sequential().threads(threads);
    let parallel = builder.workers(workers).threads(1).segment_units(2);
    // The network is built twice, because a cloned module would share its running statistics.
    (start(sequential, net, cuts, init), start(parallel, net, cuts, init))
}

/// Asserts that tensors of the same name are close. Both lists must have the same names.
///
/// # Panics
/// Panics if the names differ, the lists are empty, or a relative difference exceeds `tolerance`.
#[track_caller]
pub fn assert_all_close(a: &[NamedTensor], b: &[NamedTensor], tolerance: f64, what: &str) {
    let by_name = |tensors: &[NamedTensor]| -> BTreeMap<String, TensorData> {
        tensors.iter().map(|tensor| (tensor.name.clone(), tensor.data.clone())).collect()
    };
    let (a, b) = (by_name(a), by_name(b));
    assert!(a.keys().eq(b.keys()), "{what}: {:?} and {:?}", a.keys(), b.keys());
    assert!(!a.is_empty(), "{what}: nothing to compare");
    for (name, data) in &a {
        assert_close(data, &b[name], tolerance, &format!("{what} of {name}"));
    }
}

/// Returns all values of some tensors as one, in the order of their names.
#[must_use]
pub fn joined(tensors: &[NamedTensor]) -> TensorData {
    let mut tensors: Vec<_> = tensors.iter().collect();
    tensors.sort_by_key(|tensor| &tensor.name);
    let values = tensors.iter().flat_map(|tensor| tensor.data.iter::<f64>().collect::<Vec<_>>());
    let values: Vec<f64> = values.collect();
    let length = values.len();
    TensorData::new(values, [length])
}

/// Returns the learning rate of the compared steps.
///
/// Near the kink of a ReLU, a rounding error decides whether a value passes. A single value that passes in only
/// one of two networks makes them differ by more than the tolerance. The rate for single precision is therefore
/// small enough to keep the networks together. In double precision no value comes that close to a kink.
fn rate(dtype: DType) -> f64 {
    if dtype == DType::F32 { 1e-4 } else { 0.05 }
}

/// Asserts that two executors agree on one forward and backward pass, five optimizer steps and an evaluation.
/// Only tensors whose names `held` accepts are compared. The first executor must hold all tensors: it is the
/// sequential executor, or one with the same number of replicas as the second.
///
/// # Panics
/// Panics if an executor fails or the results differ by more than 1e-4 in single and 1e-10 in double
/// precision.
pub fn assert_executors_agree_on<N, F>(
    sequential: &mut dyn Executor<N, CrossEntropy>,
    parallel: &mut dyn Executor<N, CrossEntropy>,
    batch: F,
    dtype: DType,
    held: &dyn Fn(&str) -> bool,
) where
    N: Coarsen<Output = Tensor<2>>,
    N::Input: IntoValues,
    F: Fn(u64) -> (N::Input, Tensor<1, Int>),
{
    let tolerance = if dtype == DType::F32 { 1e-4 } else { 1e-10 };
    let of_held = |mut tensors: Vec<NamedTensor>| {
        tensors.retain(|tensor| held(&tensor.name));
        tensors
    };
    let (input, labels) = batch(0);
    let expected = sequential.gradients(input.clone(), labels.clone()).unwrap();
    let found = parallel.gradients(input, labels).unwrap();
    assert!((found.loss - expected.loss).abs() <= tolerance * expected.loss.abs().max(1e-6));
    assert_close(&found.output.into_data(), &expected.output.into_data(), tolerance, "output");
    assert_all_close(&found.gradients, &of_held(expected.gradients), tolerance, "gradient");
    let [found, expected] =
        [found.input, expected.input].map(|input| input.map(IntoValues::values));
    assert_eq!(found.is_some(), expected.is_some(), "input gradient");
    if let (Some(found), Some(expected)) = (found, expected) {
        assert_close(&found, &expected, tolerance, "input gradient");
    }
    let compare = |sequential: &mut dyn Executor<N, _>,
                   parallel: &mut dyn Executor<N, _>,
                   kinds: &[StateKind],
                   what| {
        for kind in kinds {
            let (expected, found) = (sequential.read(*kind).unwrap(), parallel.read(*kind));
            assert_all_close(&found.unwrap(), &of_held(expected), tolerance, what);
        }
    };
    compare(sequential, parallel, &[StateKind::Weights], "state after one pass");
    for step in 1..=5 {
        let (input, labels) = batch(step);
        let expected = sequential.train_step(input.clone(), labels.clone(), rate(dtype)).unwrap();
        let found = parallel.train_step(input, labels, rate(dtype)).unwrap();
        assert!((found.loss - expected.loss).abs() <= tolerance * expected.loss.abs().max(1e-6));
    }
    let kinds = [StateKind::Weights, StateKind::Optimizer];
    compare(sequential, parallel, &kinds, "state after five steps");
    let (input, _) = batch(6);
    let expected = sequential.infer(input.clone()).unwrap().into_data();
    let found = parallel.infer(input).unwrap().into_data();
    assert_close(&found, &expected, tolerance, "evaluation");
}

/// Asserts the same as [`assert_executors_agree_on`], for all tensors.
///
/// # Panics
/// Panics in the same cases as [`assert_executors_agree_on`].
pub fn assert_executors_agree<N, F>(
    sequential: &mut dyn Executor<N, CrossEntropy>,
    parallel: &mut dyn Executor<N, CrossEntropy>,
    batch: F,
    dtype: DType,
) where
    N: Coarsen<Output = Tensor<2>>,
    N::Input: IntoValues,
    F: Fn(u64) -> (N::Input, Tensor<1, Int>),
{
    assert_executors_agree_on(sequential, parallel, batch, dtype, &|_| true);
}

/// Inputs whose gradient can be compared.
pub trait IntoValues {
    /// Returns the values of the gradient.
    fn values(self) -> TensorData;
}

impl<const D: usize> IntoValues for Tensor<D> {
    fn values(self) -> TensorData {
        self.into_data()
    }
}

impl<const D: usize> IntoValues for Tensor<D, Int> {
    fn values(self) -> TensorData {
        self.into_data()
    }
}

/// Asserts that steps with and without `recompute` give bit-identical losses, gradients, parameters and running
/// statistics over five steps.
///
/// # Panics
/// Panics if an executor fails or a value differs.
pub fn assert_recomputing_is_exact<N, F>(
    net: &N,
    cuts: &Cuts,
    init: &Init,
    segment_units: usize,
    batch: F,
) where
    N: Coarsen<Output = Tensor<2>>,
    F: Fn(u64) -> (N::Input, Tensor<1, Int>),
{
    let [mut kept, mut recomputed] = [false, true].map(|recompute| {
        let builder = builder().workers(cuts.subnetworks().min(2));
        let builder = match recompute {
            true => builder.recompute(segment_units),
            false => builder.segment_units(segment_units),
        };
        start(builder, net, cuts, init)
    });
    for step in 0..5 {
        let (input, labels) = batch(step);
        let expected = kept.gradients(input.clone(), labels.clone()).unwrap();
        let found = recomputed.gradients(input.clone(), labels.clone()).unwrap();
        assert_eq!(found.loss, expected.loss);
        assert_all_close(&found.gradients, &expected.gradients, 0.0, "gradient");
        kept.train_step(input.clone(), labels.clone(), 0.05).unwrap();
        recomputed.train_step(input, labels, 0.05).unwrap();
    }
    let [found, expected] = [recomputed, kept].map(|mut it| it.read(StateKind::Weights).unwrap());
    assert_all_close(&found, &expected, 0.0, "value");
}
