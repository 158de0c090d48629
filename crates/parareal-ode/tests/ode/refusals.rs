//! Problems that cannot be solved result in a typed error, never in a panic or an endless loop.

use parareal_ode::{
    Complex, Exact, Grid, LinearImplicit, Matrix, Method, NonlinearImplicit, OdeError, Options,
    Parareal, Problem, Propagator, RungeKutta4, Scheme,
};

use crate::made::Random;

fn decay() -> Matrix {
    Matrix::dense(1, &[-1.0]).unwrap()
}

fn parareal() -> Parareal<RungeKutta4<Matrix>, RungeKutta4<Matrix>> {
    let method = |steps| RungeKutta4::new(decay(), steps).unwrap();
    Parareal::new(Grid::uniform(1.0, 4).unwrap(), method(10), method(1), 2).unwrap()
}

#[test]
fn grids_need_slices_of_positive_length() {
    assert!(matches!(Grid::uniform(1.0, 0), Err(OdeError::Value { value: 0, .. })));
    assert!(Grid::uniform(1.0, usize::MAX).is_err());
    for interval in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Grid::uniform(interval, 3), Err(OdeError::Grid(_))), "{interval}");
    }
    for points in [&[][..], &[0.0], &[0.0, 0.0], &[0.0, 1.0, 0.5], &[0.0, f64::NAN]] {
        assert!(Grid::from_points(points).is_err(), "{points:?}");
    }
    assert_eq!(Grid::from_points(&[0.0, 1.0, 1.5]).unwrap().lengths(), [0.5, 1.0]);
    assert_eq!(Grid::uniform(0.7, 7).unwrap().lengths().len(), 1);
}

#[test]
fn initial_values_are_checked() {
    let parareal = parareal();
    let options = Options::default();
    let solve = |initial: Vec<f64>| parareal.solve(&initial, &options, |_| ()).unwrap_err();
    assert_eq!(solve(vec![]), OdeError::EmptyState);
    assert_eq!(solve(vec![f64::NAN]), OdeError::InitialValue);
    assert_eq!(solve(vec![f64::INFINITY]), OdeError::InitialValue);
    assert_eq!(solve(vec![1.0, 2.0]), OdeError::Size { expected: 1, found: 2 });
    assert_eq!(parareal.serial(&vec![], || false).unwrap_err(), OdeError::EmptyState);
}

#[test]
fn tolerances_and_given_states_are_checked() {
    let parareal = parareal();
    for value in [-1e-3, f64::NAN, f64::INFINITY] {
        for (absolute_tolerance, relative_tolerance) in [(Some(value), None), (None, Some(value))] {
            let options = Options { absolute_tolerance, relative_tolerance, ..Options::default() };
            let error = parareal.solve(&vec![1.0], &options, |_| ()).unwrap_err();
            assert!(matches!(error, OdeError::Tolerance { .. }), "{error}");
        }
    }
    // With a tolerance of zero, the iteration ends at the latest when all slices are exact.
    let options = Options { absolute_tolerance: Some(0.0), ..Options::default() };
    let solution = parareal.solve(&vec![1.0], &options, |_| ()).unwrap();
    assert!(solution.iterations() <= 4);
    assert_eq!(solution.states, parareal.serial(&vec![1.0], || false).unwrap().0);

    let few = vec![vec![1.0]; 4];
    let wide = vec![vec![1.0, 2.0]; 5];
    let broken = vec![vec![f64::NAN]; 5];
    for (guess, expected) in [
        (&few, OdeError::States { slices: 4, found: 4 }),
        (&wide, OdeError::Size { expected: 1, found: 2 }),
        (&broken, OdeError::InitialValue),
    ] {
        let options = Options { guess: Some(guess), ..Options::default() };
        assert_eq!(parareal.solve(&vec![1.0], &options, |_| ()).unwrap_err(), expected);
    }
}

#[test]
fn propagators_refuse_problems_that_they_cannot_solve() {
    let grid = Grid::uniform(1.0, 2).unwrap();
    assert!(RungeKutta4::new(decay(), 0).is_err());
    assert!(RungeKutta4::new(decay(), usize::MAX).is_err());
    assert!(LinearImplicit::new(&decay(), &grid, Scheme::BackwardEuler, 0).is_err());
    // I - h·2 with h = 1/2.
    for growth in [Matrix::dense(1, &[2.0]).unwrap(), Matrix::sparse(1, &[(0, 0, 2.0)]).unwrap()] {
        let result = LinearImplicit::new(&growth, &grid, Scheme::BackwardEuler, 1);
        assert!(matches!(result.err(), Some(OdeError::Singular { step: 0.5 })));
    }
    let large = Matrix::sparse(3000, &[]).unwrap();
    assert!(matches!(Exact::new(&large, &grid).err(), Some(OdeError::Value { .. })));
    let entries = |entries: &[(usize, usize, f64)]| Matrix::sparse(2, entries);
    assert!(entries(&[(0, 2, 1.0)]).is_err() && entries(&[(0, 1, f64::NAN)]).is_err());
    assert!(Matrix::dense(2, &[1.0]).is_err() && Matrix::dense(0, &[]).is_err());
    assert!(Matrix::dense(1, &[f64::INFINITY]).is_err());
    assert!(Matrix::dense(usize::MAX, &[]).is_err());
    // A propagator for another grid.
    let other = Grid::uniform(1.0, 3).unwrap();
    let euler = LinearImplicit::new(&decay(), &grid, Scheme::BackwardEuler, 1).unwrap();
    let mut workspace = Propagator::<Vec<f64>>::workspace(&euler);
    let result = euler.propagate(other.slices()[0], &vec![1.0], &mut vec![0.0], &mut workspace);
    assert!(matches!(result, Err(OdeError::OtherGrid { .. })));
    // The solution of x' = x² with x(0) = 1 is infinite at t = 1, so the implicit step has no solution.
    struct Square;
    impl parareal_ode::System for Square {
        fn size(&self) -> usize {
            1
        }
        fn derivative(&self, _t: f64, u: &[f64], derivative: &mut [f64]) {
            derivative[0] = u[0] * u[0];
        }
    }
    impl parareal_ode::Differentiable for Square {
        fn jacobian(&self, _t: f64, u: &[f64], jacobian: &mut [f64]) {
            jacobian[0] = 2.0 * u[0];
        }
    }
    let newton = NonlinearImplicit::new(Square, Scheme::BackwardEuler, 1).unwrap();
    let grid = Grid::uniform(2.0, 1).unwrap();
    let parareal = Parareal::new(grid.clone(), newton, RungeKutta4::new(Square, 1).unwrap(), 1);
    let error = parareal.unwrap().serial(&vec![1.0], || false).unwrap_err();
    assert!(matches!(error, OdeError::Newton { .. }), "{error}");
    // The explicit method diverges, which is detected as well.
    let explicit = RungeKutta4::new(Square, 1000).unwrap();
    let parareal = Parareal::new(grid, &explicit, &explicit, 1).unwrap();
    let error = parareal.serial(&vec![1.0], || false).unwrap_err();
    assert!(matches!(error, OdeError::NotFinite { propagator: "fine", slice: 1, .. }), "{error}");
}

#[test]
fn an_error_is_that_of_the_first_slice_on_any_number_of_threads() {
    // exp(100 t) is too large in the slices after about t = 3.6.
    let growth = Random { rows: vec![100.0], size: 1, coupling: 0.0 };
    let grid = Grid::uniform(8.0, 16).unwrap();
    let still = Random { rows: vec![0.0], size: 1, coupling: 0.0 };
    let errors = [1, 2, 8].map(|threads| {
        let fine = growth.propagator(Method::Exact, &grid, false);
        let coarse = still.propagator(Method::Exact, &grid, false);
        let parareal = Parareal::new(grid.clone(), fine, coarse, threads).unwrap();
        parareal.solve(&vec![1.0], &Options::default(), |_| ()).unwrap_err()
    });
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    assert!(matches!(errors[0], OdeError::NotFinite { .. }), "{errors:?}");
}

#[test]
fn threads_problems_and_names_are_checked() {
    let method = || RungeKutta4::new(decay(), 1).unwrap();
    for threads in [0, 5000] {
        let grid = Grid::uniform(1.0, 2).unwrap();
        assert!(Parareal::new(grid, method(), method(), threads).is_err());
    }
    assert!(Problem::heat(0).is_err() && Problem::advection_diffusion(usize::MAX).is_err());
    assert!(Problem::dahlquist(Complex::new(f64::NAN, 0.0)).is_err());
    let grid = Grid::uniform(1.0, 2).unwrap();
    assert!(Problem::Lorenz.propagator(Method::Exact, &grid).is_err());
    assert!(Problem::heat(100_000).unwrap().propagator(Method::Exact, &grid).is_err());
    for name in ["", "euler", "rk4:", "rk4:-1", "rk4:0", "exact:2", "midpoint:1.5"] {
        assert!(name.parse::<Method>().is_err(), "{name}");
    }
    for name in ["exact", "backward-euler:3", "midpoint:7", "rk4:1"] {
        assert_eq!(name.parse::<Method>().unwrap().to_string(), name);
    }
}
