//! Algorithm 1 in the residual form. The corrected form is the parareal iteration; the printed form does not
//! converge.

use parareal_ode::{
    Complex, Grid, Matrix, Method, Options, Parareal, Problem, ResidualForm, residual_iterates,
};
use rand::RngExt;

use crate::made::{Random, State, chance, distance, grid, method};

#[test]
fn the_corrected_form_gives_the_same_iterates() {
    for seed in 200..280 {
        let mut rng = chance(seed);
        let (system, grid) = (Random::new(&mut rng, 0.0), grid(&mut rng));
        let (fine, coarse) = (method(&mut rng, true, 5), method(&mut rng, true, 1));
        let what = format!("seed {seed}: fine {fine}, coarse {coarse}");
        let sparse = rng.random_bool(0.5);
        let fine = system.propagator(fine, &grid, sparse);
        let coarse = system.propagator(coarse, &grid, sparse);
        let initial = system.initial(&mut rng);
        let iterations = grid.slices().len();
        let corrected = ResidualForm::Corrected;
        let iterates =
            residual_iterates(&grid, &fine, &coarse, &initial, iterations, corrected).unwrap();
        let parareal = Parareal::new(grid, fine, coarse, 1).unwrap();
        let largest = |states: &[State]| {
            states.iter().flatten().fold(1.0_f64, |largest, value| largest.max(value.abs()))
        };
        parareal
            .solve(&initial, &Options::default(), |iterate| {
                let k = iterate.record.k;
                for (state, other) in iterate.states.iter().zip(&iterates[k]) {
                    let difference = distance(state, other) / largest(iterate.states);
                    assert!(difference < 1e-12, "{what}, k = {k}: {difference:.1e}");
                }
            })
            .unwrap();
    }
}

#[test]
fn the_printed_form_does_not_converge() {
    let problem = Problem::dahlquist(Complex::new(-1.0, 0.0)).unwrap();
    let grid = Grid::uniform(10.0, 10).unwrap();
    let defaults = problem.defaults();
    let propagator = |method: Method| problem.propagator(method, &grid).unwrap();
    let (fine, coarse) = (propagator(defaults.fine), propagator(defaults.coarse));
    let initial = problem.initial();
    let serial = Parareal::new(grid.clone(), &fine, &coarse, 1).unwrap();
    let (serial, _) = serial.serial(&initial, || false).unwrap();
    let errors = |form, grid: &Grid| -> Vec<f64> {
        let iterates = residual_iterates(grid, &fine, &coarse, &initial, 20, form).unwrap();
        let error = |states: &Vec<State>| {
            states.iter().zip(&serial).map(|(a, b)| distance(a, b)).fold(0.0, f64::max)
        };
        iterates.iter().map(error).collect()
    };
    let corrected = errors(ResidualForm::Corrected, &grid);
    let printed = errors(ResidualForm::AsPrinted, &grid);
    assert_eq!(corrected[0], printed[0]);
    assert!(corrected[10] < 1e-15);
    // U_1 is never corrected, so the error stays above the first jump, and the other states diverge.
    let first = residual_iterates(&grid, &fine, &coarse, &initial, 20, ResidualForm::AsPrinted);
    let first = first.unwrap();
    assert!(first.iter().all(|states| states[1] == first[0][1]));
    assert!(printed.iter().all(|error| *error >= distance(&first[0][1], &serial[1])));
    assert!(printed[20] > printed[10] && printed[10] > printed[5]);
}

#[test]
fn the_printed_form_is_wrong_on_unit_slices_and_on_others() {
    // With ΔT = 1, the first of the two missing terms has no effect, but the second does.
    let matrix = Matrix::dense(2, &[-0.3, 1.0, -1.0, -0.3]).unwrap();
    for length in [0.25, 1.0] {
        let grid = Grid::uniform(6.0 * length, 6).unwrap();
        let fine = parareal_ode::Exact::new(&matrix, &grid).unwrap();
        let coarse = parareal_ode::LinearImplicit::new(
            &matrix,
            &grid,
            parareal_ode::Scheme::BackwardEuler,
            1,
        )
        .unwrap();
        let last = |form| {
            let iterates = residual_iterates(&grid, &fine, &coarse, &[1.0, 0.0], 6, form).unwrap();
            iterates[6][6]
        };
        let serial = Parareal::new(grid.clone(), &fine, &coarse, 1).unwrap();
        let serial = serial.serial(&[1.0, 0.0], || false).unwrap().0[6];
        let error = |u: [f64; 2]| parareal_ode::State::distance(&u, &serial);
        assert!(error(last(ResidualForm::Corrected)) < 1e-14);
        assert!(error(last(ResidualForm::AsPrinted)) > 1e-2);
    }
}
