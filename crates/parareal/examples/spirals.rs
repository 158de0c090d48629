//! A parareal network of your own layers. A residual network of fully connected layers classifies
//! points on two spirals, first as one network, then cut into three subnetworks on parallel
//! threads.
//!
//! ```sh
//! cargo run --release -p parareal --example spirals
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;

use burn::module::{Module, Param};
use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, ExecutorBuilder};
use parareal::net::{
    Coarsen, Cuts, FeedForward, Init, Interface, Layer, PararealNetwork, SampleShape, ShapeError,
};

const WIDTH: usize = 16;
const UNITS: usize = 12;
const POINTS: usize = 400;

/// A fully connected layer, `x W + b`, or the residual unit `x + tanh(x W + b)`.
#[derive(Module, Debug)]
struct Dense {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    residual: bool,
}

impl Dense {
    fn new(from: usize, to: usize, residual: bool, init: &Init) -> Self {
        let weight = init.normal("weight", [from, to], (1.0 / from as f64).sqrt());
        Self { weight, bias: init.constant([to], 0.0), residual }
    }
}

impl Layer<Tensor<2>, Tensor<2>> for Dense {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let linear = input.clone().matmul(self.weight.val()) + self.bias.val().unsqueeze();
        if self.residual { input + linear.tanh() } else { linear }
    }

    fn output_shape(&self, _input: &SampleShape) -> Result<SampleShape, ShapeError> {
        Ok([self.bias.shape()[0]].into())
    }
}

/// The network: a linear map to `WIDTH` features, residual units, a linear map to two scores.
#[derive(Clone)]
struct Mlp;

impl FeedForward for Mlp {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = Dense;
    type Unit = Dense;
    type Postprocessing = Dense;

    fn units(&self) -> usize {
        UNITS
    }

    fn input_shape(&self) -> SampleShape {
        [2].into()
    }

    fn state_shape(&self, _position: usize) -> SampleShape {
        [WIDTH].into()
    }

    fn preprocessing(&self, init: &Init) -> Dense {
        Dense::new(2, WIDTH, false, init)
    }

    fn unit(&self, _index: usize, init: &Init) -> Dense {
        Dense::new(WIDTH, WIDTH, true, init)
    }

    fn postprocessing(&self, init: &Init) -> Dense {
        Dense::new(WIDTH, 2, false, init)
    }
}

/// The modules that a cut adds: `C_j` is another map to the features, `F_j` one unit.
impl Coarsen for Mlp {
    type Coarse = Dense;

    fn interface_preprocessing(&self, _interface: &Interface, init: &Init) -> Dense {
        Dense::new(2, WIDTH, false, init)
    }

    fn coarse(&self, _interface: &Interface, init: &Init) -> Dense {
        Dense::new(WIDTH, WIDTH, true, init)
    }
}

/// Returns points `[POINTS, 2]` on two interleaved spirals, and the spiral that each belongs to.
fn spirals(offset: f64) -> (Tensor<2>, Tensor<1, Int>, Vec<i64>) {
    let labels: Vec<i64> = (0..POINTS as i64).map(|i| i % 2).collect();
    let points = (0..POINTS).flat_map(|i| {
        let along = (i as f64 + offset) / POINTS as f64;
        let angle = 3.0 * std::f64::consts::PI * along + std::f64::consts::PI * (i % 2) as f64;
        let radius = 0.2 + 1.8 * along;
        [radius * angle.cos(), radius * angle.sin()]
    });
    let device = Device::flex();
    let points = TensorData::new(points.collect::<Vec<f64>>(), [POINTS, 2]);
    let targets = Tensor::from_data(TensorData::new(labels.clone(), [POINTS]), &device);
    (Tensor::from_data(points, &device), targets, labels)
}

/// Trains with this many subnetworks, and returns the accuracy on points between the training
/// points.
fn train(subnetworks: usize) -> Result<f64, Box<dyn Error>> {
    let cuts = Cuts::even(UNITS, subnetworks)?;
    let network = PararealNetwork::build(&Mlp, &cuts, &Init::new(1, &Device::flex()))?;
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
    let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer);
    let mut executor = builder.start(network)?;

    let (points, targets, _) = spirals(0.0);
    for step in 0..600 {
        let rate = if step < 450 { 0.02 } else { 0.002 };
        executor.train_step(points.clone(), targets.clone(), rate)?;
    }

    let (points, _, labels) = spirals(0.5);
    let scores = executor.infer(points)?;
    let scores: Vec<f32> = scores.into_data().try_into_vec().map_err(|e| format!("{e:?}"))?;
    let chosen = scores.chunks(2).map(|pair| i64::from(pair[1] > pair[0]));
    let right = chosen.zip(&labels).filter(|(chosen, label)| chosen == *label).count();
    Ok(right as f64 / POINTS as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let serial = train(1)?;
    println!("one network:            {:.1} % right", 100.0 * serial);
    let parareal = train(3)?;
    println!("3 parallel subnetworks: {:.1} % right", 100.0 * parareal);
    Ok(())
}
