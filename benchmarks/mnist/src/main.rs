//! Draws the training loss and the test error of several runs, from their `metrics.jsonl`. Draws the
//! validation error for runs without test samples.
//!
//! ```sh
//! cargo run --release -p mnist-curves -- OUTPUT.svg NAME=RUN_FOLDER...
//! ```
#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use plots::{COLORS, Curve, Style};
use plotters::prelude::*;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Points = Vec<(f64, f64)>;

const USAGE: &str = "usage: mnist-curves OUTPUT.svg NAME=RUN_FOLDER...";
/// Number of points of a loss curve per epoch. Each point is the mean over several steps.
const POINTS_PER_EPOCH: f64 = 25.0;

/// The curves of one run over epochs.
struct Run {
    name: String,
    loss: Points,
    /// Error in percent for the test samples, or for the validation samples if there are none.
    error: Points,
    has_test: bool,
}

impl Run {
    fn read(name: &str, folder: &Path) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let lines: Vec<Value> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let of = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
        let number = |line: &Value, key: &str| line[key].as_f64();

        let epochs = of("epoch").count();
        let steps = of("step").count();
        if epochs == 0 {
            return Err(format!("{}: no finished epoch", path.display()).into());
        }
        let per_epoch = steps as f64 / epochs as f64;
        let mut blocks: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for line in of("step") {
            let step = number(line, "step").ok_or("a step without its number")?;
            let block = ((step - 1.0) / per_epoch * POINTS_PER_EPOCH) as usize;
            blocks.entry(block).or_default().extend(number(line, "loss"));
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let loss = blocks
            .iter()
            .map(|(&block, losses)| ((block as f64 + 0.5) / POINTS_PER_EPOCH, mean(losses)))
            .collect();
        let has_test = of("epoch").any(|line| number(line, "test_error").is_some());
        let key = if has_test { "test_error" } else { "validation_error" };
        let error = of("epoch")
            .filter_map(|line| Some((number(line, "epoch")?, 100.0 * number(line, key)?)))
            .collect();
        Ok(Self { name: name.to_string(), loss, error, has_test })
    }
}

fn draw(path: &str, runs: &[Run]) -> Result<()> {
    let root = SVGBackend::new(path, (960, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(480);
    let has_test = runs.iter().any(|run| run.has_test);
    let error = if has_test { "Test error (%)" } else { "Validation error (%)" };
    let panels = [
        (left, "Training loss", runs.iter().map(|run| &run.loss).collect::<Vec<_>>()),
        (right, error, runs.iter().map(|run| &run.error).collect()),
    ];
    for (area, title, curves) in panels {
        let points = || curves.iter().flat_map(|curve| curve.iter());
        let last = points().map(|point| point.0).fold(1.0, f64::max).ceil();
        let style = Style {
            title,
            x: "epoch",
            y: "",
            y_label_area: 52,
            x_labels: Some(last as usize + 1),
            y_format: |value| format!("{value}"),
            legend: Some(SeriesLabelPosition::UpperRight),
        };
        let y = plots::log_range(points()).log_scale();
        let curves = runs.iter().zip(&curves).map(|(run, points)| Curve {
            name: run.name.clone(),
            points: points.to_vec(),
            has_dots: points.len() <= 2 * last as usize,
        });
        plots::panel(&area, &style, 0.0..last + 0.1, y, &curves.collect::<Vec<_>>(), &COLORS)?;
    }
    root.present()?;
    Ok(())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, runs) = arguments.split_first().ok_or(USAGE)?;
    let runs = runs
        .iter()
        .map(|argument| {
            let (name, folder) = argument.rsplit_once('=').ok_or(USAGE)?;
            Run::read(name, Path::new(folder))
        })
        .collect::<Result<Vec<_>>>()?;
    if runs.is_empty() || runs.len() > COLORS.len() {
        return Err(format!("{USAGE} (one to {} of them)", COLORS.len()).into());
    }
    draw(path, &runs)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
