//! The plot: errors and bounds over the iterations, and the converging trajectory.

use std::ops::Range;

use parareal_ode::Problem;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Study;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Result = std::result::Result<(), String>;

const SIZE: (u32, u32) = (1180, 500);
const TEXT: &str = "sans-serif";
const GRAY: RGBColor = RGBColor(110, 110, 110);
/// Colors of the iterates in order, from a palette that is safe for red-green color blindness.
const ITERATES: [RGBColor; 5] = [
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(86, 180, 233),
    RGBColor(0, 114, 178),
];
/// Smallest value of the error axis. Smaller errors are drawn at this value.
const LOWEST: f64 = 1e-17;
/// Number of points of the reference trajectory. A phase plane needs more.
const POINTS: usize = 400;
const POINTS_OF_A_PHASE_PLANE: usize = 3000;

/// Returns the point that represents a state in the plot.
pub(super) fn point(problem: Problem, t: f64, state: &[f64]) -> (f64, f64) {
    match problem {
        Problem::Dahlquist { .. } | Problem::AdvectionDiffusion { .. } => (t, state[0]),
        Problem::Heat { size } => (t, state[size / 4]),
        Problem::LotkaVolterra => (state[0], state[1]),
        Problem::Lorenz => (state[0], state[2]),
    }
}

/// Returns the labels of the trajectory's axes.
fn axes(problem: Problem) -> [&'static str; 2] {
    match problem {
        Problem::Dahlquist { .. } => ["t", "Re u(t)"],
        Problem::Heat { .. } => ["t", "u(t) at a quarter of the rod"],
        Problem::AdvectionDiffusion { .. } => ["t", "u(t) at x = 0"],
        Problem::LotkaVolterra => ["prey", "predators"],
        Problem::Lorenz => ["x", "z"],
    }
}

/// Draws the plot as SVG.
pub(super) fn draw(study: &Study) -> std::result::Result<String, String> {
    let mut text = String::new();
    let draw = |text: &mut String| -> std::result::Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let setup = &study.setup;
        let title = format!(
            "Parareal: {}, {} slices, fine {}, coarse {}",
            setup.problem,
            setup.slices(),
            setup.fine,
            setup.coarse
        );
        let panels = root.titled(&title, (TEXT, 18).into_font())?;
        let (left, right) = panels.split_horizontally(SIZE.0 / 2);
        errors(study, &left)?;
        trajectory(study, &right)?;
        root.present()?;
        Ok(())
    };
    draw(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Returns the color of a slice, from light for the first to dark for the last.
fn shade(slice: usize, slices: usize) -> RGBColor {
    let part = slice as f64 / slices.max(2) as f64;
    let mix = |from: f64, to: f64| (from + (to - from) * part) as u8;
    RGBColor(mix(170.0, 20.0), mix(205.0, 50.0), mix(235.0, 110.0))
}

fn errors(study: &Study, area: &Area<'_>) -> Result {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let (slices, last) = (study.setup.slices(), study.records.len() - 1);
    let bounds = study.bounds.as_deref().unwrap_or(&[]);
    let all = study.errors.iter().flatten().chain(bounds.iter().map(|bound| &bound.0));
    let shown = all.filter(|value| **value > 0.0 && value.is_finite());
    let (low, high) =
        shown.fold((1.0_f64, LOWEST), |(low, high), value| (low.min(*value), high.max(*value)));
    // Leaves room for the legend at the top.
    let low = low.max(LOWEST) / 10.0;
    let values = low..high * (high / low).powf(0.15);
    let (floor, ceiling) = (values.start, values.end);
    let mut chart = ChartBuilder::on(area)
        .caption(
            "Error of each slice against the serial fine solution (dots on the axis: exact)",
            (TEXT, 15),
        )
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..(last.max(1) as f64 + 0.3), values.log_scale())
        .map_err(|e| say(&e))?;
    chart
        .configure_mesh()
        .x_desc("iteration k")
        .y_desc("error at the end of the slice")
        .x_labels(11.min(last + 1).max(2))
        .y_labels(10)
        .x_label_formatter(&|k| if k.fract() == 0.0 { format!("{k:.0}") } else { String::new() })
        .y_label_formatter(&|value| format!("{value:.0e}"))
        .label_style((TEXT, 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()
        .map_err(|e| say(&e))?;
    for slice in 1..=slices {
        let color = shade(slice, slices);
        // Slice `n` is exact after `n` iterations, so its line ends there, on the axis.
        let line = (0..=last).map(|k| (k as f64, study.errors[k][slice].max(floor)));
        let line: Vec<_> = line.take(slice + 1).collect();
        let end = line[line.len() - 1];
        let series = LineSeries::new(line, color.stroke_width(if slices > 40 { 1 } else { 2 }));
        let series = chart.draw_series(series).map_err(|e| say(&e))?;
        let name = match slice {
            1 => Some("slice 1".to_string()),
            _ if slice == slices => Some(format!("slice {slices}")),
            _ => None,
        };
        if let Some(name) = name {
            series.label(name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 22, y)], color.stroke_width(2))
            });
        }
        if end.1 == floor {
            chart.draw_series([Circle::new(end, 3, color.filled())]).map_err(|e| say(&e))?;
        }
    }
    let superlinear = bounds.iter().enumerate().map(|(k, bound)| (k as f64, bound.0));
    let linear = bounds.iter().enumerate();
    let linear = linear.filter_map(|(k, bound)| bound.1.map(|bound| (k as f64, bound)));
    for (line, color, dash, name) in [
        (superlinear.collect::<Vec<_>>(), BLACK, 7, "superlinear bound"),
        (linear.collect(), GRAY, 2, "linear bound"),
    ] {
        // Bounds above the range of the axis are cut off.
        let line: Vec<_> = line.into_iter().take_while(|point| point.1 <= ceiling).collect();
        if line.is_empty() {
            continue;
        }
        let dashed = DashedLineSeries::new(line, dash, 4, color.stroke_width(2));
        let series = chart.draw_series(dashed).map_err(|e| say(&e))?;
        series.label(name).legend(move |(x, y)| {
            let part =
                |from: i32, to: i32| PathElement::new([(from, 0), (to, 0)], color.stroke_width(2));
            let (first, second) = if dash > 4 { ((0, 9), (13, 22)) } else { ((1, 4), (8, 11)) };
            EmptyElement::at((x, y)) + part(first.0, first.1) + part(second.0, second.1)
        });
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

fn trajectory(study: &Study, area: &Area<'_>) -> Result {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let (problem, last) = (study.setup.problem, study.records.len() - 1);
    let end = study.setup.grid.points().last().unwrap_or(1.0);
    let plane = matches!(problem, Problem::LotkaVolterra | Problem::Lorenz);
    let points = if plane { POINTS_OF_A_PHASE_PLANE } else { POINTS };
    let times: Vec<f64> = (0..=points).map(|i| end * i as f64 / points as f64).collect();
    // States may be large, but only one value of each is drawn. They are therefore computed one by one.
    let reference: Vec<(f64, f64)> = if plane {
        let states = problem.reference(&times);
        times.iter().zip(states).map(|(t, state)| point(problem, *t, &state)).collect()
    } else {
        times.iter().map(|t| point(problem, *t, &problem.reference(&[*t])[0])).collect()
    };
    // The first four iterates and the last one.
    let mut drawn: Vec<usize> = (0..=last.min(3)).collect();
    if last > 3 {
        drawn.push(last);
    }
    let [x, y] = axes(problem);
    let paths = || drawn.iter().flat_map(|k| &study.paths[*k]).chain(&reference);
    // Diverging iterates are cut off, so that the rest remains visible.
    let around = |axis: fn(&(f64, f64)) -> f64| {
        let whole = range(paths().map(axis));
        let own = range(reference.iter().map(axis));
        let width = own.end - own.start;
        whole.start.max(own.start - width)..whole.end.min(own.end + width)
    };
    let (across, along) = (around(|point| point.0), around(|point| point.1));
    let within = |(x, y): &(f64, f64)| across.contains(x) && along.contains(y);
    let mut chart = ChartBuilder::on(area)
        .caption("Convergence of the trajectory", (TEXT, 15))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(across.clone(), along.clone())
        .map_err(|e| say(&e))?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .label_style((TEXT, 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()
        .map_err(|e| say(&e))?;
    let gray = RGBColor(190, 190, 190);
    chart
        .draw_series(LineSeries::new(reference, gray.stroke_width(4)))
        .map_err(|e| say(&e))?
        .label("reference")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], gray.stroke_width(4)));
    for (index, k) in drawn.iter().enumerate() {
        let color = ITERATES[if *k == last && last > 0 { 4 } else { index }];
        let name = if *k == 0 { "k = 0, coarse".into() } else { format!("k = {k}") };
        let path = &study.paths[*k];
        let radius = if path.len() > 60 { 2 } else { 4 - index.min(2) as i32 };
        // The line is interrupted where it leaves the panel.
        for piece in path.split(|point| !within(point)) {
            let line = LineSeries::new(piece.iter().copied(), color.stroke_width(1));
            chart.draw_series(line).map_err(|e| say(&e))?;
        }
        let dots = path.iter().filter(|point| within(point));
        let dots = dots.map(|point| Circle::new(*point, radius, color.filled()));
        chart
            .draw_series(dots)
            .map_err(|e| say(&e))?
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 11, y), 4, color.filled()));
    }
    let position = match problem {
        Problem::LotkaVolterra => SeriesLabelPosition::MiddleMiddle,
        Problem::Lorenz => SeriesLabelPosition::LowerLeft,
        _ => SeriesLabelPosition::UpperRight,
    };
    legend(&mut chart, position)
}

/// Returns the range of the finite values with a margin.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let values = values.filter(|value| value.is_finite());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let margin = (0.05 * (high - low)).max(1e-12);
    low - margin..high + margin
}

fn legend<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Result
where
    X: plotters::coord::ranged1d::Ranged<ValueType = f64>,
    Y: plotters::coord::ranged1d::Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((TEXT, 12))
        .draw()
        .map_err(|error| error.to_string())
}
