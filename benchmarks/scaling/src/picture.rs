//! The same as curves.

use std::path::Path;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::methods::{Method, Planner, Question};
use crate::{CHAINS, Result};

/// Told apart also by people who see no red or green.
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
/// Images of a step in the comparison.
const BATCH: usize = 1024;

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Speed-ups over `N`, and over GPUs at both extremes, as an SVG.
pub(crate) fn draw(path: &Path, planners: &mut [Planner<'_>]) -> Result<()> {
    let mut chains = Vec::new();
    for (planner, name) in planners.iter_mut().zip(["nodes of 8", "10 Gbit/s", "1 Gbit/s"]) {
        let mut points = vec![(1.0, 1.0)];
        for pieces in CHAINS {
            let ask = Question { gpus: pieces, batch: 128, fixed: 0.0 };
            let step = planner.parareal(ask, pieces, 1)?.makespan();
            points.push((pieces as f64, planner.serial() / step));
        }
        chains.push(Curve { name: name.into(), points });
    }
    let root = SVGBackend::new(path, (1320, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((1, 3));
    panel(&areas[0], "One chain, batch 128", "N", 0.0..34.0, 0.0..10.0, &chains)?;
    let planner = &mut planners[0];
    for (area, fixed, title) in [
        (&areas[1], 1.0, "Batch 1024, small batches gain nothing"),
        (&areas[2], 0.0, "Batch 1024, time in proportion"),
    ] {
        let curves = comparison(planner, fixed)?;
        let most = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let most = most.fold(1.0, f64::max);
        panel(area, title, "GPUs", Doubling(1.0..512.0), 0.0..1.1 * most, &curves)?;
    }
    root.present()?;
    Ok(())
}

fn comparison(planner: &mut Planner<'_>, fixed: f64) -> Result<Vec<Curve>> {
    let methods = [
        Method::Parareal,
        Method::DataParallel,
        Method::Pipeline { recompute: false },
        Method::ModelParallel,
    ];
    let mut curves = Vec::new();
    for method in methods {
        let mut points = Vec::new();
        for gpus in (0..10).map(|power| 1 << power) {
            let best = planner.best(method, Question { gpus, batch: BATCH, fixed })?;
            points.push((gpus as f64, best.speedup));
        }
        let name = match method {
            Method::Parareal => "parareal and data parallel",
            Method::DataParallel => "data parallel",
            Method::Pipeline { .. } => "GPipe and data parallel",
            Method::ModelParallel => "model parallel",
        };
        let name = name.into();
        curves.push(Curve { name, points });
    }
    Ok(curves)
}

/// An axis on which each doubling is as long as any other.
struct Doubling(std::ops::Range<f64>);

impl Ranged for Doubling {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (value / self.0.start).log2() / (self.0.end / self.0.start).log2();
        low + (share * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let doubled = std::iter::successors(Some(self.0.start), |value| Some(2.0 * value));
        doubled.take_while(|value| *value <= self.0.end).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0.clone()
    }
}

impl ValueFormatter<f64> for Doubling {
    fn format_ext(&self, value: &f64) -> String {
        value.to_string()
    }
}

fn panel<X>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    across: &str,
    axis: X,
    up: std::ops::Range<f64>,
    curves: &[Curve],
) -> Result<()>
where
    X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(axis, up)?;
    chart
        .configure_mesh()
        .x_desc(across)
        .y_desc("speed-up")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(("sans-serif", 13))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (curve, color) in curves.iter().zip(COLORS) {
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)))?
            .label(curve.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        let dots = curve.points.iter().map(|&point| Circle::new(point, 3, color.filled()));
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 13))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}
