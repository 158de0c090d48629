//! Building, cutting and loading of networks, and the errors of these operations.

use std::collections::HashMap;

use burn::tensor::{DType, Tensor};
use parareal::net::{
    Coarsen, Cuts, FeedForward, Init, Interface, NamedTensor, NetError, PararealNetwork,
    SampleShape, StateDict, build_subnetwork,
};
use parareal_testing::{DenseNet, assert_all_close, assert_close, batch, init};

const DIMENSIONS: [usize; 6] = [5, 5, 8, 6, 6, 3];

fn build(positions: &[usize], seed: u64) -> PararealNetwork<DenseNet> {
    let net = DenseNet::residual(DIMENSIONS.to_vec());
    let cuts = Cuts::new(5, positions.to_vec()).unwrap();
    PararealNetwork::build(&net, &cuts, &init(seed, DType::F64)).unwrap()
}

fn named<'a>(tensors: &'a [NamedTensor], prefix: &str) -> Vec<&'a NamedTensor> {
    tensors.iter().filter(|tensor| tensor.name.starts_with(prefix)).collect()
}

#[test]
fn a_subnetwork_built_alone_equals_that_of_the_whole_network() {
    let net = DenseNet::residual(DIMENSIONS.to_vec());
    let cuts = Cuts::new(5, vec![2, 3]).unwrap();
    let whole = build(&[2, 3], 4);
    for index in (0..3).rev() {
        let alone = build_subnetwork(&net, &cuts, index, &init(4, DType::F64)).unwrap();
        let expected = whole.subnetworks()[index].named_tensors();
        assert_all_close(&alone.named_tensors(), &expected, 0.0, "weights");
    }
    let beyond = build_subnetwork(&net, &cuts, 3, &init(4, DType::F64)).map(|_| ());
    assert_eq!(beyond, Err(NetError::NoSuchSubnetwork { index: 3, subnetworks: 3 }));
}

#[test]
fn units_do_not_depend_on_the_cuts() {
    let (a, b) = (build(&[1], 4).named_tensors(), build(&[2, 4], 4).named_tensors());
    let (a, b) = (named(&a, "units."), named(&b, "units."));
    assert_eq!(a.len(), 5);
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.name, b.name);
        assert_close(&a.data, &b.data, 0.0, &a.name);
    }
}

#[test]
fn names_say_where_a_tensor_belongs() {
    let tensors = build(&[2, 3], 4).named_tensors();
    let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "preprocessing.weight",
            "units.0.weight",
            "units.1.weight",
            "interfaces.1.preprocessing.weight",
            "units.2.weight",
            "interfaces.1.coarse.units.0.weight",
            "interfaces.2.preprocessing.weight",
            "units.3.weight",
            "units.4.weight",
            "interfaces.2.coarse.units.0.weight",
            "postprocessing.weight",
        ]
    );
}

#[test]
fn a_trained_serial_network_keeps_its_weights_when_it_is_cut() {
    // A network with a different seed is used in place of a trained one.
    let trained = build(&[], 9);
    let before = trained.named_tensors();
    let net = DenseNet::residual(DIMENSIONS.to_vec());
    let cuts = Cuts::new(5, vec![2, 3]).unwrap();
    let parareal = trained.recut(&net, &cuts, &init(4, DType::F64)).unwrap();
    let after = parareal.named_tensors();
    for kept in &before {
        let found = after.iter().find(|tensor| tensor.name == kept.name).unwrap();
        assert_close(&found.data, &kept.data, 0.0, &kept.name);
    }
    // And back to a serial network.
    let serial = parareal.recut(&net, &Cuts::even(5, 1).unwrap(), &init(4, DType::F64)).unwrap();
    assert_all_close(&serial.named_tensors(), &before, 0.0, "weights");
    let wrong = serial.recut(&net, &Cuts::even(4, 2).unwrap(), &init(4, DType::F64));
    assert_eq!(wrong.map(|_| ()).unwrap_err(), NetError::OtherNetwork { expected: 4, found: 5 });
}

#[test]
fn loading_replaces_all_weights_or_names_the_fault() {
    let (source, target) = (build(&[2], 1), build(&[2], 2));
    let state = source.state_dict();
    let (input, _) = batch(1, 4, DType::F64);
    let expected = source.forward(input.clone()).into_data();
    let loaded = target.load(&state).unwrap();
    assert_close(&loaded.forward(input).into_data(), &expected, 0.0, "output");

    let name = "units.3.weight".to_string();
    let (cuts, mut tensors) = (state.cuts().clone(), state.into_tensors());
    let data = tensors.remove(&name).unwrap();
    let load = |tensors: &HashMap<_, _>| {
        loaded.clone().load(&StateDict::new(cuts.clone(), tensors.clone())).map(|_| ())
    };
    let missing = load(&tensors);
    assert_eq!(missing.unwrap_err(), NetError::MissingTensor { name: name.clone() });
    let other = tensors["units.0.weight"].clone();
    assert_ne!(other.shape().as_slice(), data.shape().as_slice());
    tensors.insert(name.clone(), other);
    assert!(matches!(load(&tensors), Err(NetError::TensorShape { .. })));
    tensors.insert(name, data.clone());
    load(&tensors).unwrap();
    let name = "units.3.bias".to_string();
    tensors.insert(name.clone(), data);
    assert_eq!(load(&tensors).unwrap_err(), NetError::UnknownTensor { name });
}

#[test]
fn weights_of_other_cuts_are_refused_or_give_their_units() {
    // All shapes are the same, so that only the cuts distinguish the interfaces.
    let build = |units: usize, positions: &[usize], seed| {
        let net = DenseNet::residual(vec![5; units + 1]);
        let cuts = Cuts::new(units, positions.to_vec()).unwrap();
        PararealNetwork::build(&net, &cuts, &init(seed, DType::F64)).unwrap()
    };
    let (source, target) = (build(5, &[2, 3], 1), build(5, &[3], 2));
    let state = source.state_dict();
    let error = target.clone().load(&state).map(|_| ()).unwrap_err();
    assert_eq!(error, NetError::OtherCuts { expected: vec![3], found: vec![2, 3] });
    let message = "the weights are for a network that is cut at [2, 3], but this one is cut at [3]; \
                   load its units only";
    assert_eq!(error.to_string(), message);
    for (units, positions) in [(6, &[2, 3][..]), (4, &[2, 3]), (4, &[])] {
        let found = build(units, positions, 1).state_dict();
        let expected = NetError::OtherUnits { expected: 5, found: units };
        assert_eq!(target.clone().load(&found).map(|_| ()).unwrap_err(), expected);
        let found = found.units_only();
        assert_eq!(target.clone().load(&found).map(|_| ()).unwrap_err(), expected);
    }

    let before = target.named_tensors();
    let loaded = target.load(&state.clone().units_only()).unwrap().named_tensors();
    for (before, after) in before.iter().zip(loaded) {
        let expected = match after.name.starts_with("interfaces.") {
            true => &before.data,
            false => &state.tensors()[&after.name],
        };
        assert_eq!(&after.data, expected, "{}", after.name);
    }
}

#[test]
fn an_empty_network_is_refused() {
    let net = DenseNet::residual(vec![5]);
    let cuts = Cuts::even(1, 1).unwrap();
    let built = PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).map(|_| ());
    assert_eq!(built.unwrap_err(), NetError::NoUnits);
}

/// A network whose modules at the interfaces have the wrong output shape.
#[derive(Clone)]
struct Misled {
    inner: DenseNet,
    preprocessing: usize,
    coarse: usize,
}

impl FeedForward for Misled {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = parareal_testing::Dense;
    type Unit = parareal_testing::Dense;
    type Postprocessing = parareal_testing::Dense;

    fn units(&self) -> usize {
        self.inner.units()
    }

    fn input_shape(&self) -> SampleShape {
        self.inner.input_shape()
    }

    fn state_shape(&self, position: usize) -> SampleShape {
        self.inner.state_shape(position)
    }

    fn preprocessing(&self, init: &Init) -> parareal_testing::Dense {
        self.inner.preprocessing(init)
    }

    fn unit(&self, index: usize, init: &Init) -> parareal_testing::Dense {
        self.inner.unit(index, init)
    }

    fn postprocessing(&self, init: &Init) -> parareal_testing::Dense {
        self.inner.postprocessing(init)
    }
}

impl Coarsen for Misled {
    type Coarse = parareal_testing::Dense;

    fn interface_preprocessing(&self, _: &Interface, init: &Init) -> parareal_testing::Dense {
        parareal_testing::Dense::new(parareal_testing::FEATURES, self.preprocessing, false, init)
    }

    fn coarse(&self, interface: &Interface, init: &Init) -> parareal_testing::Dense {
        let from = self.inner.dimensions[interface.position];
        parareal_testing::Dense::new(from, self.coarse, false, init)
    }
}

#[test]
fn an_interface_of_the_wrong_shape_is_named_with_both_shapes() {
    let build = |preprocessing, coarse| {
        let inner = DenseNet::residual(DIMENSIONS.to_vec());
        let net = Misled { inner, preprocessing, coarse };
        let cuts = Cuts::new(5, vec![2]).unwrap();
        PararealNetwork::build(&net, &cuts, &init(1, DType::F32)).map(|_| ())
    };
    assert_eq!(build(8, 3), Ok(()));
    let error = build(7, 3).unwrap_err();
    let (expected, found) = ([8].into(), [7].into());
    assert_eq!(error, NetError::InterfacePreprocessing { interface: 1, expected, found });
    assert_eq!(
        error.to_string(),
        "interface 1: C_2 returns shape [7], but subnetwork 2 expects [8]"
    );
    let error = build(8, 4).unwrap_err();
    assert_eq!(error, NetError::Coarse { interface: 1, expected: [3].into(), found: [4].into() });
    assert_eq!(
        error.to_string(),
        "interface 1: F_1 returns shape [4], but subnetwork 2 returns [3]"
    );
}
