//! Comparison of the head of VGG-16 for images of at least 224 pixels with an independent PyTorch implementation
//! (`references/parareal_resnet.py`), and its dropout.

use burn::module::{Module, ParamGroup};
use burn::tensor::{DType, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecutorBuilder};
use parareal::net::{Cuts, FeedForward, Layer, Sequential, layer, layer_fn};
use parareal_testing::{AnyExecutor, assert_close, builder};

use crate::fixture::{Fixture, folder};

type HeadNetwork = Sequential<Tensor<4>, Tensor<4>, Tensor<2>>;

fn fixture() -> Fixture {
    let fixture = Fixture::read(&folder().join("heads/vgg16.safetensors"));
    let states = fixture.images(DType::F64).dims();
    assert_eq!(fixture.net.state_shape(fixture.net.units()), states[1..].to_vec().into());
    fixture
}

/// Starts an executor of the head alone, whose input is the last state of VGG-16.
fn start(
    fixture: &Fixture,
    builder: ExecutorBuilder<CrossEntropy>,
    dtype: DType,
    has_dropout: bool,
) -> AnyExecutor<HeadNetwork> {
    let net = fixture.net.clone();
    let head_network = Sequential::stem(fixture.images(DType::F32), |_| layer_fn(|state| state))
        .unit(|_| layer_fn(|state| state))
        .head(move |init| {
            let head = net.postprocessing(init);
            let dropout = ParamGroup::from_predicate("dropout");
            let head = if has_dropout { head } else { head.freeze_group(dropout) };
            layer(head, |head, state: Tensor<4>| head.forward(state))
        })
        .unwrap();
    let cuts = Cuts::new(1, Vec::new()).unwrap();
    builder.start(fixture.build(&head_network, &cuts, dtype)).unwrap()
}

#[test]
fn the_head_matches_the_reference() {
    let fixture = fixture();
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 3e-4)] {
        for (kind, builder) in
            [("sequential", builder().sequential()), ("threads", builder().workers(1))]
        {
            let mut executor = start(&fixture, builder, dtype, false);
            fixture.check(&mut *executor, dtype, tolerance, &format!("{kind}, {dtype:?}"));
        }
    }
}

#[test]
fn dropout_changes_training_steps_and_not_evaluation() {
    let fixture = fixture();
    let (images, labels) = (fixture.images(DType::F64), fixture.labels());
    let mut executor = start(&fixture, builder().sequential(), DType::F64, true);
    // The learning rate is zero, so the steps differ only in the elements that they drop.
    let mut step = || {
        let report = executor.train_step(images.clone(), labels.clone(), 0.0).unwrap();
        report.output.into_data()
    };
    let (first, second) = (step(), step());
    assert_ne!(first, second);
    assert_ne!(first, fixture.tensors["expected/logits"]);

    // The expected evaluation follows a single pass.
    let mut executor = start(&fixture, builder().sequential(), DType::F64, true);
    executor.train_step(images.clone(), labels, 0.0).unwrap();
    let evaluation = executor.infer(images.clone()).unwrap().into_data();
    assert_close(&evaluation, &fixture.tensors["expected/evaluation_logits"], 1e-10, "evaluation");
    assert_eq!(executor.infer(images).unwrap().into_data(), evaluation);
}

#[test]
fn both_hidden_layers_are_followed_by_dropout() {
    let mut fixture = fixture();
    // All hidden features are 1 before dropout.
    for layer in ["linear1", "linear2"] {
        for (name, value) in [("weight", 0.0_f32), ("bias", 1.0)] {
            let name = format!("initial/postprocessing.{layer}.{name}");
            let tensor = fixture.tensors.get_mut(&name).unwrap();
            *tensor = TensorData::full(tensor.shape().clone(), value);
        }
    }
    let one_image = fixture.images(DType::F64).narrow(0, 0, 1);
    let label = fixture.labels().narrow(0, 0, 1);
    for has_dropout in [false, true] {
        let mut executor = start(&fixture, builder().sequential(), DType::F64, has_dropout);
        let report = executor.gradients(one_image.clone(), label.clone()).unwrap();
        for layer in ["linear2", "linear3"] {
            let name = format!("postprocessing.{layer}.weight");
            let gradient = report.gradients.iter().find(|tensor| tensor.name == name).unwrap();
            let dropped = zero_columns(&gradient.data);
            // Half of 64 features, within four standard deviations.
            let expected = if has_dropout { 16..=48 } else { 0..=0 };
            assert!(expected.contains(&dropped), "{dropped} features before {layer}");
        }
    }
}

/// Returns the number of columns of a matrix that are zero. For the gradient of a linear layer's weight, these are the
/// features of the input that are zero.
fn zero_columns(matrix: &TensorData) -> usize {
    let [rows, columns] = matrix.shape().dims();
    let values: Vec<f64> = matrix.iter().collect();
    let is_zero = |column: &usize| (0..rows).all(|row| values[row * columns + column] == 0.0);
    (0..columns).filter(is_zero).count()
}
