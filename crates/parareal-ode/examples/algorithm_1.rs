//! Compares Algorithm 1 as printed in the paper with its corrected form.
//!
//! Prints errors against the serial fine solution of `u' = -u`, over [0, 10] and over [0, 5] in 10 slices
//! each. With `ΔT = 1`, in the first case, one of the two missing terms has no effect.
//!
//! ```sh
//! cargo run --release -p parareal-ode --example algorithm_1
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;

use parareal_ode::{
    Exact, Grid, LinearImplicit, Matrix, Parareal, ResidualForm, Scheme, State, residual_iterates,
};

const SLICES: usize = 10;
const ITERATIONS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let decay = Matrix::dense(1, &[-1.0])?;
    for interval in [10.0, 5.0] {
        let grid = Grid::uniform(interval, SLICES)?;
        let fine = Exact::new(&decay, &grid)?;
        let coarse = LinearImplicit::new(&decay, &grid, Scheme::BackwardEuler, 1)?;
        let serial = Parareal::new(grid.clone(), &fine, &coarse, 1)?.serial(&[1.0], || false)?.0;
        let errors = |form| -> Result<Vec<f64>, Box<dyn Error>> {
            let iterates = residual_iterates(&grid, &fine, &coarse, &[1.0], ITERATIONS, form)?;
            let largest = |states: &Vec<[f64; 1]>| {
                states.iter().zip(&serial).map(|(a, b)| a.distance(b)).fold(0.0, f64::max)
            };
            Ok(iterates.iter().map(largest).collect())
        };
        let corrected = errors(ResidualForm::Corrected)?;
        let printed = errors(ResidualForm::AsPrinted)?;
        println!("[0, {interval}] in {SLICES} slices\n   k  corrected  as printed");
        for k in [0, 1, 2, 3, 5, 8, 10, 20] {
            println!("  {k:2}    {:7.1e}     {:7.1e}", corrected[k], printed[k]);
        }
    }
    Ok(())
}
