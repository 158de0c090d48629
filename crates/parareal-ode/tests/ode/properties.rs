//! Properties that hold for any problem, tested with random linear and nonlinear problems.

use std::sync::atomic::{AtomicUsize, Ordering};

use parareal_ode::{AnyPropagator, Ending, Grid, Method, Options, Parareal, Scheme};
use rand::RngExt;

use crate::made::{Random, State, chance, grid, method};

struct Case {
    what: String,
    grid: Grid,
    fine: AnyPropagator,
    coarse: AnyPropagator,
    initial: State,
}

/// Random systems, methods and grids.
fn cases() -> impl Iterator<Item = Case> {
    (0..120).map(|seed| {
        let mut rng = chance(seed);
        let linear = rng.random_bool(0.5);
        let coupling = if linear { 0.0 } else { rng.random_range(0.2..0.8) };
        let (system, grid) = (Random::new(&mut rng, coupling), grid(&mut rng));
        let fine = method(&mut rng, linear, 8);
        // Few steps make the method coarse, but Newton's method needs enough steps to converge.
        let coarse = method(&mut rng, linear, if linear { 1 } else { 4 });
        let sparse = rng.random_bool(0.5);
        Case {
            what: format!(
                "seed {seed}: {} unknowns, {} slices, fine {fine}, coarse {coarse}",
                system.size,
                grid.slices().len()
            ),
            fine: system.propagator(fine, &grid, sparse),
            coarse: system.propagator(coarse, &grid, sparse),
            initial: system.initial(&mut rng),
            grid,
        }
    })
}

#[test]
fn after_k_iterations_the_first_k_slices_are_exact() {
    for Case { what, grid, fine, coarse, initial } in cases() {
        let slices = grid.slices().len();
        let parareal = Parareal::new(grid, fine, coarse, 2).unwrap();
        let (serial, _) = parareal.serial(&initial, || false).unwrap();
        let options = Options { reference: Some(&serial), ..Options::default() };
        let mut seen = 0;
        let solution = parareal
            .solve(&initial, &options, |iterate| {
                let k = iterate.record.k;
                assert_eq!(k, seen, "{what}");
                // Bitwise equal, not only up to rounding errors.
                assert_eq!(iterate.states[..=k], serial[..=k], "{what}, k = {k}");
                assert!(iterate.errors[..=k].iter().all(|error| *error == 0.0), "{what}");
                seen += 1;
            })
            .unwrap();
        assert_eq!(solution.states, serial, "{what}");
        assert_eq!(solution.ending, Ending::Exact, "{what}");
        assert_eq!((solution.iterations(), seen), (slices, slices + 1), "{what}");
        let last = solution.records[slices];
        assert_eq!((last.max_jump, last.max_error), (Some(0.0), Some(0.0)), "{what}");
        assert_eq!(last.fine_evaluations, slices * (slices + 1) / 2, "{what}");
        assert_eq!(last.coarse_evaluations, slices * (slices + 1) / 2, "{what}");
    }
}

#[test]
fn the_fine_solution_is_a_fixed_point() {
    for Case { what, grid, fine, coarse, initial } in cases() {
        let parareal = Parareal::new(grid, fine, coarse, 2).unwrap();
        let (serial, _) = parareal.serial(&initial, || false).unwrap();
        let options = Options {
            guess: Some(&serial),
            reference: Some(&serial),
            iterations: Some(3),
            ..Options::default()
        };
        let solution = parareal.solve(&initial, &options, |_| ()).unwrap();
        assert_eq!(solution.states, serial, "{what}");
        for record in solution.records {
            assert_eq!((record.max_jump, record.max_error), (Some(0.0), Some(0.0)), "{what}");
        }
    }
}

#[test]
fn one_iteration_suffices_where_the_coarse_propagator_is_the_fine_one() {
    for Case { what, grid, fine, initial, .. } in cases() {
        let parareal = Parareal::new(grid, &fine, &fine, 2).unwrap();
        let (serial, _) = parareal.serial(&initial, || false).unwrap();
        let options = Options { absolute_tolerance: Some(0.0), ..Options::default() };
        let solution = parareal.solve(&initial, &options, |_| ()).unwrap();
        assert_eq!(solution.iterations(), 1, "{what}");
        assert_eq!(solution.states, serial, "{what}");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for Case { what, grid, fine, coarse, initial } in cases().step_by(4) {
        let solve = |threads| {
            let parareal = Parareal::new(grid.clone(), &fine, &coarse, threads).unwrap();
            let mut iterates: Vec<Vec<State>> = Vec::new();
            let solution = parareal
                .solve(&initial, &Options::default(), |iterate| {
                    iterates.push(iterate.states.to_vec());
                })
                .unwrap();
            let jumps: Vec<_> = solution.records.iter().map(|record| record.max_jump).collect();
            (iterates, jumps)
        };
        let one = solve(1);
        for threads in [2, 3, 8] {
            assert_eq!(solve(threads), one, "{what}, {threads} threads");
        }
    }
}

#[test]
fn the_iteration_ends_at_the_tolerance() {
    for Case { what, grid, fine, coarse, initial } in cases().step_by(3) {
        let slices = grid.slices().len();
        let parareal = Parareal::new(grid, fine, coarse, 1).unwrap();
        let (serial, _) = parareal.serial(&initial, || false).unwrap();
        let options = Options { reference: Some(&serial), ..Options::default() };
        let all = parareal.solve(&initial, &options, |_| ()).unwrap().records;
        let norm = |state: &State| parareal_ode::State::norm(state);
        for (absolute, relative) in [(1e-3, 0.0), (0.0, 1e-4), (1e-5, 1e-5)] {
            let mut largest = 0.0_f64;
            let options = Options {
                absolute_tolerance: Some(absolute),
                relative_tolerance: Some(relative),
                ..Options::default()
            };
            let solution = parareal
                .solve(&initial, &options, |iterate| {
                    // The jumps of the second-to-last iterate end the iteration.
                    if all.get(iterate.record.k + 1).is_some() {
                        largest = iterate.states.iter().map(norm).fold(0.0, f64::max);
                    }
                })
                .unwrap();
            let made = solution.iterations();
            let within = |k: usize, limit: f64| all[k].max_jump.unwrap() <= limit;
            match solution.ending {
                Ending::Tolerance => {
                    // The factor of two allows for the norm of a neighboring iterate.
                    assert!(within(made - 1, 2.0 * (absolute + relative * largest)), "{what}");
                }
                _ => assert_eq!(made, slices, "{what}"),
            }
            for k in 0..made - 1 {
                assert!(!within(k, 0.5 * absolute), "{what}: could have ended behind {k}");
            }
        }
    }
}

#[test]
fn it_ends_after_the_requested_number_of_iterations() {
    for Case { what, grid, fine, coarse, initial } in cases().step_by(5) {
        let slices = grid.slices().len();
        let parareal = Parareal::new(grid, fine, coarse, 2).unwrap();
        let (serial, _) = parareal.serial(&initial, || false).unwrap();
        for iterations in 0..slices {
            for reference in [None, Some(&serial[..])] {
                let iterations = Some(iterations);
                let options = Options { iterations, reference, ..Options::default() };
                let solution = parareal.solve(&initial, &options, |_| ()).unwrap();
                assert_eq!(Some(solution.iterations()), iterations, "{what}");
                assert_eq!(solution.ending, Ending::Iterations, "{what}");
                // The jumps of the last iterate are known only if they were measured.
                let last = solution.records.last().unwrap();
                assert_eq!(last.max_jump.is_some(), reference.is_some(), "{what}");
                assert_eq!(last.max_error.is_some(), reference.is_some(), "{what}");
            }
        }
    }
}

#[test]
fn it_stops_on_request() {
    let Case { grid, fine, coarse, initial, .. } =
        cases().find(|case| case.grid.slices().len() == 6).unwrap();
    let parareal = Parareal::new(grid, fine, coarse, 2).unwrap();
    let whole = {
        let mut iterates = Vec::new();
        let keep = |iterate: &parareal_ode::Iterate<'_, State>| {
            iterates.push(iterate.states.to_vec());
        };
        parareal.solve(&initial, &Options::default(), keep).unwrap();
        iterates
    };
    for asked in [0, 1, 5, 6, 8, 14] {
        let count = AtomicUsize::new(0);
        let stop = || count.fetch_add(1, Ordering::Relaxed) >= asked;
        let options = Options { stop: &stop, ..Options::default() };
        let solution = parareal.solve(&initial, &options, |_| ()).unwrap();
        assert_eq!(solution.ending, Ending::Cancelled);
        // The result is the last complete iterate. The first takes 6 evaluations, the second 5, ..
        assert_eq!(solution.iterations(), [0, 6, 11].iter().rposition(|n| asked >= *n).unwrap());
        assert_eq!(solution.states, whole[solution.iterations()]);
    }
    let stopped = parareal.serial(&initial, || true).unwrap_err();
    assert_eq!(stopped, parareal_ode::OdeError::Cancelled);
}

#[test]
fn a_custom_state_type_is_supported() {
    /// A point in the plane whose type is not a slice of numbers.
    #[derive(Clone, Debug, PartialEq)]
    struct Point(f64, f64);

    impl parareal_ode::State for Point {
        fn size(&self) -> usize {
            2
        }
        fn assign(&mut self, other: &Self) {
            self.clone_from(other);
        }
        fn add_scaled(&mut self, factor: f64, other: &Self) {
            self.0 += factor * other.0;
            self.1 += factor * other.1;
        }
        fn norm(&self) -> f64 {
            self.0.hypot(self.1)
        }
        fn distance(&self, other: &Self) -> f64 {
            (self.0 - other.0).hypot(self.1 - other.1)
        }
    }

    /// Forward Euler for a rotation.
    struct Turn(usize);

    impl parareal_ode::Propagator<Point> for Turn {
        type Workspace = ();
        fn workspace(&self) {}
        fn propagate(
            &self,
            slice: parareal_ode::Slice,
            from: &Point,
            to: &mut Point,
            (): &mut (),
        ) -> Result<(), parareal_ode::OdeError> {
            let h = slice.length / self.0 as f64;
            to.clone_from(from);
            for _ in 0..self.0 {
                *to = Point(to.0 - h * to.1, to.1 + h * to.0);
            }
            Ok(())
        }
    }

    let parareal = Parareal::new(Grid::uniform(1.0, 5).unwrap(), Turn(100), Turn(1), 2).unwrap();
    let (serial, _) = parareal.serial(&Point(1.0, 0.0), || false).unwrap();
    let solution = parareal.solve(&Point(1.0, 0.0), &Options::default(), |_| ()).unwrap();
    assert_eq!(solution.states, serial);
    assert!((serial[5].0 - 1.0_f64.cos()).abs() < 0.01);
}

#[test]
fn an_unstable_explicit_coarse_step_is_an_error_or_still_ends_exact() {
    // For one step of RK4, |R| = R(-1000) = 4e10. After 40 slices, the numbers are too large to be squared;
    // after 10 slices, they are not.
    let stiff = Random { rows: vec![-100.0], size: 1, coupling: 0.0 };
    for (slices, ends) in [(10, true), (40, false)] {
        let grid = Grid::uniform(10.0 * slices as f64, slices).unwrap();
        let fine = Method::Implicit { scheme: Scheme::BackwardEuler, steps: 10 };
        let fine = stiff.propagator(fine, &grid, false);
        let coarse = stiff.propagator(Method::RungeKutta4 { steps: 1 }, &grid, false);
        let parareal = Parareal::new(grid, fine, coarse, 2).unwrap();
        let (serial, _) = parareal.serial(&vec![1.0], || false).unwrap();
        let options = Options { reference: Some(&serial), ..Options::default() };
        let result = parareal.solve(&vec![1.0], &options, |_| ());
        match ends {
            true => {
                let solution = result.unwrap();
                assert!(solution.records[0].max_error.unwrap() > 1e50);
                assert_eq!(solution.states, serial);
            }
            false => {
                let message = result.unwrap_err().to_string();
                assert!(message.starts_with("the coarse propagator"), "{message}");
                assert!(message.contains("iteration 0"), "{message}");
            }
        }
    }
}
