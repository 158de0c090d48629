//! Every setting of an executor takes effect or is rejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use parareal::exec::{
    CrossEntropy, ExecError, ExecutorBuilder, Loss, StateKind, batch_loss, loss_fn,
};
use parareal::net::{Cuts, Init, PararealNetwork, Sequential, layer};
use parareal::timeline::Activity;
use parareal_testing::{
    AnyExecutor, CLASSES, DenseNet, FEATURES, assert_all_close, batch, init, sgd, start,
};

const UNITS: usize = 6;

fn plain() -> ExecutorBuilder<CrossEntropy> {
    ExecutorBuilder::new(CrossEntropy::default(), sgd())
}

/// Three subnetworks of two units each.
fn started<L: Loss<Tensor<2>>>(builder: ExecutorBuilder<L>) -> AnyExecutor<DenseNet, L> {
    let net = DenseNet::residual(vec![6; UNITS + 1]);
    start(builder, &net, &Cuts::even(UNITS, 3).unwrap(), &init(1, DType::F64))
}

/// Returns the number of subnetworks of each worker, the number of replicas, and the number of devices in the
/// timeline of a step.
fn workers(builder: ExecutorBuilder<CrossEntropy>) -> (Vec<usize>, usize, usize) {
    let mut executor = started(builder);
    let (input, labels) = batch(1, 8, DType::F64);
    let devices = executor.train_step(input, labels, 0.1).unwrap().timeline.devices;
    (executor.layout().counts(), executor.layout().replicas(), devices)
}

#[test]
fn workers_replicas_and_spread_make_the_layout() {
    assert_eq!(workers(plain().workers(2)), (vec![2, 1], 1, 2));
    assert_eq!(workers(plain().subnetworks_per_worker([1, 2])), (vec![1, 2], 1, 2));
    assert_eq!(workers(plain().workers(3).replicas(2)), (vec![1, 1, 1], 2, 6));
    let both = plain().subnetworks_per_worker([1, 2]).replicas(2);
    assert_eq!(workers(both.threads(1)), (vec![1, 2], 2, 4));
    assert_eq!(workers(plain().sequential()), (vec![3], 1, 0));
    let two = vec![Device::flex(); 2];
    assert_eq!(workers(plain().devices(two).workers(2)), (vec![2, 1], 1, 2));
}

#[test]
fn there_is_a_worker_for_each_core_by_default() {
    let cores = available_parallelism().unwrap().get();
    for replicas in [1, 2, 8] {
        let executor = started(plain().replicas(replicas));
        assert_eq!(executor.layout().workers(), (cores / replicas).clamp(1, 3));
    }
}

/// Returns the number of threads of the last worker, which its loss observes.
fn threads(set: impl Fn(ExecutorBuilder<Counting>) -> ExecutorBuilder<Counting>) -> usize {
    let found = Arc::new(AtomicUsize::new(0));
    let loss = Counting(Arc::clone(&found));
    let mut executor = started(set(ExecutorBuilder::new(loss, sgd())));
    let (input, labels) = batch(1, 8, DType::F64);
    executor.gradients(input, labels).unwrap();
    found.load(Ordering::Relaxed)
}

/// Cross entropy that stores the number of threads of its worker.
#[derive(Clone)]
struct Counting(Arc<AtomicUsize>);

impl Loss<Tensor<2>> for Counting {
    type Target = Tensor<1, Int>;

    fn forward(&self, output: Tensor<2>, target: Self::Target) -> Tensor<1> {
        self.0.store(rayon::current_num_threads(), Ordering::Relaxed);
        CrossEntropy::default().forward(output, target)
    }
}

#[test]
fn workers_have_the_configured_threads_or_an_equal_share_of_the_cores() {
    assert_eq!(threads(|builder| builder.workers(2).threads(3)), 3);
    assert_eq!(threads(|builder| builder.sequential().threads(5)), 5);
    let cores = available_parallelism().unwrap().get();
    assert_eq!(threads(|builder| builder.workers(1)), cores);
    assert_eq!(threads(ExecutorBuilder::sequential), cores);
    assert_eq!(threads(|builder| builder.workers(2)), (cores / 2).max(1));
    assert_eq!(threads(|builder| builder.workers(2).replicas(2)), (cores / 4).max(1));
}

#[test]
fn segments_have_the_configured_number_of_units() {
    let net = DenseNet::residual(vec![6; UNITS + 1]);
    let spans = |builder| {
        let mut executor =
            start(builder, &net, &Cuts::even(UNITS, 1).unwrap(), &init(1, DType::F64));
        let (input, labels) = batch(1, 8, DType::F64);
        let spans = executor.train_step(input, labels, 0.1).unwrap().timeline.spans;
        spans.iter().filter(|span| span.activity == Activity::FineForward).count()
    };
    // Segments of 1 unit each, of 3 and 3 units, and of 4 and 2 units.
    let [ones, threes, default] =
        [plain().segment_units(1), plain().segment_units(3), plain()].map(spans);
    assert_eq!((ones - threes, threes), (4, default));
    assert_eq!(spans(plain().recompute(1)), ones);
    assert_eq!(spans(plain().segment_units(UNITS)), threes - 1);
}

/// Each unit is applied once in a step without `recompute` and twice with it. The gradients are the same.
#[test]
fn units_are_recomputed_on_request() {
    let applied = Arc::new(AtomicUsize::new(0));
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let count = Arc::clone(&applied);
    let sample = Tensor::<2>::zeros([1, FEATURES], &Device::flex());
    let net =
        Sequential::stem(sample, move |init| layer(linear(FEATURES, 6, init), Linear::forward))
            .units(UNITS, move |_, init| {
                let count = Arc::clone(&count);
                layer(linear(6, 6, init), move |linear, x: Tensor<2>| {
                    count.fetch_add(1, Ordering::Relaxed);
                    linear.forward(x).tanh()
                })
            })
            .head(move |init| layer(linear(6, CLASSES, init), Linear::forward))
            .unwrap();
    let cuts = Cuts::even(UNITS, 1).unwrap();
    let gradients = |builder: ExecutorBuilder<_>| {
        let mut executor = start(builder.threads(1), &net, &cuts, &init(1, DType::F32));
        applied.store(0, Ordering::Relaxed);
        let (input, labels) = batch(1, 8, DType::F32);
        let gradients = executor.gradients(input, labels).unwrap().gradients;
        (applied.load(Ordering::Relaxed), gradients)
    };
    let (kept, expected) = gradients(plain());
    assert_eq!(kept, UNITS);
    for units in [1, 4, UNITS] {
        let (recomputed, found) = gradients(plain().recompute(units));
        assert_eq!(recomputed, 2 * UNITS);
        assert_all_close(&found, &expected, 0.0, "gradient");
    }
}

#[test]
fn settings_that_would_be_ignored_are_refused() {
    let two = || vec![Device::flex(); 2];
    let has_one = "the sequential executor has one worker with the whole network";
    let one_graph = "the sequential executor evaluates the whole network as one graph";
    let ignored = |name: &str, why: &str| format!("the setting `{name}` has no effect: {why}");
    let value = |name: &str, found: &str, expected: &str| {
        format!("invalid value `{found}` for {name}: {expected}")
    };
    let most =
        |count: usize| format!("expected at most {count}, one for each worker of this process");
    let sequential = || plain().sequential();
    let by_counts = "`subnetworks_per_worker` sets the number of workers";
    let by_recompute = "`recompute` sets the units of a segment";
    let faults = [
        (sequential().workers(1), ignored("workers", has_one)),
        (sequential().subnetworks_per_worker([3]), ignored("subnetworks_per_worker", has_one)),
        (sequential().replicas(1), ignored("replicas", has_one)),
        (sequential().segment_units(2), ignored("segment_units", one_graph)),
        (sequential().recompute(2), ignored("recompute", one_graph)),
        (sequential().devices(two()), value("devices", "2 devices", &most(1))),
        (plain().workers(1).devices(two()), value("devices", "2 devices", &most(1))),
        (
            plain().workers(1).replicas(2).devices(vec![Device::flex(); 3]),
            value("devices", "3 devices", &most(2)),
        ),
        (plain().workers(2).subnetworks_per_worker([2, 1]), ignored("workers", by_counts)),
        (plain().segment_units(2).recompute(2), ignored("segment_units", by_recompute)),
        (sequential().launch_graphs(), ignored("launch_graphs", one_graph)),
        (
            plain().launch_graphs(),
            value(
                "devices",
                "the CPU with launch graphs",
                "expected GPUs only: a worker on the CPU launches nothing",
            ),
        ),
        (plain().threads(0), value("threads", "0", "expected at least 1")),
        (sequential().threads(0), value("threads", "0", "expected at least 1")),
        (plain().segment_units(0), value("segment_units", "0", "expected at least 1")),
        (plain().recompute(0), value("recompute", "0", "expected at least 1")),
        (plain().devices([]), "the executor has no device: expected at least 1".into()),
        (sequential().devices([]), "the executor has no device: expected at least 1".into()),
        (plain().workers(0), "expected from 1 to 3 workers for 3 subnetworks, got 0".into()),
        (plain().replicas(0), "expected at least 1 replica, got 0".into()),
        (
            plain().subnetworks_per_worker([3, 0]),
            "expected at least 1 subnetwork for each worker, got [3, 0]".into(),
        ),
        (
            plain().subnetworks_per_worker([3, 1]),
            "the layout is for 4 subnetworks, but the network has 3".into(),
        ),
    ];
    let net = DenseNet::residual(vec![6; UNITS + 1]);
    let cuts = Cuts::even(UNITS, 3).unwrap();
    for (builder, expected) in faults {
        let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
        let error = builder.start(network).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn executors_name_their_tensors() {
    let net = DenseNet::residual(vec![6; UNITS + 1]);
    let network =
        PararealNetwork::build(&net, &Cuts::even(UNITS, 3).unwrap(), &init(1, DType::F64)).unwrap();
    let names = network.subnetworks().iter().map(|subnetwork| {
        subnetwork.named_tensors().into_iter().map(|tensor| tensor.name).collect::<Vec<_>>()
    });
    let expected: Vec<_> = names.enumerate().collect();
    for builder in [plain().sequential(), plain().workers(2), plain().workers(1).replicas(2)] {
        let mut executor = started(builder);
        assert_eq!(executor.tensor_names(), expected);
        let read = executor.read(StateKind::Weights).unwrap().into_iter().map(|tensor| tensor.name);
        assert!(read.eq(expected.iter().flat_map(|(_, names)| names.clone())));
    }
}

#[test]
fn a_loss_alone_is_checked_like_that_of_a_step() {
    let (output, device) = (Tensor::<2>::zeros([2, CLASSES], &Device::flex()), Device::flex());
    let labels = |labels: [i32; 2]| Tensor::<1, Int>::from_data(labels, &device);
    let loss = CrossEntropy::default();
    let found = batch_loss(&loss, &output, labels([0, 3])).unwrap().into_scalar::<f64>();
    assert!((found - (CLASSES as f64).ln()).abs() < 1e-6);
    let error = batch_loss(&loss, &output, labels([0, 4])).unwrap_err();
    assert!(matches!(error, ExecError::Target(_)), "{error}");
    let each = loss_fn(|output: Tensor<2>, _: Tensor<1, Int>| output.sum_dim(1).squeeze_dim(1));
    let error = batch_loss(&each, &output, labels([0, 3])).unwrap_err();
    assert_eq!(error, ExecError::LossElements { elements: 2 });
}
