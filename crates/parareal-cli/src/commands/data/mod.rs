//! `data`: fetches, checks and shows data sets.

mod fetch;
mod inspection_text;

use std::path::PathBuf;

use parareal_data::{Dataset, DatasetName, LoadOptions, Mixing, RandomErasing, inspect};
use parareal_train::{Format, OutputFile};
use parareal_vision::{Settings, contact_sheet};

use crate::ending::Ending;
use fetch::fetch;
use inspection_text::{as_json, as_text};

use crate::arguments::{Data, ImageFiles, Show};
use crate::failure::Failure;
use crate::output::{note, result};

pub(crate) fn run(command: Data) -> Result<Ending, Failure> {
    match command {
        Data::Fetch(arguments) => fetch(arguments),
        Data::Check { set, json } => check(set, json),
        Data::Show(arguments) => show(arguments),
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

fn show(arguments: Show) -> Result<Ending, Failure> {
    let Show { set, trivial_augment, random_erasing, mixup, cutmix, output, overwrite } = arguments;
    let erasing = random_erasing.map(RandomErasing::new).transpose()?;
    let mixing = Mixing::new(mixup, cutmix)?;
    let output = OutputFile::new(&output, &[Format::Png], overwrite)?;
    let name: DatasetName = set.name.parse()?;
    let options = LoadOptions { data_dir: data_dir(name, set.data_dir), ..LoadOptions::default() };
    let dataset = Dataset::load(name, &options)?;
    contact_sheet(&dataset, trivial_augment, erasing, mixing, &output)?;
    note(&format!("wrote training images of {} to {}", dataset.name, output.path().display()));
    Ok(Ending::Done)
}
