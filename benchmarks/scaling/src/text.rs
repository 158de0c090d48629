//! Tables as plain text, which is also Markdown.

/// Formats rows under a heading. Each column is as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let line = |cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(column, cell)| {
            let missing = width(column) - cell.chars().count();
            format!("{cell}{}", " ".repeat(missing))
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = (0..heading.len()).map(|column| "-".repeat(width(column))).collect();
    [&heading, &rule].into_iter().chain(rows).map(|row| line(row)).collect()
}

/// Formats bytes as megabytes.
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}
