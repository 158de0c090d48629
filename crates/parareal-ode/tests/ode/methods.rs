//! The built-in propagators: order, stability functions, and agreement with each other and with closed forms.

use parareal_ode::{Complex, Differentiable, Grid, Method, Problem, Propagator, Scheme};
use rand::RngExt;

use crate::made::{Random, State, chance, distance, last};

const SCHEMES: [Scheme; 2] = [Scheme::BackwardEuler, Scheme::Midpoint];

#[test]
fn methods_converge_with_their_order() {
    let mut rng = chance(600);
    let grid = Grid::from_points(&[0.2, 0.9, 1.4]).unwrap();
    for coupling in [0.0, 0.8] {
        let system = Random { size: 3, ..Random::new(&mut rng, coupling) };
        let rows = (0..9).map(|_| rng.random_range(-1.0..1.0)).collect();
        let system = Random { rows, ..system };
        let initial = system.initial(&mut rng);
        let at_end = |method| last(&grid, system.propagator(method, &grid, false), &initial);
        let truth = at_end(Method::RungeKutta4 { steps: 2000 });
        if coupling == 0.0 {
            assert!(distance(&at_end(Method::Exact), &truth) < 1e-12);
        }
        type Family = fn(usize) -> Method;
        let methods: [(Family, f64); 3] = [
            (|steps| Method::Implicit { scheme: Scheme::BackwardEuler, steps }, 1.0),
            (|steps| Method::Implicit { scheme: Scheme::Midpoint, steps }, 2.0),
            (|steps| Method::RungeKutta4 { steps }, 4.0),
        ];
        for (method, order) in methods {
            let error = |steps| distance(&at_end(method(steps)), &truth);
            let found = (error(10) / error(20)).log2();
            assert!((found - order).abs() < 0.25, "{}: order {found:.2}", method(10));
        }
    }
}

#[test]
fn linear_and_nonlinear_dense_and_sparse_are_the_same_steps() {
    for seed in 601..630 {
        let mut rng = chance(seed);
        let (system, grid) = (Random::new(&mut rng, 0.0), crate::made::grid(&mut rng));
        let initial = system.initial(&mut rng);
        for scheme in SCHEMES {
            let method = Method::Implicit { scheme, steps: 7 };
            let dense = last(&grid, system.propagator(method, &grid, false), &initial);
            let sparse = last(&grid, system.propagator(method, &grid, true), &initial);
            let newton = parareal_ode::NonlinearImplicit::new(system.clone(), scheme, 7).unwrap();
            let newton = last(&grid, newton, &initial);
            let scale = 1.0 + parareal_ode::State::norm(&dense);
            assert!(distance(&dense, &sparse) < 1e-13 * scale, "seed {seed}");
            assert!(distance(&dense, &newton) < 1e-12 * scale, "seed {seed}");
        }
    }
}

#[test]
fn amplifications_are_those_of_the_propagators() {
    let grid = Grid::uniform(0.8, 1).unwrap();
    let slice = grid.slices()[0];
    for lambda in [Complex::new(-1.0, 0.0), Complex::new(-0.4, 2.0), Complex::new(0.3, -1.0)] {
        let problem = Problem::dahlquist(lambda).unwrap();
        for name in ["exact", "backward-euler:3", "midpoint:2", "rk4:2", "rk4"] {
            let method: Method = name.parse().unwrap();
            let propagator = problem.propagator(method, &grid).unwrap();
            let mut to = vec![0.0; 2];
            let mut workspace = propagator.workspace();
            propagator.propagate(slice, &problem.initial(), &mut to, &mut workspace).unwrap();
            let found = Complex::new(to[0], to[1]);
            let expected = method.amplification(lambda * slice.length);
            assert!((found - expected).norm() < 1e-14, "{method}, λ = {lambda}");
        }
    }
}

#[test]
fn jacobians_are_those_of_finite_differences() {
    fn check(system: &impl Differentiable, u: &State) {
        let n = system.size();
        let mut jacobian = vec![0.0; n * n];
        system.jacobian(0.3, u, &mut jacobian);
        let at = |j: usize, step: f64| {
            let mut moved = u.clone();
            moved[j] += step;
            let mut derivative = vec![0.0; n];
            system.derivative(0.3, &moved, &mut derivative);
            derivative
        };
        for j in 0..n {
            let (up, down) = (at(j, 1e-6), at(j, -1e-6));
            for i in 0..n {
                let expected = (up[i] - down[i]) / 2e-6;
                assert!((jacobian[j * n + i] - expected).abs() < 1e-7, "entry ({i}, {j})");
            }
        }
    }
    check(&parareal_ode::LotkaVolterra, &vec![4.0, 2.0]);
    check(&parareal_ode::Lorenz, &vec![20.0, 5.0, -5.0]);
    let mut rng = chance(640);
    let system = Random::new(&mut rng, 0.7);
    check(&system, &system.initial(&mut rng));
}

#[test]
fn explicit_steps_know_the_time() {
    // u' = sin(t + u), starting at a time other than 0.
    let system = Random { rows: vec![0.0], size: 1, coupling: 1.0 };
    let grid = Grid::from_points(&[1.0, 2.0]).unwrap();
    let method = Method::RungeKutta4 { steps: 500 };
    let explicit = last(&grid, system.propagator(method, &grid, false), &vec![0.5]);
    let method = Method::Implicit { scheme: Scheme::Midpoint, steps: 5000 };
    let implicit = last(&grid, system.propagator(method, &grid, false), &vec![0.5]);
    assert!(distance(&explicit, &implicit) < 1e-7);
}
