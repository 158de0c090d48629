//! Random problems from a fixed seed.

use parareal_ode::{
    AnyPropagator, Differentiable, Exact, Grid, LinearImplicit, Matrix, Method, NonlinearImplicit,
    RungeKutta4, Scheme, System,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub(crate) type State = Vec<f64>;

pub(crate) fn chance(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// `u_i' = (Au)_i + c sin(t + u_{i+1})`; linear for `c = 0`.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    pub(crate) rows: Vec<f64>,
    pub(crate) size: usize,
    pub(crate) coupling: f64,
}

impl Random {
    pub(crate) fn new(rng: &mut ChaCha8Rng, coupling: f64) -> Self {
        let size = rng.random_range(1..=6);
        let rows = (0..size * size).map(|_| rng.random_range(-1.0..1.0)).collect();
        Self { rows, size, coupling }
    }

    pub(crate) fn initial(&self, rng: &mut ChaCha8Rng) -> State {
        (0..self.size).map(|_| rng.random_range(-2.0..2.0)).collect()
    }

    /// Creates a propagator for the system. The system must be linear if the propagator is exact.
    pub(crate) fn propagator(&self, method: Method, grid: &Grid, sparse: bool) -> AnyPropagator {
        if self.coupling != 0.0 {
            return match method {
                Method::Exact => panic!("not linear"),
                Method::Implicit { scheme, steps } => {
                    Box::new(NonlinearImplicit::new(self.clone(), scheme, steps).unwrap())
                }
                Method::RungeKutta4 { steps } => {
                    Box::new(RungeKutta4::new(self.clone(), steps).unwrap())
                }
            };
        }
        let matrix = self.matrix(sparse);
        match method {
            Method::Exact => Box::new(Exact::new(&matrix, grid).unwrap()),
            Method::Implicit { scheme, steps } => {
                Box::new(LinearImplicit::new(&matrix, grid, scheme, steps).unwrap())
            }
            Method::RungeKutta4 { steps } => Box::new(RungeKutta4::new(matrix, steps).unwrap()),
        }
    }

    pub(crate) fn matrix(&self, sparse: bool) -> Matrix {
        let n = self.size;
        match sparse {
            false => Matrix::dense(n, &self.rows).unwrap(),
            true => {
                let entry = |at: usize| (at / n, at % n, self.rows[at]);
                Matrix::sparse(n, &(0..n * n).map(entry).collect::<Vec<_>>()).unwrap()
            }
        }
    }
}

impl System for Random {
    fn size(&self) -> usize {
        self.size
    }

    fn derivative(&self, t: f64, u: &[f64], derivative: &mut [f64]) {
        for (i, derivative) in derivative.iter_mut().enumerate() {
            let row = &self.rows[i * self.size..][..self.size];
            let linear: f64 = row.iter().zip(u).map(|(a, u)| a * u).sum();
            *derivative = linear + self.coupling * (t + u[(i + 1) % self.size]).sin();
        }
    }
}

impl Differentiable for Random {
    fn jacobian(&self, t: f64, u: &[f64], jacobian: &mut [f64]) {
        let n = self.size;
        for i in 0..n {
            for j in 0..n {
                jacobian[j * n + i] = self.rows[i * n + j];
            }
            let next = (i + 1) % n;
            jacobian[next * n + i] += self.coupling * (t + u[next]).cos();
        }
    }
}

/// A random grid of 1 to 8 slices, of equal or different lengths.
pub(crate) fn grid(rng: &mut ChaCha8Rng) -> Grid {
    let slices = rng.random_range(1..=8);
    if rng.random_bool(0.5) {
        return Grid::uniform(rng.random_range(0.5..4.0), slices).unwrap();
    }
    let mut points = vec![rng.random_range(-1.0..1.0)];
    for slice in 0..slices {
        points.push(points[slice] + rng.random_range(0.05..0.9));
    }
    Grid::from_points(&points).unwrap()
}

/// A random method with at least `steps` steps.
pub(crate) fn method(rng: &mut ChaCha8Rng, linear: bool, steps: usize) -> Method {
    let steps = rng.random_range(steps..=4 * steps);
    match rng.random_range(0..if linear { 4 } else { 3 }) {
        0 => Method::RungeKutta4 { steps },
        1 => Method::Implicit { scheme: Scheme::BackwardEuler, steps },
        2 => Method::Implicit { scheme: Scheme::Midpoint, steps },
        _ => Method::Exact,
    }
}

pub(crate) fn distance(a: &State, b: &State) -> f64 {
    parareal_ode::State::distance(a, b)
}

/// Returns the state at the end of a grid.
pub(crate) fn last<F>(grid: &Grid, fine: F, initial: &State) -> State
where
    F: parareal_ode::Propagator<State>,
{
    let parareal = parareal_ode::Parareal::new(grid.clone(), &fine, &fine, 1).unwrap();
    parareal.serial(initial, || false).unwrap().0.pop().unwrap()
}
