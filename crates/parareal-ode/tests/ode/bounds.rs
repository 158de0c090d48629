//! Errors stay below the bounds of Gander and Vandewalle.

use parareal_ode::{
    Complex, Contraction, Grid, Method, Options, Parareal, Problem, rounding_floor,
};
use rand::RngExt;

use crate::made::{State, chance, grid, method};

/// Returns the largest error of each iterate, with its superlinear and its linear bound.
fn errors_and_bounds(
    problem: Problem,
    grid: &Grid,
    fine: Method,
    coarse: Method,
) -> Vec<(f64, f64, Option<f64>)> {
    let propagator = |method| problem.propagator(method, grid).unwrap();
    let initial = problem.initial();
    let parareal = Parareal::new(grid.clone(), propagator(fine), propagator(coarse), 2).unwrap();
    let parareal = parareal.with_norm_scale(problem.norm_scale());
    let (serial, _) = parareal.serial(&initial, || false).unwrap();
    let norm = |state: &State| problem.norm_scale() * parareal_ode::State::norm(state);
    let mut largest = serial.iter().map(norm).fold(0.0, f64::max);
    let options = Options { reference: Some(&serial), ..Options::default() };
    let solution = parareal
        .solve(&initial, &options, |iterate| {
            largest = iterate.states.iter().map(norm).fold(largest, f64::max);
        })
        .unwrap();
    let slices = grid.slices().len();
    let contraction = Contraction::of(fine, coarse, grid, &problem.eigenvalues().unwrap());
    let floor = rounding_floor(slices, fine, largest);
    let first = solution.records[0].max_error.unwrap();
    let line = |record: &parareal_ode::Record| {
        let superlinear = first * contraction.superlinear(slices, record.k) + floor;
        let linear = contraction.linear(record.k).map(|factor| first * factor + floor);
        (record.max_error.unwrap(), superlinear, linear)
    };
    solution.records.iter().map(line).collect()
}

#[test]
fn dahlquist_stays_below_both() {
    let mut tight = 0;
    for seed in 400..520 {
        let mut rng = chance(seed);
        let lambda = Complex::new(rng.random_range(-3.0..0.5), rng.random_range(-3.0..3.0));
        let (grid, problem) = (grid(&mut rng), Problem::dahlquist(lambda).unwrap());
        let (fine, coarse) = (method(&mut rng, true, 5), method(&mut rng, true, 1));
        for (k, (error, superlinear, linear)) in
            errors_and_bounds(problem, &grid, fine, coarse).into_iter().enumerate()
        {
            let what = format!("seed {seed}: λ = {lambda}, fine {fine}, coarse {coarse}, k = {k}");
            assert!(error <= superlinear, "{what}: {error:.3e} above {superlinear:.3e}");
            if let Some(linear) = linear {
                assert!(error <= linear, "{what}: {error:.3e} above {linear:.3e}");
            }
            tight += usize::from(k > 0 && error > 1e-10 && error > 0.1 * superlinear);
        }
    }
    // A test with bounds that are far above all errors would be useless.
    assert!(tight > 20, "{tight}");
}

#[test]
fn long_intervals_stay_below_the_linear_bound() {
    for (re, im) in [(-1.0, 0.0), (-0.5, 1.0), (-2.0, 0.3)] {
        let problem = Problem::dahlquist(Complex::new(re, im)).unwrap();
        let grid = Grid::uniform(100.0, 100).unwrap();
        let defaults = problem.defaults();
        let lines = errors_and_bounds(problem, &grid, defaults.fine, defaults.coarse);
        let first = lines[0].0;
        for (k, (error, superlinear, linear)) in lines.into_iter().enumerate() {
            let linear = linear.unwrap();
            assert!(error <= linear && error <= superlinear, "λ = {re}+{im}i, k = {k}");
            // For long intervals, the linear bound is the smaller one.
            assert!(k == 0 || k > 30 || linear < superlinear.max(first), "k = {k}");
        }
    }
}

#[test]
fn systems_with_a_normal_matrix_stay_below_them() {
    for problem in [Problem::heat(40).unwrap(), Problem::advection_diffusion(40).unwrap()] {
        let defaults = problem.defaults();
        for (interval, slices) in [(defaults.interval, 8), (1.0, 5)] {
            let grid = Grid::uniform(interval, slices).unwrap();
            let lines = errors_and_bounds(problem, &grid, defaults.fine, defaults.coarse);
            for (k, (error, superlinear, _)) in lines.into_iter().enumerate() {
                assert!(error <= superlinear, "{problem}, k = {k}: {error:.3e} {superlinear:.3e}");
            }
        }
    }
}

#[test]
fn the_factors_are_those_of_the_paper() {
    let contraction = Contraction { coarse: 0.5, difference: 0.1 };
    // 0.1² / 2! · 9 · 8 = 0.36, and (0.1 / 0.5)² = 0.04.
    assert!((contraction.superlinear(10, 2) - 0.36).abs() < 1e-14);
    assert!((contraction.linear(2).unwrap() - 0.04).abs() < 1e-15);
    assert_eq!((contraction.superlinear(10, 0), contraction.superlinear(10, 10)), (1.0, 0.0));
    // For a growing coarse propagator, the sum of the last row of M^k is at most the bound.
    let growing = Contraction { coarse: 1.3, difference: 1.0 };
    let (slices, k) = (7, 3);
    let choose = |n: usize, m: usize| {
        (1..=m).fold(1.0, |product, j| product * (n - m + j) as f64 / j as f64)
    };
    let row: f64 =
        (k..slices).map(|m| choose(m - 1, k - 1) * growing.coarse.powi((m - k) as i32)).sum();
    let bound = growing.superlinear(slices, k);
    assert!(row <= bound && bound < 3.0 * row, "{row} {bound}");
    assert_eq!(growing.linear(2), None);
    // With equal propagators, the error is 0 after one iteration.
    let same = Contraction { coarse: 0.5, difference: 0.0 };
    assert_eq!((same.superlinear(10, 0), same.superlinear(10, 1)), (1.0, 0.0));
}
