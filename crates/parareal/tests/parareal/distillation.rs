//! Distillation: the modules at the interfaces are trained on the states of the serial network.

use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::{DType, Device, Tensor};
use parareal::exec::{DistillOptions, ExecError, InterfaceLosses, distill};
use parareal::net::{Coarsen, Cuts, Init, PararealNetwork, Sequential, layer};
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
