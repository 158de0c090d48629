//! Charts for several benchmarks: curves over a horizontal axis, with a common palette and style.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Drawing area of an SVG.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colors that people with color vision deficiencies can tell apart (Okabe and Ito).
pub const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    RGBColor(240, 228, 66),
];

/// A line of a panel.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// Points in order.
    pub points: Vec<(f64, f64)>,
    /// True if the points are marked with dots.
    pub has_dots: bool,
}

/// Text and spacing of a panel.
pub struct Style<'a> {
    /// Title.
    pub title: &'a str,
    /// Name of the horizontal axis.
    pub x: &'a str,
    /// Name of the vertical axis; empty for none.
    pub y: &'a str,
    /// Width of the labels of the vertical axis, in pixels.
    pub y_label_area: u32,
    /// Number of labels of the horizontal axis; `None` for the default.
    pub x_labels: Option<usize>,
    /// Formats a value on the vertical axis.
    pub y_format: fn(&f64) -> String,
    /// Place of the legend; `None` for no legend.
    pub legend: Option<SeriesLabelPosition>,
}

/// Returns the range of the vertical coordinates for a logarithmic axis, widened by a factor at both ends.
/// Without points, the range is from 0.5 to 2.
pub fn log_range<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Range<f64> {
    let (low, high) = points
        .fold((f64::INFINITY, 0.0_f64), |(low, high), point| (low.min(point.1), high.max(point.1)));
    if low > high {
        return 0.5..2.0;
    }
    0.8 * low..1.25 * high
}

/// Draws curves. `colors` has one color for each curve.
///
/// # Errors
/// If drawing fails.
pub fn panel<X, Y>(
    area: &Area<'_>,
    style: &Style<'_>,
    x: X,
    y: Y,
    curves: &[Curve],
    colors: &[RGBColor],
) -> Result<(), Box<dyn Error>>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(style.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(style.y_label_area)
        .build_cartesian_2d(x, y)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(style.x)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&style.y_format)
        .label_style(("sans-serif", 13))
        .light_line_style(TRANSPARENT);
    if !style.y.is_empty() {
        mesh.y_desc(style.y);
    }
    if let Some(labels) = style.x_labels {
        mesh.x_labels(labels);
    }
    mesh.draw()?;
    for (curve, &color) in curves.iter().zip(colors) {
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)))?
            .label(curve.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        if curve.has_dots {
            let dots = curve.points.iter().map(|&point| Circle::new(point, 3, color.filled()));
            chart.draw_series(dots)?;
        }
    }
    if let Some(position) = &style.legend {
        chart
            .configure_series_labels()
            .position(position.clone())
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_is_wider_than_its_points() {
        assert_eq!(log_range([(1.0, 10.0), (2.0, 4.0)].iter()), 3.2..12.5);
        assert_eq!(log_range([].iter()), 0.5..2.0);
    }

    #[test]
    fn a_panel_shows_its_title_and_the_names_of_its_curves() {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (400, 300)).into_drawing_area();
            let style = Style {
                title: "Error",
                x: "epoch",
                y: "",
                y_label_area: 44,
                x_labels: Some(3),
                y_format: |value| format!("{value:.0}"),
                legend: Some(SeriesLabelPosition::UpperRight),
            };
            let points = vec![(1.0, 9.0), (2.0, 3.0)];
            let curves = [Curve { name: "N = 1".into(), points, has_dots: true }];
            panel(&area, &style, 0.0..2.0, 0.0..10.0, &curves, &COLORS).unwrap();
            area.present().unwrap();
        }
        for part in ["Error", "epoch", "N = 1"] {
            assert!(svg.contains(part), "{svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
