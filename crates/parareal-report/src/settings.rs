//! `config.toml`, and where runs differ in it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use parareal_run::names::CONFIG;
use serde::Serialize;
use toml::{Spanned, Value};

use crate::ReportError;

/// The settings of a run in the order of the file.
pub(crate) type Settings = Vec<(String, Value)>;

/// A setting of all runs.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    key: String,
    /// Its value for each run; `None` where it is not set.
    values: Vec<Option<String>>,
    /// True if the runs differ in it.
    differs: bool,
}

/// Reads the file in the folder of a run.
pub(crate) fn read(folder: &Path) -> Result<Settings, ReportError> {
    let path = folder.join(CONFIG);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(ReportError::NoRun { path: folder.to_path_buf(), missing: CONFIG })
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(ReportError::malformed(&path, None, "expected UTF-8 text; restore the file"))
        }
        Err(error) => Err(ReportError::file(&path)(error)),
    }
}

/// How many epochs a run was to have.
pub(crate) fn epochs(settings: &Settings) -> Option<usize> {
    let (_, value) = settings.iter().find(|(key, _)| key == "epochs")?;
    value.as_integer().and_then(|epochs| epochs.try_into().ok())
}

/// Groups of runs: those with the same text in a field have seen the same images.
#[derive(Serialize)]
pub(crate) struct Images {
    training: String,
    validation: String,
    test: String,
}

/// The images of a run with these settings, evaluated on this many test images.
pub(crate) fn images(settings: &Settings, test_images: Option<usize>) -> Images {
    let of = |keys: &[&str]| {
        let values = settings.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        let mut values: Vec<_> = values.map(|(key, value)| format!("{key} = {value}")).collect();
        values.sort();
        values.join(", ")
    };
    let counted = test_images.map_or(String::new(), |images| format!(", {images} images"));
    Images {
        training: of(&["dataset", "data-dir", "limit-train", "validation"]),
        validation: of(&["dataset", "data-dir", "limit-train", "validation", "seed"]),
        test: of(&["dataset", "data-dir", "limit-test"]) + &counted,
    }
}

fn parse(path: &Path, text: &str) -> Result<Settings, ReportError> {
    let table: BTreeMap<String, Spanned<Value>> = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| {
            let before = text.get(..span.start).unwrap_or("");
            before.matches('\n').count() + 1
        });
        let message = format!("expected a table of settings: {}", error.message());
        ReportError::malformed(path, line, message)
    })?;
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(_, value)| value.span().start);
    Ok(entries.into_iter().map(|(key, value)| (key, value.into_inner())).collect())
}

/// All settings of all runs, in the order in which they are first met.
pub(crate) fn compare(runs: &[Settings]) -> Vec<Row> {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in runs.iter().flatten() {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let row = |key: &str| {
        let of = |run: &Settings| run.iter().find(|(name, _)| name == key).map(|(_, v)| shown(v));
        let values: Vec<_> = runs.iter().map(of).collect();
        let differs = values.iter().any(|value| *value != values[0]);
        Row { key: key.to_owned(), values, differs }
    };
    keys.into_iter().map(row).collect()
}

/// A value as a person writes it on the command line: no quotes, no brackets.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        parse(Path::new("config.toml"), text).unwrap()
    }

    #[test]
    fn values_are_shown_in_the_order_of_the_file() {
        let text = "subnetworks = 3\ndataset = \"a \\\"b\\\"\"\nmilestones = [80, 120]\n\
                    learning-rate = 0.0005\nnesterov = true\ndevice = [\"cpu\"]\ncuts = []\n";
        let rows = compare(&[settings(text)]);
        let shown: Vec<_> =
            rows.iter().map(|row| (row.key.as_str(), row.values[0].as_deref().unwrap())).collect();
        assert_eq!(
            shown,
            [
                ("subnetworks", "3"),
                ("dataset", "a \"b\""),
                ("milestones", "80, 120"),
                ("learning-rate", "0.0005"),
                ("nesterov", "true"),
                ("device", "cpu"),
                ("cuts", "none"),
            ]
        );
        assert!(rows.iter().all(|row| !row.differs));
        assert_eq!(epochs(&settings(text)), None);
        assert_eq!(epochs(&settings("epochs = 8\n")), Some(8));
        assert_eq!(epochs(&settings("epochs = -8\n")), None);
    }

    #[test]
    fn runs_on_the_same_images_are_in_one_group() {
        let text = "dataset = \"mnist\"\nlimit-train = 96\nseed = 1\nvalidation = 0.1\n";
        let base = images(&settings(text), Some(50));
        for (other, count, same) in [
            (text.replace("mnist", "svhn"), 50, [false; 3]),
            (text.replace("96", "64"), 50, [false, false, true]),
            (text.replace("seed = 1", "seed = 2"), 50, [true, false, true]),
            (text.to_owned() + "limit-test = 50\n", 50, [true, true, false]),
            (text.to_owned() + "depth = 20\n", 50, [true; 3]),
            (text.to_owned(), 49, [true, true, false]),
        ] {
            let other = images(&settings(&other), Some(count));
            let found = [
                other.training == base.training,
                other.validation == base.validation,
                other.test == base.test,
            ];
            assert_eq!(found, same);
        }
    }

    #[test]
    fn differences_are_other_values_and_missing_ones() {
        let runs = [
            settings("depth = 20\nsubnetworks = 1\n"),
            settings("depth = 20\nsubnetworks = 3\nclip-norm = 1.0\n"),
        ];
        let rows = compare(&runs);
        let differing: Vec<_> =
            rows.iter().filter(|row| row.differs).map(|row| row.key.as_str()).collect();
        assert_eq!(differing, ["subnetworks", "clip-norm"]);
        assert_eq!(rows[2].values, [None, Some("1.0".to_owned())]);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let error = parse(Path::new("config.toml"), "depth = 20\nepochs = = 3\n").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("config.toml, line 2: expected a table"), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}
