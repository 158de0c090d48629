//! A linear network is time stepping, and its parareal network is one iteration of parareal.
//!
//! A damped oscillator, `u' = Au`, is solved twice with the same numbers: as a differential equation, by one
//! iteration of `parareal_ode`, and as a network without activations. Each unit of the network is one step of
//! backward Euler, and `g_j` consists of the steps of a slice. `F_j` is one long step over the next slice, so
//! it differs from `g_{j+1}`. `C_j` is the product of `j - 1` long steps, which gives the coarse initial
//! values. Evaluating the network once (equations 2, 3a, 3b and 3c of the paper) is one parareal sweep.
//!
//! ```sh
//! cargo run --release -p parareal --example time_stepping
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use parareal::net::{
    Coarsen, Cuts, FeedForward, Init, Interface, Layer, PararealNetwork, SampleShape, ShapeError,
};
use parareal_ode::{Grid, LinearImplicit, Matrix, Options, Parareal, Propagator, Scheme};

const SIZE: usize = 3;
/// Units of the network: steps of the fine method over the whole interval.
const STEPS: usize = 60;
const INTERVAL: f64 = 6.0;
/// The matrix of the equation, row by row. Two of the unknowns oscillate, the third follows the
/// first.
const A: [f64; 9] = [-0.2, -1.5, 0.0, 1.5, -0.2, 0.0, 1.0, 0.0, -0.5];
const INITIAL: [f64; SIZE] = [1.0, 0.0, -0.5];

type State = [f64; SIZE];
type Rows = [State; SIZE];

/// A linear layer, `u ↦ u W`, without bias or activation.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
}

impl Linear {
    fn new(rows: Rows) -> Self {
        let data = TensorData::new(rows.concat(), [SIZE, SIZE]);
        let weight = Tensor::from_data(data, (&Device::flex(), DType::F64));
        Self { weight: Param::from_tensor(weight) }
    }
}

impl Layer<Tensor<2>, Tensor<2>> for Linear {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        input.matmul(self.weight.val())
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        Ok(input.clone())
    }
}

/// The network of `STEPS` units, cut into equal slices.
#[derive(Clone)]
pub struct TimeStepping {
    /// One fine step, as a matrix.
    step: Rows,
    /// One coarse step over a slice.
    coarse: Rows,
}

impl TimeStepping {
    fn new(slices: usize) -> Result<Self, Box<dyn Error>> {
        Ok(Self { step: step_of_length(STEPS)?, coarse: step_of_length(slices)? })
    }
}

/// Returns one step of backward Euler of length `INTERVAL / part`, as the matrix whose row `i` is the
/// image of the `i`-th unit vector.
fn step_of_length(part: usize) -> Result<Rows, Box<dyn Error>> {
    let grid = Grid::uniform(INTERVAL / part as f64, 1)?;
    let euler = LinearImplicit::new(&Matrix::dense(SIZE, &A)?, &grid, Scheme::BackwardEuler, 1)?;
    let mut workspace = Propagator::<State>::workspace(&euler);
    let mut rows = identity();
    for row in &mut rows {
        let unit = *row;
        euler.propagate(grid.slices()[0], &unit, row, &mut workspace)?;
    }
    Ok(rows)
}

fn identity() -> Rows {
    std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }))
}

fn product(a: &Rows, b: &Rows) -> Rows {
    let entry = |i: usize, j: usize| (0..SIZE).map(|k| a[i][k] * b[k][j]).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)))
}

impl FeedForward for TimeStepping {
    type Input = Tensor<2>;
    type State = Tensor<2>;
    type Output = Tensor<2>;
    type Preprocessing = Linear;
    type Unit = Linear;
    type Postprocessing = Linear;

    fn units(&self) -> usize {
        STEPS
    }

    fn input_shape(&self) -> SampleShape {
        [SIZE].into()
    }

    fn state_shape(&self, _position: usize) -> SampleShape {
        [SIZE].into()
    }

    fn preprocessing(&self, _init: &Init) -> Linear {
        Linear::new(identity())
    }

    fn unit(&self, _index: usize, _init: &Init) -> Linear {
        Linear::new(self.step)
    }

    fn postprocessing(&self, _init: &Init) -> Linear {
        Linear::new(identity())
    }
}

impl Coarsen for TimeStepping {
    type Coarse = Linear;

    /// `C_{j+1}`: `j` coarse steps from the initial value.
    fn interface_preprocessing(&self, interface: &Interface, _init: &Init) -> Linear {
        let steps = std::iter::repeat_n(&self.coarse, interface.index);
        Linear::new(steps.fold(identity(), |product_of, step| product(&product_of, step)))
    }

    /// `F_j`: one coarse step.
    fn coarse(&self, _interface: &Interface, _init: &Init) -> Linear {
        Linear::new(self.coarse)
    }
}

/// Returns the output of the network, cut into this many subnetworks.
pub fn network(slices: usize) -> Result<State, Box<dyn Error>> {
    let cuts = Cuts::even(STEPS, slices)?;
    let init = Init::new(1, &Device::flex()).with_dtype(DType::F64);
    let network = PararealNetwork::build(&TimeStepping::new(slices)?, &cuts, &init)?;
    let input = TensorData::new(INITIAL.to_vec(), [1, SIZE]);
    let output = network.forward(Tensor::from_data(input, (&Device::flex(), DType::F64)));
    let output: Vec<f64> = output.into_data().try_into_vec().map_err(|e| format!("{e:?}"))?;
    Ok(output.as_slice().try_into()?)
}

/// Returns `U_N` of parareal after this many iterations on this many slices.
pub fn differential_equation(slices: usize, iterations: usize) -> Result<State, Box<dyn Error>> {
    let grid = Grid::uniform(INTERVAL, slices)?;
    let matrix = Matrix::dense(SIZE, &A)?;
    let euler = |steps| LinearImplicit::new(&matrix, &grid, Scheme::BackwardEuler, steps);
    let parareal = Parareal::new(grid.clone(), euler(STEPS / slices)?, euler(1)?, 1)?;
    let options = Options { iterations: Some(iterations), ..Options::default() };
    let solution = parareal.solve(&INITIAL, &options, |_| ())?;
    Ok(solution.states[slices])
}

fn main() -> Result<(), Box<dyn Error>> {
    let serial = network(1)?;
    println!("the network, whole:                {serial:10.6?}");
    println!("the equation, fine steps:          {:10.6?}", differential_equation(1, 1)?);
    for slices in [3, 6] {
        println!("{slices} subnetworks:                      {:10.6?}", network(slices)?);
        let once = differential_equation(slices, 1)?;
        println!("{slices} slices, one parareal iteration:  {once:10.6?}");
    }
    println!("6 slices, no iteration:            {:10.6?}", differential_equation(6, 0)?);
    println!("6 slices, six iterations:          {:10.6?}", differential_equation(6, 6)?);
    Ok(())
}
