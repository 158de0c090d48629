//! Reader of `config.toml`, and comparison of the settings of runs.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use parareal_run::names::CONFIG;
use serde::Serialize;
use toml::{Spanned, Table, Value};

use crate::ReportError;

/// The settings of a run in the order of the file.
pub(crate) type Settings = Vec<(String, Value)>;

/// One setting with its values in all runs.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    key: String,
    /// The value for each run; `None` if the setting is not set.
    values: Vec<Option<String>>,
    /// True if the values differ between the runs.
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

/// Returns the configured number of epochs.
pub(crate) fn epochs(settings: &Settings) -> Option<usize> {
    let (_, value) = settings.iter().find(|(key, _)| key == "epochs")?;
    value.as_integer().and_then(|epochs| epochs.try_into().ok())
}

/// Returns the number of subnetworks, from the setting `subnetworks` or from a list of cuts.
pub(crate) fn subnetworks(settings: &Settings) -> Option<usize> {
    let of = |name: &str| settings.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    match of("subnetworks") {
        Some(value) => value.as_integer().and_then(|count| count.try_into().ok()),
        None => of("cuts").and_then(Value::as_array).map(|cuts| cuts.len() + 1),
    }
}

/// Returns true if the settings are those of a run that classifies images. Only such runs have the setting
/// `dataset`.
pub(crate) fn of_images(settings: &Settings) -> bool {
    settings.iter().any(|(key, _)| key == "dataset")
}

/// The objective by which a run compared its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Objective<'a> {
    /// `loss`, or the name of a metric. Both are for the validation samples.
    pub(crate) name: &'a str,
    /// True if the highest value is the best.
    pub(crate) highest: bool,
}

/// Returns the objective of a run, if its settings name one, as in `best = "highest accuracy"`.
pub(crate) fn objective(settings: &Settings) -> Option<Objective<'_>> {
    let (_, value) = settings.iter().find(|(key, _)| key == "best")?;
    let (direction, name) = value.as_str()?.split_once(' ')?;
    match direction {
        "lowest" => Some(Objective { name, highest: false }),
        "highest" => Some(Objective { name, highest: true }),
        _ => None,
    }
}

/// Keys for grouping runs by their data. Runs with the same text in a field have the same data. A run whose
/// data is unknown belongs to no group.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Data {
    training: Option<String>,
    validation: Option<String>,
    test: Option<String>,
}

impl Data {
    /// Returns the keys of a run that classifies images, from its settings and the number of test images in
    /// its evaluation.
    pub(crate) fn of_images(settings: &Settings, test_images: Option<usize>) -> Self {
        let of = |keys: &[&str]| {
            let values = settings.iter().filter(|(key, _)| keys.contains(&key.as_str()));
            joined(values.map(|(key, value)| (key, value)))
        };
        let counted = test_images.map_or(String::new(), |images| format!(", {images} images"));
        Self {
            training: Some(of(&["dataset", "data-dir", "limit-train", "validation"])),
            validation: Some(of(&["dataset", "data-dir", "limit-train", "validation", "seed"])),
            test: Some(of(&["dataset", "data-dir", "limit-test"]) + &counted),
        }
    }

    /// Returns the keys of any other run, from the description of the data in a checkpoint. The description
    /// has the numbers of samples and checksums of the first batches. The checksums depend on the seed and
    /// the batch size, so the same samples in other batches count as other data.
    pub(crate) fn of_table(table: Option<&Table>) -> Self {
        let of = |validation: bool| {
            let entries = table.into_iter().flatten();
            let entries = entries.filter(|(key, _)| key.contains("validation") == validation);
            let text = joined(entries);
            (!text.is_empty()).then_some(text)
        };
        Self { training: of(false), validation: of(true), test: None }
    }
}

fn joined<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let mut entries: Vec<_> = entries.map(|(key, value)| format!("{key} = {value}")).collect();
    entries.sort();
    entries.join(", ")
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

/// Returns a row for each setting of any run, in the order of first occurrence.
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

/// Formats a value as on a command line, without quotes and brackets.
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
        let base = Data::of_images(&settings(text), Some(50));
        for (other, count, same) in [
            (text.replace("mnist", "svhn"), 50, [false; 3]),
            (text.replace("96", "64"), 50, [false, false, true]),
            (text.replace("seed = 1", "seed = 2"), 50, [true, false, true]),
            (text.to_owned() + "limit-test = 50\n", 50, [true, true, false]),
            (text.to_owned() + "depth = 20\n", 50, [true; 3]),
            (text.to_owned(), 49, [true, true, false]),
        ] {
            let other = Data::of_images(&settings(&other), Some(count));
            let found = [
                other.training == base.training,
                other.validation == base.validation,
                other.test == base.test,
            ];
            assert_eq!(found, same);
        }
    }

    #[test]
    fn runs_on_samples_with_the_same_checksum_are_in_one_group() {
        let table = |text: &str| Some(text.parse::<Table>().unwrap());
        let text = "training-samples = 30\nfirst-batch = \"ab\"\nvalidation-samples = 20\n\
                    first-validation-batch = \"cd\"\n";
        let base = Data::of_table(table(text).as_ref());
        assert_eq!(base.training.as_deref(), Some("first-batch = \"ab\", training-samples = 30"));
        let other = Data::of_table(table(&text.replace("ab", "ef")).as_ref());
        assert!(other.training != base.training && other.validation == base.validation);
        let other = Data::of_table(table(&text.replace("cd", "ef")).as_ref());
        assert!(other.training == base.training && other.validation != base.validation);
        let unknown = Data { training: None, validation: None, test: None };
        assert_eq!(Data::of_table(None), unknown);
        assert_eq!(Data::of_table(table("").as_ref()), unknown);
    }

    #[test]
    fn subnetworks_and_objectives_are_read() {
        let of = |text: &str| subnetworks(&settings(text));
        assert_eq!(of("subnetworks = 3\ncuts = [1]\n"), Some(3));
        assert_eq!(of("cuts = [2, 4]\n"), Some(3));
        assert_eq!((of("cuts = []\n"), of("cuts = \"even\"\n"), of("")), (Some(1), None, None));
        let text = "best = \"highest top 5\"\n";
        let expected = Objective { name: "top 5", highest: true };
        assert_eq!(objective(&settings(text)), Some(expected));
        for text in ["", "best = 3\n", "best = \"loss\"\n", "best = \"any loss\"\n"] {
            assert_eq!(objective(&settings(text)), None);
        }
    }

    #[test]
    fn settings_differ_by_value_or_by_absence() {
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
    fn an_error_names_its_line() {
        let error = parse(Path::new("config.toml"), "depth = 20\nepochs = = 3\n").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("config.toml: line 2: expected a table"), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}
