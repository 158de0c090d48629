//! Micro-batches whose gradients are added compute the same step as their joined batch.

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Int, Tensor, TensorData, s};
use parareal::exec::{
    CrossEntropy, ExecError, ExecutorBuilder, Layout, Program, ProgramOptions, StateKind, Update,
};
use parareal::net::{Cuts, Init, NamedTensor, PararealNetwork, Sequential, layer};
use parareal_testing::{
    AnyExecutor, CLASSES, DenseNet, FEATURES, LayerNet, assert_all_close, assert_executors_agree,
    assert_follows_program, assert_messages_are_sent_first, batch, builder, init, start,
};

type Builder = ExecutorBuilder<CrossEntropy>;

fn net() -> DenseNet {
    DenseNet::residual(vec![6, 6, 6, 9, 9, 5, 5, 5, 7, 7, 7])
}

/// Builders of the sequential executor and of parallel ones.
fn builders() -> Vec<(usize, Builder)> {
    vec![
        (1, builder().sequential()),
        (1, builder().workers(1)),
        (2, builder().workers(2).segment_units(2)),
        (3, builder().workers(2).recompute(2)),
        (4, builder().workers(4).replicas(2)),
        (3, builder().workers(3).replicas(3).segment_units(1)),
    ]
}

#[test]
fn micro_batches_compute_the_step_of_the_joined_batch() {
    for dtype in [DType::F32, DType::F64] {
        for (subnetworks, builder) in builders() {
            for micro_batches in [2, 3] {
                let cuts = Cuts::even(10, subnetworks).unwrap();
                let start = |builder| start(builder, &net(), &cuts, &init(1, dtype));
                let mut whole = start(parareal_testing::builder().sequential());
                let mut parts = start(builder.clone().accumulate(micro_batches));
                // The parts have different sizes.
                let batch = |step| batch(100 + step, 13, dtype);
                assert_executors_agree(&mut *whole, &mut *parts, batch, dtype);
            }
        }
    }
}

/// Dropout draws the numbers of as many replicas, and normalizations have the statistics of as many. The running
/// statistics are updated one after another instead of being averaged.
#[test]
fn micro_batches_are_like_replicas_for_random_layers_and_normalizations() {
    let cuts = Cuts::even(5, 3).unwrap();
    let net = LayerNet { units: 5, dropout: 0.3 };
    let start = |builder| start(builder, &net, &cuts, &init(1, DType::F64));
    let (input, labels) = batch(1, 14, DType::F64);
    let gradients = |builder| {
        let mut executor: AnyExecutor<LayerNet> = start(builder);
        let found = executor.gradients(input.clone(), labels.clone()).unwrap();
        (found.loss, found.gradients)
    };
    let (loss, expected) = gradients(builder().workers(2).replicas(6));
    for builder in [
        builder().sequential().accumulate(6),
        builder().workers(3).accumulate(6),
        builder().workers(2).replicas(2).accumulate(3),
        builder().workers(1).replicas(3).accumulate(2).recompute(1),
    ] {
        let found = gradients(builder);
        assert!((found.0 - loss).abs() < 1e-12 * loss);
        assert_all_close(&found.1, &expected, 1e-10, "gradient");
    }
}

#[test]
fn running_statistics_are_updated_for_each_micro_batch() {
    let cuts = Cuts::even(5, 2).unwrap();
    let net = LayerNet { units: 5, dropout: 0.0 };
    let start = |builder| start(builder, &net, &cuts, &init(1, DType::F64));
    let mut sequential = start(builder().sequential().accumulate(3));
    let mut threads = start(builder().workers(2).segment_units(1).accumulate(3));
    let batch = |step| batch(100 + step, 14, DType::F64);
    assert_executors_agree(&mut *sequential, &mut *threads, batch, DType::F64);

    // A momentum of 0.1 forgets the initial mean, 0, three times.
    let mut means = [1, 3].map(|micro_batches| {
        let mut executor = start(builder().workers(2).accumulate(micro_batches));
        let (input, labels) = batch(0);
        // The same samples in each micro-batch.
        let input = input.narrow(0, 0, 4).repeat_dim(0, micro_batches);
        let labels = labels.narrow(0, 0, 4).repeat_dim(0, micro_batches);
        executor.gradients(input, labels).unwrap();
        let tensors = executor.read(StateKind::Weights).unwrap().into_iter();
        tensors.filter(|own| own.name.ends_with("running_mean")).collect::<Vec<_>>()
    });
    assert!(!means[0].is_empty());
    for mean in &mut means[0] {
        let values = mean.data.iter::<f64>().map(|mean| mean * (1.0 - 0.9_f64.powi(3)) / 0.1);
        mean.data = TensorData::new(values.collect::<Vec<_>>(), mean.data.shape());
    }
    assert_all_close(&means[1], &means[0], 1e-10, "running mean");
}

#[test]
fn gradients_are_clipped_once_for_all_micro_batches() {
    for (subnetworks, builder) in builders() {
        let cuts = Cuts::even(10, subnetworks).unwrap();
        let start = |builder| start(builder, &net(), &cuts, &init(1, DType::F64));
        let mut whole = start(parareal_testing::builder().sequential());
        let mut parts = start(builder.accumulate(2));
        let (input, labels) = batch(1, 9, DType::F64);
        let update = Update { clip_norm: Some(0.1), ..Update::plain(0.1) };
        let expected = whole.train_step_with(input.clone(), labels.clone(), update).unwrap();
        let found = parts.train_step_with(input, labels, update).unwrap();
        let (found, expected) = (found.gradient_norm.unwrap(), expected.gradient_norm.unwrap());
        assert!(expected > 0.1 && (found - expected).abs() < 1e-12 * expected);
    }
}

#[test]
fn workers_execute_the_program_of_all_micro_batches() {
    let cuts = Cuts::even(10, 4).unwrap();
    let builder = builder().workers(2).replicas(2).segment_units(1).accumulate(3);
    let mut executor = start(builder, &net(), &cuts, &init(1, DType::F32));
    for step in 0..4 {
        let (input, labels) = batch(step, 13, DType::F32);
        let report = executor.train_step(input, labels, 1e-3).unwrap();
        let program = executor.program().unwrap();
        assert_follows_program(program, &report.trace);
        assert_messages_are_sent_first(program, &report.trace);
        assert_eq!(report.output.dims()[0], 13);
    }
    let layout = Layout::threads(2, 2, 1).unwrap();
    let options = ProgramOptions { segment_units: 2, ..ProgramOptions::default() };
    let program = Program::accumulating(&layout, &Cuts::even(4, 2).unwrap(), options, 2).unwrap();
    assert_eq!(
        program.worker(0).to_string(),
        "micro-batch 1
x_1 = C_1(x)
g_1, units 1..=2
send U_1
merge running statistics of subnetwork 1
receive ρ_1
backward g_1, units 1..=2
backward C_1
micro-batch 2
x_1 = C_1(x)
g_1, units 1..=2
send U_1
merge running statistics of subnetwork 1
receive ρ_1
backward g_1, units 1..=2
backward C_1
sum loss and failures over all workers
update subnetwork 1
"
    );
}

#[test]
fn an_invalid_micro_batch_updates_nothing() {
    for (subnetworks, builder) in builders() {
        let cuts = Cuts::even(10, subnetworks).unwrap();
        let start = || start(builder.clone().accumulate(2), &net(), &cuts, &init(1, DType::F32));
        let mut executor = start();
        let (input, labels) = batch(1, 12, DType::F32);
        let weights = |executor: &mut AnyExecutor<DenseNet>| {
            let kinds = [StateKind::Weights, StateKind::Optimizer];
            kinds.map(|kind| executor.read(kind).unwrap()).concat()
        };
        executor.train_step(input.clone(), labels.clone(), 0.1).unwrap();
        let before = weights(&mut executor);
        // The first sample belongs to the first micro-batch, the last one to the last.
        for sample in [0, 11] {
            let others = |values: Tensor<1, Int>, wrong| {
                let wrong = Tensor::from_data([wrong], &Device::flex());
                values.slice_assign(s![sample..sample + 1], wrong)
            };
            let wrong = others(labels.clone(), 9);
            let error = executor.train_step(input.clone(), wrong, 0.1).unwrap_err();
            assert!(matches!(error, ExecError::Target(_)), "{error}");
            let nan = Tensor::full([1, input.dims()[1]], f32::NAN, &Device::flex());
            let nan = input.clone().slice_assign(s![sample..sample + 1], nan);
            let error = executor.train_step(nan, labels.clone(), 0.1).unwrap_err();
            assert!(matches!(error, ExecError::LossNotFinite { loss } if loss.is_nan()), "{error}");
        }
        assert_all_close(&weights(&mut executor), &before, 0.0, "state");
        // The abandoned steps have no effect on the next one.
        let mut fresh = start();
        for executor in [&mut fresh, &mut executor] {
            let steps = if executor.step() == 0 { 2 } else { 1 };
            for _ in 0..steps {
                executor.train_step(input.clone(), labels.clone(), 0.1).unwrap();
            }
        }
        let [found, expected] = [&mut executor, &mut fresh].map(weights);
        assert_all_close(&found, &expected, 0.0, "state");
    }
}

/// A parameter that a micro-batch in the middle does not reach keeps the gradients of the others.
#[test]
fn micro_batches_without_a_gradient_of_a_parameter_lose_none() {
    let sample = Tensor::<2>::zeros([1, FEATURES], &Device::flex());
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let first = |x: &Tensor<2>| x.clone().inner().slice([0..1, 0..1]).into_scalar::<f64>();
    let net = Sequential::stem(sample, move |init| {
        layer(linear(FEATURES, 6, init), move |stem, x: Tensor<2>| {
            let is_reached = first(&x) > 0.0;
            let state = Linear::forward(stem, x);
            if is_reached { state } else { state.detach() }
        })
    })
    .units(4, move |_, init| {
        layer(linear(6, 6, init), |unit, x: Tensor<2>| x.clone() + unit.forward(x).tanh())
    })
    .head(move |init| layer(linear(6, CLASSES, init), Linear::forward))
    .unwrap();
    let (input, labels) = batch(1, 6, DType::F32);
    let signs =
        Tensor::<2>::from_data([[1.0], [1.0], [-1.0], [-1.0], [1.0], [1.0]], &Device::flex());
    let input = input.abs() * signs;
    for subnetworks in [1, 2] {
        let cuts = Cuts::even(4, subnetworks).unwrap();
        let gradients = |builder: Builder, part: std::ops::Range<usize>| {
            let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
            let mut executor = builder.start(network).unwrap();
            let input = input.clone().slice([part.clone(), 0..FEATURES]);
            let report = executor.gradients(input, labels.clone().slice(s![part])).unwrap();
            let mut gradients = report.gradients;
            gradients.retain(|own| own.name.starts_with("preprocessing."));
            gradients
        };
        let [first, last] = [0..2, 4..6].map(|part| gradients(builder().sequential(), part));
        assert!(!first.is_empty());
        let expected: Vec<_> = first
            .iter()
            .zip(&last)
            .map(|(a, b)| {
                let sum =
                    a.data.iter::<f32>().zip(b.data.iter::<f32>()).map(|(a, b)| (a + b) / 3.0);
                let data = TensorData::new(sum.collect::<Vec<_>>(), a.data.shape().clone());
                NamedTensor { data, ..a.clone() }
            })
            .collect();
        for builder in
            [builder().sequential(), builder().workers(1), builder().workers(subnetworks)]
        {
            let found = gradients(builder.accumulate(3), 0..6);
            assert_all_close(&found, &expected, 1e-5, "gradient");
        }
    }
}

#[test]
fn every_micro_batch_needs_a_sample() {
    let cuts = Cuts::even(10, 2).unwrap();
    let start = |builder: Builder| start(builder, &net(), &cuts, &init(1, DType::F32));
    let (input, labels) = batch(1, 5, DType::F32);
    for (builder, replicas, told) in [
        (builder().sequential().accumulate(6), 1, "6 micro-batches"),
        (builder().workers(2).accumulate(6), 1, "6 micro-batches"),
        (builder().replicas(2).accumulate(3), 2, "2 replicas with 3 micro-batches each"),
    ] {
        let mut executor = start(builder);
        let error = executor.train_step(input.clone(), labels.clone(), 0.1).unwrap_err();
        let micro_batches = 6 / replicas;
        assert_eq!(error, ExecError::Batch { samples: 5, replicas, micro_batches });
        let expected = format!("the batch has 5 samples for {told}: expected at least 1 for each");
        assert_eq!(error.to_string(), expected);
        // Evaluation needs no micro-batches.
        assert_eq!(executor.infer(input.clone()).unwrap().dims()[0], 5);
    }
}
