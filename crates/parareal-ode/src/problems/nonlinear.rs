use crate::explicit::RungeKutta4;
use crate::grid::Grid;
use crate::propagator::{Differentiable, Propagator, System};

/// The Lotka-Volterra equations for prey `x` and predators `y`: `x' = 1.5x - xy`, `y' = xy - 3y`.
///
/// `x - 3 ln x + y - 1.5 ln y` is constant along a solution.
#[derive(Clone, Copy, Debug)]
pub struct LotkaVolterra;

impl System for LotkaVolterra {
    fn size(&self) -> usize {
        2
    }

    fn derivative(&self, _t: f64, u: &[f64], derivative: &mut [f64]) {
        derivative[0] = 1.5 * u[0] - u[0] * u[1];
        derivative[1] = u[0] * u[1] - 3.0 * u[1];
    }
}

impl Differentiable for LotkaVolterra {
    fn jacobian(&self, _t: f64, u: &[f64], jacobian: &mut [f64]) {
        jacobian.copy_from_slice(&[1.5 - u[1], u[1], -u[0], u[0] - 3.0]);
    }
}

/// The Lorenz system, `x' = 10(y - x)`, `y' = x(28 - z) - y`, `z' = xy - 8z/3`.
#[derive(Clone, Copy, Debug)]
pub struct Lorenz;

impl System for Lorenz {
    fn size(&self) -> usize {
        3
    }

    fn derivative(&self, _t: f64, u: &[f64], derivative: &mut [f64]) {
        derivative[0] = 10.0 * (u[1] - u[0]);
        derivative[1] = u[0] * (28.0 - u[2]) - u[1];
        derivative[2] = u[0] * u[1] - 8.0 / 3.0 * u[2];
    }
}

impl Differentiable for Lorenz {
    #[rustfmt::skip]
    fn jacobian(&self, _t: f64, u: &[f64], jacobian: &mut [f64]) {
        jacobian.copy_from_slice(&[
            -10.0, 28.0 - u[2], u[1],
             10.0,        -1.0, u[0],
              0.0,       -u[0], -8.0 / 3.0,
        ]);
    }
}

/// Accuracy of a reference solution, relative to the state.
const CHANGE: f64 = 1e-10;
/// Largest total number of steps.
const MAX_STEPS: usize = 1 << 20;

/// Computes the solution at increasing times. The number of steps is doubled until the estimated error is
/// below [`CHANGE`], or the number reaches [`MAX_STEPS`].
pub(crate) fn reference(
    system: &(impl System + Copy),
    initial: &[f64],
    times: &[f64],
) -> Vec<Vec<f64>> {
    let longest = times.last().copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
    let mut steps_of_all = 1024.0;
    let mut coarse = pass(system, initial, times, steps_of_all / longest);
    loop {
        steps_of_all *= 2.0;
        let fine = pass(system, initial, times, steps_of_all / longest);
        let pairs = coarse.iter().flatten().zip(fine.iter().flatten());
        let change = pairs.map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max);
        // The method has order 4, so the error of the finer solution is 1/15 of the change.
        if change <= 15.0 * CHANGE || steps_of_all >= MAX_STEPS as f64 || change.is_nan() {
            return fine;
        }
        coarse = fine;
    }
}

/// Computes the solution at increasing times with `rate` steps per unit of time, and at least one step
/// between two times.
fn pass(system: &(impl System + Copy), initial: &[f64], times: &[f64], rate: f64) -> Vec<Vec<f64>> {
    let (mut t, mut u) = (0.0, initial.to_vec());
    let mut states = Vec::with_capacity(times.len());
    for &next in times {
        if let Ok(grid) = Grid::from_points(&[t, next]) {
            let steps = ((next - t) * rate).ceil().max(1.0) as usize;
            let method = RungeKutta4::new(*system, steps).expect("steps are within limits");
            let mut to = u.clone();
            let mut workspace = Propagator::<Vec<f64>>::workspace(&method);
            method
                .propagate(grid.slices()[0], &u, &mut to, &mut workspace)
                .expect("states are of the system's size");
            (t, u) = (next, to);
        }
        states.push(u.clone());
    }
    states
}
