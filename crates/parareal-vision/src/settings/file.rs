//! Configuration files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use parareal_models::CoarseKind;
use parareal_run::names;
use parareal_text::{one_line, without_byte_order_mark};
use parareal_train::folder::config_file;
use serde::de::{Error as _, IntoDeserializer};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Value;
use toml::de::DeTable;

use super::definitions::Settings;
use crate::VisionError;

/// Largest configuration file that is read, in bytes. A file with all keys is a hundred times smaller.
const LONGEST_FILE: u64 = 1 << 18;

/// Longest value that a message quotes, in characters.
const LONGEST_VALUE: usize = 80;

/// First key in the configuration that every `parareal_train::Trainer` writes. No setting of this crate has
/// this name.
const TRAINER_KEY: &str = "units";

impl Settings {
    /// Reads the configuration of the run in a folder.
    ///
    /// # Errors
    /// If the folder has no run, another program trained it ([`VisionError::OtherProgram`]), or its
    /// configuration cannot be parsed.
    pub fn of_run(folder: &Path) -> Result<Self, VisionError> {
        let read = Self::read(&config_file(folder)?).map_err(|error| match error {
            VisionError::OtherProgramConfig { .. } => {
                VisionError::OtherProgram { path: folder.to_path_buf() }
            }
            error => error,
        });
        Ok(read?.recorded())
    }

    /// Interprets the settings recorded by a run. A run records the kind of units that `auto` stands for.
    /// Earlier versions recorded `auto` itself, which meant basic or bottleneck units at the time.
    fn recorded(mut self) -> Self {
        if self.coarse_unit == Some(CoarseKind::Auto) {
            self.coarse_unit = Some(CoarseKind::BasicOrBottleneck);
        }
        self
    }

    /// Reads the configuration that a checkpoint records.
    pub(crate) fn of_table(table: &toml::Table) -> Result<Self, VisionError> {
        let read = table.clone().try_into::<Self>();
        read.map(Self::recorded).map_err(|error: toml::de::Error| VisionError::ConfigFile {
            path: names::CONFIG.into(),
            message: one_line(error.message()),
        })
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or has an invalid value ([`VisionError::ConfigFile`]) or an unknown
    /// key ([`VisionError::UnknownKey`]), or it is the configuration of a run of another program
    /// ([`VisionError::OtherProgramConfig`]).
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
            let message = format!("not a configuration file: larger than {LONGEST_FILE} bytes");
            return Err(wrong(message));
        }
        let text = str::from_utf8(without_byte_order_mark(bytes)).map_err(|error| {
            wrong(format!("not UTF-8 text: invalid byte {}", error.valid_up_to() + 1))
        })?;
        let line_of = |position: usize| {
            let before = text.get(..position).unwrap_or("");
            before.matches('\n').count() + 1
        };
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| format!("line {}: ", line_of(span.start)));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            wrong(line.unwrap_or_default() + &one_line(&message))
        })?;
        let mut entries: Vec<_> = table.into_inner().into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut settings = Self::default();
        for (key, value) in entries {
            let (line, key) = (line_of(key.span().start), key.into_inner());
            let Some(definition) = Self::definitions().iter().find(|known| known.key == key) else {
                let (path, nearest) = (path.to_path_buf(), nearest(&key, Self::KEYS));
                if key == TRAINER_KEY {
                    return Err(VisionError::OtherProgramConfig { path });
                }
                return Err(VisionError::UnknownKey { path, line, key: key.into_owned(), nearest });
            };
            let written = text.get(value.span()).unwrap_or_default();
            let value = Value::deserialize(value.into_deserializer());
            // Valid TOML fails here only for an integer that is too large.
            let value = value.map_err(|_| format!("expected at most {}", i64::MAX));
            let read = value.and_then(|value| {
                (definition.access.set_toml)(&mut settings, &value)?;
                (definition.access.check)(&settings)
            });
            read.map_err(|expected| {
                wrong(format!(
                    "line {line}: invalid value `{}` for {key}: {expected}",
                    shown(written)
                ))
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

/// Serializes the keys that are set, in the order of the definitions.
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

/// Ignores unknown keys, which other versions of the program may have written.
impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let mut settings = Self::default();
        for definition in Self::definitions() {
            if let Some(value) = table.get(definition.key) {
                (definition.access.set_toml)(&mut settings, value).map_err(|expected| {
                    let (key, found) = (definition.key, shown(&value.to_string()));
                    D::Error::custom(format!("invalid value `{found}` for {key}: {expected}"))
                })?;
            }
        }
        Ok(settings)
    }
}

/// Returns a value as quoted in a message: on one line, and shortened if it is long.
fn shown(value: &str) -> String {
    let text = one_line(value);
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// Returns the candidate with the smallest edit distance to `word`.
fn nearest(word: &str, candidates: &[&'static str]) -> &'static str {
    let distance = |candidate: &&&str| edits(&word.replace('_', "-"), candidate);
    candidates.iter().min_by_key(distance).copied().unwrap_or_default()
}

/// Returns the Levenshtein distance between two words.
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
    fn the_distance_between_words_counts_edits() {
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

    fn parse(text: &str) -> Settings {
        Settings::parse(Path::new("config.toml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn values_may_be_written_in_several_forms() {
        for (natural, usual) in [
            ("device = \"cpu\"", "device = [\"cpu\"]"),
            ("device = \"cpu, wgpu:0\"", "device = [\"cpu\", \"wgpu:0\"]"),
            ("milestones = \"none\"", "milestones = []"),
            ("milestones = \"80,120\"", "milestones = [80, 120]"),
            ("milestones = 80", "milestones = [80]"),
            ("cuts = [2]", "cuts = \"2\""),
            ("cuts = 2", "cuts = \"2\""),
            ("cuts = [2, 4]", "cuts = \"2,4\""),
            ("recompute = true", "recompute = 0"),
            ("learning-rate = 1", "learning-rate = 1.0"),
            ("checkpoint-every = 500", "checkpoint-every = \"500\""),
            ("dataset = \"MNIST\"", "dataset = \"mnist\""),
        ] {
            assert_eq!(parse(natural), parse(usual), "{natural}");
            assert_eq!(parse(natural).to_toml().trim(), usual);
        }
        assert_eq!(parse("recompute = false").recompute, Some(crate::Recompute::Off));
        assert_eq!(parse("recompute = 4").to_toml(), "recompute = 4\n");
    }

    /// Files of earlier versions are still read.
    #[test]
    fn a_complete_file_round_trips() {
        let text = include_str!("complete.toml");
        assert_eq!(parse(text).to_toml(), text);
        let keys = text.lines().map(|line| line.split_once(" = ").unwrap().0);
        assert_eq!(keys.collect::<Vec<_>>(), Settings::KEYS);
        // Manifests contain the same settings as JSON.
        let json = serde_json::to_string(&parse(text)).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), parse(text));
        let old = r#"{"cuts":"3,6","milestones":[],"device":["cpu"],"recompute":0,"other":1}"#;
        let old: Settings = serde_json::from_str(old).unwrap();
        let new = "cuts = [3, 6]\nmilestones = \"none\"\ndevice = \"cpu\"\nrecompute = true";
        assert_eq!(old, parse(new));
        let error = serde_json::from_str::<Settings>(r#"{"depth":"x"}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("invalid value `\"x\"` for depth: expected a whole number")
        );
    }

    #[test]
    fn errors_in_a_file_are_one_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.toml");
        for (text, expected) in [
            ("depth = 20\nepoch = 3\n", "line 2: unknown key `epoch`; did you mean `epochs`?"),
            (
                "depth = 20\nepochs = \"many\"\n",
                "wrong.toml: line 2: invalid value `\"many\"` for epochs: expected a whole number",
            ),
            ("depth = = 20\n", "line 1"),
            (
                "seed = 1\nbatch-size = -3\n",
                "line 2: invalid value `-3` for batch-size: expected a whole number",
            ),
            (
                "momentum = 1.5\n",
                "line 1: invalid value `1.5` for momentum: expected a number in [0, 1), for",
            ),
            ("depth = 20.5\n", "line 1: invalid value `20.5` for depth: expected a whole number"),
            ("learning-rate = true\n", "invalid value `true` for learning-rate: expected a number"),
            ("augment = 1\n", "invalid value `1` for augment: expected true or false"),
            (
                "cuts = [2, \"x\"]\n",
                "invalid value `[2, \"x\"]` for cuts: expected \"even\", \"balanced\", or",
            ),
            ("recompute = \"yes\"\n", "expected a whole number of units, or true or false"),
            (
                "executor = 3\n",
                "invalid value `3` for executor: expected threads, sequential or mpi",
            ),
            ("device = []\n", "invalid value `[]` for device: expected at least one"),
            ("device = [1]\n", "invalid value `[1]` for device: expected cpu, or"),
            ("data-dir = 3\n", "invalid value `3` for data-dir: expected a path in quotes"),
            (
                "milestones = [3, 3]\n",
                "invalid value `[3, 3]` for milestones: expected epochs from 1 in",
            ),
            ("cuts = { a = 1 }\n", "invalid value `{ a = 1 }` for cuts: "),
            ("seed = 99999999999999999999\n", "expected at most 9223372036854775807"),
            (
                &format!("dataset = \"{}\"\n", "x".repeat(999)),
                "xxx..` for dataset: expected shapes, mnist, ",
            ),
            ("\"a\\nb\" = 1\n", "unknown key `a\\nb`"),
            (&format!("seed = {}\n", "1".repeat(300_000)), "larger than 262144 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Settings::read(&path).unwrap_err();
            assert!(error.is_bad_input());
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            for word in ["invalid type", "usize", "f64", "Option", "i128"] {
                assert!(!message.contains(word), "{message}");
            }
        }
        std::fs::write(&path, b"seed = 1\n# \xff\n").unwrap();
        let message = Settings::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("not UTF-8 text: invalid byte 12"), "{message}");
        std::fs::write(&path, "\u{feff}seed = 7\n").unwrap();
        assert_eq!(Settings::read(&path).unwrap().seed, Some(7));
        assert!(Settings::read(&folder.path().join("none.toml")).unwrap_err().is_bad_input());
    }
}
