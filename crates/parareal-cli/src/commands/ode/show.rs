//! Results of `ode` as JSON and as text.

use parareal_ode::Ending;
use serde_json::{Value, json};

use super::Study;
use crate::output::{count, table};

pub(super) fn as_json(study: &Study) -> Value {
    let bound = |k: usize| study.bounds.as_ref().map(|bounds| bounds[k].0);
    let iterations: Vec<Value> = study
        .records
        .iter()
        .map(|record| {
            json!({
                "k": record.k,
                "max_jump": record.max_jump,
                "max_error": record.max_error,
                "bound": bound(record.k),
            })
        })
        .collect();
    json!({
        "problem": study.setup.problem.to_string(),
        "slices": study.setup.slices(),
        "iterations": iterations,
        "serial_seconds": study.serial_seconds,
        "parallel_seconds": study.parallel_seconds,
        "speedup": study.speedup(),
        // With one processor per slice, the speedup is N / K, reduced by the cost of the coarse propagator.
        "model_speedup": study.model[1],
    })
}

pub(super) fn as_text(study: &Study) -> String {
    let setup = &study.setup;
    let slices = setup.slices();
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2e}"));
    let header = ["k", "jump", "error", "bound", "linear bound", "fine evaluations saved", "time"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for record in &study.records {
        let (superlinear, linear) = match &study.bounds {
            Some(bounds) => (Some(bounds[record.k].0), bounds[record.k].1),
            None => (None, None),
        };
        rows.push(vec![
            record.k.to_string(),
            number(record.max_jump),
            number(record.max_error),
            number(superlinear),
            number(linear),
            (record.k * slices - record.fine_evaluations).to_string(),
            seconds(record.seconds),
        ]);
    }
    [
        format!(
            "{}: {} over [0, {}] in {}, fine {}, coarse {}, {}",
            setup.problem,
            count(setup.problem.initial().len(), "unknown"),
            setup.grid.points().last().unwrap_or(0.0),
            count(slices, "slice"),
            setup.fine,
            setup.coarse,
            count(setup.threads, "thread"),
        ),
        table(&rows),
        conclusion(study),
    ]
    .join("\n")
}

fn conclusion(study: &Study) -> String {
    let made = count(study.records.len() - 1, "iteration");
    let ending = match study.ending {
        Ending::Tolerance => format!("converged after {made}: the jumps are within the tolerance"),
        Ending::Exact => format!("finished after {made}: all slices are exact"),
        Ending::Iterations => format!("finished after {made}, as requested"),
        Ending::Cancelled => format!("stopped after {made}"),
    };
    let speedup = study.speedup();
    let [here, everywhere] = study.model;
    let judgement = if speedup < 1.0 { " (slower)" } else { "" };
    let mut lines = vec![
        ending,
        format!(
            "serial fine solution {}, parareal {}: speedup {speedup:.2}{judgement}",
            seconds(study.serial_seconds),
            seconds(study.parallel_seconds),
        ),
        format!(
            "speedup predicted by the model: {here:.2} with {}, {everywhere:.2} with one thread per slice",
            count(study.setup.threads, "thread"),
        ),
        format!(
            "error of the serial fine solution at the final time, against the reference: {:.1e}",
            study.from_reference
        ),
    ];
    let errors = study.records.iter().filter_map(|record| record.max_error);
    let first = study.records[0].max_error.unwrap_or(0.0);
    if let Some(worst) = errors.reduce(f64::max).filter(|worst| *worst > 10.0 * first.max(1e-300)) {
        lines.push(format!(
            "note: the error grew from {first:.1e} to {worst:.1e} during the iteration, because these methods do \
             not contract for this problem"
        ));
    }
    lines.join("\n")
}

impl Study {
    fn speedup(&self) -> f64 {
        self.serial_seconds / self.parallel_seconds.max(1e-9)
    }
}

/// Formats a duration with a unit that fits.
fn seconds(seconds: f64) -> String {
    match seconds {
        0.0..1e-3 => format!("{:.1} µs", 1e6 * seconds),
        1e-3..1.0 => format!("{:.1} ms", 1e3 * seconds),
        _ => format!("{seconds:.2} s"),
    }
}
