//! The plot: losses over the learning rate.

use parareal_train::{FallingRange, RangeTestResult};
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 440);
const TEXT: &str = "sans-serif";
const STEP: RGBColor = RGBColor(150, 150, 150);
const SMOOTHED: RGBColor = RGBColor(0, 114, 178);
const STEEPEST: RGBColor = RGBColor(213, 94, 0);
const LOWEST: RGBColor = RGBColor(0, 158, 115);
/// Largest loss that is drawn, relative to the first one. A diverging loss would hide the descent.
const HIGHEST: f64 = 1.5;

/// Draws the losses, the smoothed losses, their steepest descent and their minimum as SVG.
pub(super) fn draw(found: &RangeTestResult, title: &str) -> Result<String, String> {
    let mut text = String::new();
    fill(&mut text, found, title).map_err(|error| error.to_string())?;
    Ok(text)
}

fn fill(
    text: &mut String,
    found: &RangeTestResult,
    title: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (steps, smoothed) = (&found.steps, found.smoothed());
    let [first, last] =
        [steps.first(), steps.last()].map(|step| step.map_or(1.0, |s| s.learning_rate));
    let highest = HIGHEST * steps.first().map_or(1.0, |step| step.loss);
    let lowest = steps.iter().map(|step| step.loss).fold(highest, f64::min);
    // A single step has no range.
    let rates = (first..last.max(1.01 * first)).log_scale();
    let margin = 0.05 * (highest - lowest).max(1e-9);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (TEXT, 17))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(rates, lowest - margin..highest)?;
    chart
        .configure_mesh()
        .x_desc("learning rate")
        .y_desc("loss of the batch")
        .x_label_formatter(&|rate| super::rate(*rate))
        .label_style((TEXT, 13))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()?;
    let points = steps.iter().map(|step| (step.learning_rate, step.loss));
    let inside = points.clone().filter(|point| point.1 <= highest);
    chart
        .draw_series(inside.map(|point| Circle::new(point, 2, STEP.filled())))?
        .label("a step")
        .legend(|(x, y)| Circle::new((x + 11, y), 2, STEP.filled()));
    let line = points.zip(&smoothed).map(|((rate, _), loss)| (rate, *loss));
    // The line ends at the upper edge.
    let line = line.take_while(|point| point.1 <= highest);
    chart
        .draw_series(LineSeries::new(line, SMOOTHED.stroke_width(2)))?
        .label("smoothed")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 22, y)], SMOOTHED.stroke_width(2)));
    if let Some(FallingRange { steepest, lowest: minimum, .. }) = found.falling() {
        for (name, rate, color) in
            [("steepest descent", steepest, STEEPEST), ("lowest loss", minimum, LOWEST)]
        {
            let line = [(rate, lowest - margin), (rate, highest)];
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(1)))?
                .label(format!("{name}: {}", super::rate(rate)))
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 22, y)], color.stroke_width(1))
                });
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .label_font((TEXT, 13))
        .draw()?;
    root.present()?;
    Ok(())
}
