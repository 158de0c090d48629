//! `ode`: solutions, plots and invalid flags.

use std::fs;
use std::path::Path;

use crate::common::{errors, json, parareal};
use serde_json::Value;

const PROBLEMS: [&str; 5] =
    ["dahlquist", "heat", "advection-diffusion", "lotka-volterra", "lorenz"];

fn ode(arguments: &[&str]) -> std::process::Output {
    parareal(Path::new("."), &[&["ode"], arguments].concat())
}

fn solved(arguments: &[&str]) -> Value {
    let output = ode(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
    json(&output)
}

#[test]
fn dahlquist_converges_under_its_bound() {
    for lambda in ["-1", "-0.5+1i", "-2-0.3i", "0.2"] {
        let arguments = ["--problem", "dahlquist", "--slices", "10", "--lambda", lambda];
        let solved = solved(&arguments);
        assert_eq!(solved["problem"], "dahlquist");
        assert_eq!(solved["slices"], 10);
        let iterations = solved["iterations"].as_array().unwrap();
        assert_eq!(iterations.len(), 11);
        let mut before = f64::INFINITY;
        for (k, iteration) in iterations.iter().enumerate() {
            let number = |key: &str| iteration[key].as_f64().unwrap();
            assert_eq!(iteration["k"], k);
            let keys: Vec<_> = iteration.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["bound", "k", "max_error", "max_jump"]);
            assert!(number("max_error") <= number("bound"), "λ = {lambda}, k = {k}");
            // The error decreases down to the rounding floor.
            if lambda == "-1" {
                assert!(number("max_error") < before.max(1e-14), "k = {k}");
            }
            before = number("max_error");
        }
        assert!(before < 1e-12);
        let mut keys: Vec<_> = solved.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        let expected = [
            "iterations",
            "model_speedup",
            "parallel_seconds",
            "problem",
            "serial_seconds",
            "slices",
            "speedup",
        ];
        assert_eq!(keys, expected);
        let number = |key: &str| solved[key].as_f64().unwrap();
        let speedup = number("serial_seconds") / number("parallel_seconds");
        assert!((number("speedup") / speedup - 1.0).abs() < 1e-12);
        assert!(number("model_speedup") > 0.0);
    }
}

#[test]
fn all_problems_are_solved_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    for problem in PROBLEMS {
        let path = folder.path().join(format!("{problem}.svg"));
        let plot = path.to_str().unwrap();
        let solved = solved(&["--problem", problem, "--plot", plot]);
        let iterations = solved["iterations"].as_array().unwrap();
        let linear = !problem.starts_with('l');
        let last = iterations.last().unwrap();
        assert!(last["max_error"].as_f64().unwrap() < 1e-3, "{problem}");
        assert!(iterations.iter().all(|iteration| iteration["bound"].is_number() == linear));
        assert!(iterations.iter().all(|iteration| iteration["max_jump"].is_number()));
        let drawing = fs::read_to_string(&path).unwrap();
        assert!(drawing.starts_with("<svg") && drawing.ends_with("</svg>\n"), "{problem}");
        for part in ["slice 1", "k = 0, coarse", "reference", "iteration k"] {
            assert!(drawing.contains(part), "{problem}: {part}");
        }
        assert_eq!(drawing.contains("superlinear bound"), linear, "{problem}");
        assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{problem}");
    }
}

#[test]
fn the_text_shows_the_speedup_and_that_of_the_model() {
    let output = ode(&["--problem", "heat", "--size", "50", "--iterations", "3", "--threads", "1"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    // With one thread, parareal does more work than the serial method, so it is slower.
    for part in [
        "heat: 50 unknowns over [0, 0.1] in 10 slices, fine backward-euler:100",
        "linear bound",
        "finished after 3 iterations, as requested",
        " (slower)",
        "speedup predicted by the model",
        "against the reference",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(errors(&output).is_empty());
}

#[test]
fn results_do_not_depend_on_threads() {
    let iterations = |threads| {
        let problem = ["--problem", "lorenz", "--iterations", "4", "--threads", threads];
        solved(&problem)["iterations"].clone()
    };
    assert_eq!(iterations("1"), iterations("3"));
}

#[test]
fn an_existing_plot_is_replaced_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there.svg"), "mine").unwrap();
    let arguments = ["ode", "--plot", "there.svg"];
    let output = parareal(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("there.svg already exists"), "{}", errors(&output));
    assert_eq!(fs::read_to_string(folder.path().join("there.svg")).unwrap(), "mine");
    let output = parareal(folder.path(), &[&arguments[..], &["--overwrite"]].concat());
    assert_eq!(output.status.code(), Some(0));
    assert!(fs::read_to_string(folder.path().join("there.svg")).unwrap().starts_with("<svg"));
    let output = parareal(folder.path(), &["ode", "--plot", "none/there.svg"]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
}

#[test]
fn wrong_use_is_refused_in_a_line() {
    for (arguments, expected) in [
        (&["--problem", "pendulum"][..], "expected one of dahlquist, heat"),
        (&["--problem", "lorenz", "--lambda", "1"], "--lambda requires --problem dahlquist"),
        (&["--problem", "lorenz", "--size", "5"], "--size requires --problem heat"),
        (&["--lambda", "i1x"], "invalid value `i1x` for --lambda"),
        (&["--lambda", "NaN"], "finite"),
        (&["--fine", "euler"], "expected exact, backward-euler:STEPS"),
        (&["--coarse", "rk4:0"], "from 1 to"),
        (&["--problem", "lorenz", "--fine", "exact"], "not linear"),
        (&["--problem", "heat", "--size", "5000", "--fine", "exact"], "2048"),
        (&["--problem", "heat", "--size", "0"], "unknowns"),
        (&["--problem", "heat", "--size", "100000", "--slices", "1000"], "at most 20000000"),
        (&["--slices", "0"], "slices"),
        (&["--slices", "18446744073709551615"], "slices"),
        (&["--interval", "-1"], "positive"),
        (&["--interval", "inf"], "positive"),
        (&["--tolerance", "-1"], "absolute tolerance"),
        (&["--relative-tolerance", "NaN"], "relative tolerance"),
        (&["--threads", "0"], "threads"),
        (&["--iterations", "1.5"], "invalid value `1.5` for --iterations"),
    ] {
        let output = ode(arguments);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty());
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
}

#[test]
fn a_diverging_coarse_propagator_is_reported() {
    // An explicit coarse step that is far too long to be stable for the heat equation.
    let output = ode(&["--problem", "heat", "--slices", "40", "--coarse", "rk4:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("the coarse propagator"), "{}", errors(&output));
    // An unstable coarse step without overflow: all slices are exact in the end.
    let output = ode(&["--lambda", "-20", "--coarse", "rk4:1", "--slices", "5"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("all slices are exact"), "{text}");
    // Edge cases: a tolerance of zero, one slice, no iterations.
    let one = solved(&["--slices", "1", "--tolerance", "0"]);
    assert_eq!(one["iterations"].as_array().unwrap().len(), 2);
    assert_eq!(one["iterations"][1]["max_error"], 0.0);
    let none = solved(&["--iterations", "0"]);
    assert_eq!(none["iterations"].as_array().unwrap().len(), 1);
}
