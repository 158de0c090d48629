//! A network of `burn::nn` layers.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, Linear};
use burn::tensor::Tensor;
use parareal::net::{Coarsen, FeedForward, Init, Interface, Layer, SampleShape, ShapeError};
use parareal::nn::{Dropout, DropoutConfig};

use crate::dense::{CLASSES, FEATURES};

/// Number of features of the states of a [`LayerNet`].
const WIDTH: usize = 6;

/// A linear layer, batch normalization, `tanh` and dropout. The input is added if it has as many features as the
/// output.
#[derive(Module, Debug)]
pub struct LayerUnit {
    linear: Linear,
    norm: BatchNorm,
    dropout: Dropout,
}

impl LayerUnit {
    fn new(from: usize, to: usize, dropout: f64, init: &Init) -> Self {
        let deviation = (1.0 / from as f64).sqrt();
        // The gradient of a bias before a batch normalization is zero up to rounding.
        let linear = Linear { weight: init.normal("weight", [from, to], deviation), bias: None };
        // `BatchNormConfig` would create tensors of the default type.
        let norm = BatchNorm {
            gamma: init.constant([to], 1.0),
            beta: init.constant([to], 0.0),
            training: Param::from_bool(true),
            running_mean: init.running([to], 0.0),
            running_var: init.running([to], 1.0),
            momentum: 0.1,
            epsilon: 1e-5,
        };
        Self { linear, norm, dropout: DropoutConfig::new(dropout).init() }
    }
}

impl Layer<Tensor<2>, Tensor<2>> for LayerUnit {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let output = self.norm.forward(self.linear.forward(input.clone())).tanh();
        let output = self.dropout.forward(output);
        if input.dims() == output.dims() { input + output } else { output }
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [from, to] = self.linear.weight.shape().dims();
        match input.dims() == Some(&[from]) {
            true => Ok([to].into()),
            false => Err(ShapeError { expected: format!("{from} features"), found: input.clone() }),
        }
    }
}

/// A network of [`LayerUnit`]s. Its preprocessing, postprocessing and coarse networks are `LayerUnit`s as well.
#[derive(Clone, Debug)]
pub struct LayerNet {
    /// The number of units.
    pub units: usize,
    /// The dropout probability. The dropout layer is [`parareal::nn::Dropout`].
    pub dropout: f64,
}

impl FeedForward for LayerNet {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = LayerUnit;
    type Unit = LayerUnit;
    type Postprocessing = LayerUnit;

    fn units(&self) -> usize {
        self.units
    }

    fn input_shape(&self) -> SampleShape {
        [FEATURES].into()
    }

    fn state_shape(&self, _: usize) -> SampleShape {
        [WIDTH].into()
    }

    fn preprocessing(&self, init: &Init) -> LayerUnit {
        LayerUnit::new(FEATURES, WIDTH, self.dropout, init)
    }

    fn unit(&self, _: usize, init: &Init) -> LayerUnit {
        LayerUnit::new(WIDTH, WIDTH, self.dropout, init)
    }

    fn postprocessing(&self, init: &Init) -> LayerUnit {
        LayerUnit::new(WIDTH, CLASSES, self.dropout, init)
    }
}

impl Coarsen for LayerNet {
    type Coarse = LayerUnit;

    fn interface_preprocessing(&self, _: &Interface, init: &Init) -> LayerUnit {
        LayerUnit::new(FEATURES, WIDTH, self.dropout, init)
    }

    fn coarse(&self, _: &Interface, init: &Init) -> LayerUnit {
        LayerUnit::new(WIDTH, WIDTH, self.dropout, init)
    }
}
