//! Regression with mean squared error and coarse networks written by hand, serial and cut into four.
//!
//! The network learns the motion of a pendulum: it maps an angle and a velocity to their values one unit of time
//! later. Its units are time steps of a learned differential equation, so a coarse network can be a single step
//! with the total length of the steps that it approximates.

#![allow(clippy::print_stdout)]

use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamWConfig;
use parareal_train::prelude::*;

const UNITS: usize = 16;
const WIDTH: usize = 12;

/// A step of `x' = B tanh(A x)`, of length `length` in units of the fine steps.
#[derive(Module, Debug)]
struct Step {
    inner: Linear,
    outer: Linear,
    length: f64,
}

impl Step {
    fn new(length: usize, init: &Init) -> Self {
        let linear = || LinearConfig::new(WIDTH, WIDTH).init(init.device());
        Self { inner: linear(), outer: linear(), length: length as f64 / UNITS as f64 }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let velocity = self.outer.forward(self.inner.forward(x.clone()).tanh());
        x + velocity.mul_scalar(self.length)
    }
}

/// Returns angles and velocities `[count, 2]`, and their values one unit of time later.
fn pendulum(count: usize, shift: f64) -> Result<TensorDataset<Tensor<2>, Tensor<2>>, TrainError> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for index in 0..count {
        let part = |ratio: f64| ((index as f64 + shift) * ratio).fract();
        let (mut angle, mut velocity) = (4.0 * part(0.618_034) - 2.0, 4.0 * part(0.754_878) - 2.0);
        before.extend([angle as f32, velocity as f32]);
        // The symplectic Euler method with small steps.
        for _ in 0..1000 {
            velocity -= 1e-3 * angle.sin();
            angle += 1e-3 * velocity;
        }
        after.extend([angle as f32, velocity as f32]);
    }
    let tensor = |values: Vec<f32>| {
        Tensor::<1>::from_data(values.as_slice(), &Device::flex()).reshape([count, 2])
    };
    TensorDataset::new(tensor(before), tensor(after))
}

pub(crate) fn train(subnetworks: usize) -> anyhow::Result<f64> {
    let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
    let sample = Tensor::<2>::zeros([1, 2], &Device::flex());
    let network =
        Sequential::stem(sample, move |init| layer(linear(2, WIDTH, init), Linear::forward))
            .units(UNITS, |_, init| layer(Step::new(1, init), Step::forward))
            .head(move |init| layer(linear(WIDTH, 2, init), Linear::forward))?
            .with_coarse(|interface, init| {
                layer(Step::new(interface.next - interface.position, init), Step::forward)
            });
    let cuts = Cuts::even(UNITS, subnetworks)?;
    let model = Model::new(network, cuts, MeanSquaredError, AdamWConfig::new().init());
    let trainer = Trainer::new(model, pendulum(1024, 0.0)?)
        .validation(pendulum(256, 0.5)?)
        .epochs(20)
        .learning_rate(Schedule::cosine(1e-2));
    let folder = tempfile::tempdir()?;
    trainer.train(&folder)?;
    Ok(trainer.evaluate(&folder, CheckpointChoice::Best)?.loss)
}

fn main() -> anyhow::Result<()> {
    for (subnetworks, name) in [(1, "serial"), (4, "parareal")] {
        println!("{name}: mean squared error {:.1e}", train(subnetworks)?);
    }
    Ok(())
}
