//! `data`: fetches, checks and shows data sets.

mod fetch;
mod inspection_text;

use std::path::{Path, PathBuf};

use parareal_data::{Dataset, DatasetName, LoadOptions, RandomErasing, inspect};
use parareal_train::{Format, OutputFile};
use parareal_vision::{Settings, contact_sheet};

use crate::ending::Ending;
use fetch::fetch;
use inspection_text::{as_json, as_text};

use crate::arguments::{Data, ImageFiles};
use crate::failure::Failure;
use crate::output::{note, result};

pub(crate) fn run(command: Data) -> Result<Ending, Failure> {
    match command {
        Data::Fetch(arguments) => fetch(arguments),
        Data::Check { set, json } => check(set, json),
        Data::Show { set, trivial_augment, random_erasing, output, overwrite } => {
            show(set, trivial_augment, random_erasing, &output, overwrite)
        }
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

/// Returns the folder of a data set: the given one, or the default.
fn data_dir(name: DatasetName, named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| Settings::default_data_dir(name))
}

fn show(
    set: ImageFiles,
    trivial_augment: bool,
    random_erasing: Option<f64>,
    output: &Path,
    overwrite: bool,
) -> Result<Ending, Failure> {
    let erasing = random_erasing.map(RandomErasing::new).transpose()?;
    let output = OutputFile::new(output, &[Format::Png], overwrite)?;
    let name: DatasetName = set.name.parse()?;
    let options = LoadOptions { data_dir: data_dir(name, set.data_dir), ..LoadOptions::default() };
    let dataset = Dataset::load(name, &options)?;
    contact_sheet(&dataset, trivial_augment, erasing, &output)?;
    note(&format!("wrote training images of {} to {}", dataset.name, output.path().display()));
    Ok(Ending::Done)
}
