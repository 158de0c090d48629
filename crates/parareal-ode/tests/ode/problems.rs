//! Comparison of solutions of the built-in problems with their reference solutions.

use parareal_ode::{Complex, Grid, Method, Problem};

use crate::made::{distance, last};

fn all() -> [Problem; 5] {
    [
        Problem::dahlquist(Complex::new(-0.5, 2.0)).unwrap(),
        Problem::heat(60).unwrap(),
        Problem::advection_diffusion(60).unwrap(),
        Problem::LotkaVolterra,
        Problem::Lorenz,
    ]
}

#[test]
fn fine_methods_reach_the_references() {
    for (problem, method, interval, tolerance) in [
        (all()[0], "exact", 10.0, 1e-12),
        (all()[0], "rk4:100", 10.0, 2e-8),
        (all()[1], "exact", 0.1, 1e-12),
        (all()[1], "midpoint:400", 0.1, 1e-6),
        (all()[1], "rk4:2000", 0.1, 1e-9),
        (all()[2], "exact", 0.5, 1e-12),
        (all()[2], "midpoint:400", 0.5, 1e-5),
        (all()[3], "rk4:400", 6.0, 1e-8),
        (all()[3], "midpoint:4000", 6.0, 1e-4),
        (all()[4], "rk4:1000", 2.0, 1e-8),
    ] {
        let grid = Grid::uniform(interval, 4).unwrap();
        let fine = problem.propagator(method.parse::<Method>().unwrap(), &grid).unwrap();
        let found = last(&grid, fine, &problem.initial());
        let reference = problem.reference(&[interval]).pop().unwrap();
        let difference = distance(&found, &reference) * problem.norm_scale();
        assert!(difference < tolerance, "{problem}, {method}: {difference:.1e}");
    }
}

#[test]
fn references_begin_with_the_initial_value() {
    for problem in all() {
        let times = [0.0, 0.05, 0.1];
        let reference = problem.reference(&times);
        assert_eq!(reference.len(), 3);
        assert!(distance(&reference[0], &problem.initial()) < 1e-15, "{problem}");
        // The reference solution does not depend on the other requested times.
        let alone = problem.reference(&times[2..]);
        assert!(distance(&reference[2], &alone[0]) < 1e-9, "{problem}");
    }
}

#[test]
fn the_invariant_of_lotka_volterra_is_preserved() {
    let invariant = |u: &Vec<f64>| u[0] - 3.0 * u[0].ln() + u[1] - 1.5 * u[1].ln();
    let times: Vec<f64> = (0..=30).map(|i| 0.2 * f64::from(i)).collect();
    let reference = Problem::LotkaVolterra.reference(&times);
    for u in &reference {
        assert!((invariant(u) - invariant(&reference[0])).abs() < 1e-8);
    }
}

#[test]
fn eigenvalues_are_those_of_the_matrix() {
    // The reference is computed from the eigenvalues, and the exact propagator from the matrix.
    for problem in [all()[0], all()[1], all()[2]] {
        let eigenvalues = problem.eigenvalues().unwrap();
        assert_eq!(eigenvalues.len().max(2), problem.initial().len());
        let grid = Grid::uniform(1e-3, 1).unwrap();
        let exact = problem.propagator(Method::Exact, &grid).unwrap();
        let found = last(&grid, exact, &problem.initial());
        let reference = problem.reference(&[1e-3]).pop().unwrap();
        assert!(distance(&found, &reference) < 1e-11, "{problem}");
    }
}

#[test]
fn large_meshes_are_solved() {
    let problem = Problem::heat(100_000).unwrap();
    let grid = Grid::uniform(0.1, 2).unwrap();
    let fine = problem.propagator("midpoint:20".parse().unwrap(), &grid).unwrap();
    let found = last(&grid, fine, &problem.initial());
    let reference = problem.reference(&[0.1]).pop().unwrap();
    let difference = distance(&found, &reference) * problem.norm_scale();
    // The method has order 2 in time, with 40 steps. Both solutions use the same mesh.
    assert!(difference < 2e-3, "{difference:.1e}");
}
