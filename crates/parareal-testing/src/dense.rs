//! A network of dense units that can be made to panic.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::net::{Coarsen, FeedForward, Init, Interface, Layer, SampleShape, ShapeError};

/// A dense layer: `x W`, or for residual layers `x + tanh(x W)` (`tanh(x W)` if the dimensions differ).
#[derive(Module, Debug)]
pub struct Dense {
    /// Weight `[in, out]`.
    pub weight: Param<Tensor<2>>,
    residual: bool,
    panics: bool,
}

impl Dense {
    /// Returns a layer from `from` to `to` features.
    #[must_use]
    pub fn new(from: usize, to: usize, residual: bool, init: &Init) -> Self {
        let deviation = (1.0 / from as f64).sqrt();
        Self { weight: init.normal("weight", [from, to], deviation), residual, panics: false }
    }
}

impl Layer<Tensor<2>, Tensor<2>> for Dense {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        assert!(!self.panics, "this unit panics");
        let product = input.clone().matmul(self.weight.val());
        match self.residual {
            true if input.dims() == product.dims() => input + product.tanh(),
            true => product.tanh(),
            false => product,
        }
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        let [from, to] = self.weight.shape().dims();
        match input.dims() == Some(&[from]) {
            true => Ok([to].into()),
            false => Err(ShapeError { expected: format!("{from} features"), found: input.clone() }),
        }
    }
}

/// Dense layers in a row.
#[derive(Module, Debug)]
pub struct Chain {
    units: Vec<Dense>,
}

impl Layer<Tensor<2>, Tensor<2>> for Chain {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.units.iter().fold(input, |state, unit| unit.forward(state))
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        self.units.iter().try_fold(input.clone(), |shape, unit| unit.output_shape(&shape))
    }
}

/// A network of dense units.
#[derive(Clone)]
pub struct DenseNet {
    /// Features of the state at each position.
    pub dimensions: Vec<usize>,
    /// True for residual units.
    pub residual: bool,
    /// With a root `Init`, each `F_j` is a copy of `g_{j+1}`. With `None`, each `F_j` is a separate unit.
    pub exact: Option<Init>,
    /// Index of a unit that panics.
    pub panics: Option<usize>,
    /// A unit, and the indices at which the network has clones of it.
    pub shared: Option<(Dense, Vec<usize>)>,
}

/// Features of the input.
pub const FEATURES: usize = 3;
/// Classes of the output.
pub const CLASSES: usize = 4;

impl DenseNet {
    /// Returns a linear network whose coarse networks equal the units that they approximate.
    #[must_use]
    pub fn linear(dimensions: Vec<usize>, root: &Init) -> Self {
        Self { dimensions, residual: false, exact: Some(root.clone()), panics: None, shared: None }
    }

    /// Returns a network of residual units with coarse networks of one unit.
    #[must_use]
    pub fn residual(dimensions: Vec<usize>) -> Self {
        Self { dimensions, residual: true, exact: None, panics: None, shared: None }
    }
}

impl FeedForward for DenseNet {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = Dense;
    type Unit = Dense;
    type Postprocessing = Dense;

    fn units(&self) -> usize {
        self.dimensions.len() - 1
    }

    fn input_shape(&self) -> SampleShape {
        [FEATURES].into()
    }

    fn state_shape(&self, position: usize) -> SampleShape {
        [self.dimensions[position]].into()
    }

    fn preprocessing(&self, init: &Init) -> Dense {
        Dense::new(FEATURES, self.dimensions[0], false, init)
    }

    fn unit(&self, index: usize, init: &Init) -> Dense {
        if let Some((unit, indices)) = &self.shared
            && indices.contains(&index)
        {
            return unit.clone();
        }
        let (from, to) = (self.dimensions[index], self.dimensions[index + 1]);
        let mut unit = Dense::new(from, to, self.residual, init);
        unit.panics = self.panics == Some(index);
        unit
    }

    fn postprocessing(&self, init: &Init) -> Dense {
        Dense::new(self.dimensions[self.units()], CLASSES, false, init)
    }
}

impl Coarsen for DenseNet {
    type Coarse = Chain;

    fn interface_preprocessing(&self, interface: &Interface, init: &Init) -> Dense {
        Dense::new(FEATURES, self.dimensions[interface.position], false, init)
    }

    fn coarse(&self, interface: &Interface, init: &Init) -> Chain {
        let units = match &self.exact {
            Some(root) => (interface.position..interface.next)
                .map(|unit| self.unit(unit, &root.scope("units").scope(unit)))
                .collect(),
            None => {
                let dimension = |position| self.dimensions[position];
                let (from, to) = (dimension(interface.position), dimension(interface.next));
                vec![Dense::new(from, to, true, init)]
            }
        };
        Chain { units }
    }
}

/// Returns the `Init` for a seed, on the CPU.
#[must_use]
pub fn init(seed: u64, dtype: DType) -> Init {
    Init::new(seed, &Device::flex()).with_dtype(dtype)
}

/// Returns a batch of inputs `[batch, features]` with labels. The values depend only on the seed.
#[must_use]
pub fn batch(seed: u64, batch: usize, dtype: DType) -> (Tensor<2>, Tensor<1, Int>) {
    let input = init(seed, dtype).normal("batch", [batch, FEATURES], 1.0).val().inner();
    let labels: Vec<i64> =
        (0..batch as i64).map(|i| (i * 7 + seed as i64) % CLASSES as i64).collect();
    let labels = Tensor::from_data(TensorData::new(labels, [batch]), &Device::flex());
    (input, labels)
}
