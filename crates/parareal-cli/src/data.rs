//! The data sets: fetching, checking and showing them.

use std::path::{Path, PathBuf};

use parareal_data::{Dataset, DatasetName, Inspection, LoadOptions, SplitCounts, inspect};
use parareal_train::{Format, OutputFile};
use parareal_vision::{Settings, contact_sheet};
use serde_json::{Value, json};

use crate::Ending;
use crate::arguments::{Data, ImageFiles};
use crate::failure::Failure;
use crate::fetch::fetch;
use crate::output::{amount, note, result, table};

pub(crate) fn run(command: Data) -> Result<Ending, Failure> {
    match command {
        Data::Fetch(arguments) => fetch(arguments),
        Data::Check { set, json } => check(set, json),
        Data::Show { set, output, overwrite } => show(set, &output, overwrite),
    }
}

fn check(set: ImageFiles, json: bool) -> Result<Ending, Failure> {
    let name: DatasetName = set.name.parse()?;
    let inspection = inspect(name, data_dir(name, set.data_dir).as_deref())?;
    match json {
        true => result(&as_json(&inspection).to_string())?,
        false => result(&as_text(&inspection))?,
    }
    Ok(Ending::Done)
}

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

pub(crate) fn as_text(inspection: &Inspection) -> String {
    let mut lines: Vec<String> = inspection
        .files
        .iter()
        .map(|file| {
            let judged = match &file.checksum {
                Some(checksum) if checksum.matches() => "the canonical file",
                Some(_) => "not the canonical file",
                None => "no checksum of it was published",
            };
            format!("{}: {}B, {judged}", file.path.display(), amount(file.bytes))
        })
        .collect();
    lines.extend(inspection.notes.iter().map(|remark| format!("note: {remark}")));
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

/// Returns the folder of a data set: the one that was named, or the usual one.
fn data_dir(name: DatasetName, named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| Settings::default_data_dir(name))
}

fn show(set: ImageFiles, output: &Path, overwrite: bool) -> Result<Ending, Failure> {
    let output = OutputFile::new(output, &[Format::Png], overwrite)?;
    let name: DatasetName = set.name.parse()?;
    let options = LoadOptions { data_dir: data_dir(name, set.data_dir), ..LoadOptions::default() };
    let dataset = Dataset::load(name, &options)?;
    contact_sheet(&dataset, &output)?;
    note(&format!("training images of {} are in {}", dataset.name, output.path().display()));
    Ok(Ending::Done)
}
