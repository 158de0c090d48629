//! The stem and the units of the original ResNets in single precision, in which their operations are fused, beside double
//! precision, in which they are Burn's. The network as a whole magnifies rounding errors too much for this comparison.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::net::{Cuts, FeedForward, Layer, NamedTensor, Sequential, layer, layer_fn};
use parareal_models::{Image, ImageNetwork, UnitKind};
use parareal_testing::{builder, init, relative_difference, start};

/// Number of channels of the first state.
const WIDTH: usize = 6;
/// Height and width of the first state.
const SIZE: usize = 16;

/// The stem, a unit with a projection, one that halves the image, and one that does not change the shape.
fn network() -> Sequential<Tensor<4>, Tensor<4>, Tensor<2>> {
    let net = ImageNetwork::sized("resnet50".parse().unwrap(), 4 * SIZE).unwrap().with_width(WIDTH);
    let first = Image { channels: WIDTH, size: SIZE };
    let second = Image { channels: 4 * WIDTH, ..first };
    let last = Image { channels: 8 * WIDTH, size: SIZE / 2 };
    let images = Tensor::zeros([2, 3, 4 * SIZE, 4 * SIZE], &Device::flex());
    let stem = Sequential::stem(images, move |init| {
        layer(net.preprocessing(init), |stem, images: Tensor<4>| stem.forward(images))
    });
    let units = [(first, second), (second, last), (last, last)];
    let with_units = units.into_iter().fold(stem, |network, (from, to)| {
        network.unit(move |init| {
            let unit = UnitKind::OriginalBottleneck.build(from, to, init);
            layer(unit, |unit, state: Tensor<4>| unit.forward(state))
        })
    });
    let mean = |state: Tensor<4>| -> Tensor<2> {
        let [batch, height, width, channels] = state.dims();
        state.reshape([batch, height * width, channels]).mean_dim(1).squeeze_dim(1)
    };
    with_units.head(move |_| layer_fn(mean)).unwrap()
}

fn gradients(seed: u64, dtype: DType) -> Vec<NamedTensor> {
    let (net, cuts) = (network(), Cuts::new(3, Vec::new()).unwrap());
    let mut executor = start(builder().sequential(), &net, &cuts, &init(seed, dtype));
    let size = 4 * SIZE;
    let images = init(seed, dtype).normal("images", [3, 3, size, size], 1.0).val().inner();
    let labels: Tensor<1, Int> =
        Tensor::from_data(TensorData::from([0_i64, 7, 40]), &Device::flex());
    executor.gradients(images, labels).unwrap().gradients
}

/// If an input of a ReLU is so close to zero that its sign differs, gradients differ by a hundredth. It is therefore
/// sufficient that one of a dozen seeds agrees.
#[test]
fn fused_and_composed_operations_agree() {
    let worst = |seed| {
        let [single, double] = [DType::F32, DType::F64].map(|dtype| gradients(seed, dtype));
        assert_eq!(single.len(), double.len());
        let pairs = single.iter().zip(&double);
        let apart = pairs.map(|(a, b)| relative_difference(&a.data, &b.data));
        apart.fold(0.0, f64::max)
    };
    let worst: Vec<f64> = (1..=12).map(worst).collect();
    assert!(worst.iter().any(|&apart| apart <= 1e-4), "{worst:?}");
}
