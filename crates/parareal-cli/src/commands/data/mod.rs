//! `data`: fetches, checks and shows data sets.

mod fetch;
mod inspection_text;

use parareal_data::{Dataset, DatasetName, LoadOptions, Mixing, RandomErasing, inspect_with};
use parareal_train::{Format, OutputFile};
use parareal_vision::{Settings, contact_sheet};

use crate::commands::loading::Loading;
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
    let loading = Loading::default();
    let inspection = inspect_with(name, &options(name, set), &|progress| loading.show(progress))?;
    match json {
        true => result(&as_json(&inspection).to_string())?,
        false => result(&as_text(&inspection))?,
    }
    Ok(Ending::Done)
}

/// Returns the options for loading a data set, from the given folder or the default one.
fn options(name: DatasetName, set: ImageFiles) -> LoadOptions {
    let data_dir = set.data_dir.or_else(|| Settings::default_data_dir(name));
    LoadOptions { data_dir, image_size: set.image_size, ..LoadOptions::default() }
}

fn show(arguments: Show) -> Result<Ending, Failure> {
    let Show { set, trivial_augment, random_erasing, mixup, cutmix, output, overwrite } = arguments;
    let erasing = random_erasing.map(RandomErasing::new).transpose()?;
    let mixing = Mixing::new(mixup, cutmix)?;
    let output = OutputFile::new(&output, &[Format::Png], overwrite)?;
    let name: DatasetName = set.name.parse()?;
    let loading = Loading::default();
    let dataset =
        Dataset::load_with(name, &options(name, set), &|progress| loading.show(progress))?;
    let shown = contact_sheet(&dataset, trivial_augment, erasing, mixing, &output)?;
    let classes = match dataset.train.classes() {
        all if shown < all => format!(" from the first {shown} of {all} classes"),
        _ => String::new(),
    };
    let (name, path) = (dataset.name, output.path().display());
    note(&format!("wrote training images of {name}{classes} to {path}"));
    Ok(Ending::Done)
}
