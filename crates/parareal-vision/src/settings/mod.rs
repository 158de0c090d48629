//! Settings of a run: what flags and configuration files may say.
//!
//! `definitions.rs` has one entry for each setting; everything else follows from it.

mod definition;
mod definitions;
mod file;
mod recipe;
mod resume;
mod value;

use std::path::PathBuf;

use parareal_data::DatasetName;

pub use definition::{Definition, Heading, Input};
pub(crate) use definitions::Complete;
pub use definitions::Settings;
pub use recipe::Recipe;
pub(crate) use value::SettingValue;
pub use value::{CutsSetting, DecayKind, Recompute};

use crate::VisionError;

/// Folder of the data sets where no other one is named.
pub const DEFAULT_DATA_DIR: &str = "data";

impl Settings {
    /// Returns the definitions of all settings, in the order of a configuration file.
    #[must_use]
    pub fn definitions() -> &'static [Definition] {
        definitions::DEFINITIONS
    }

    /// Returns the folder in which a data set is looked for where none is named: `None` for the built-in
    /// images, which need none, and for images of one's own, which have no usual place.
    #[must_use]
    pub fn default_data_dir(dataset: DatasetName) -> Option<PathBuf> {
        dataset.is_published().then(|| DEFAULT_DATA_DIR.into())
    }

    /// Sets the setting of a key to what a text says.
    ///
    /// # Errors
    /// [`TrainError::Setting`](parareal_train::TrainError::Setting) where the text is not a value of the setting.
    ///
    /// # Panics
    /// Where there is no such key.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), VisionError> {
        let definition = Self::definitions().iter().find(|definition| definition.key == key);
        let definition = definition.unwrap_or_else(|| panic!("there is no setting `{key}`"));
        definition
            .set(self, &[text.into()])
            .map_err(|expected| VisionError::setting(definition.key, format!("`{text}`"), expected))
    }

    /// Refuses the first setting with a value that it cannot have, whatever the others are.
    pub(crate) fn check(&self) -> Result<(), VisionError> {
        Self::definitions().iter().try_for_each(|definition| definition.check(self))
    }
}
