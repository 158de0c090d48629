//! The ranks of an MPI program compute the same step as the sequential executor, and fail together.

use std::collections::HashSet;
use std::time::Duration;

use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::exec::{
    CrossEntropy, ExecError, ExecutorBuilder, Loss, RankLayout, StateKind, Update, World,
};
use parareal::net::{Coarsen, Cuts, Init, NetError, PararealNetwork, Sequential, StateDict, layer};
use parareal::timeline::{Activity, Span, Timeline};
use parareal_autodiff::sum_over_replicas;
use parareal_testing::layers::{
    batch_norm_network, memory_network, sentences, signal_network, signals, token_network,
    u_network,
};
use parareal_testing::{
    AnyExecutor, CLASSES, Dense, DenseNet, FEATURES, IntoValues, LayerNet, assert_all_close,
    assert_executors_agree_on, assert_follows_program, batch, builder, executors, executors_with,
    init, ranks, sgd, start, test_name,
};

/// Runs `body` in the ranks of a program, for each number of ranks.
fn in_world(counts: &[usize], name: &str, body: impl FnOnce(&World)) {
    ranks::on_ranks(counts, name, || {
        let world = World::init().unwrap();
        body(&world);
        world.finalize().unwrap();
    });
}

fn dimensions() -> Vec<usize> {
    vec![6, 6, 6, 9, 9, 5, 5, 5, 7, 7, 7]
}

fn on_ranks<N: Coarsen<Output = Tensor<2>>>(
    world: &World,
    net: &N,
    cuts: &Cuts,
    seed: u64,
    dtype: DType,
    (workers, replicas): (usize, usize),
) -> AnyExecutor<N> {
    on_ranks_with(world, net, cuts, &init(seed, dtype), (workers, replicas), &sgd())
}

fn on_ranks_with<N: Coarsen<Output = Tensor<2>>>(
    world: &World,
    net: &N,
    cuts: &Cuts,
    init: &Init,
    (workers, replicas): (usize, usize),
    optimizer: &ModuleOptimizer,
) -> AnyExecutor<N> {
    let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer.clone()).threads(1);
    let builder = builder.workers(workers).replicas(replicas).segment_units(2);
    builder.start_rank(world, net, cuts, init).unwrap()
}

/// Returns the names of the tensors that a rank holds.
fn held<N: Coarsen>(net: &N, cuts: &Cuts, rank: &RankLayout) -> HashSet<String> {
    let network = PararealNetwork::build(net, cuts, &init(1, DType::F32)).unwrap();
    let own = &network.subnetworks()[rank.subnetworks.clone()];
    own.iter().flat_map(|subnetwork| subnetwork.named_tensors()).map(|tensor| tensor.name).collect()
}

#[test]
fn ranks_and_sequential_agree() {
    in_world(&[1, 2, 3, 4, 6], test_name!(), |world| {
        // Subnetworks, workers of a rank, replicas.
        let settings: &[_] = match world.size() {
            1 => &[(1, 1, 1), (4, 2, 1)],
            2 => &[(2, 1, 1), (5, 2, 1), (1, 1, 2), (3, 2, 2)],
            3 => &[(3, 1, 1), (1, 1, 3)],
            4 => &[(4, 1, 1), (2, 1, 2), (5, 2, 2)],
            _ => &[(6, 1, 1), (3, 1, 2), (2, 1, 3)],
        };
        let net = DenseNet::residual(dimensions());
        for dtype in [DType::F32, DType::F64] {
            for &(subnetworks, workers, replicas) in settings {
                let cuts = Cuts::even(10, subnetworks).unwrap();
                let (mut sequential, _) = executors(&net, &cuts, &init(1, dtype), 1);
                let mut ranks = on_ranks(world, &net, &cuts, 1, dtype, (workers, replicas));
                let held = held(&net, &cuts, &ranks.layout().rank(world.rank()));
                let held = |name: &str| {
                    // The name of an optimizer's tensor starts with the name of the parameter, up to the last
                    // dot.
                    held.contains(name)
                        || name.rsplit_once('.').is_some_and(|(name, _)| held.contains(name))
                };
                let batch = |step| batch(100 + step, 13, dtype);
                assert_executors_agree_on(&mut *sequential, &mut *ranks, batch, dtype, &held);
            }
        }
    });
}

/// Asserts that ranks compute the same steps with AdamW as the sequential executor.
fn assert_adam_agrees<N, F>(world: &World, net: &N, batch: F, dtype: DType)
where
    N: Coarsen<Output = Tensor<2>>,
    N::Input: IntoValues,
    F: Fn(u64) -> (N::Input, Tensor<1, Int>),
{
    let optimizer: ModuleOptimizer = AdamWConfig::new().with_weight_decay(0.01).init();
    let (cuts, init) = (Cuts::even(net.units(), 3).unwrap(), init(1, dtype));
    let (mut sequential, _) = executors_with(net, &cuts, &init, 1, 1, &optimizer);
    let mut ranks = on_ranks_with(world, net, &cuts, &init, (1, 1), &optimizer);
    let held = held(net, &cuts, &ranks.layout().rank(world.rank()));
    // The name of an optimizer's tensor starts with the name of a parameter.
    let is_held = |name: &str| {
        name.match_indices('.').any(|(dot, _)| held.contains(&name[..dot])) || held.contains(name)
    };
    assert_executors_agree_on(&mut *sequential, &mut *ranks, batch, dtype, &is_held);
}

/// Convolutions and layer normalization, batch normalization, integers and masks, and states with several
/// tensors.
#[test]
fn networks_of_burns_layers_and_adam_agree() {
    in_world(&[1, 2, 3], test_name!(), |world| {
        for dtype in [DType::F32, DType::F64] {
            let batch = |step| signals(step, 5, dtype);
            assert_adam_agrees(world, &signal_network(), batch, dtype);
            assert_adam_agrees(world, &batch_norm_network(), batch, dtype);
            assert_adam_agrees(world, &u_network(), batch, dtype);
            assert_adam_agrees(world, &memory_network(), batch, dtype);
        }
        assert_adam_agrees(world, &token_network(), |step| sentences(step, 5), DType::F32);
    });
}

#[test]
fn samples_of_another_shape_are_refused() {
    in_world(&[2], test_name!(), |world| {
        let net = signal_network();
        let cuts = Cuts::even(9, 2).unwrap();
        let mut ranks = on_ranks(world, &net, &cuts, 1, DType::F32, (1, 1));
        let longer = Tensor::zeros([4, 1, 16], &Device::flex());
        let (_, labels) = signals(1, 4, DType::F32);
        let expected = ExecError::SampleShape { expected: [1, 8].into(), found: [1, 16].into() };
        assert_eq!(ranks.train_step(longer.clone(), labels, 0.1).unwrap_err(), expected);
        assert_eq!(ranks.infer(longer).unwrap_err(), expected);
    });
}

/// Burn's batch normalization, whose statistics are merged after the forward pass, and dropout.
#[test]
fn statistics_and_masks_are_those_of_the_sequential_executor() {
    in_world(&[1, 2, 3], test_name!(), |world| {
        let net = LayerNet { units: 5, dropout: 0.3 };
        let cuts = Cuts::even(5, 3).unwrap();
        for dtype in [DType::F32, DType::F64] {
            let (mut sequential, _) = executors(&net, &cuts, &init(1, dtype), 1);
            let mut ranks = on_ranks(world, &net, &cuts, 1, dtype, (1, 1));
            let held = held(&net, &cuts, &ranks.layout().rank(world.rank()));
            let held = |name: &str| {
                held.contains(name)
                    || name.rsplit_once('.').is_some_and(|(name, _)| held.contains(name))
            };
            let batch = |step| batch(100 + step, 12, dtype);
            assert_executors_agree_on(&mut *sequential, &mut *ranks, batch, dtype, &held);
            // The random numbers of a resumed run depend on the number of its step.
            let (mut sequential, _) = executors(&net, &cuts, &init(1, dtype), 1);
            let mut ranks = on_ranks(world, &net, &cuts, 1, dtype, (1, 1));
            assert_eq!(ranks.step(), 0);
            sequential.set_step(40);
            ranks.set_step(40);
            assert_executors_agree_on(&mut *sequential, &mut *ranks, batch, dtype, &held);
            assert_eq!((sequential.step(), ranks.step()), (45, 45));
        }
    });
}

/// Asserts that two replicas on ranks compute the same as two replicas on threads. Each replica normalizes
/// its own part of a batch and draws its own masks, so the sequential executor computes a different result.
fn assert_replicas_agree<N, F>(world: &World, net: &N, batch: F, dtype: DType)
where
    N: Coarsen<Output = Tensor<2>>,
    N::Input: IntoValues,
    F: Fn(u64) -> (N::Input, Tensor<1, Int>),
{
    let (cuts, init) = (Cuts::even(net.units(), 3).unwrap(), init(1, dtype));
    let mut threads = start(builder().workers(1).replicas(2).segment_units(2), net, &cuts, &init);
    let mut ranks = on_ranks(world, net, &cuts, 1, dtype, (1, 2));
    let held = held(net, &cuts, &ranks.layout().rank(world.rank()));
    let held = |name: &str| {
        held.contains(name) || name.rsplit_once('.').is_some_and(|(name, _)| held.contains(name))
    };
    assert_executors_agree_on(&mut *threads, &mut *ranks, batch, dtype, &held);
}

#[test]
fn replicas_on_ranks_have_the_statistics_and_masks_of_replicas_on_threads() {
    in_world(&[2, 6], test_name!(), |world| {
        let net = LayerNet { units: 5, dropout: 0.3 };
        for dtype in [DType::F32, DType::F64] {
            assert_replicas_agree(world, &net, |step| batch(100 + step, 11, dtype), dtype);
            assert_replicas_agree(world, &batch_norm_network(), |it| signals(it, 7, dtype), dtype);
        }
    });
}

/// The state of a rank can be read and moved to another executor, and missing state is an error.
#[test]
fn state_moves_from_one_executor_to_another() {
    in_world(&[3], test_name!(), |world| {
        let net = DenseNet::residual(dimensions());
        let cuts = Cuts::even(10, 3).unwrap();
        let (mut sequential, _) = executors(&net, &cuts, &init(2, DType::F64), 1);
        let mut ranks = on_ranks(world, &net, &cuts, 1, DType::F64, (1, 1));
        let update =
            Update { clip_norm: Some(0.5), average_decay: Some(0.6), ..Update::plain(0.05) };
        let step = |executor: &mut AnyExecutor<DenseNet>, step| {
            let (input, labels) = batch(step, 7, DType::F64);
            let report = executor.train_step_with(input, labels, update).unwrap();
            (report.loss, report.gradient_norm.unwrap())
        };
        step(&mut sequential, 0);
        ranks
            .write(StateKind::Weights, sequential.state_dict(StateKind::Weights).unwrap())
            .unwrap();
        ranks
            .write(StateKind::Optimizer, sequential.state_dict(StateKind::Optimizer).unwrap())
            .unwrap();
        ranks
            .write(StateKind::Average, sequential.state_dict(StateKind::Average).unwrap())
            .unwrap();
        let (expected, found) = (step(&mut sequential, 1), step(&mut ranks, 1));
        assert!((expected.0 - found.0).abs() < 1e-12 && (expected.1 - found.1).abs() < 1e-12);
        let own = ranks.read(StateKind::Average).unwrap();
        let mut expected = sequential.read(StateKind::Average).unwrap();
        let names: HashSet<_> = own.iter().map(|tensor| tensor.name.clone()).collect();
        expected.retain(|tensor| names.contains(&tensor.name));
        assert_all_close(&own, &expected, 1e-12, "average");

        // If a tensor is missing on one rank, no rank replaces anything.
        let mut half = sequential.state_dict(StateKind::Weights).unwrap().into_tensors();
        half.remove("postprocessing.weight");
        let error = ranks
            .write(StateKind::Weights, StateDict::new(cuts.clone(), half))
            .unwrap_err()
            .to_string();
        let expected = if world.rank() == 2 { "postprocessing.weight" } else { "rank 2" };
        assert!(error.contains(expected), "{error}");
        step(&mut ranks, 2);

        // The same holds if an optimizer cannot restore its own state.
        let before = ranks.read(StateKind::Optimizer).unwrap();
        let mut other = sequential.state_dict(StateKind::Optimizer).unwrap().into_tensors();
        let velocity = other.remove("postprocessing.weight.velocity").unwrap();
        other.insert("postprocessing.weight.moment".into(), velocity);
        let error =
            ranks.write(StateKind::Optimizer, StateDict::new(cuts.clone(), other)).unwrap_err();
        if world.rank() == 2 {
            assert!(matches!(error, ExecError::Optimizer(_)), "{error}");
            let expected =
                "cannot restore `postprocessing.weight.__rank`, `postprocessing.weight.moment`: ";
            assert!(error.to_string().contains(expected), "{error}");
        } else {
            let expected = "rank 2 cannot restore the state of its optimizers".to_string();
            assert_eq!(error, ExecError::Ranks(expected));
        }
        assert_all_close(&ranks.read(StateKind::Optimizer).unwrap(), &before, 0.0, "optimizer");
        step(&mut ranks, 3);
    });
}

#[test]
fn losses_that_are_not_finite_end_the_step_on_all_ranks() {
    in_world(&[2], test_name!(), |world| {
        let net = DenseNet::residual(dimensions());
        let cuts = Cuts::even(10, 2).unwrap();
        let mut ranks = on_ranks(world, &net, &cuts, 1, DType::F32, (1, 1));
        let before = ranks.read(StateKind::Weights).unwrap();
        let (input, labels) = batch(1, 5, DType::F32);
        let broken = input.clone() * f32::NAN;
        let error = ranks.train_step(broken, labels.clone(), 0.1).unwrap_err();
        assert!(matches!(error, ExecError::LossNotFinite { .. }), "{error}");
        assert_all_close(&ranks.read(StateKind::Weights).unwrap(), &before, 0.0, "state");
        // A batch of a different size works, although the failed step has posted a receive.
        let (input, labels) = (Tensor::cat(vec![input.clone(), input], 0), labels.clone());
        ranks.train_step(input, Tensor::cat(vec![labels.clone(), labels], 0), 0.1).unwrap();
    });
}

#[test]
fn all_ranks_learn_that_some_cannot_build_their_subnetworks() {
    in_world(&[3], test_name!(), |world| {
        let cuts = Cuts::even(10, 3).unwrap();
        let init = init(1, DType::F32);
        let build = |net: &DenseNet| builder().start_rank(world, net, &cuts, &init);
        let mut net = DenseNet::residual(vec![6; 11]);
        // The first and the last subnetwork share a parameter, and rank 1 holds neither of them.
        net.shared = Some((Dense::new(6, 6, true, &init), vec![1, 8]));
        let error = build(&net).map(|_| ()).unwrap_err();
        let expected = match world.rank() {
            1 => ExecError::Ranks("rank 0 cannot build its subnetworks".into()),
            rank => {
                let [own, other] = if rank == 0 { [1, 8] } else { [8, 1] };
                let [first, second] = [own, other].map(|unit| format!("units.{unit}.weight"));
                ExecError::Net(NetError::SharedParameter { first, second })
            }
        };
        assert_eq!(error, expected);
        // No rank waits, so all of them continue together.
        net.shared = None;
        let (input, labels) = batch(1, 5, DType::F32);
        build(&net).unwrap().train_step(input, labels, 0.1).unwrap();
    });
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

/// A network whose units subtract means over all replicas.
fn centered_network() -> Sequential<Tensor<2>, Tensor<2>, Tensor<2>> {
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let sample = Tensor::zeros([1, FEATURES], &Device::flex());
    Sequential::stem(sample, move |init| layer(linear(FEATURES, 6, init), Linear::forward))
        .units(4, move |_, init| {
            layer(linear(6, 6, init), |unit, x: Tensor<2>| {
                let y = unit.forward(x.clone());
                let mean = sum_over_replicas(y.clone().sum_dim(0)).div_scalar(6.0);
                x + (y - mean).tanh()
            })
        })
        .head(move |init| layer(linear(6, CLASSES, init), Linear::forward))
        .unwrap()
}

/// A replica with an invalid target computes no backward pass, so the others must not wait for its sums.
#[test]
fn an_invalid_target_ends_the_step_of_synchronized_replicas() {
    in_world(&[2, 4], test_name!(), |world| {
        let net = centered_network();
        let cuts = Cuts::even(4, world.size() / 2).unwrap();
        let builder = || builder().replicas(2).sync_batch_norm();
        let mut ranks = builder().start_rank(world, &net, &cuts, &init(1, DType::F64)).unwrap();
        let mut threads = start(builder().workers(1), &net, &cuts, &init(1, DType::F64));
        let (input, labels) = batch(1, 6, DType::F64);
        for wrong in [0, 5] {
            let mut classes: Vec<i64> = labels.to_data().iter::<i64>().collect();
            classes[wrong] = 9;
            let classes = Tensor::from_data(TensorData::new(classes, [6]), &Device::flex());
            let error = ranks.train_step(input.clone(), classes, 0.1).unwrap_err();
            assert!(matches!(error, ExecError::Target(_)), "{error}");
            let [found, expected] = [&mut ranks, &mut threads].map(|executor| {
                executor.train_step(input.clone(), labels.clone(), 0.1).unwrap().loss
            });
            assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
        }
    });
}

#[test]
fn faults_of_one_rank_are_the_same_error_on_all() {
    in_world(&[2, 4], test_name!(), |world| {
        let net = DenseNet::residual(dimensions());
        let cuts = Cuts::even(10, 2).unwrap();
        let replicas = world.size() / 2;
        let mut ranks = on_ranks(world, &net, &cuts, 1, DType::F32, (1, replicas));
        let (input, labels) = batch(1, 6, DType::F32);
        let before = ranks.read(StateKind::Weights).unwrap();
        // An invalid class, which only the last rank of the last replica gets.
        let wrong = Tensor::from_data([9], &Device::flex());
        let wrong = Tensor::cat(vec![labels.clone().narrow(0, 0, 5), wrong], 0);
        let error = ranks.train_step(input.clone(), wrong, 0.1).unwrap_err();
        let sample = 5 - 3 * (replicas - 1);
        let message =
            format!("expected class numbers from 0 to 3, found class 9 at sample {sample}");
        assert_eq!(error, ExecError::Target(message));
        let error = ranks.train_step(input.clone(), labels.clone(), f64::NAN).unwrap_err();
        assert!(matches!(error, ExecError::Update { .. }), "{error}");
        assert_all_close(&ranks.read(StateKind::Weights).unwrap(), &before, 0.0, "state");
        ranks.train_step(input.clone(), labels.clone(), 0.1).unwrap();

        // Parameters without a gradient, including those of other ranks.
        let init = init(1, DType::F32);
        let blind = ExecutorBuilder::new(Blind, sgd()).replicas(replicas);
        let mut blind = blind.start_rank(world, &net, &cuts, &init).unwrap();
        let error = blind.train_step(input.clone(), labels.clone(), 0.1).unwrap_err();
        let network = PararealNetwork::build(&net, &cuts, &init).unwrap();
        let mut names: Vec<_> =
            network.named_tensors().into_iter().map(|tensor| tensor.name).collect();
        let ExecError::NoGradient { names: mut found } = error else { panic!("{error}") };
        names.sort();
        found.sort();
        assert_eq!(found, names);

        let weights = PararealNetwork::build(&net, &Cuts::even(10, 5).unwrap(), &init).unwrap();
        let error = ranks.write(StateKind::Weights, weights.state_dict()).unwrap_err();
        assert!(matches!(error, ExecError::Net(NetError::OtherCuts { .. })), "{error}");
        ranks.write(StateKind::Weights, weights.state_dict().units_only()).unwrap();
        ranks.train_step(input, labels, 0.1).unwrap();
    });
}

#[test]
fn each_rank_sends_its_interface_tensors_and_its_part_of_the_sums() {
    in_world(&[3, 4], test_name!(), |w| {
        let replicas = if w.size() == 4 { 2 } else { 1 };
        let net = DenseNet::residual(vec![6; 11]);
        let cuts = Cuts::even(10, w.size() / replicas).unwrap();
        let mut ranks = on_ranks(w, &net, &cuts, 1, DType::F32, (1, replicas));
        let (input, labels) = batch(1, 8, DType::F32);
        let before = w.traffic();
        ranks.train_step(input, labels, 0.1).unwrap();
        let after = w.traffic();
        let layout = ranks.layout();
        let (position, positions) = (layout.rank(w.rank()).position, layout.ranks_per_replica());
        let tensor = 8 / replicas * 6 * size_of::<f32>();
        let neighbors = usize::from(position > 0) + usize::from(position + 1 < positions);
        assert_eq!((after.sent - before.sent) as usize, neighbors * tensor);
        let held: usize = ranks
            .read(StateKind::Weights)
            .unwrap()
            .iter()
            .map(|held| held.data.as_bytes().len())
            .sum();
        // The sizes of the loss and of the numbers of invalid targets and failures. The last rank also sums
        // its invalid targets before.
        let scalars = if position + 1 == positions { 8 + 24 } else { 24 };
        let expected = if replicas > 1 { held + scalars } else { 0 };
        assert_eq!((after.reduced - before.reduced) as usize, expected);
    });
}

/// Returns the time at which the last activity of this kind ends on the workers `devices`.
fn last_end(timeline: &Timeline, devices: &[usize], activity: Activity) -> f64 {
    let spans = timeline.spans.iter().filter(|span| devices.contains(&span.device));
    spans.filter(|span| span.activity == activity).map(|span| span.end).fold(0.0, f64::max)
}

#[test]
fn the_timeline_of_a_step_has_the_workers_of_all_ranks_on_every_rank() {
    in_world(&[2, 4], test_name!(), |world| {
        let replicas = world.size() / 2;
        let net = DenseNet::residual(dimensions());
        let cuts = Cuts::even(10, 5).unwrap();
        let mut ranks = on_ranks(world, &net, &cuts, 1, DType::F32, (2, replicas));
        let layout = ranks.layout().clone();
        assert_eq!((layout.workers(), layout.total_workers()), (4, 4 * replicas));
        let (input, labels) = batch(1, 8, DType::F32);
        ranks.train_step(input.clone(), labels.clone(), 0.1).unwrap();
        if world.rank() == 1 {
            // The other ranks begin the next step before this one.
            std::thread::sleep(Duration::from_millis(100));
        }
        let report = ranks.train_step(input, labels, 0.1).unwrap();

        let all = world.split(Some(0)).unwrap().unwrap();
        let timeline = &report.timeline;
        let told = all.all_gather(format!("{timeline:?}").into_bytes()).unwrap();
        assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(timeline.devices, layout.total_workers());
        for replica in 0..replicas {
            let devices: Vec<usize> =
                (0..4).map(|worker| layout.worker_number(replica, worker)).collect();
            for subnetwork in 0..5 {
                let device = devices[layout.worker_of(subnetwork)];
                for activity in [Activity::FineForward, Activity::FineBackward, Activity::Update] {
                    let is_it = |span: &&Span| {
                        let own = (span.device, span.subnetwork, span.activity);
                        own == (device, subnetwork, activity)
                    };
                    let found = timeline.spans.iter().find(is_it);
                    assert!(found.is_some(), "{device}, {subnetwork}, {activity:?}");
                }
            }
            // If each rank used its own clock, the late rank would seem to update before the others have
            // finished.
            let updates = timeline
                .spans
                .iter()
                .filter(|span| devices.contains(&span.device) && span.activity == Activity::Update);
            let update = updates.map(|span| span.begin).fold(f64::INFINITY, f64::min);
            for activity in [Activity::Head, Activity::FineBackward] {
                // The clocks of the ranks are compared once, with an error of a few microseconds.
                let end = last_end(timeline, &devices, activity);
                assert!(end <= update + 5e-3, "{activity:?}: {end} and {update}");
            }
            for &device in &devices {
                let work: Vec<&Span> = timeline
                    .spans
                    .iter()
                    .filter(|span| span.device == device && span.activity.is_work())
                    .collect();
                assert!(work.windows(2).all(|pair| pair[0].end <= pair[1].begin), "{device}");
            }
        }
        // The times of subnetworks follow from the timeline, averaged over the replicas.
        assert_eq!(report.subnetworks.len(), 5);
        let busy: f64 = (0..timeline.devices).map(|device| timeline.work(device)).sum();
        let told = report.subnetworks.iter().map(|time| time.fine + time.coarse);
        let told = told.sum::<Duration>().as_secs_f64() * replicas as f64;
        assert!((told - busy).abs() < 1e-6, "{told} and {busy}");
    });
}

#[test]
fn settings_without_effect_on_ranks_are_refused() {
    in_world(&[2], test_name!(), |world| {
        let (net, cuts) = (DenseNet::residual(dimensions()), Cuts::even(10, 3).unwrap());
        let init = init(1, DType::F32);
        let refused = |builder: ExecutorBuilder<CrossEntropy>| {
            builder.start_rank(world, &net, &cuts, &init).err().unwrap().to_string()
        };
        for (builder, expected) in [
            (builder().sequential(), "`sequential`"),
            (builder().subnetworks_per_worker([2, 1]), "`subnetworks_per_worker`"),
            (builder().message_dtype(DType::I32), "message_dtype"),
            (builder().devices([]), "device"),
            (builder().devices([Device::flex(), Device::flex()]), "devices"),
            (builder().workers(2).replicas(3), "3 replicas"),
        ] {
            let message = refused(builder);
            assert!(message.contains(expected), "{message}");
        }
        // There are two devices for up to two workers of a rank, but the second rank has one worker.
        let builder = builder().workers(2).devices([Device::flex(), Device::flex()]);
        let mut ranks = builder.start_rank(world, &net, &cuts, &init).unwrap();
        let (input, labels) = batch(1, 5, DType::F32);
        ranks.train_step(input.clone(), labels.clone(), 1e-3).unwrap();

        // States that are sent as bfloat16.
        let start = |builder: ExecutorBuilder<CrossEntropy>| {
            builder.start_rank(world, &net, &cuts, &init).unwrap()
        };
        let mut exact = start(self::builder());
        let mut rounded = start(self::builder().message_dtype(DType::BF16));
        let [exact, rounded] = [&mut exact, &mut rounded]
            .map(|ranks| ranks.gradients(input.clone(), labels.clone()).unwrap().loss);
        assert!(exact != rounded && (exact - rounded).abs() < 1e-2 * exact, "{exact}, {rounded}");
    });
}

/// Every rank has the traces of its own workers.
#[test]
fn workers_of_ranks_follow_the_program_and_replayed_steps_end_as_recorded() {
    in_world(&[2, 3, 4], test_name!(), |world| {
        // Positions of the cuts, workers of a rank, replicas, recomputation.
        let settings: &[_] = match world.size() {
            2 => &[(&[7][..], 1, 1, false), (&[2, 4, 6, 8], 2, 1, true), (&[5], 2, 2, false)],
            3 => &[(&[3, 6], 1, 1, false), (&[2, 4, 6, 8, 9], 1, 1, false)],
            _ => &[(&[5][..], 1, 2, false), (&[2, 4, 6], 2, 2, true)],
        };
        let net = DenseNet::residual(vec![64; 11]);
        for &(positions, workers, replicas, recompute) in settings {
            let cuts = Cuts::new(10, positions.to_vec()).unwrap();
            let builder = builder().workers(workers).replicas(replicas);
            let builder = if recompute { builder.recompute(2) } else { builder.segment_units(1) };
            let init = init(1, DType::F32);
            let mut ranks = builder.start_rank(world, &net, &cuts, &init).unwrap();
            let own = ranks.layout().rank(world.rank());
            for step in 0..5 {
                let (input, labels) = batch(step, 24, DType::F32);
                let trace = ranks.train_step(input, labels, 1e-3).unwrap().trace;
                let numbers = own.workers.clone();
                let numbers = numbers
                    .map(|own_worker| ranks.layout().worker_number(own.replicas.start, own_worker));
                assert!(trace.iter().map(|worker| worker.worker).eq(numbers));
                assert_follows_program(ranks.program().unwrap(), &trace);
            }
        }
    });
}

/// Returns the value, or prints the error and ends all ranks, as a program would.
fn or_abort<T>(world: &World, result: Result<T, ExecError>) -> T {
    result.unwrap_or_else(|error| {
        #[allow(clippy::print_stderr, reason = "it is what the test reads")]
        {
            eprintln!("error: rank {}: {error}", world.rank());
        }
        world.abort(3)
    })
}

#[test]
fn a_panic_in_a_rank_ends_all_and_names_it() {
    if !ranks::is_rank() {
        let ended = ranks::run_test(3, test_name!());
        assert_eq!(ended.code, Some(3), "{}", ended.errors);
        let lines: Vec<_> =
            ended.errors.lines().filter(|line| line.contains("error: rank")).collect();
        let expected = "error: rank 1: worker 2 (subnetworks 2 to 2) failed: this unit panics";
        assert_eq!(lines, [expected], "{}", ended.errors);
        return;
    }
    let world = World::init().unwrap();
    let mut net = DenseNet::residual(dimensions());
    net.panics = Some(5);
    let cuts = Cuts::even(10, 3).unwrap();
    let mut ranks = on_ranks(&world, &net, &cuts, 1, DType::F32, (1, 1));
    let (input, labels) = batch(1, 5, DType::F32);
    or_abort(&world, ranks.train_step(input, labels, 0.1));
}

#[test]
fn a_panic_of_one_of_several_workers_of_a_rank_ends_all() {
    if !ranks::is_rank() {
        let ended = ranks::run_test(2, test_name!());
        assert_eq!(ended.code, Some(3), "{}", ended.errors);
        let expected = "error: rank 0: worker 2 (subnetworks 2 to 2) failed: this unit panics";
        assert!(ended.errors.contains(expected), "{}", ended.errors);
        return;
    }
    let world = World::init().unwrap();
    let mut net = DenseNet::residual(dimensions());
    net.panics = Some(4);
    let cuts = Cuts::even(10, 4).unwrap();
    // The other worker of the rank waits for the loss, which no rank can compute.
    let mut ranks = on_ranks(&world, &net, &cuts, 1, DType::F32, (2, 1));
    let (input, labels) = batch(1, 5, DType::F32);
    or_abort(&world, ranks.train_step(input, labels, 0.1));
}

#[test]
fn batches_of_different_sizes_on_ranks_are_detected() {
    if !ranks::is_rank() {
        for _ in 0..2 {
            let ended = ranks::run_test(2, test_name!());
            assert_eq!(ended.code, Some(3), "{}", ended.errors);
            assert!(ended.errors.contains("error: rank"), "{}", ended.errors);
        }
        return;
    }
    let world = World::init().unwrap();
    let net = DenseNet::residual(dimensions());
    let cuts = Cuts::even(10, 2).unwrap();
    let mut ranks = on_ranks(&world, &net, &cuts, 1, DType::F32, (1, 1));
    let (input, labels) = batch(1, 5 + world.rank(), DType::F32);
    or_abort(&world, ranks.train_step(input, labels, 0.1));
}
