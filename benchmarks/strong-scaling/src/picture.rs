//! Plot of the speed over the batch.

use std::path::Path;

use plots::{COLORS, Curve, Style};
use plotters::prelude::*;

use crate::Result;
use crate::report::Report;

/// Draws a panel for each depth: the median ratios to the serial steps in between, in which changes of the machine's
/// speed cancel. The paper's coarse networks, which are slower than the recommended ones, are left out.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn draw(path: &Path, report: &Report) -> Result<()> {
    let depths = report.depths();
    let root = SVGBackend::new(path, (560 * depths.len() as u32, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, depth) in root.split_evenly((1, depths.len())).iter().zip(depths) {
        let mut curves: Vec<Curve> = Vec::new();
        for measured in report.cases.iter().filter(|measured| measured.case.depth == depth) {
            let batch = measured.case.batch as f64;
            for row in measured.rows.iter().filter(|row| !row.name.ends_with("paper")) {
                let point = (batch, row.measurement.speedup);
                match curves.iter_mut().find(|curve| curve.name == row.name) {
                    Some(curve) => curve.points.push(point),
                    None => curves.push(Curve {
                        name: row.name.clone(),
                        points: vec![point],
                        has_dots: true,
                    }),
                }
            }
        }
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let last = points().map(|point| point.0).fold(1.0, f64::max);
        let most = points().map(|point| point.1).fold(0.0, f64::max);
        let title = format!("ResNet-{depth}");
        let style = Style {
            title: &title,
            x: "images of a step",
            y: "speed relative to N = 1",
            y_label_area: 56,
            x_labels: Some(8),
            y_format: |value| format!("{value:.1}"),
            legend: Some(SeriesLabelPosition::UpperRight),
        };
        let x = (0.9..1.1 * last).log_scale().base(2.0);
        plots::panel(area, &style, x, 0.0..1.5 * most, &curves, &COLORS)?;
    }
    root.present()?;
    Ok(())
}
