//! Draws the training loss and the test error of runs beside each other, from their `metrics.jsonl`; without test
//! samples, the validation error.
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

use plotters::prelude::*;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Points = Vec<(f64, f64)>;

const USAGE: &str = "usage: mnist-curves OUTPUT.svg NAME=RUN_FOLDER...";
/// Told apart also by people who see no red or green.
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
/// Points of a loss curve per epoch, each the mean of its steps.
const POINTS_PER_EPOCH: f64 = 25.0;

/// One run's curves, over epochs.
struct Run {
    name: String,
    loss: Points,
    /// In percent, of the test samples, or else of the validation samples.
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
            return Err(format!("{}: no epoch was finished", path.display()).into());
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

/// The range of the values, a little widened by a factor, for a logarithmic axis.
fn range<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> std::ops::Range<f64> {
    let (low, high) = points
        .fold((f64::INFINITY, 0.0_f64), |(low, high), point| (low.min(point.1), high.max(point.1)));
    0.8 * low..1.25 * high
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
        let epochs = curves.iter().flat_map(|curve| curve.iter()).map(|point| point.0);
        let last = epochs.fold(1.0, f64::max).ceil();
        let values = range(curves.iter().flat_map(|curve| curve.iter()));
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..last + 0.1, values.log_scale())?;
        chart
            .configure_mesh()
            .x_desc("epoch")
            .x_labels(last as usize + 1)
            .x_label_formatter(&|epoch| format!("{epoch:.0}"))
            .y_label_formatter(&|value| format!("{value}"))
            .label_style(("sans-serif", 13))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for ((run, curve), color) in runs.iter().zip(curves).zip(COLORS) {
            chart
                .draw_series(LineSeries::new(curve.iter().copied(), color.stroke_width(2)))?
                .label(run.name.clone())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2))
                });
            if curve.len() <= 2 * last as usize {
                chart.draw_series(
                    curve.iter().map(|&point| Circle::new(point, 3, color.filled())),
                )?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .draw()?;
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
