//! The goals for coarse networks, and how near each comes.

use parareal_models::CostTable;
use parareal_text::count;

use crate::Result;
use crate::coarse_cost::CoarseCost;
use crate::network::shape_of;
use crate::record::Results;
use crate::row::Row;
use crate::statistics::Mean;
use crate::study::{GOAL_PAIRS, GOALS};
use crate::table::{errors, with_error};

/// Returns the state of each goal with paired results; `None` without any.
pub(crate) fn goals(
    rows: &[Row],
    results: &Results,
    costs: Option<&CostTable>,
) -> Result<Option<String>> {
    let mut lines = Vec::new();
    for goal in GOALS {
        let find = |id: &str| rows.iter().find(|row| row.id == id);
        let Some((row, reference)) = find(goal.row).zip(find(goal.reference)) else { continue };
        let errors = [row, reference].map(|row| errors(&results.of(row)));
        let Some(mean) = Mean::of_differences(&errors[0], &errors[1]) else { continue };
        let cost = |row: &Row| CoarseCost::of(&row.network, shape_of(row.dataset)?, costs);
        let shares = cost(row)?.relative_to(&cost(reference)?);
        let bound = mean.upper_bound();
        let verdict = match (bound, shares.time) {
            _ if mean.samples < GOAL_PAIRS => format!("open, {GOAL_PAIRS} pairs decide"),
            (_, None) => "open, the time on the chain was not measured".into(),
            (Some(bound), _) if bound <= goal.points && shares.are_within() => "reached".into(),
            _ => "not reached".into(),
        };
        let time = shares.time.map_or("-".into(), |time| format!("{time:.2}"));
        lines.push(format!(
            "- {}, {} minus {}, {}: {} points, upper bound {}, limit {:.1}; {:.2} of the parameters, {time} of the time: \
             **{verdict}**",
            row.group,
            row.title,
            reference.title,
            count(mean.samples, "pair") + " of runs",
            with_error(mean, "+"),
            bound.map_or("-".into(), |bound| format!("{bound:+.2}")),
            goal.points,
            shares.parameters,
        ));
    }
    let text = "**Goal**: a coarse network has at most a third of the parameters and of the time on the chain of the paper's \
                coarse network, and the upper one-sided 90 % bound of the mean difference in test error (Student's t) is \
                within the limit.";
    Ok((!lines.is_empty()).then(|| format!("{text}\n\n{}", lines.join("\n"))))
}

#[cfg(test)]
mod tests {
    use parareal_models::UnitKind;

    use super::*;
    use crate::network::tests::costs;
    use crate::record::tests::{record, row};
    use crate::study;
    use crate::table::markdown;

    fn costs_of_all() -> CostTable {
        costs(&UnitKind::CONVOLUTIONAL)
    }

    /// Returns costs with a kind of unit that takes a quarter of the time of all others.
    fn fast(kind: UnitKind) -> CostTable {
        let mut costs = costs_of_all();
        for cost in &mut costs.components {
            if cost.component.to_string().starts_with(kind.name()) {
                cost.forward_ms /= 4.0;
                cost.input_gradient_ms /= 4.0;
            }
        }
        costs
    }

    #[test]
    fn goals_are_decided_by_the_bound_of_five_pairs_and_by_both_shares() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::small(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let costs = fast(UnitKind::Coarsened);
        let costs = Some(&costs);
        assert_eq!(goals(&rows, &results, costs).unwrap(), None);
        let [cut, basic] = ["cifar10-29-n3-recommended", "cifar10-29-n3-basic"].map(row);
        let mnist = ["mnist-20-n3-recommended", "mnist-20-n3-basic"].map(row);
        // Differences of 1, 0.5, -0.5, 1 and 0 points: see `statistics`.
        for (seed, difference) in [(1, 1.0), (2, 0.5), (3, -0.5), (4, 1.0), (5, 0.0)] {
            for (row, points) in
                [(&cut, difference), (&basic, 0.0), (&mnist[0], difference), (&mnist[1], 0.0)]
            {
                let epochs = results.epochs(row).unwrap();
                let error = 0.2 + points / 100.0;
                results.add(record(row, seed, epochs, error, 60.0)).unwrap();
            }
            let text = goals(&rows, &results, costs).unwrap().unwrap();
            let verdicts: Vec<_> =
                text.lines().filter_map(|line| line.split(": **").nth(1)).collect();
            let expected = match seed {
                5 => ["reached**", "not reached**"],
                _ => ["open, 5 pairs decide**"; 2],
            };
            assert_eq!(verdicts, expected, "{text}");
        }
        let text = goals(&rows, &results, costs).unwrap().unwrap();
        let expected = "5 pairs of runs: +0.40 ± 0.29 points, upper bound +0.85, limit 2.0; 0.21 of the parameters, 0.19 of the \
                        time: **reached**";
        assert!(text.contains(expected), "{text}");
        assert!(markdown(&rows, &results, costs).unwrap().contains(&text));
        let slow = goals(&rows, &results, Some(&costs_of_all())).unwrap().unwrap();
        assert!(
            slow.contains("limit 2.0; 0.21 of the parameters, 0.77 of the time: **not reached**"),
            "{slow}"
        );
        let unknown = goals(&rows, &results, None).unwrap().unwrap();
        assert!(
            unknown.contains("- of the time: **open, the time on the chain was not measured**"),
            "{unknown}"
        );
    }
}
