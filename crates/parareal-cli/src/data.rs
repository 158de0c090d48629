//! The data sets: fetching, checking and showing them.

use std::path::Path;

use parareal_data::{Dataset, DatasetName, LoadOptions, inspect};
use parareal_train::{Format, OutputFile, contact_sheet};

use crate::Ending;
use crate::arguments::{Data, ImageFiles};
use crate::failure::Failure;
use crate::fetch::fetch;
use crate::inspection::{as_json, as_text};
use crate::output::{note, result};

pub(crate) fn run(command: Data) -> Result<Ending, Failure> {
    match command {
        Data::Fetch(arguments) => fetch(arguments),
        Data::Check { set, json } => check(&set, json),
        Data::Show { set, output } => show(&set, &output),
    }
}

fn check(set: &ImageFiles, json: bool) -> Result<Ending, Failure> {
    let name: DatasetName = set.name.parse()?;
    let inspection = inspect(name, set.data_dir.as_deref())?;
    match json {
        true => result(&as_json(&inspection).to_string())?,
        false => result(&as_text(&inspection))?,
    }
    Ok(Ending::Done)
}

fn show(set: &ImageFiles, output: &Path) -> Result<Ending, Failure> {
    let output = OutputFile::new(output, &[Format::Png], false)?;
    let options = LoadOptions { data_dir: set.data_dir.clone(), ..LoadOptions::default() };
    let dataset = Dataset::load(set.name.parse()?, &options)?;
    contact_sheet(&dataset, &output)?;
    note(&format!("training images of {} are in {}", dataset.name, output.path().display()));
    Ok(Ending::Done)
}
