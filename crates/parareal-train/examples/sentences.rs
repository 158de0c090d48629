//! Encoder layers of `burn::nn` on token embeddings, serial and cut into three.
//!
//! The task is to find which of three words occurs most often in a sentence. Sentences have different lengths,
//! and padding is ignored. The mask is computed from the tokens by the preprocessing of each subnetwork, so only
//! embeddings cross the interfaces. Dropout masks depend only on the seed, the step and the unit, so both
//! executors use the same masks.

#![allow(clippy::print_stdout)]

use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{Embedding, EmbeddingConfig, LinearConfig};
use burn::optim::AdamWConfig;
use parareal::nn::{Dropout, DropoutConfig};
use parareal_train::prelude::*;

const LENGTH: usize = 12;
const WIDTH: usize = 16;
const PADDING: i64 = 0;
const WORDS: i64 = 3;
const OTHERS: i64 = 6;

/// Embeddings `[batch, LENGTH, WIDTH]` and the mask of padding tokens, `[batch, LENGTH]`.
type State = WithContext<Tensor<3>, Tensor<2, Bool>>;

#[derive(Module, Debug)]
struct Encoder {
    layer: TransformerEncoder,
    dropout: Dropout,
}

impl Encoder {
    fn new(init: &Init) -> Self {
        // Burn's own dropout is disabled.
        let layer = TransformerEncoderConfig::new(WIDTH, 32, 2, 1).with_dropout(0.0);
        Self {
            layer: layer.with_norm_first(true).init(init.device()),
            dropout: DropoutConfig::new(0.05).init(),
        }
    }

    fn forward(&self, x: State) -> State {
        let input = TransformerEncoderInput::new(x.state.clone()).mask_pad(x.context());
        x.with_state(self.dropout.forward(self.layer.forward(input)))
    }
}

/// Returns sentences of 6 to 12 tokens with the most frequent word of each.
fn sentences(
    count: usize,
    seed: u64,
) -> Result<TensorDataset<Tensor<2, Int>, Tensor<1, Int>>, TrainError> {
    let mut state = seed;
    let mut below = |limit: i64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as i64) % limit
    };
    let (mut tokens, mut most) = (Vec::new(), Vec::new());
    while most.len() < count {
        let length = 6 + below(7) as usize;
        let sentence: Vec<i64> = (0..length).map(|_| 1 + below(WORDS + OTHERS)).collect();
        let times = |word| sentence.iter().filter(|token| **token == word).count();
        let counts: Vec<usize> = (1..=WORDS).map(times).collect();
        let largest = counts.iter().max().copied().unwrap_or(0);
        let mut winners = counts.iter().zip(0..).filter(|(times, _)| **times == largest);
        if let (Some((_, word)), None) = (winners.next(), winners.next()) {
            tokens.extend(sentence.into_iter().chain(std::iter::repeat(PADDING)).take(LENGTH));
            most.push(word);
        }
    }
    let device = Device::flex();
    let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), &device).reshape([count, LENGTH]);
    let most: Tensor<1, Int> = Tensor::from_data(most.as_slice(), &device);
    TensorDataset::new(tokens, most)
}

pub(crate) fn train(subnetworks: usize) -> anyhow::Result<f64> {
    let sample = Tensor::<2, Int>::ones([1, LENGTH], &Device::flex());
    let network = Sequential::stem(sample, |init| {
        let config = EmbeddingConfig::new((1 + WORDS + OTHERS) as usize, WIDTH);
        layer(config.init(init.device()), |embedding: &Embedding, tokens: Tensor<2, Int>| {
            let padding = tokens.clone().equal_elem(PADDING);
            WithContext::new(embedding.forward(tokens), padding)
        })
    })
    .units(6, |_, init| layer(Encoder::new(init), Encoder::forward))
    .head(|init| {
        let linear = LinearConfig::new(WIDTH, WORDS as usize).init(init.device());
        layer(linear, |linear, x: State| {
            let words = x.context().bool_not().float().unsqueeze_dim::<3>(2);
            linear.forward((x.state * words).sum_dim(1).squeeze_dim::<2>(1))
        })
    })?;
    let cuts = Cuts::even(6, subnetworks)?;
    let model = Model::new(network, cuts, CrossEntropy::default(), AdamWConfig::new().init());
    let trainer = Trainer::new(model, sentences(1024, 1)?)
        .validation(sentences(256, 2)?)
        .metric("accuracy", accuracy)
        .epochs(8)
        .learning_rate(Schedule::cosine(3e-3));
    let folder = tempfile::tempdir()?;
    trainer.train(&folder)?;
    Ok(trainer.evaluate(&folder, CheckpointChoice::Best)?.metrics["accuracy"])
}

fn main() -> anyhow::Result<()> {
    for (subnetworks, name) in [(1, "serial"), (3, "parareal")] {
        println!("{name}: {:.1} % of the sentences are right", 100.0 * train(subnetworks)?);
    }
    Ok(())
}
