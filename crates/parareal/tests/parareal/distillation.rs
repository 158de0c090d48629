//! Distillation: the modules at the interfaces are trained on the states of the serial network.

use std::collections::BTreeSet;

use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal::exec::{DistillOptions, ExecError, InterfaceLosses, distill};
use parareal::net::{
    Coarsen, Cuts, FeedForward, Init, PararealNetwork, Sequential, StateDict, layer,
};
use parareal::nn::{Dropout, DropoutConfig};
use parareal_testing::layers::{
    batch_norm_network, memory_network, sentences, signal_network, signals, token_network,
    u_network,
};
use parareal_testing::{DenseNet, batch, init, relative_difference};

fn adam() -> ModuleOptimizer {
    AdamConfig::new().init()
}

fn options(workers: usize, threads: usize) -> DistillOptions {
    DistillOptions { optimizer: adam(), devices: vec![Device::flex()], workers, threads }
}

/// Runs distillation for some steps with a linearly decreasing learning rate.
fn distilled<N: Coarsen>(
    network: PararealNetwork<N>,
    options: &DistillOptions,
    (steps, rate): (u64, f64),
    input: impl Fn(u64) -> N::Input,
) -> Result<(PararealNetwork<N>, Vec<Vec<InterfaceLosses>>), ExecError> {
    let rate = |step| rate * (1.0 - step as f64 / steps as f64);
    let batches = (0..steps).map(|step| Ok::<_, ExecError>((input(step), rate(step))));
    let mut losses = Vec::new();
    let network = distill(network, options, batches, |step| losses.push(step.to_vec()))?;
    Ok((network, losses))
}

fn dense(seed: u64, dtype: DType) -> impl Fn(u64) -> Tensor<2> {
    move |step| batch(1000 * seed + step, 16, dtype).0
}

fn build<N: Coarsen>(net: &N, positions: &[usize]) -> PararealNetwork<N> {
    let cuts = Cuts::new(net.units(), positions.to_vec()).unwrap();
    PararealNetwork::build(net, &cuts, &init(1, DType::F32)).unwrap()
}

/// Asserts that both losses of every interface fall below a fraction of their first values, and that only the
/// modules at the interfaces change.
#[track_caller]
fn assert_learns<N: Coarsen>(net: &N, input: impl Fn(u64) -> N::Input, share: f64) {
    let network = build(net, &[2, 4]);
    let before = network.state_dict();
    let (after, losses) = distilled(network, &options(2, 1), (60, 0.01), input).unwrap();
    assert_eq!((losses.len(), losses[0].len()), (60, 2));
    let last = &losses[59];
    for (first, last) in losses[0].iter().zip(last) {
        assert!(last.preprocessing < share * first.preprocessing, "{first:?}, {last:?}");
        assert!(last.coarse < share * first.coarse, "{first:?}, {last:?}");
    }
    let mut changed = 0;
    for (name, data) in after.state_dict().tensors() {
        if name.starts_with("interfaces.") {
            changed += usize::from(*data != before.tensors()[name]);
        } else {
            assert_eq!(*data, before.tensors()[name], "{name}");
        }
    }
    assert!(changed > 0);
}

#[test]
fn both_losses_of_every_interface_fall_and_the_serial_network_stays() {
    assert_learns(&DenseNet::residual(vec![8; 7]), dense(1, DType::F32), 0.9);
}

#[test]
fn networks_of_burns_layers_are_distilled() {
    let signal = |step| signals(step, 8, DType::F32).0;
    assert_learns(&signal_network(), signal, 0.9);
    assert_learns(&batch_norm_network(), signal, 0.9);
    assert_learns(&token_network(), |step| sentences(step, 8).0, 0.97);
    // States of several tensors.
    assert_learns(&u_network(), signal, 0.97);
    assert_learns(&memory_network(), signal, 0.97);
}

/// Proposition 1, for a linear network whose coarse networks can represent the subnetworks that they
/// approximate.
#[test]
fn a_linear_network_that_is_distilled_approaches_the_serial_one() {
    let root = init(1, DType::F64);
    // Its coarse networks have the same structure as the subnetworks, with different weights.
    let net = DenseNet::linear(vec![5, 5, 6, 6, 4, 4, 5], &init(9, DType::F64));
    let serial = PararealNetwork::build(&net, &Cuts::even(6, 1).unwrap(), &root).unwrap();
    let cut = PararealNetwork::build(&net, &Cuts::even(6, 3).unwrap(), &root).unwrap();
    let (input, _) = batch(77, 9, DType::F64);
    let expected = serial.forward(input.clone()).into_data();
    let distance = |network: &PararealNetwork<DenseNet>| {
        relative_difference(&network.forward_chain(input.clone()).into_data(), &expected)
    };
    let before = distance(&cut);
    let input = dense(1, DType::F64);
    let (cut, losses) = distilled(cut, &options(3, 1), (600, 0.02), input).unwrap();
    let after = distance(&cut);
    assert!(before > 0.3 && after < 1e-2 * before, "{before} before, {after} after");
    for interface in &losses[599] {
        assert!(interface.preprocessing < 1e-3 && interface.coarse < 1e-2, "{interface:?}");
    }
}

/// Applies a step of gradient descent to a network with these weights, and returns the new weights and the losses before the
/// step.
fn gradient_step(
    network: &PararealNetwork<DenseNet>,
    weights: &StateDict,
    rate: f64,
) -> (StateDict, Vec<InterfaceLosses>) {
    let options = DistillOptions { optimizer: SgdConfig::new().init(), ..options(2, 1) };
    let network = network.clone().load(weights).unwrap();
    let (after, mut losses) =
        distilled(network, &options, (1, rate), dense(1, DType::F64)).unwrap();
    (after.state_dict(), losses.remove(0))
}

/// Returns the weights with a change of each tensor at an interface.
fn changed(weights: &StateDict, change: impl Fn(&str, &mut [f64])) -> StateDict {
    let tensors = weights.tensors().iter().map(|(name, data)| {
        let mut values = data.try_to_vec::<f64>().unwrap();
        if name.starts_with("interfaces.") {
            change(name, &mut values);
        }
        (name.clone(), TensorData::new(values, data.shape().clone()))
    });
    StateDict::new(weights.cuts().clone(), tensors)
}

#[test]
fn each_module_descends_along_the_gradient_of_its_own_loss() {
    const RATE: f64 = 1e-3;
    const STEP: f64 = 1e-5;
    let net = DenseNet::residual(vec![4; 7]);
    let cuts = Cuts::new(net.units(), vec![2, 4]).unwrap();
    let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F64)).unwrap();
    let weights = network.state_dict();
    let (after, _) = gradient_step(&network, &weights, RATE);
    let mut compared = BTreeSet::new();
    for (name, data) in weights.tensors() {
        let Some(rest) = name.strip_prefix("interfaces.") else { continue };
        let (interface, module) = rest.split_once('.').unwrap();
        let interface = interface.parse::<usize>().unwrap() - 1;
        let is_coarse = module.starts_with("coarse.");
        let [before, after] =
            [data, &after.tensors()[name]].map(|data| data.try_to_vec::<f64>().unwrap());
        for index in [0, before.len() - 1] {
            let loss = |step: f64| {
                let weights = changed(&weights, |changed, values| {
                    values[index.min(values.len() - 1)] += if changed == name { step } else { 0.0 };
                });
                let losses = gradient_step(&network, &weights, 0.0).1[interface];
                if is_coarse { losses.coarse } else { losses.preprocessing }
            };
            let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            let found = (before[index] - after[index]) / RATE;
            assert!(
                (found - expected).abs() < 1e-7 * (1.0 + expected.abs()),
                "{name}: {found}, {expected}"
            );
            if expected.abs() > 1e-3 {
                compared.insert((interface, is_coarse));
            }
        }
    }
    assert_eq!(compared.len(), 4, "both modules of both interfaces");
}

#[test]
fn an_approximation_by_zero_has_the_loss_1() {
    // With other dimensions after each cut, coarse networks have no identity as a skip connection.
    let net = DenseNet::residual(vec![4, 4, 4, 5, 5, 6, 6]);
    let cuts = Cuts::new(net.units(), vec![2, 4]).unwrap();
    let network = PararealNetwork::build(&net, &cuts, &init(1, DType::F64)).unwrap();
    let zero = changed(&network.state_dict(), |_, values| values.fill(0.0));
    for losses in gradient_step(&network, &zero, 0.0).1 {
        for loss in [losses.preprocessing, losses.coarse] {
            assert!((loss - 1.0).abs() < 1e-12, "{losses:?}");
        }
    }
}

#[test]
fn results_do_not_depend_on_workers_and_on_threads_to_rounding() {
    let signal = |step| signals(step, 8, DType::F32).0;
    let run = |workers, threads| {
        let network = build(&batch_norm_network(), &[1, 2, 4]);
        let (network, losses) =
            distilled(network, &options(workers, threads), (5, 0.01), signal).unwrap();
        (network.state_dict().into_tensors(), losses)
    };
    let expected = run(1, 1);
    for workers in 2..=4 {
        assert!(run(workers, 1) == expected, "{workers} workers");
    }
    for (name, data) in run(2, 2).0 {
        let difference = relative_difference(&data, &expected.0[&name]);
        assert!(difference < 1e-4, "{name} differs by {difference:.1e}");
    }
}

#[test]
fn random_layers_draw_by_seed_step_and_interface() {
    fn linear(from: usize, to: usize, init: &Init) -> Linear {
        LinearConfig::new(from, to).init(init.device())
    }
    let random = |init: &Init| {
        let dropout: Dropout = DropoutConfig::new(0.5).init();
        layer((linear(4, 4, init), dropout), |(linear, dropout), x: Tensor<2>| {
            dropout.forward(linear.forward(x))
        })
    };
    let device = Device::flex();
    let net = Sequential::stem(Tensor::<2>::zeros([1, 4], &device), random)
        .units(4, move |_, init| random(init))
        .head(|init| layer(linear(4, 2, init), Linear::forward))
        .unwrap();
    let run = |workers| {
        let network = build(&net, &[1, 3]);
        let input = |_| Tensor::ones([8, 4], &device);
        // With a learning rate of zero, steps differ only in their random numbers.
        distilled(network, &options(workers, 1), (3, 0.0), input).unwrap().1
    };
    let losses = run(1);
    assert!(losses[0] != losses[1] && losses[0][0] != losses[0][1]);
    assert_eq!(run(3), losses);
}

#[test]
fn failures_end_it_and_name_their_place() {
    let input = dense(1, DType::F32);
    let net = DenseNet { panics: Some(3), ..DenseNet::residual(vec![8; 7]) };
    for workers in [1, 3] {
        let run = distilled(build(&net, &[2, 4]), &options(workers, 1), (5, 0.01), &input);
        let Err(ExecError::Worker { message, .. }) = run else { panic!("a unit panics") };
        assert_eq!(message, "this unit panics");
    }
    let net = DenseNet::residual(vec![8; 7]);
    let infinite = |step| {
        let input = input(step);
        if step < 2 { input } else { input / 0.0 }
    };
    let run = distilled(build(&net, &[2, 4]), &options(3, 1), (5, 0.01), infinite);
    let error = run.map(|_| ()).unwrap_err();
    assert!(matches!(error, ExecError::DistillationDiverged { step: 3, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the loss of the preprocessing at interface 1 is NaN in step 3 of the distillation: weights or samples are not \
         finite, or the learning rate of the distillation is too large"
    );

    let refused = |options: &DistillOptions| {
        distilled(build(&net, &[2, 4]), options, (5, 0.01), &input).map(|_| ()).unwrap_err()
    };
    assert!(matches!(refused(&options(0, 1)), ExecError::Setting { setting: "workers", .. }));
    assert!(matches!(refused(&options(1, 0)), ExecError::Setting { setting: "threads", .. }));
    assert!(matches!(refused(&options(4, 1)), ExecError::Layout(_)));
    let no_device = DistillOptions { devices: Vec::new(), ..options(1, 1) };
    assert_eq!(refused(&no_device), ExecError::NoDevice);
}

#[test]
fn the_first_batch_that_is_an_error_ends_it() {
    let network = build(&DenseNet::residual(vec![8; 7]), &[2, 4]);
    let input = dense(1, DType::F32);
    let batches = (0..9).map(|step| match step {
        4 => Err(ExecError::EmptyBatch),
        step => Ok((input(step), 0.01)),
    });
    let mut steps = 0;
    let error = distill(network, &options(2, 1), batches, |_| steps += 1).map(|_| ()).unwrap_err();
    assert_eq!((error, steps), (ExecError::EmptyBatch, 4));
}
