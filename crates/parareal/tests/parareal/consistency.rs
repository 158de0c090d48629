//! Proposition 1: a linear network with `F_j = g_{j+1}` equals its own parareal network. Also, both forms of
//! the forward pass agree.

use burn::tensor::DType;
use parareal::exec::{CrossEntropy, Loss};
use parareal::net::{Cuts, Init, PararealNetwork};
use parareal_testing::{DenseNet, assert_close, batch, init};

/// The dimensions of the states before and after seven units.
const DIMENSIONS: [usize; 8] = [5, 5, 8, 6, 6, 3, 7, 4];

fn cuts() -> Vec<Vec<usize>> {
    vec![
        vec![],
        vec![4],
        vec![1],
        vec![2, 5],
        vec![1, 6],
        vec![1, 2, 6],
        vec![1, 2, 4, 5],
        vec![1, 2, 3, 4, 5],
        vec![2, 3, 4, 5, 6],
    ]
}

fn double(seed: u64) -> Init {
    init(seed, DType::F64)
}

#[test]
fn linear_networks_are_reproduced() {
    for seed in 1..=3 {
        let init = double(seed);
        let net = DenseNet::linear(DIMENSIONS.to_vec(), &init);
        let build = |cuts: Vec<usize>| {
            let cuts = Cuts::new(7, cuts).unwrap();
            PararealNetwork::build(&net, &cuts, &init).unwrap()
        };
        let (input, _) = batch(seed, 9, DType::F64);
        let serial = build(vec![]).forward(input.clone()).into_data();
        for positions in cuts() {
            let what = format!("seed {seed}, cuts {positions:?}");
            let parareal = build(positions);
            let forward = parareal.forward(input.clone()).into_data();
            assert_close(&forward, &serial, 1e-12, &what);
            let chain = parareal.forward_chain(input.clone()).into_data();
            assert_close(&chain, &serial, 1e-12, &what);
        }
    }
}

#[test]
fn the_equations_and_the_chain_of_neighbors_agree() {
    for seed in 1..=3 {
        let init = double(seed);
        let net = DenseNet::residual(DIMENSIONS.to_vec());
        let (input, _) = batch(seed, 9, DType::F64);
        let serial = PararealNetwork::build(&net, &Cuts::new(7, vec![]).unwrap(), &init).unwrap();
        let serial = serial.forward(input.clone()).into_data();
        for positions in cuts() {
            let what = format!("seed {seed}, cuts {positions:?}");
            let whole = positions.is_empty();
            let cuts = Cuts::new(7, positions).unwrap();
            let parareal = PararealNetwork::build(&net, &cuts, &init).unwrap();
            let forward = parareal.forward(input.clone()).into_data();
            let chain = parareal.forward_chain(input.clone()).into_data();
            assert_close(&chain, &forward, 1e-12, &what);
            // Cutting changes a network that is not linear, which shows that the test can fail.
            let changed = parareal_testing::relative_difference(&forward, &serial) > 1e-3;
            assert_eq!(changed, !whole, "{what}");
        }
    }
}

#[test]
fn gradients_of_the_equations_are_those_of_the_executors() {
    let init = double(1);
    let net = DenseNet::residual(DIMENSIONS.to_vec());
    let (input, labels) = batch(1, 9, DType::F64);
    for positions in cuts() {
        let what = format!("cuts {positions:?}");
        let cuts = Cuts::new(7, positions).unwrap();
        let parareal = PararealNetwork::build(&net, &cuts, &init).unwrap();
        let leaf = input.clone().autodiff().require_grad();
        let loss = CrossEntropy::default().forward(parareal.forward(leaf.clone()), labels.clone());
        let expected = leaf.grad(&loss.backward()).unwrap().into_data();
        let (_, mut threads) = parareal_testing::executors(&net, &cuts, &init, cuts.subnetworks());
        let report = threads.gradients(input.clone(), labels.clone()).unwrap();
        assert_close(&report.input.unwrap().into_data(), &expected, 1e-12, &what);
    }
}

#[test]
fn one_subnetwork_is_the_composition_of_its_parts() {
    use parareal::net::Layer;

    let init = double(1);
    let net = DenseNet::residual(DIMENSIONS.to_vec());
    let network = PararealNetwork::build(&net, &Cuts::even(7, 1).unwrap(), &init).unwrap();
    let (input, _) = batch(1, 9, DType::F64);
    let subnetwork = &network.subnetworks()[0];
    let mut state = subnetwork.preprocessing.forward(input.clone());
    for unit in &subnetwork.units {
        state = unit.forward(state);
    }
    let expected = subnetwork.postprocessing.as_ref().unwrap().forward(state).into_data();
    assert_close(&network.forward(input).into_data(), &expected, 1e-15, "output");
}
