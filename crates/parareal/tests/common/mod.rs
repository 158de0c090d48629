//! Networks for the tests, and how tensors are compared.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../parareal-kernels/tests/common/difference.rs"]
mod difference;

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
pub use difference::relative_difference;
use parareal::exec::{CrossEntropy, Executor, Layout, Placement, Sequential, Threads};
use parareal::net::{
    Coarsen, Cuts, FeedForward, Init, Interface, Layer, NamedTensor, PararealNetwork, ShapeError,
};
use parareal_kernels::Sgd;

/// `x W`, or with `residual` and equal dimensions `x + tanh(x W)`.
#[derive(Module, Debug)]
pub struct Dense {
    pub weight: Param<Tensor<2>>,
    residual: bool,
    panics: bool,
}

impl Dense {
    pub fn new(from: usize, to: usize, residual: bool, init: &Init) -> Self {
        let deviation = (1.0 / from as f64).sqrt();
        Self { weight: init.normal("weight", [from, to], deviation), residual, panics: false }
    }
}

impl Layer<Tensor<2>, Tensor<2>> for Dense {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        assert!(!self.panics, "this unit panics");
        let product = input.clone().matmul(self.weight.val());
        match self.residual {
            true if input.dims() == product.dims() => input + product.tanh(),
            true => product.tanh(),
            false => product,
        }
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
        let [from, to] = self.weight.shape().dims();
        match input == [from] {
            true => Ok(vec![to]),
            false => {
                Err(ShapeError { expected: format!("{from} features"), found: input.to_vec() })
            }
        }
    }
}

/// A few units in a row.
#[derive(Module, Debug)]
pub struct Chain {
    units: Vec<Dense>,
}

impl Layer<Tensor<2>, Tensor<2>> for Chain {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.units.iter().fold(input, |state, unit| unit.forward(state))
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
        self.units.iter().try_fold(input.to_vec(), |shape, unit| unit.output_shape(&shape))
    }
}

/// A network of dense units; `dimensions[p]` is the dimension at position `p`.
#[derive(Clone)]
pub struct DenseNet {
    pub dimensions: Vec<usize>,
    pub residual: bool,
    /// With a root `Init`, `F_j` is a copy of `g_{j+1}`; otherwise one unit of its own.
    pub exact: Option<Init>,
    /// A unit that panics.
    pub panics: Option<usize>,
    /// Units that are clones of this one.
    pub shared: Option<(Dense, Vec<usize>)>,
}

pub const FEATURES: usize = 3;
pub const CLASSES: usize = 4;

impl DenseNet {
    pub fn linear(dimensions: Vec<usize>, root: &Init) -> Self {
        Self { dimensions, residual: false, exact: Some(root.clone()), panics: None, shared: None }
    }

    pub fn residual(dimensions: Vec<usize>) -> Self {
        Self { dimensions, residual: true, exact: None, panics: None, shared: None }
    }
}

impl FeedForward for DenseNet {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = Dense;
    type Unit = Dense;
    type Postprocessing = Dense;

    fn units(&self) -> usize {
        self.dimensions.len() - 1
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![FEATURES]
    }

    fn state_shape(&self, position: usize) -> Vec<usize> {
        vec![self.dimensions[position]]
    }

    fn preprocessing(&self, init: &Init) -> Dense {
        Dense::new(FEATURES, self.dimensions[0], false, init)
    }

    fn unit(&self, index: usize, init: &Init) -> Dense {
        if let Some((unit, indices)) = &self.shared
            && indices.contains(&index)
        {
            return unit.clone();
        }
        let (from, to) = (self.dimensions[index], self.dimensions[index + 1]);
        let mut unit = Dense::new(from, to, self.residual, init);
        unit.panics = self.panics == Some(index);
        unit
    }

    fn postprocessing(&self, init: &Init) -> Dense {
        Dense::new(self.dimensions[self.units()], CLASSES, false, init)
    }
}

impl Coarsen for DenseNet {
    type Coarse = Chain;

    fn interface_preprocessing(&self, interface: &Interface, init: &Init) -> Dense {
        Dense::new(FEATURES, self.dimensions[interface.position], false, init)
    }

    fn coarse(&self, interface: &Interface, init: &Init) -> Chain {
        let units = match &self.exact {
            Some(root) => (interface.position..interface.next)
                .map(|unit| self.unit(unit, &root.scope("units").scope(unit)))
                .collect(),
            None => {
                let dimension = |position| self.dimensions[position];
                let (from, to) = (dimension(interface.position), dimension(interface.next));
                vec![Dense::new(from, to, true, init)]
            }
        };
        Chain { units }
    }
}

pub fn init(seed: u64, dtype: DType) -> Init {
    Init::new(seed, &Device::flex()).with_dtype(dtype)
}

/// A batch of inputs `[batch, features]` with labels, from a seed.
pub fn batch(seed: u64, batch: usize, dtype: DType) -> (Tensor<2>, Tensor<1, Int>) {
    let input = init(seed, dtype).normal("batch", [batch, FEATURES], 1.0).val().inner();
    let labels: Vec<i64> =
        (0..batch as i64).map(|i| (i * 7 + seed as i64) % CLASSES as i64).collect();
    let labels = Tensor::from_data(TensorData::new(labels, [batch]), &Device::flex());
    (input, labels)
}

pub fn sgd() -> ModuleOptimizer {
    Sgd { momentum: 0.9, weight_decay: 0.0, nesterov: false }.into()
}

/// Both executors for the same network; `workers` on one thread each.
pub fn executors<N: Coarsen<Output = Tensor<2>>>(
    net: &N,
    cuts: &Cuts,
    init: &Init,
    workers: usize,
) -> (Sequential<N, CrossEntropy>, Threads<N, CrossEntropy>) {
    // Built twice: a cloned module would share its running statistics.
    let build = || PararealNetwork::build(net, cuts, init).unwrap();
    let device = Device::flex();
    let sequential = Sequential::new(build(), CrossEntropy::default(), &sgd(), &device, 1).unwrap();
    let mut placement = Placement::new(vec![device], layout(cuts, workers, 1));
    placement.segment_units = 2;
    // Roundings depend on how sums are split: here on no machine's number of cores.
    placement.threads = 1;
    let threads = Threads::new(build(), CrossEntropy::default(), &sgd(), &placement).unwrap();
    (sequential, threads)
}

/// Subnetworks spread evenly over workers and replicas in this process.
pub fn layout(cuts: &Cuts, workers: usize, replicas: usize) -> Layout {
    Layout::threads(cuts.subnetworks(), workers, replicas).unwrap()
}

pub fn assert_close(a: &TensorData, b: &TensorData, tolerance: f64, what: &str) {
    let difference = relative_difference(a, b);
    // Written so that a difference that is not a number fails.
    assert!(difference <= tolerance, "{what} differs by {difference:.1e}");
}

/// Compares tensors by name; both sides must have the same names.
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

/// The learning rate of the steps that are compared.
///
/// Whether a value next to a ReLU's kink passes is a matter of its last bit, and a single one that
/// passes here and not there is more than the tolerance. In single precision the steps are so small
/// that the two networks hardly part; in double precision no value comes that close to a kink.
fn rate(dtype: DType) -> f64 {
    if dtype == DType::F32 { 1e-4 } else { 0.05 }
}

/// One forward and backward on both executors, then five optimizer steps and an evaluation, all
/// compared. The parallel executor knows of the names that are `held`.
pub fn assert_executors_agree_on<N, F>(
    sequential: &mut Sequential<N, CrossEntropy>,
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
    let (found, expected) = (found.input.unwrap(), expected.input.unwrap());
    assert_close(&found.values(), &expected.values(), tolerance, "input gradient");
    let compare = |sequential: &mut Sequential<N, _>, parallel: &mut dyn Executor<N, _>, what| {
        let (expected, found) = (sequential.named_tensors().unwrap(), parallel.named_tensors());
        assert_all_close(&found.unwrap(), &of_held(expected), tolerance, what);
    };
    compare(sequential, parallel, "state after one pass");
    for step in 1..=5 {
        let (input, labels) = batch(step);
        let expected = sequential.train_step(input.clone(), labels.clone(), rate(dtype)).unwrap();
        let found = parallel.train_step(input, labels, rate(dtype)).unwrap();
        assert!((found.loss - expected.loss).abs() <= tolerance * expected.loss.abs().max(1e-6));
    }
    compare(sequential, parallel, "state after five steps");
    let (expected, found) = (sequential.optimizer_state().unwrap(), parallel.optimizer_state());
    assert_all_close(&found.unwrap(), &of_held(expected), tolerance, "optimizer after five steps");
    let (input, _) = batch(6);
    let expected = sequential.infer(input.clone()).unwrap().into_data();
    let found = parallel.infer(input).unwrap().into_data();
    assert_close(&found, &expected, tolerance, "evaluation");
}

/// As [`assert_executors_agree_on`], of all names.
pub fn assert_executors_agree<N, F>(
    sequential: &mut Sequential<N, CrossEntropy>,
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

/// The numbers of an input gradient.
pub trait IntoValues {
    fn values(self) -> TensorData;
}

impl<const D: usize> IntoValues for Tensor<D> {
    fn values(self) -> TensorData {
        self.into_data()
    }
}

/// Steps with and without `recompute`: losses, gradients, and all parameters and running
/// statistics after five steps, equal to the last bit.
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
        let network = PararealNetwork::build(net, cuts, init).unwrap();
        let mut placement =
            Placement::new(vec![Device::flex()], layout(cuts, cuts.subnetworks().min(2), 1));
        placement.threads = 1;
        placement.segment_units = segment_units;
        placement.recompute = recompute;
        Threads::new(network, CrossEntropy::default(), &sgd(), &placement).unwrap()
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
    let (found, expected) = (recomputed.named_tensors().unwrap(), kept.named_tensors().unwrap());
    assert_all_close(&found, &expected, 0.0, "value");
}
