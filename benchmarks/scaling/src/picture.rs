//! Plots of the results.

use std::path::Path;

use plots::{Area, COLORS, Curve, Style};
use plotters::coord::ranged1d::{
    AsRangedCoord, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter,
};
use plotters::prelude::*;

use crate::methods::{Method, Planner, Question};
use crate::{CHAINS, Result};

/// Batch size of the comparison.
const BATCH: usize = 1024;

fn curve(name: &str, points: Vec<(f64, f64)>) -> Curve {
    Curve { name: name.into(), points, has_dots: true }
}

/// Draws speedups as an SVG: over `N`, and over the number of GPUs for `fixed` = 1 and 0 (see [`Question`]).
pub(crate) fn draw(path: &Path, planners: &mut [Planner<'_>]) -> Result<()> {
    let mut chains = Vec::new();
    for (planner, name) in planners.iter_mut().zip(["nodes of 8", "10 Gbit/s", "1 Gbit/s"]) {
        let mut points = vec![(1.0, 1.0)];
        for pieces in CHAINS {
            let ask = Question { gpus: pieces, batch: 128, fixed: 0.0 };
            let step = planner.parareal(ask, pieces, 1)?.makespan();
            points.push((pieces as f64, planner.serial() / step));
        }
        chains.push(curve(name, points));
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
        curves.push(curve(name, points));
    }
    Ok(curves)
}

/// A logarithmic axis, on which every doubling has the same length.
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
    area: &Area<'_>,
    title: &str,
    x: &str,
    axis: X,
    y: std::ops::Range<f64>,
    curves: &[Curve],
) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let style = Style {
        title,
        x,
        y: "speed-up",
        y_label_area: 44,
        x_labels: None,
        y_format: |value| format!("{value:.0}"),
        legend: Some(SeriesLabelPosition::UpperLeft),
    };
    plots::panel(area, &style, axis, y, curves, &COLORS)
}
