//! Tables of the comparisons on held-out training images: coarse units and learning rates.

use parareal_models::CostTable;

use crate::Result;
use crate::coarse_cost::CoarseCost;
use crate::network::{Coarse, Network, shape_of};
use crate::record::Results;
use crate::row::Row;
use crate::study::TRIED_RATES;
use crate::table::{
    counts, duration, errors, groups, lines, mean, millions, remarks, remarks_without_times,
};

/// Returns the table of coarse units. Its rows have the same images and differ only in the coarse units. Without measured costs, it
/// has no times on the chain.
///
/// # Errors
/// If a network cannot be built, or the costs lack one of its components.
pub(crate) fn units(rows: &[Row], results: &Results, costs: Option<&CostTable>) -> Result<String> {
    let error_of = |row: &Row| Some(errors(&results.of(row)).first()?.1);
    let Some(first) = rows.first() else { return Ok(String::new()) };
    let of_papers = Network { coarse: Some(Coarse::BASIC), ..first.network };
    let shape = shape_of(first.dataset)?;
    let papers_cost = CoarseCost::of(&of_papers, shape, costs)?;
    let papers_choices = of_papers.coarse_choices()?;
    let is_papers =
        |row: &&Row| row.network.coarse_choices().is_ok_and(|own| own == papers_choices);
    let papers = rows.iter().find(is_papers);
    let papers_error = papers.and_then(error_of);
    let papers_title = papers.map_or("the paper's", |row| row.title.as_str());
    let mut cells = vec![vec![
        "unit".to_string(),
        "validation error (%)".into(),
        format!("minus {papers_title} (points)"),
        "coarse parameters".into(),
        format!("of {papers_title}"),
        "time on the chain".into(),
        format!("of {papers_title}"),
        "both at most a third".into(),
        "wall clock".into(),
    ]];
    for row in rows {
        let cost = CoarseCost::of(&row.network, shape, costs)?;
        let shares = cost.relative_to(&papers_cost);
        let error = error_of(row);
        let is_papers = papers.is_some_and(|papers| papers.id == row.id);
        let difference = error.zip(papers_error).filter(|_| !is_papers);
        let seconds = mean(&results.timed(row), |record| record.train_seconds);
        cells.push(vec![
            row.title.clone(),
            error.map_or("-".into(), |error| format!("{error:.2}")),
            difference.map_or("-".into(), |(own, papers)| format!("{:+.2}", own - papers)),
            millions(cost.parameters / 1e6),
            format!("{:.2}", shares.parameters),
            cost.seconds.map_or("-".into(), |seconds| format!("{:.1} ms", 1e3 * seconds)),
            shares.time.map_or("-".into(), |share| format!("{share:.2}")),
            if shares.are_within() { "✓".into() } else { String::new() },
            seconds.map_or("-".into(), duration),
        ]);
    }
    let own: Vec<_> = rows.iter().collect();
    let records: Vec<_> = rows.iter().flat_map(|row| results.of(row)).collect();
    let mut text = "Validation error after the last epoch, one seed.".to_string();
    if let Some(costs) = costs {
        let batch = costs.batch;
        text += &format!(
            " Time on the chain: forward pass and input gradient of all coarse networks, for {batch} images, from `costs.json`."
        );
    }
    Ok(format!("{}\n\n{}\n\n{}", counts(&own, results), lines(cells), remarks(&text, &records)))
}

/// Returns the table of learning rates. The best rate for a network is bold once all of its runs have
/// finished.
pub(crate) fn rates(rows: &[Row], results: &Results) -> String {
    let mut cells = vec![vec!["network".to_string(), "images and epochs".into()]];
    cells[0].extend(TRIED_RATES.map(|rate| rate.to_string()));
    for group in groups(rows) {
        let own: Vec<_> = rows.iter().filter(|row| row.group == group).collect();
        let errors = TRIED_RATES.map(|rate| {
            let row = own.iter().find(|row| row.learning_rate() == Some(rate))?;
            Some(errors(&results.of(row)).first()?.1)
        });
        if errors == [None; TRIED_RATES.len()] {
            continue;
        }
        let is_complete = errors.iter().all(Option::is_some);
        let best = errors.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let mut line = vec![group.to_string(), counts(&own, results)];
        line.extend(errors.map(|error| match error {
            Some(error) if is_complete && error == best => format!("**{error:.2}**"),
            Some(error) => format!("{error:.2}"),
            None => "-".into(),
        }));
        cells.push(line);
    }
    let records: Vec<_> = rows.iter().flat_map(|row| results.of(row)).collect();
    let text = "Validation error (%) after the last epoch for each learning rate, one seed. The lowest error of a network is bold \
                once all of its runs have finished.";
    format!("{}\n\n{}", lines(cells), remarks_without_times(text, &records))
}

#[cfg(test)]
mod tests {
    use parareal_models::UnitKind;

    use super::*;
    use crate::network::tests::costs;
    use crate::record::tests::{alone, record};
    use crate::study;

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        let start = format!("| {start} |");
        text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn units_are_compared_with_the_papers_coarse_network() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::screening(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        for (title, error) in [("basic × 4", 0.4), ("depthwise × 1", 0.415)] {
            let row = rows.iter().find(|row| row.title == title).unwrap();
            results.add(alone(record(row, 1, 4, error, 600.0))).unwrap();
        }
        let text = units(&rows, &results, Some(&costs(&UnitKind::CONVOLUTIONAL))).unwrap();
        // There are two interfaces. A strided unit takes 11 s, any other unit 1.1 s.
        let papers = line(&text, "basic × 4");
        assert!(papers.starts_with("| basic × 4 | 40.00 | - | "), "{papers}");
        assert!(papers.ends_with("M | 1.00 | 28600.0 ms | 1.00 |  | 10.0 min |"), "{papers}");
        let depthwise = line(&text, "depthwise × 1");
        assert!(depthwise.starts_with("| depthwise × 1 | 41.50 | +1.50 | 0.1"), "{depthwise}");
        assert!(depthwise.ends_with("| 22000.0 ms | 0.77 |  | 10.0 min |"), "{depthwise}");
        assert!(line(&text, "none").starts_with("| none | - | - | 0.0"), "{text}");
        assert!(text.contains("8,336 training and 1,017 held-out images, 4 epochs"), "{text}");
        assert!(text.contains("minus basic × 4 (points)"), "{text}");

        let without_costs = units(&rows, &results, None).unwrap();
        assert!(line(&without_costs, "none").ends_with("| - | - |  | - |"), "{without_costs}");
        let error = units(&rows, &results, Some(&costs(&[UnitKind::Basic]))).unwrap_err();
        assert!(error.to_string().contains("the cost table has no entry for"), "{error}");
    }

    #[test]
    fn a_unit_within_a_third_of_parameters_and_time_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::screening(false).unwrap();
        let results = Results::read(folder.path()).unwrap();
        let marked = |slow: UnitKind| {
            let mut costs = costs(&UnitKind::CONVOLUTIONAL);
            for cost in &mut costs.components {
                let name = cost.component.to_string();
                if !name.starts_with("basic") && !name.starts_with(slow.name()) {
                    cost.forward_ms /= 4.0;
                    cost.input_gradient_ms /= 4.0;
                }
            }
            let text = units(&rows, &results, Some(&costs)).unwrap();
            let lines = text.lines().filter(|line| line.contains('✓'));
            lines.map(|line| line.split(" | ").next().unwrap().to_string()).collect::<Vec<_>>()
        };
        let found = marked(UnitKind::Depthwise);
        assert!(found.contains(&"| quarter × 4".into()), "{found:?}");
        assert!(!found.iter().any(|title| title.starts_with("| depthwise")), "{found:?}");
        // It has as many parameters as the paper's coarse network.
        assert!(!found.iter().any(|title| title.starts_with("| coarsened × 4")), "{found:?}");
        assert!(marked(UnitKind::Quarter).contains(&"| depthwise × 4".into()));
    }

    #[test]
    fn the_best_rate_is_marked_when_all_have_finished() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::rates(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let own = rows.iter().filter(|row| row.id.starts_with("rates-cifar10-29-n1-"));
        for (row, error) in own.zip([0.4, 0.25, 0.35]) {
            let text = rates(&rows, &results);
            assert!(!text.contains("**"), "{text}");
            results.add(record(row, 1, 12, error, 60.0)).unwrap();
        }
        let text = rates(&rows, &results);
        assert_eq!(
            line(&text, "CIFAR-10 (subset), ResNet-29: N = 1"),
            "| CIFAR-10 (subset), ResNet-29: N = 1 | 8,336 training and 1,017 held-out images, 12 epochs | 40.00 | \
             **25.00** | 35.00 |"
        );
        assert!(text.contains("| network | images and epochs | 0.02 | 0.05 | 0.1 |"), "{text}");
        assert!(!text.contains("MNIST"), "{text}");
    }
}
