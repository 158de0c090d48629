//! Networks of Burn's layers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, Loss, StateKind};
use parareal::net::{
    AnyLayer, Coarsen, Cuts, FeedForward, Init, Interface, Layer, NetError, PararealNetwork,
    ReceptiveField, Sequential, WithContext, layer, layer_fn,
};
use parareal_testing::layers::{
    batch_norm_network, memory_network, sentences, signal_network, signals, token_network,
    u_network,
};
use parareal_testing::{
    IntoValues, assert_executors_agree, assert_recomputing_is_exact, executors, executors_with,
    init,
};

/// Asserts that executors with any number of workers compute the same steps as the sequential executor.
fn assert_agree<N, F>(net: &N, subnetworks: &[usize], dtype: DType, batch: F)
where
    N: Coarsen<Output = Tensor<2>>,
    N::Input: IntoValues,
    F: Fn(u64) -> (N::Input, Tensor<1, Int>),
{
    for &count in subnetworks {
        let cuts = Cuts::even(net.units(), count).unwrap();
        for workers in 1..=count.min(3) {
            let (mut sequential, mut threads) = executors(net, &cuts, &init(1, dtype), workers);
            assert_executors_agree(&mut *sequential, &mut *threads, &batch, dtype);
        }
    }
}

#[test]
fn networks_of_burns_layers_train_identically_on_all_executors() {
    for dtype in [DType::F32, DType::F64] {
        let batch = |step| signals(step, 5, dtype);
        assert_agree(&signal_network(), &[1, 2, 3, 9], dtype, batch);
    }
}

/// Adam divides a gradient by its own magnitude, so rounding errors of a gradient near zero matter.
#[test]
fn adam_on_all_executors() {
    let optimizer: ModuleOptimizer = AdamWConfig::new().with_weight_decay(0.01).init();
    for dtype in [DType::F32, DType::F64] {
        let (signal, normed) = (signal_network(), batch_norm_network());
        let batch = |step| signals(step, 5, dtype);
        for count in 1..=3 {
            for net in [&signal, &normed] {
                let cuts = Cuts::even(net.units(), count).unwrap();
                let (mut sequential, mut threads) =
                    executors_with(net, &cuts, &init(1, dtype), count, 2, &optimizer);
                assert_executors_agree(&mut *sequential, &mut *threads, batch, dtype);
            }
        }
    }
}

#[test]
fn a_skip_that_crosses_two_cuts_travels_along_the_chain() {
    for dtype in [DType::F32, DType::F64] {
        let batch = |step| signals(step, 5, dtype);
        assert_agree(&u_network(), &[1, 2, 3, 5], dtype, batch);
    }
    // The first signal is part of the state from unit 1 to unit 8, across both cuts.
    let net = u_network();
    let kept = |position| net.state_shape(position).components().len();
    assert_eq!([2, 3, 6, 7].map(kept), [2, 2, 3, 2]);
    assert_recomputing_is_exact(
        &net,
        &Cuts::even(9, 3).unwrap(),
        &init(1, DType::F32),
        2,
        |step| signals(step, 5, DType::F32),
    );
}

#[test]
fn a_second_tensor_of_the_state_travels_along_the_chain() {
    for dtype in [DType::F32, DType::F64] {
        let batch = |step| signals(step, 5, dtype);
        assert_agree(&memory_network(), &[1, 2, 3], dtype, batch);
    }
}

#[test]
fn integer_inputs_and_masks_reach_every_subnetwork() {
    assert_agree(&token_network(), &[1, 2, 3], DType::F32, |step| sentences(step, 5));
    // Replacing the padding by other tokens changes the output, so the mask is used.
    let build = |cuts: &[usize]| {
        let cuts = Cuts::new(6, cuts.to_vec()).unwrap();
        PararealNetwork::build(&token_network(), &cuts, &init(1, DType::F32)).unwrap().valid()
    };
    let (tokens, _) = sentences(1, 3);
    for network in [build(&[]), build(&[2, 4])] {
        let paper = network.forward(tokens.clone()).into_data();
        let chain = network.forward_chain(tokens.clone()).into_data();
        parareal_testing::assert_close(&paper, &chain, 1e-5, "output");
        let unmasked = tokens.clone().mask_fill(tokens.clone().equal_elem(0), 1);
        let other = network.forward_chain(unmasked).into_data();
        assert!(parareal_testing::relative_difference(&other, &chain) > 1e-3);
    }
}

/// Returns the values of all parameters of a network, keyed by name.
fn values<N: Coarsen>(network: &PararealNetwork<N>) -> BTreeMap<String, TensorData> {
    network.named_tensors().into_iter().map(|tensor| (tensor.name, tensor.data)).collect()
}

#[test]
fn weights_depend_on_seed_and_name_alone() {
    let build = |subnetworks, seed| {
        let cuts = Cuts::even(9, subnetworks).unwrap();
        values(&PararealNetwork::build(&signal_network(), &cuts, &init(seed, DType::F32)).unwrap())
    };
    let serial = build(1, 7);
    assert!(serial.contains_key("units.3.1.weight") && serial.contains_key("preprocessing.bias"));
    // Networks that are built at the same time draw from the same generator.
    let parallel: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = [1, 2, 3, 9, 3, 2].map(|n| scope.spawn(move || build(n, 7))).into();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for cut in &parallel {
        for (name, value) in cut.iter().filter(|(name, _)| !name.starts_with("interfaces.")) {
            assert_eq!(value, &serial[name], "{name}");
        }
    }
    assert_eq!(parallel[2], parallel[4]);
    assert_ne!(parallel[2]["interfaces.2.coarse.0.1.weight"], serial["units.3.1.weight"]);
    assert_ne!(build(1, 8)["units.3.1.weight"], serial["units.3.1.weight"]);
    // Two layers of the same type and shape have different weights.
    assert_ne!(serial["units.3.1.weight"], serial["units.2.1.weight"]);
    // Executors have the weights of the network.
    for (subnetworks, expected) in [(1, &parallel[0]), (2, &parallel[1]), (3, &parallel[2])] {
        let cuts = Cuts::even(9, subnetworks).unwrap();
        let (mut sequential, mut threads) =
            executors(&signal_network(), &cuts, &init(7, DType::F32), subnetworks);
        let found = [
            sequential.read(StateKind::Weights).unwrap(),
            threads.read(StateKind::Weights).unwrap(),
        ];
        for tensor in found.concat() {
            assert_eq!(tensor.data, expected[&tensor.name], "{}", tensor.name);
        }
    }
}

/// Embeddings, attention, batch normalization, and one layer that a unit applies twice.
#[test]
fn weights_of_all_kinds_of_layers_depend_on_seed_and_name_alone() {
    fn assert_repeated<N: Coarsen>(net: &N) {
        let build = |subnetworks| {
            let cuts = Cuts::even(net.units(), subnetworks).unwrap();
            values(&PararealNetwork::build(net, &cuts, &init(7, DType::F32)).unwrap())
        };
        let serial = build(1);
        for cut in [build(1), build(2), build(3)] {
            for (name, value) in cut.iter().filter(|(name, _)| !name.starts_with("interfaces.")) {
                assert_eq!(value, &serial[name], "{name}");
            }
        }
    }
    assert_repeated(&token_network());
    assert_repeated(&batch_norm_network());
    let tied = Sequential::stem(Tensor::zeros([1, 3], &Device::flex()), dense(3, 5))
        .units(6, |_, init| {
            let linear = linear(5, 5, init);
            layer((linear.clone(), linear), |(first, second), x: Tensor<2>| {
                second.forward(first.forward(x).tanh())
            })
        })
        .head(dense(5, 2));
    assert_repeated(&tied.unwrap());
}

#[test]
fn weights_are_drawn_from_the_distribution_of_the_layer() {
    let linear = LinearConfig::new(400, 300).init(init(1, DType::F32).device());
    let linear = init(1, DType::F32).initialize(linear);
    let weights = linear.weight.val().into_data().try_into_vec::<f32>().unwrap();
    // Burn's default: uniform in ±1/√fan_in.
    let bound = (1.0f32 / 400.0).sqrt();
    assert!(weights.iter().all(|weight| weight.abs() <= bound));
    let mean = weights.iter().sum::<f32>() / weights.len() as f32;
    let variance = weights.iter().map(|weight| weight * weight).sum::<f32>() / weights.len() as f32;
    assert!(mean.abs() < 0.02 * bound, "{mean}");
    assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.02, "{variance}");
}

#[test]
fn bridges_consist_of_layers_like_the_networks_own() {
    let net = signal_network();
    let cuts = Cuts::even(9, 3).unwrap();
    let interfaces: Vec<Interface> = cuts.interfaces().collect();
    // Unit 4 halves the signal, so it is part of every coarse network across it.
    assert_eq!(
        interfaces.iter().map(|at| net.coarse_units(at)).collect::<Vec<_>>(),
        [vec![4], vec![6]]
    );
    let two = net.clone().with_coarse_units(2);
    assert_eq!(two.coarse_units(&interfaces[0]), [3, 4]);
    assert_eq!(net.clone().with_coarse_units(99).coarse_units(&interfaces[1]), [6, 7, 8]);
    // Three convolutions of size 3 cover 7 elements, so three units are needed.
    let field = |_| ReceptiveField::of_kernel(3, 1);
    let covering = net.clone().with_receptive_fields(1, field).unwrap();
    assert_eq!(covering.coarse_units(&interfaces[0]), [3, 4, 5]);
    // There are 4 elements after the halving, and one unit covers 3 of them.
    assert_eq!(covering.coarse_units(&interfaces[1]), [6]);
    let error = net.with_receptive_fields(2, field).map(|_| ()).unwrap_err();
    assert_eq!(error, NetError::NoAxis { axis: 2, shape: [6, 8].into() });
}

fn linear(from: usize, to: usize, init: &Init) -> Linear {
    LinearConfig::new(from, to).init(init.device())
}

fn dense(from: usize, to: usize) -> impl Fn(&Init) -> AnyLayer<Tensor<2>, Tensor<2>> {
    move |init| layer(linear(from, to, init), Linear::forward)
}

/// Four units of five features between layers from three and to two.
fn small() -> Sequential<Tensor<2>, Tensor<2>, Tensor<2>> {
    Sequential::stem(Tensor::zeros([1, 3], &Device::flex()), dense(3, 5))
        .units(4, |_, init| dense(5, 5)(init))
        .head(dense(5, 2))
        .unwrap()
}

fn build_error(net: &Sequential<Tensor<2>, Tensor<2>, Tensor<2>>) -> NetError {
    let cuts = Cuts::even(net.units(), 2).unwrap();
    PararealNetwork::build(net, &cuts, &init(1, DType::F32)).map(|_| ()).unwrap_err()
}

#[test]
fn interfaces_that_do_not_fit_are_named_with_both_shapes() {
    let wrong = small().with_coarse(|_, init| dense(5, 4)(init));
    let expected = NetError::Coarse { interface: 1, expected: [5].into(), found: [4].into() };
    assert_eq!(build_error(&wrong), expected);
    let wrong = small().with_interface_preprocessing(|_, init| dense(3, 6)(init));
    let (expected, found) = ([5].into(), [6].into());
    let expected = NetError::InterfacePreprocessing { interface: 1, expected, found };
    assert_eq!(build_error(&wrong), expected);
    // The dry run panics, and the message contains the numbers from the panic message.
    let wrong = small().with_coarse(|_, init| dense(7, 5)(init));
    let message = build_error(&wrong).to_string();
    assert!(
        message.starts_with("interfaces.1.coarse: expected an input that the layer"),
        "{message}"
    );
    assert!(message.ends_with("found a sample of shape [5]"), "{message}");
}

#[test]
fn layers_that_do_not_fit_are_refused_when_the_network_is_built() {
    let sample = || Tensor::<2>::zeros([1, 3], &Device::flex());
    let unit = Sequential::stem(sample(), dense(3, 5))
        .units(2, |_, init| dense(5, 5)(init))
        .unit(dense(6, 5))
        .head(dense(5, 2));
    let message = unit.map(|_| ()).unwrap_err().to_string();
    assert!(message.starts_with("units.2, after units.1: expected an input"), "{message}");
    let head = Sequential::stem(sample(), dense(3, 5)).unit(dense(5, 4)).head(dense(5, 2));
    let message = head.map(|_| ()).unwrap_err().to_string();
    assert!(message.starts_with("the head (postprocessing), after units.0: "), "{message}");
    let empty = Tensor::<2>::zeros([0, 3], &Device::flex());
    let empty = Sequential::stem(empty, dense(3, 5)).head(dense(5, 2));
    assert_eq!(empty.map(|_| ()).unwrap_err(), NetError::NoSample);
}

#[test]
fn a_declared_shape_needs_no_dry_run() {
    let fails = |_: &Linear, _: Tensor<2>| -> Tensor<2> { panic!("it was applied") };
    let net = Sequential::stem(Tensor::zeros([1, 3], &Device::flex()), dense(3, 5))
        .unit(move |init| layer(linear(5, 7, init), fails).with_output_shape([7]))
        .unit(dense(7, 7))
        .head(dense(7, 2))
        .unwrap();
    assert_eq!(net.state_shape(1), [7].into());
    // Coarse networks and preprocessing modules that consist of such units need no dry run, either.
    for cuts in [Cuts::even(2, 1).unwrap(), Cuts::even(2, 2).unwrap()] {
        assert!(PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).is_ok());
    }
    let other_rank = Sequential::stem(Tensor::zeros([1, 3], &Device::flex()), dense(3, 5))
        .unit(|init| dense(5, 5)(init).with_output_shape([5, 1]))
        .head(dense(5, 2));
    let message = other_rank.map(|_| ()).unwrap_err().to_string();
    assert!(message.starts_with("units.0, after the stem"), "{message}");
}

#[test]
fn the_context_continues_after_a_declared_shape() {
    let sample = Tensor::<2>::ones([1, 3], &Device::flex());
    type State = WithContext<Tensor<2>, Tensor<2>>;
    let multiply = |_: &Linear, x: State| x.with_state(x.state.clone() * x.context());
    let net = Sequential::stem(sample, |init| {
        layer(linear(3, 3, init), |linear, x: Tensor<2>| {
            WithContext::new(linear.forward(x.clone()), x)
        })
    })
    .unit(move |init| layer(linear(3, 3, init), multiply).with_output_shape([3]))
    .unit(move |init| layer(linear(3, 3, init), multiply))
    .head(|init| layer(linear(3, 2, init), |linear, x: State| linear.forward(x.state)));
    assert!(net.is_ok());
}

#[test]
fn a_unit_that_changes_the_context_is_refused() {
    type State = WithContext<Tensor<2>, Tensor<2>>;
    let net = Sequential::stem(Tensor::<2>::ones([1, 3], &Device::flex()), |init| {
        layer(linear(3, 3, init), |linear, x: Tensor<2>| {
            WithContext::new(linear.forward(x.clone()), x)
        })
    })
    .units(3, |index, init| {
        layer(linear(3, 3, init), move |linear, x: State| {
            let factor = if index == 1 { 2.0 } else { 1.0 };
            WithContext::new(linear.forward(x.state.clone()), x.context() * factor)
        })
    })
    .head(|init| layer(linear(3, 2, init), |linear, x: State| linear.forward(x.state)));
    assert_eq!(net.map(|_| ()).unwrap_err(), NetError::ChangedContext { unit: 1 });
}

/// A context that depends on parameters is a constant for all executors.
#[test]
fn no_gradient_flows_through_a_context() {
    type State = WithContext<Tensor<2>, Tensor<2>>;
    for dtype in [DType::F32, DType::F64] {
        let net = Sequential::stem(Tensor::<2>::zeros([1, 3], &Device::flex()), |init| {
            layer((linear(3, 4, init), linear(4, 4, init)), |(first, second), x: Tensor<2>| {
                let context = first.forward(x);
                WithContext::new(context.clone() + second.forward(context.clone()), context)
            })
        })
        .units(6, |_, init| {
            layer(linear(4, 4, init), |linear, x: State| {
                let moved =
                    x.state.clone() + (linear.forward(x.state.clone()) * x.context()).tanh();
                x.with_state(moved)
            })
        })
        .head(|init| {
            layer(linear(4, parareal_testing::CLASSES, init), |linear, x: State| {
                linear.forward(x.state)
            })
        })
        .unwrap();
        assert_agree(&net, &[1, 2, 3], dtype, |step| parareal_testing::batch(step, 7, dtype));
    }
}

/// Both dry runs and the check of shapes apply layers in evaluation mode, outside every graph.
#[test]
fn dry_runs_are_evaluations() {
    let probed = |linear: &Linear, x: Tensor<2>| {
        let output = linear.forward(x);
        assert_eq!(output.is_tracked(), output.device().is_autodiff());
        EVALUATIONS.fetch_add(usize::from(!output.device().is_autodiff()), Ordering::Relaxed);
        output
    };
    let net = Sequential::stem(Tensor::zeros([1, 3], &Device::flex()), dense(3, 5))
        .units(2, move |_, init| layer(linear(5, 5, init), probed))
        .head(dense(5, 2))
        .unwrap();
    assert_eq!(EVALUATIONS.load(Ordering::Relaxed), 2);
    let cuts = Cuts::even(2, 2).unwrap();
    PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
    // The two units, and the unit that the coarse network consists of.
    assert_eq!(EVALUATIONS.load(Ordering::Relaxed), 5);
    let normed = PararealNetwork::build(
        &batch_norm_network(),
        &Cuts::even(6, 3).unwrap(),
        &init(1, DType::F32),
    );
    for tensor in normed.unwrap().named_tensors() {
        if tensor.name.ends_with("running_mean") {
            assert!(tensor.data.iter::<f32>().all(|mean| mean == 0.0), "{}", tensor.name);
        }
    }
}

static EVALUATIONS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn parameters_are_counted_in_either_mode() {
    let cuts = Cuts::even(6, 3).unwrap();
    let network =
        PararealNetwork::build(&batch_norm_network(), &cuts, &init(1, DType::F32)).unwrap();
    assert!(network.parameters() > 0);
    assert_eq!(network.valid().parameters(), network.parameters());
}

#[test]
fn burns_dropout_is_refused_by_name() {
    let with_dropout = |prob| {
        Sequential::stem(Tensor::zeros([1, 3], &Device::flex()), dense(3, 5))
            .units(3, move |index, init| {
                let prob = if index == 1 { prob } else { 0.0 };
                let modules: (Linear, Dropout) =
                    (linear(5, 5, init), DropoutConfig::new(prob).init());
                layer(modules, |(linear, dropout), x| dropout.forward(linear.forward(x)))
            })
            .head(dense(5, 2))
    };
    assert!(with_dropout(0.0).is_ok());
    let error = with_dropout(0.25).map(|_| ()).unwrap_err();
    assert_eq!(error, NetError::RandomLayer { name: "units.1.1".into(), kind: "Dropout" });
}

#[test]
fn a_parameter_on_both_sides_of_a_cut_is_refused_by_name() {
    let shared = linear(5, 5, &init(1, DType::F32));
    let shared = std::sync::Mutex::new(shared);
    let net = Sequential::stem(Tensor::zeros([1, 3], &Device::flex()), dense(3, 5))
        .units(4, move |_, _| layer(shared.lock().unwrap().clone(), Linear::forward))
        .head(dense(5, 2))
        .unwrap();
    let message = build_error(&net).to_string();
    assert!(
        message.starts_with("`units.0.weight` and `units.2.weight` are one parameter"),
        "{message}"
    );
}

#[test]
fn layers_are_modules_of_their_own() {
    let device = Device::flex().autodiff();
    let build = |seed| -> AnyLayer<Tensor<2>, Tensor<2>> {
        let init = init(seed, DType::F32);
        layer(init.initialize(linear(3, 2, &init)), Linear::forward)
    };
    let any = build(1);
    assert_eq!(any.num_params(), 8);
    assert!(any.to_string().contains("Linear"), "{any}");
    assert!(format!("{any:?}").contains("Linear"));
    let input = Tensor::<2>::ones([4, 3], &device);
    let before = any.forward(input.clone()).into_data();
    let record = any.clone().into_record();
    let loaded = build(2).load_record(record);
    assert_eq!(loaded.forward(input.clone()).into_data(), before);
    assert!(!any.valid().forward(input.clone().inner()).is_tracked());
    let sum = layer_fn(|x: Tensor<2>| x.sum_dim(1));
    assert_eq!(sum.output_shape(&[3].into()).unwrap(), [1].into());
    assert_eq!(sum.num_params(), 0);
}

#[test]
fn running_statistics_of_burn_are_those_of_the_batches() {
    let net = batch_norm_network();
    let cuts = Cuts::even(6, 3).unwrap();
    let (mut sequential, mut threads) = executors(&net, &cuts, &init(1, DType::F64), 2);
    let batch = |step| signals(step, 5, DType::F64);
    assert_executors_agree(&mut *sequential, &mut *threads, batch, DType::F64);
}

#[test]
fn closures_are_losses_of_networks_with_states_of_any_kind() {
    let net = u_network();
    let cuts = Cuts::even(9, 3).unwrap();
    let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).unwrap();
    let (input, labels) = signals(1, 5, DType::F32);
    let output = network.forward(input);
    assert!(CrossEntropy::default().forward(output, labels).into_scalar::<f32>().is_finite());
}
