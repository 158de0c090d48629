//! A classifier made of Burn's layers, serial and cut into three: trained, interrupted, resumed and
//! evaluated.
#![allow(clippy::print_stdout)]

mod data;

use std::cell::Cell;

use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{LayerNormConfig, LinearConfig, PaddingConfig1d};
use burn::optim::AdamWConfig;
use parareal_train::prelude::*;

fn conv(from: usize, init: &Init) -> Conv1d {
    let same = PaddingConfig1d::Explicit(2, 2);
    Conv1dConfig::new(from, 12, 5).with_padding(same).init(init.device())
}

pub(crate) fn train(subnetworks: usize) -> anyhow::Result<f64> {
    let sample = Tensor::<3>::zeros([1, 1, data::LENGTH], &Device::flex());
    let network = Sequential::stem(sample, |init| layer(conv(1, init), Conv1d::forward))
        .units(12, |_, init| {
            let norm = LayerNormConfig::new(12).init(init.device());
            layer((norm, conv(12, init)), |(norm, conv), x: Tensor<3>| {
                let normalized = norm.forward(x.clone().swap_dims(1, 2)).swap_dims(1, 2);
                x + conv.forward(normalized).tanh()
            })
        })
        .head(|init| {
            let linear = LinearConfig::new(12, data::CLASSES).init(init.device());
            layer(linear, |linear, x: Tensor<3>| linear.forward(x.mean_dim(2).squeeze_dim::<2>(2)))
        })?;
    let cuts = Cuts::even(12, subnetworks)?;
    let model = Model::new(network, cuts, CrossEntropy::default(), AdamWConfig::new().init());
    let trainer = Trainer::new(model, data::signals(1024, 1)?)
        .validation(data::signals(512, 2)?)
        .metric("accuracy", accuracy)
        .best(Objective::highest("accuracy"))
        .epochs(6)
        .learning_rate(Schedule::cosine(3e-3));
    let folder = tempfile::tempdir()?;
    // The run is stopped in its second epoch and then resumed.
    let calls = Cell::new(0);
    trainer.train_with(&folder, &mut (), &|| calls.replace(calls.get() + 1) == 50)?;
    trainer.resume(&folder)?;
    Ok(trainer.evaluate(&folder, CheckpointChoice::Best)?.metrics["accuracy"])
}

fn main() -> anyhow::Result<()> {
    for (subnetworks, name) in [(1, "serial"), (3, "parareal")] {
        println!("{name}: {:.1} % of the signals are recognized", 100.0 * train(subnetworks)?);
    }
    Ok(())
}
