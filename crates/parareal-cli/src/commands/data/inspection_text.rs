//! Results of `data check` as JSON and as text.

use parareal_data::{Inspection, SplitCounts};
use serde_json::{Value, json};

use crate::output::{amount, table};

/// Returns the fields of `data check --json`.
pub(crate) fn as_json(inspection: &Inspection) -> Value {
    let files = inspection.files.iter().map(|file| {
        json!({
            "path": file.path.to_string_lossy(),
            "bytes": file.bytes,
            "md5": file.checksum.as_ref().map(|checksum| &checksum.found),
            "canonical": file.checksum.as_ref().map(|checksum| checksum.matches()),
        })
    });
    let split =
        |split: &SplitCounts| json!({ "images": split.images, "per_class": split.per_class });
    json!({
        "dataset": inspection.name.as_str(),
        "files": files.collect::<Vec<_>>(),
        "train": split(&inspection.train),
        "test": inspection.test.as_ref().map(split),
        "class_names": inspection.class_names,
        "notes": inspection.notes,
        "fingerprint": inspection.fingerprint,
    })
}

/// Returns lines for the files and notes, and a table of the classes.
pub(crate) fn as_text(inspection: &Inspection) -> String {
    let mut lines: Vec<String> = inspection
        .files
        .iter()
        .map(|file| {
            let state = match &file.checksum {
                Some(checksum) if checksum.matches() => "the canonical file",
                Some(_) => "not the canonical file",
                None => "no published checksum",
            };
            format!("{}: {}B, {state}", file.path.display(), amount(file.bytes))
        })
        .collect();
    lines.extend(inspection.notes.iter().map(|note| format!("note: {note}")));
    let mut rows = vec![["class", "name", "training", "test"].map(String::from).to_vec()];
    let test = inspection.test.as_ref();
    let row = |class: String, name: &str, train: usize, test: Option<usize>| {
        let test = test.map_or_else(String::new, |count| count.to_string());
        vec![class, name.to_string(), train.to_string(), test]
    };
    for (class, &train) in inspection.train.per_class.iter().enumerate() {
        let name = inspection.class_names.get(class).map_or("", String::as_str);
        rows.push(row(class.to_string(), name, train, test.map(|test| test.per_class[class])));
    }
    let (train, test) = (inspection.train.images, test.map(|test| test.images));
    rows.push(row("all".into(), "", train, test));
    lines.push(table(&rows));
    lines.push(format!("fingerprint {}", inspection.fingerprint));
    lines.join("\n")
}
