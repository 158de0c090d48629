//! The complete configuration of a run, as its files record it.

use serde::Serialize;
use toml::Table;

/// The complete configuration of a run: the text of `config.toml`, and what checkpoints record of it.
///
/// A run only records it. The caller that starts a run decides on its content, from which the same run
/// can be started or resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigRecord {
    text: String,
    table: Table,
}

impl ConfigRecord {
    /// Creates the configuration from settings that serialize to a TOML table.
    ///
    /// # Errors
    /// If the settings do not serialize to a TOML table.
    pub fn new(settings: &impl Serialize) -> Result<Self, toml::ser::Error> {
        Ok(Self { text: toml::to_string(settings)?, table: Table::try_from(settings)? })
    }

    /// Returns the text of `config.toml`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the settings by key.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }
}
