//! Comparison with the iterates that `references/parareal_ode.py` computes with NumPy and SciPy.

use parareal_ode::{Complex, Grid, Method, Options, Parareal, Problem};
use serde_json::Value;

use crate::made::distance;

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ode.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn problem(name: &str, parameter: &Value) -> Problem {
    let size = || parameter.as_u64().unwrap() as usize;
    match name {
        "dahlquist" => {
            let parts = numbers(parameter);
            Problem::dahlquist(Complex::new(parts[0], parts[1])).unwrap()
        }
        "heat" => Problem::heat(size()).unwrap(),
        "advection-diffusion" => Problem::advection_diffusion(size()).unwrap(),
        "lotka-volterra" => Problem::LotkaVolterra,
        "lorenz" => Problem::Lorenz,
        other => panic!("{other}"),
    }
}

/// Returns the elements of a state that are in the fixture: every fourth and the last element of a large
/// state, and all elements of a small one.
fn thin(state: &[f64]) -> Vec<f64> {
    match state.len() {
        0..=3 => state.to_vec(),
        _ => state.iter().step_by(4).chain(state.last()).copied().collect(),
    }
}

#[test]
fn iterates_are_those_of_numpy() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let name = case["problem"].as_str().unwrap();
        let problem = problem(name, &case["parameter"]);
        let method = |key: &str| case[key].as_str().unwrap().parse::<Method>().unwrap();
        let what = format!("{name}, fine {}, coarse {}", method("fine"), method("coarse"));
        let grid = Grid::from_points(&numbers(&case["points"])).unwrap();
        let propagator = |key: &str| problem.propagator(method(key), &grid).unwrap();
        let parareal =
            Parareal::new(grid.clone(), propagator("fine"), propagator("coarse"), 2).unwrap();
        let expected = case["iterates"].as_array().unwrap();
        let options = Options { iterations: Some(expected.len() - 1), ..Options::default() };
        let mut seen = 0;
        parareal
            .solve(&problem.initial(), &options, |iterate| {
                let k = iterate.record.k;
                let expected = expected[k].as_array().unwrap();
                assert_eq!(iterate.states.len(), expected.len(), "{what}");
                for (slice, (state, expected)) in iterate.states.iter().zip(expected).enumerate() {
                    let expected = numbers(expected);
                    let difference = distance(&thin(state), &expected);
                    let scale = 1.0 + parareal_ode::State::norm(&expected);
                    assert!(
                        difference <= 1e-10 * scale,
                        "{what}, k = {k}, slice {slice}: {difference:.1e}"
                    );
                }
                seen += 1;
            })
            .unwrap();
        assert_eq!(seen, expected.len(), "{what}");
    }
}

#[test]
fn references_are_those_of_dop853() {
    for reference in fixture()["references"].as_array().unwrap() {
        let name = reference["problem"].as_str().unwrap();
        let time = reference["time"].as_f64().unwrap();
        let found = problem(name, &Value::Null).reference(&[time]).pop().unwrap();
        let difference = distance(&found, &numbers(&reference["state"]));
        assert!(difference < 1e-8, "{name}: {difference:.1e}");
    }
}
