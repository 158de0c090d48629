//! Configuration files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use parareal_run::names;
use parareal_text::{one_line, without_byte_order_mark};
use parareal_train::folder::config_file;
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Spanned, Value};

use super::Settings;
use crate::VisionError;

/// Longest configuration file that is read; one with all keys has a hundredth of it.
const LONGEST_FILE: u64 = 1 << 18;

/// Longest value that a message quotes, in characters.
const LONGEST_VALUE: usize = 80;

impl Settings {
    /// Reads the configuration of the run in a folder.
    ///
    /// # Errors
    /// Where there is no run, or its configuration cannot be understood.
    pub fn of_run(folder: &Path) -> Result<Self, VisionError> {
        Self::read(&config_file(folder)?)
    }

    /// Reads the configuration that a checkpoint records.
    pub(crate) fn of_table(table: &toml::Table) -> Result<Self, VisionError> {
        table.clone().try_into().map_err(|error: toml::de::Error| VisionError::ConfigFile {
            path: names::CONFIG.into(),
            message: one_line(error.message()),
        })
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`VisionError::ConfigFile`] or [`VisionError::UnknownKey`] where the file cannot be read, is not TOML,
    /// or has an unknown key or a value that the setting cannot have.
    pub fn read(path: &Path) -> Result<Self, VisionError> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::parse(path, &bytes),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                Err(VisionError::ConfigFile { path: path.to_path_buf(), message })
            }
        }
    }

    /// Reads the contents of a configuration file.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, VisionError> {
        let wrong = |message: String| VisionError::ConfigFile { path: path.to_path_buf(), message };
        if bytes.len() as u64 > LONGEST_FILE {
            let message =
                format!("not a configuration file: it has more than {LONGEST_FILE} bytes");
            return Err(wrong(message));
        }
        let text = str::from_utf8(without_byte_order_mark(bytes)).map_err(|error| {
            wrong(format!("not UTF-8 text: byte {} is wrong", error.valid_up_to() + 1))
        })?;
        let line_of = |position: usize| {
            let before = text.get(..position).unwrap_or("");
            before.matches('\n').count() + 1
        };
        let table: BTreeMap<Spanned<String>, Spanned<Value>> =
            toml::from_str(text).map_err(|error| {
                let line = error.span().map(|span| format!("line {}: ", line_of(span.start)));
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                wrong(line.unwrap_or_default() + &one_line(&message))
            })?;
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut settings = Self::default();
        for (key, value) in entries {
            let (line, key, value) =
                (line_of(key.span().start), key.into_inner(), value.into_inner());
            let Some(definition) = Self::definitions().iter().find(|known| known.key == key) else {
                let nearest = nearest(&key, Self::KEYS);
                return Err(VisionError::UnknownKey { path: path.to_path_buf(), key, nearest });
            };
            let read = (definition.access.set_toml)(&mut settings, &value);
            let checked = read.and_then(|()| (definition.access.check)(&settings));
            checked.map_err(|expected| {
                wrong(format!("line {line}: {key} is {}: {expected}", shown(&value)))
            })?;
        }
        Ok(settings)
    }

    /// Returns the settings as a configuration file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings, numbers and lists of them are TOML")
    }
}

/// A table of the keys that are set, in the order of the definitions.
impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for definition in Self::definitions() {
            if let Some(value) = definition.toml(self) {
                map.serialize_entry(definition.key, &value)?;
            }
        }
        map.end()
    }
}

/// Keys of other versions of the program are left out.
impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let mut settings = Self::default();
        for definition in Self::definitions() {
            if let Some(value) = table.get(definition.key) {
                (definition.access.set_toml)(&mut settings, value).map_err(|expected| {
                    let (key, found) = (definition.key, shown(value));
                    D::Error::custom(format!("{key} is {found}: {expected}"))
                })?;
            }
        }
        Ok(settings)
    }
}

/// A value as a message quotes it, on one line and not too long.
fn shown(value: &Value) -> String {
    let text = one_line(&value.to_string());
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// Returns the candidate that takes the fewest changes of letters to become `word`.
fn nearest(word: &str, candidates: &[&'static str]) -> &'static str {
    let distance = |candidate: &&&str| edits(&word.replace('_', "-"), candidate);
    candidates.iter().min_by_key(distance).copied().unwrap_or_default()
}

/// Counts the letters to insert, remove or replace between two words.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_by_letters() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(nearest("batch_sizes", Settings::KEYS), "batch-size");
        assert_eq!(nearest("learningrate", Settings::KEYS), "learning-rate");
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marked.toml");
        std::fs::write(&path, "\u{feff}depth = 20\n").unwrap();
        assert_eq!(Settings::read(&path).unwrap().depth, Some(20));
    }

    #[test]
    fn mistakes_in_a_file_are_one_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.toml");
        for (text, expected) in [
            ("depth = 20\nepoch = 3\n", "unknown key `epoch`; the nearest known one is `epochs`"),
            ("depth = 20\nepochs = \"many\"\n", "line 2"),
            ("depth = = 20\n", "line 1"),
            ("seed = 1\nbatch-size = -3\n", "line 2"),
            ("\"a\\nb\" = 1\n", "unknown key `a\\nb`"),
            (&format!("seed = {}\n", "1".repeat(300_000)), "more than 262144 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Settings::read(&path).unwrap_err();
            assert!(error.is_bad_input());
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        std::fs::write(&path, b"seed = 1\n# \xff\n").unwrap();
        let message = Settings::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("not UTF-8 text: byte 12 is wrong"), "{message}");
        std::fs::write(&path, "\u{feff}seed = 7\n").unwrap();
        assert_eq!(Settings::read(&path).unwrap().seed, Some(7));
        assert!(Settings::read(&folder.path().join("none.toml")).unwrap_err().is_bad_input());
    }
}
