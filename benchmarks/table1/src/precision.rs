//! The table of precisions.

use crate::record::Results;
use crate::row::Row;
use crate::statistics::Mean;
use crate::table::{
    TEST_ERRORS, counts, errors, groups, lines, paired, remarks_without_times, with_error,
};

/// Returns the errors in each precision, with the paired differences to 32-bit floats.
pub(crate) fn markdown(rows: &[Row], results: &Results) -> String {
    let mut cells = vec![vec![
        "network".to_string(),
        "precision".into(),
        "seeds".into(),
        "test error (%)".into(),
        "minus 32-bit floats (points)".into(),
    ]];
    for group in groups(rows) {
        let own: Vec<_> = rows.iter().filter(|row| row.group == group).collect();
        for (index, row) in own.iter().enumerate() {
            let found = errors(&results.of(row));
            let values: Vec<f64> = found.iter().map(|(_, error)| *error).collect();
            let difference = match index {
                0 => None,
                _ => Mean::of_differences(&found, &errors(&results.of(own[0]))),
            };
            cells.push(vec![
                group.to_string(),
                row.title.clone(),
                found.len().to_string(),
                Mean::of(&values).map_or("-".into(), |mean| with_error(mean, "")),
                difference.map_or("-".into(), |mean| paired(mean, found.len())),
            ]);
        }
    }
    let all: Vec<_> = rows.iter().collect();
    let records: Vec<_> = rows.iter().flat_map(|row| results.of(row)).collect();
    format!(
        "{}\n\n{}\n\n{}",
        counts(&all, results),
        lines(cells),
        remarks_without_times(TEST_ERRORS, &records)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, row};
    use crate::study;

    #[test]
    fn differences_are_paired() {
        let folder = tempfile::tempdir().unwrap();
        let rows = study::precision(false).unwrap();
        let mut results = Results::read(folder.path()).unwrap();
        let (single, half) = (row("cifar10-29-n1"), row("cifar10-29-n1-bf16"));
        for (seed, of_single, of_half) in [(1, 0.30, 0.31), (2, 0.32, 0.31), (3, 0.31, 0.31)] {
            results.add(record(&single, seed, 12, of_single, 60.0)).unwrap();
            results.add(record(&half, seed, 12, of_half, 60.0)).unwrap();
        }
        let text = markdown(&rows, &results);
        let of_half =
            "| CIFAR-10 (subset), ResNet-29, N = 1 | bfloat16 | 3 | 31.00 ± 0.00 | +0.00 ± 0.58 |";
        assert!(text.contains(of_half), "{text}");
        let none = "ResNet-29, N = 3, coarsened × 1 | bfloat16 | 0 | - | - |";
        assert!(text.contains(none), "{text}");
        let half = row("cifar10-29-n3-recommended-bf16");
        let single = row("cifar10-29-n3-recommended");
        for seed in 1..=3 {
            results.add(record(&single, seed, 12, 0.30, 60.0)).unwrap();
            results.add(record(&half, seed, 12, 0.31 + 0.001 * seed as f64, 60.0)).unwrap();
        }
        assert!(markdown(&rows, &results).contains("| +1.20 ± 0.06 |"));
    }
}
