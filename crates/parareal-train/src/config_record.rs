//! The complete configuration of a run, as recorded in its files.

use serde::Serialize;
use toml::Table;

/// The complete configuration of a run: the text of `config.toml`, and the same settings as a table for
/// checkpoints.
///
/// A run records the configuration but does not interpret it. The caller that starts the run chooses the content,
/// which must suffice to start or resume the same run.
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
