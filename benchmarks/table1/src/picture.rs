//! Plots of the results: for each group, the error of every seed after the last epoch, and the mean error
//! over epochs.

use plots::{Area, COLORS, Curve, Style};
use plotters::prelude::*;

use crate::Result;
use crate::initialization::Parts;
use crate::record::Results;
use crate::row::Row;
use crate::statistics::Mean;
use crate::table::{error_after, error_name, errors, groups, title};

/// Size of a panel in pixels.
const PANEL: (u32, u32) = (480, 330);
/// Size of a panel that contains only curves.
const WIDE_PANEL: (u32, u32) = (560, 420);

/// Returns the picture as an SVG; `None` if there are no results.
///
/// # Errors
/// If the picture cannot be drawn.
pub(crate) fn svg(rows: &[Row], results: &Results) -> Result<Option<String>> {
    let finished =
        |group: &&str| rows.iter().any(|row| row.group == *group && !results.of(row).is_empty());
    let groups: Vec<_> = groups(rows).into_iter().filter(finished).collect();
    if groups.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let size = (PANEL.0 * groups.len() as u32, 2 * PANEL.1);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let areas = root.split_evenly((2, groups.len()));
        let (upper, lower) = areas.split_at(groups.len());
        for ((group, upper), lower) in groups.iter().zip(upper).zip(lower) {
            let own: Vec<_> = rows.iter().filter(|row| row.group == *group).collect();
            at_the_end(upper, group, &own, results)?;
            over_epochs(lower, &own, results)?;
        }
        root.present()?;
    }
    Ok(Some(svg))
}

/// Draws the rows from top to bottom, with a point for each seed, and the mean with its standard error.
fn at_the_end(area: &Area<'_>, group: &str, rows: &[&Row], results: &Results) -> Result<()> {
    let of_rows: Vec<_> = rows.iter().map(|row| errors(&results.of(row))).collect();
    let all = || of_rows.iter().flatten().map(|(_, error)| *error);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let margin = (0.15 * (high - low)).max(0.05 * high).max(0.01);
    let bottom = -(rows.len() as f64) + 0.4;
    let range = (low - margin).max(0.0)..high + margin;
    let label_x = range.start + 0.01 * (range.end - range.start);
    let mut chart = ChartBuilder::on(area)
        .caption(group, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .build_cartesian_2d(range, bottom..0.9)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc(format!("{} at the end (%)", error_name(rows)))
        .label_style(("sans-serif", 13))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, (row, own)) in rows.iter().zip(&of_rows).enumerate() {
        let (color, y) = (color(index), -(index as f64));
        let label = (title(row, results), (label_x, y + 0.5));
        chart.draw_series([Text::new(label.0, label.1, ("sans-serif", 13).into_font())])?;
        chart.draw_series(
            own.iter().map(|(_, error)| Circle::new((*error, y), 3, color.mix(0.5).filled())),
        )?;
        let values: Vec<_> = own.iter().map(|(_, error)| *error).collect();
        let Some(Mean { mean, standard_error, .. }) = Mean::of(&values) else { continue };
        let error = standard_error.unwrap_or(0.0);
        let line = |from: (f64, f64), to| PathElement::new([from, to], color.stroke_width(2));
        chart.draw_series([
            line((mean - error, y), (mean + error, y)),
            line((mean, y - 0.2), (mean, y + 0.2)),
        ])?;
    }
    Ok(())
}

/// Draws the mean error of all seeds after each epoch.
fn over_epochs(area: &Area<'_>, rows: &[&Row], results: &Results) -> Result<()> {
    let curves =
        curves(rows, results, |_, epochs| Some((1..=epochs).map(|epoch| epoch as f64).collect()));
    let title = format!("Mean {} after each epoch (%)", error_name(rows));
    let legend = Some(SeriesLabelPosition::UpperRight);
    error_panel(area, (&title, "epoch"), curves, legend, 0.1)
}

/// Returns a picture of the mean error of all seeds over epochs and over wall-clock time; `None` if there are
/// no results.
///
/// The wall-clock time of a run includes its distillation and the run that provides its initial weights.
///
/// # Errors
/// If the picture cannot be drawn.
pub(crate) fn over_epochs_and_time(rows: &[Row], results: &Results) -> Result<Option<String>> {
    let rows: Vec<_> = rows.iter().collect();
    if rows.iter().all(|row| results.of(row).is_empty()) {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let size = (2 * WIDE_PANEL.0, WIDE_PANEL.1);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let (left, right) = root.split_horizontally(WIDE_PANEL.0);
        over_epochs(&left, &rows, results)?;
        let curves = curves(&rows, results, |row, epochs| minutes(row, epochs, results));
        let title = format!("Mean {} over wall clock (%)", error_name(&rows));
        let x = "minutes, with the serial run and the distillation";
        error_panel(&right, (&title, x), curves, None, 1.0)?;
        root.present()?;
    }
    Ok(Some(svg))
}

/// Returns the mean time until the end of each epoch in minutes, including the run that provides the initial
/// weights; `None` until both runs have finished.
fn minutes(row: &Row, epochs: usize, results: &Results) -> Option<Vec<f64>> {
    let start = Parts::of(row, results)?.before_training();
    let records = results.of(row);
    let training = |epoch: usize| {
        let own = records.iter().map(|run| run.epoch_seconds[..=epoch].iter().sum());
        Some(Mean::of(&own.collect::<Vec<f64>>())?.mean)
    };
    (0..epochs).map(|epoch| Some((start + training(epoch)?) / 60.0)).collect()
}

/// Returns a curve of the mean error of all seeds after each epoch, for each row with results. `places`
/// returns the horizontal positions of a row's epochs; `None` if they are not known.
fn curves(
    rows: &[&Row],
    results: &Results,
    places: impl Fn(&Row, usize) -> Option<Vec<f64>>,
) -> Vec<(Curve, RGBColor)> {
    let mut curves = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let records = results.of(row);
        let Some(first) = records.first() else { continue };
        let Some(places) = places(row, first.errors.len()) else { continue };
        let points = places.into_iter().enumerate();
        let points =
            points.filter_map(|(epoch, place)| Some((place, error_after(&records, epoch)?)));
        let points = points.collect();
        curves.push((Curve { name: title(row, results), points, has_dots: false }, color(index)));
    }
    curves
}

/// Draws curves of errors. The vertical axis is logarithmic if it spans at least a decade; on a shorter one,
/// it might have no label. The horizontal axis extends beyond the last point.
fn error_panel(
    area: &Area<'_>,
    (title, x): (&str, &str),
    curves: Vec<(Curve, RGBColor)>,
    legend: Option<SeriesLabelPosition>,
    margin: f64,
) -> Result<()> {
    let (curves, colors): (Vec<_>, Vec<_>) = curves.into_iter().unzip();
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let last = points().map(|point| point.0).fold(1.0, f64::max);
    let style = Style {
        title,
        x,
        y: "",
        y_label_area: 44,
        x_labels: Some((last as usize + 1).min(12)),
        y_format: |value| format!("{}", (100.0 * value).round() / 100.0),
        legend,
    };
    // A logarithmic axis cannot show an error of zero.
    let positive = points().filter(|point| point.1 > 0.0);
    let (x, y) = (0.0..last + margin, plots::log_range(positive));
    if y.end < 10.0 * y.start {
        return plots::panel(area, &style, x, y, &curves, &colors);
    }
    plots::panel(area, &style, x, y.log_scale(), &curves, &colors)
}

fn color(row: usize) -> RGBColor {
    COLORS[row % COLORS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, row};
    use crate::study;

    #[test]
    fn a_picture_has_a_point_for_each_seed() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        assert_eq!(svg(&rows, &results).unwrap(), None);
        for (seed, error) in [(1, 0.3), (2, 0.28), (3, 0.31)] {
            results.add(record(&row("cifar10-29-n1"), seed, 12, error, 60.0)).unwrap();
        }
        results.add(record(&row("mnist-20-n1"), 1, 6, 0.0, 60.0)).unwrap();
        let picture = svg(&rows, &results).unwrap().unwrap();
        assert_eq!(picture.matches("<circle").count(), 4);
        for text in ["CIFAR-10 (subset), ResNet-29", "MNIST, ResNet-20", "N = 3, basic × 4"] {
            assert!(picture.contains(text), "{text}");
        }
        assert!(!picture.contains("ResNet-56"));
        assert!(picture.contains("test error at the end"));
        assert_eq!(svg(&rows, &results).unwrap().unwrap(), picture);
    }

    #[test]
    fn kinds_of_units_have_a_panel_for_each_number_and_colors_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::screening(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        for (index, row) in rows.iter().enumerate() {
            results.add(record(row, 1, 4, 0.3 + index as f64 / 100.0, 60.0)).unwrap();
        }
        let picture = svg(&rows, &results).unwrap().unwrap();
        for text in ["N_c = 1", "N_c = 4", "validation error at the end", "grouped × 4", "none"] {
            assert!(picture.contains(text), "{text}");
        }
        let panel = rows.iter().filter(|row| row.group.ends_with("N_c = 1")).count();
        assert!(panel <= COLORS.len(), "{panel}");
    }

    #[test]
    fn an_axis_of_errors_has_labels() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::initialization(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        for (error, expected) in [(0.35, "40"), (0.002, "1")] {
            results.add(record(&rows[0], 1, 6, error, 60.0)).unwrap();
            let picture = over_epochs_and_time(&rows, &results).unwrap().unwrap();
            // Labels of vertical axes are anchored at their end.
            let texts = picture.split("<text ").filter(|text| text.contains(r#"anchor="end""#));
            let labels: Vec<_> = texts.filter_map(|text| text.lines().nth(1)).collect();
            assert!(labels.contains(&expected), "{labels:?}");
        }
    }

    #[test]
    fn the_wall_clock_of_a_run_starts_with_that_of_the_run_that_it_starts_from() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::initialization(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        assert_eq!(over_epochs_and_time(&rows, &results).unwrap(), None);
        let (source, run) = (row("initialization-serial-20"), row("initialization-nested"));
        results.add(record(&run, 1, 6, 0.3, 600.0)).unwrap();
        let lines = |results: &Results| {
            let picture = over_epochs_and_time(&rows, results).unwrap().unwrap();
            picture.matches(r##"stroke="#56B4E9""##).count()
        };
        // Only the plot over epochs, with the legend.
        assert_eq!(minutes(&run, 6, &results), None);
        assert_eq!(lines(&results), 2);
        results.add(record(&source, 1, 6, 0.4, 300.0)).unwrap();
        assert_eq!(lines(&results), 3);
        let found = minutes(&run, 6, &results).unwrap();
        let expected = [400.0, 500.0, 600.0, 700.0, 800.0, 900.0].map(|seconds| seconds / 60.0);
        assert!(found.iter().zip(expected).all(|(own, other)| (own - other).abs() < 1e-9));
        assert_eq!(found.len(), 6);
    }
}
