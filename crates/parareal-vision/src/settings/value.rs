//! Value types of settings, with their forms as text and in TOML.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::num::IntErrorKind;
use std::path::PathBuf;
use std::str::FromStr;

use parareal_data::DatasetName;
use parareal_models::{Architecture, ArchitectureNameError, CoarseKind, Precision};
use parareal_train::{CheckpointEvery, DeviceName, ExecutorKind, LinkDtype, TrainError};
use toml::Value;

use super::recipe::Recipe;

/// A type of setting values.
///
/// Errors say what is expected, such as "expected a whole number"; the caller adds the setting and the
/// value found.
pub(crate) trait SettingValue: Sized {
    /// Reads the text of a value.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads a value from a configuration file.
    fn from_toml(value: &Value) -> Result<Self, String>;

    /// Returns the value for a configuration file.
    fn to_toml(&self) -> Value;

    /// Returns a text that [`from_text`](Self::from_text) reads as the same value.
    fn to_text(&self) -> String;

    /// Reads the texts of a setting that is given several times. The last text counts, unless the type is a
    /// list.
    fn from_texts(texts: &[OsString]) -> Result<Self, String> {
        let last = texts.last().ok_or("expected a value")?;
        Self::from_os_text(last)
    }

    /// Reads a text that need not be UTF-8.
    fn from_os_text(text: &OsStr) -> Result<Self, String> {
        Self::from_text(text.to_str().ok_or("expected UTF-8 text")?)
    }

    /// Returns all values as text, if the type has a list of them; otherwise an empty list.
    fn choices() -> Vec<String> {
        Vec::new()
    }

    /// Checks that a configuration file can hold the value.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl SettingValue for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "expected true or false".into())
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "expected true or false".into())
    }

    fn to_toml(&self) -> Value {
        Value::Boolean(*self)
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// Implements [`SettingValue`] for an unsigned integer, which TOML can represent up to [`i64::MAX`].
macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl SettingValue for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                text.trim().parse::<Self>().map_err(|error| match error.kind() {
                    IntErrorKind::PosOverflow => format!("expected at most {}", i64::MAX),
                    _ => "expected a whole number".into(),
                })
            }

            fn from_toml(value: &Value) -> Result<Self, String> {
                let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(|| "expected a whole number".into())
            }

            fn to_toml(&self) -> Value {
                Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }

            fn to_text(&self) -> String {
                self.to_string()
            }

            fn check(&self) -> Result<(), String> {
                match i64::try_from(*self) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(format!("expected at most {}", i64::MAX)),
                }
            }
        }
    )*};
}

unsigned!(usize, u64);

impl SettingValue for f64 {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "expected a number".into())
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::Float(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as Self),
            _ => Err("expected a number".into()),
        }
    }

    fn to_toml(&self) -> Value {
        Value::Float(*self)
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_os_text(text.as_ref())
    }

    fn from_os_text(text: &OsStr) -> Result<Self, String> {
        match text.is_empty() {
            true => Err("expected a path".into()),
            false => Ok(text.into()),
        }
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        Self::from_text(value.as_str().ok_or("expected a path in quotes")?)
    }

    fn to_toml(&self) -> Value {
        Value::String(self.to_string_lossy().into_owned())
    }

    fn to_text(&self) -> String {
        self.to_string_lossy().into_owned()
    }

    fn check(&self) -> Result<(), String> {
        match self.to_str() {
            Some(_) => Ok(()),
            None => {
                Err("expected a UTF-8 path, which config.toml can hold; rename it, or pass a symbolic link to it".into())
            }
        }
    }
}

/// Implements [`SettingValue`] for types with `FromStr` and `Display`. The function after the type converts
/// the error of `FromStr` into a text that says what is expected; the expression after `of` lists all values.
macro_rules! named {
    ($($type:ty: $expected:expr $(, of $choices:expr)?;)*) => {$(
        impl SettingValue for $type {
            $(fn choices() -> Vec<String> {
                $choices.into_iter().map(|value| value.to_string()).collect()
            })?

            fn from_text(text: &str) -> Result<Self, String> {
                text.parse().map_err($expected)
            }

            fn from_toml(value: &Value) -> Result<Self, String> {
                match value {
                    Value::String(text) => Self::from_text(text),
                    other => Self::from_text(&other.to_string()),
                }
            }

            fn to_toml(&self) -> Value {
                Value::String(self.to_string())
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

named! {
    Recipe: expected;
    DecayKind: expected;
    OptimizerKind: expected;
    UnitInit: expected;
    ExecutorKind: expected;
    LinkDtype: expected;
    CheckpointEvery: expected;
    DeviceName: expected;
    Architecture: |_| ArchitectureNameError::EXPECTED.into();
    DatasetName: |_| one_of(&Self::choices()), of DatasetName::ALL;
    Precision: |_| "expected f32 or bf16".into();
    CoarseKind: |error: <CoarseKind as FromStr>::Err| one_of(&error.expected), of CoarseKind::all();
}

/// Returns what was expected, from the error for a setting.
fn expected(error: TrainError) -> String {
    match error {
        TrainError::Setting { expected, .. } => expected,
        other => other.to_string(),
    }
}

/// Returns a message that one of these names was expected.
fn one_of(names: &[impl Display]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => {
            format!("expected {} or {last}", others.join(", "))
        }
        _ => format!("expected {}", names.concat()),
    }
}

/// The devices of a run. As text, they are separated by commas.
impl SettingValue for Vec<DeviceName> {
    fn from_text(text: &str) -> Result<Self, String> {
        text.split(',').map(|name| DeviceName::from_text(name.trim())).collect()
    }

    fn from_texts(texts: &[OsString]) -> Result<Self, String> {
        let lists = texts.iter().map(|text| Self::from_os_text(text));
        Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(names) => names.iter().map(DeviceName::from_toml).collect(),
            Value::String(text) => Self::from_text(text),
            other => DeviceName::from_toml(other).map(|device| vec![device]),
        }
    }

    fn to_toml(&self) -> Value {
        Value::Array(self.iter().map(SettingValue::to_toml).collect())
    }

    fn to_text(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// A list of epochs. As text, an empty list is `none`.
impl SettingValue for Vec<usize> {
    fn from_text(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::new());
        }
        numbers(text).ok_or_else(|| "expected epochs, for example 80,120, or none".into())
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        let found = match value {
            Value::String(text) => return Self::from_text(text),
            other => integers(other),
        };
        found.ok_or_else(|| "expected epochs, for example [80, 120], or \"none\"".into())
    }

    fn to_toml(&self) -> Value {
        Value::Array(self.iter().map(SettingValue::to_toml).collect())
    }

    fn to_text(&self) -> String {
        if self.is_empty() { "none".into() } else { list(self) }
    }

    fn check(&self) -> Result<(), String> {
        self.iter().try_for_each(SettingValue::check)
    }
}

/// Positions of the cuts, or the method that determines them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CutsSetting {
    /// Subnetworks of equal length, as far as possible, as in the paper.
    Even,
    /// Cuts with the shortest predicted step, from measured costs.
    Balanced,
    /// Cuts after these numbers of residual units, in increasing order.
    Positions(Vec<usize>),
}

impl SettingValue for CutsSetting {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "even" => Ok(Self::Even),
            "balanced" => Ok(Self::Balanced),
            _ => numbers(text).map(Self::Positions).ok_or_else(|| {
                "expected even, balanced, or numbers of units before each cut in increasing order, for example 3,6"
                    .into()
            }),
        }
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::from_text(text),
            other => integers(other).map(Self::Positions).ok_or_else(|| {
                "expected \"even\", \"balanced\", or numbers of units before each cut in increasing order, for \
                 example [3, 6]"
                    .into()
            }),
        }
    }

    fn to_toml(&self) -> Value {
        Value::String(self.to_text())
    }

    fn to_text(&self) -> String {
        match self {
            Self::Even => "even".into(),
            Self::Balanced => "balanced".into(),
            Self::Positions(positions) => list(positions),
        }
    }
}

/// Number of workers, or its choice by measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    /// The fastest of several numbers of workers and threads, from the times of a few steps.
    Auto,
    /// This number of workers.
    Count(usize),
}

impl WorkerCount {
    const EXPECTED: &str = "expected a whole number, or auto";

    /// Returns the number, if it is given.
    pub(crate) fn count(self) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::Count(count) => Some(count),
        }
    }
}

impl SettingValue for WorkerCount {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => usize::from_text(text).map(Self::Count).map_err(|_| Self::EXPECTED.into()),
        }
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::from_text(text),
            other => usize::from_toml(other).map(Self::Count).map_err(|_| Self::EXPECTED.into()),
        }
    }

    fn to_toml(&self) -> Value {
        match self {
            Self::Auto => Value::String("auto".into()),
            Self::Count(count) => count.to_toml(),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Auto => "auto".into(),
            Self::Count(count) => count.to_string(),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.count().map_or(Ok(()), |count| SettingValue::check(&count))
    }
}

/// Implements `FromStr` and `Display` for an enum from the names of its values.
macro_rules! named_values {
    ($setting:literal, $kind:ident { $($value:ident = $name:literal),+ }) => {
        impl FromStr for $kind {
            type Err = TrainError;

            fn from_str(text: &str) -> Result<Self, TrainError> {
                match text {
                    $($name => Ok(Self::$value),)+
                    _ => Err(TrainError::setting(
                        $setting,
                        text,
                        one_of(&[$($name),+]),
                    )),
                }
            }
        }

        impl Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$value => $name,)+
                })
            }
        }
    };
}

/// Kind of learning-rate decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecayKind {
    /// Divided by ten at each milestone.
    Step,
    /// Decreases to zero along half a period of a cosine.
    Cosine,
}

named_values!("schedule", DecayKind { Step = "step", Cosine = "cosine" });

/// Optimizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Stochastic gradient descent.
    Sgd,
    /// Adam with decoupled weight decay.
    AdamW,
}

named_values!("optimizer", OptimizerKind { Sgd = "sgd", AdamW = "adamw" });

/// Weights of the additional units when a shallower network initializes a deeper one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitInit {
    /// Each unit of the shallower network, repeated.
    Repeat,
    /// Means of neighbors in the shallower network, linear in depth.
    Interpolate,
}

named_values!("init-units", UnitInit { Repeat = "repeat", Interpolate = "interpolate" });

/// States that are kept for the backward pass. All others are recomputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// All states are kept.
    Off,
    /// One state for every `k` units, with `k` the square root of the number of units in the longest
    /// subnetwork.
    Chosen,
    /// One state for every `k` units, `k` at least 1.
    Units(usize),
}

impl Recompute {
    const EXPECTED: &str = "expected a whole number of units, or true or false";

    /// Returns the number of units per kept state: 0 for [`Self::Chosen`], and `None` if all states are
    /// kept.
    pub(crate) fn units(self) -> Option<usize> {
        match self {
            Self::Off => None,
            Self::Chosen => Some(0),
            Self::Units(units) => Some(units),
        }
    }

    /// Converts a number of units, where 0 (as in configuration files) is [`Self::Chosen`].
    fn of_units(units: usize) -> Self {
        if units == 0 { Self::Chosen } else { Self::Units(units) }
    }
}

impl SettingValue for Recompute {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::Chosen),
            "false" => Ok(Self::Off),
            _ => usize::from_text(text).map(Self::of_units).map_err(|_| Self::EXPECTED.into()),
        }
    }

    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::Boolean(true) => Ok(Self::Chosen),
            Value::Boolean(false) => Ok(Self::Off),
            other => usize::from_toml(other).map(Self::of_units).map_err(|_| Self::EXPECTED.into()),
        }
    }

    fn to_toml(&self) -> Value {
        match self {
            Self::Off => Value::Boolean(false),
            Self::Chosen => Value::Integer(0),
            Self::Units(units) => units.to_toml(),
        }
    }

    fn to_text(&self) -> String {
        self.to_toml().to_string()
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Units(0) => Err("expected at least 1 unit".into()),
            Self::Units(units) => units.check(),
            _ => Ok(()),
        }
    }
}

/// Reads comma-separated numbers.
fn numbers(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|number| number.trim().parse().ok()).collect()
}

/// Reads a list of integers, or a single one.
fn integers(value: &Value) -> Option<Vec<usize>> {
    match value {
        Value::Array(values) => values.iter().map(|value| usize::from_toml(value).ok()).collect(),
        other => usize::from_toml(other).ok().map(|number| vec![number]),
    }
}

/// Writes comma-separated numbers.
fn list(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
