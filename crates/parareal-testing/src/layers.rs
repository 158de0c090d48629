//! Networks of Burn's layers.

use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear,
    LinearConfig, PaddingConfig1d,
};
use burn::tensor::activation::relu;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use parareal::net::{AnyLayer, Init, Sequential, WithContext, layer};

use crate::{CLASSES, init};

/// Number of features of a vector, and of channels of a signal.
const WIDTH: usize = 6;
/// Number of elements of a signal, and of tokens of a sentence.
const LENGTH: usize = 8;
/// Number of different tokens. Token 0 is the padding.
const TOKENS: usize = 11;

fn linear(from: usize, to: usize, init: &Init) -> Linear {
    LinearConfig::new(from, to).init(init.device())
}

fn conv_config(from: usize, to: usize) -> Conv1dConfig {
    Conv1dConfig::new(from, to, 3).with_padding(PaddingConfig1d::Explicit(1, 1))
}

fn conv(from: usize, to: usize, init: &Init) -> Conv1d {
    conv_config(from, to).init(init.device())
}

fn unbiased(from: usize, to: usize, init: &Init) -> Conv1d {
    conv_config(from, to).with_bias(false).init(init.device())
}

/// A classifier of signals `[batch, 1, 8]`: convolutions, layer normalization and linear layers. The unit in
/// the middle halves the signal.
///
/// # Panics
/// Panics if the layers do not fit together.
#[must_use]
pub fn signal_network() -> Sequential<Tensor<3>, Tensor<3>, Tensor<2>> {
    let unit = |init: &Init| {
        let norm: LayerNorm = LayerNormConfig::new(WIDTH).init(init.device());
        layer((norm, conv(WIDTH, WIDTH, init)), |(norm, conv), x: Tensor<3>| {
            let normalized = norm.forward(x.clone().swap_dims(1, 2)).swap_dims(1, 2);
            x + conv.forward(relu(normalized))
        })
    };
    let halve = |init: &Init| {
        layer(conv(WIDTH, WIDTH, init), |conv, x: Tensor<3>| {
            let [batch, channels, length] = x.dims();
            conv.forward(x).reshape([batch, channels, length / 2, 2]).mean_dim(3).squeeze_dim(3)
        })
    };
    let sample = Tensor::zeros([1, 1, LENGTH], &Device::flex());
    Sequential::stem(sample, |init| layer(conv(1, WIDTH, init), Conv1d::forward))
        .units(4, move |_, init| unit(init))
        .unit(halve)
        .units(4, move |_, init| unit(init))
        .head(|init| {
            layer(linear(WIDTH, CLASSES, init), |linear, x: Tensor<3>| {
                linear.forward(x.mean_dim(2).squeeze_dim::<2>(2))
            })
        })
        .unwrap()
}

/// A classifier of signals `[batch, 1, 8]` with Burn's batch normalization in every unit. Its convolutions have
/// no bias, because the gradient of a bias before a batch normalization is zero up to rounding errors.
///
/// # Panics
/// Panics if the layers do not fit together.
#[must_use]
pub fn batch_norm_network() -> Sequential<Tensor<3>, Tensor<3>, Tensor<2>> {
    let sample = Tensor::zeros([1, 1, LENGTH], &Device::flex());
    Sequential::stem(sample, |init| layer(unbiased(1, WIDTH, init), Conv1d::forward))
        .units(6, |_, init| {
            let norm: BatchNorm = BatchNormConfig::new(WIDTH).init(init.device());
            layer((norm, unbiased(WIDTH, WIDTH, init)), |(norm, conv), x: Tensor<3>| {
                x.clone() + conv.forward(relu(norm.forward(x)))
            })
        })
        .head(|init| {
            layer(linear(WIDTH, CLASSES, init), |linear, x: Tensor<3>| {
                linear.forward(x.mean_dim(2).squeeze_dim::<2>(2))
            })
        })
        .unwrap()
}

/// Returns signals `[batch, 1, 8]` with labels. The values depend only on the seed.
#[must_use]
pub fn signals(seed: u64, batch: usize, dtype: DType) -> (Tensor<3>, Tensor<1, Int>) {
    let input = init(seed, dtype).normal("signals", [batch, 1, LENGTH], 1.0).val().inner();
    (input, labels(seed, batch))
}

fn labels(seed: u64, batch: usize) -> Tensor<1, Int> {
    let labels = (0..batch as i64).map(|i| (i * 7 + seed as i64) % CLASSES as i64);
    Tensor::from_data(TensorData::new(labels.collect::<Vec<_>>(), [batch]), &Device::flex())
}

/// The state of a sentence: an embedding for each token, and a mask that is true for padding.
pub type Sentence = WithContext<Tensor<3>, Tensor<2, Bool>>;

/// A classifier of sentences `[batch, 8]` of token numbers: an embedding, encoder layers that ignore the padding,
/// and a mean over the tokens.
///
/// # Panics
/// Panics if the layers do not fit together.
#[must_use]
pub fn token_network() -> Sequential<Tensor<2, Int>, Sentence, Tensor<2>> {
    let sample = Tensor::<2, Int>::from_data([[1, 2, 3, 4, 5, 6, 0, 0]], &Device::flex());
    Sequential::stem(sample, |init| {
        let embedding: Embedding = EmbeddingConfig::new(TOKENS, WIDTH).init(init.device());
        layer(embedding, |embedding, tokens: Tensor<2, Int>| {
            WithContext::new(embedding.forward(tokens.clone()), tokens.equal_elem(0))
        })
    })
    .units(6, |_, init| {
        let config = TransformerEncoderConfig::new(WIDTH, 12, 2, 1).with_dropout(0.0);
        let encoder: TransformerEncoder = config.init(init.device());
        layer(encoder, |encoder, x: Sentence| {
            let input = TransformerEncoderInput::new(x.state.clone()).mask_pad(x.context());
            x.with_state(encoder.forward(input))
        })
    })
    .head(|init| {
        layer(linear(WIDTH, CLASSES, init), |linear, x: Sentence| {
            linear.forward(x.state.mean_dim(1).squeeze_dim::<2>(1))
        })
    })
    .unwrap()
}

/// Returns sentences `[batch, 8]` with labels. The values depend only on the seed. Some sentences end with
/// padding.
#[must_use]
pub fn sentences(seed: u64, batch: usize) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let token = |sentence: usize, place: usize| match place + sentence % 3 < LENGTH {
        true => (1 + (sentence * 5 + place * 3 + seed as usize) % (TOKENS - 1)) as i64,
        false => 0,
    };
    let tokens =
        (0..batch).flat_map(|sentence| (0..LENGTH).map(move |place| token(sentence, place)));
    let tokens = TensorData::new(tokens.collect::<Vec<_>>(), [batch, LENGTH]);
    (Tensor::from_data(tokens, &Device::flex()), labels(seed, batch))
}

/// A U-shaped network for signals `[batch, 1, 8]`: two units halve the signal and keep a copy of the longer one.
/// Two later units double the signal and join it with the kept copy. The state has one tensor for the current
/// signal and one for each kept copy.
///
/// # Panics
/// Panics if the layers do not fit together.
#[must_use]
pub fn u_network() -> Sequential<Tensor<3>, Vec<Tensor<3>>, Tensor<2>> {
    let same = |init: &Init| {
        layer(conv(WIDTH, WIDTH, init), |conv, mut x: Vec<Tensor<3>>| {
            let last = x.pop().expect("there is a signal");
            x.push(last.clone() + conv.forward(last).tanh());
            x
        })
    };
    let down = |init: &Init| {
        layer(conv(WIDTH, WIDTH, init), |conv, mut x: Vec<Tensor<3>>| {
            let last = x.last().expect("there is a signal").clone();
            let [batch, channels, length] = last.dims();
            let halves = conv.forward(last).reshape([batch, channels, length / 2, 2]);
            x.push(halves.mean_dim(3).squeeze_dim(3));
            x
        })
    };
    let up = |init: &Init| {
        layer(conv(2 * WIDTH, WIDTH, init), |conv, mut x: Vec<Tensor<3>>| {
            let (last, kept) = (x.pop().expect("a signal"), x.pop().expect("one that was kept"));
            let [batch, channels, length] = last.dims();
            let doubled = last.unsqueeze_dim::<4>(3).repeat_dim(3, 2);
            let doubled = doubled.reshape([batch, channels, 2 * length]);
            x.push(conv.forward(Tensor::cat(vec![kept, doubled], 1)));
            x
        })
    };
    let sample = Tensor::zeros([1, 1, LENGTH], &Device::flex());
    let head: fn(&Init) -> AnyLayer<Vec<Tensor<3>>, Tensor<2>> = |init| {
        layer(linear(WIDTH * LENGTH, CLASSES, init), |linear, mut x: Vec<Tensor<3>>| {
            linear.forward(x.pop().expect("a signal").flatten::<2>(1, 2))
        })
    };
    Sequential::stem(sample, |init| {
        layer(conv(1, WIDTH, init), |conv, x: Tensor<3>| vec![conv.forward(x)])
    })
    .unit(same)
    .unit(down)
    .unit(same)
    .unit(down)
    .unit(same)
    .unit(same)
    .unit(up)
    .unit(same)
    .unit(up)
    .head(head)
    .unwrap()
}

/// A network whose state is a pair of a vector and a memory of a different size. Every unit changes both.
///
/// # Panics
/// Panics if the layers do not fit together.
#[must_use]
pub fn memory_network() -> Sequential<Tensor<3>, (Tensor<2>, Tensor<3>), Tensor<2>> {
    let sample = Tensor::zeros([1, 1, LENGTH], &Device::flex());
    Sequential::stem(sample, |init| {
        layer(linear(LENGTH, WIDTH, init), |linear, x: Tensor<3>| {
            (linear.forward(x.clone().flatten::<2>(1, 2)), x)
        })
    })
    .units(6, |_, init| {
        let linears = (linear(WIDTH + LENGTH, WIDTH, init), linear(WIDTH, LENGTH, init));
        layer(linears, |(read, write), (x, memory): (Tensor<2>, Tensor<3>)| {
            let all = Tensor::cat(vec![x.clone(), memory.clone().flatten::<2>(1, 2)], 1);
            let x = x + read.forward(all).tanh();
            let memory = memory + write.forward(x.clone()).tanh().unsqueeze_dim::<3>(1);
            (x, memory)
        })
    })
    .head(|init| {
        let linear = linear(WIDTH + LENGTH, CLASSES, init);
        layer(linear, |linear, (x, memory): (Tensor<2>, Tensor<3>)| {
            linear.forward(Tensor::cat(vec![x, memory.flatten::<2>(1, 2)], 1))
        })
    })
    .unwrap()
}
