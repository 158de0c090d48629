//! Definitions of settings, and the macro that generates types and code from a table of them.

use std::ffi::OsString;

use super::recipe::Recipe;
use crate::VisionError;

/// Definition of a setting, for flags, configuration files and messages.
///
/// `S` is the type with a field for each setting.
#[non_exhaustive]
pub struct Definition<S> {
    /// Key in configuration files, such as `learning-rate`.
    pub key: &'static str,
    /// One-line help text without the default.
    pub help: &'static str,
    /// Further sentences that only the long help shows; may be empty.
    pub details: &'static str,
    /// Placeholder for a value, such as `R`.
    pub value_name: &'static str,
    /// Group in which the setting is shown.
    pub heading: Heading,
    /// True for the few settings that a new user needs. The short help shows only these.
    pub is_essential: bool,
    /// Form of the values on a command line.
    pub input: Input,
    /// True if the value may change when a run is resumed, because it affects the machine or the length of
    /// the run but not its results so far.
    pub may_change: bool,
    /// True if the value may differ between the ranks of a run, because it depends on the machine.
    pub may_differ: bool,
    /// Description of the default, if it depends on other settings or leaves the setting unset.
    pub default_note: Option<&'static str>,
    pub(super) access: Access<S>,
}

/// Groups of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// Settings that determine other settings.
    General,
    /// The images.
    Data,
    /// The network and its cuts.
    Network,
    /// Optimizer, loss and schedule.
    Training,
    /// Executor, devices and memory.
    Machine,
    /// Checkpoints.
    Output,
}

/// Forms of values on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// One value.
    Value,
    /// A list with one value for each occurrence of the flag.
    Repeated,
    /// An optional value. This text is used if the value is missing.
    Optional(&'static str),
    /// A switch with an optional value, which must follow an equals sign. This text is used if the value is
    /// missing.
    Switch(&'static str),
}

/// Type-erased access to one setting.
pub(super) struct Access<S> {
    /// Parses the setting from texts; an error says what is expected.
    pub(super) set_texts: fn(&mut S, &[OsString]) -> Result<(), String>,
    /// Parses the setting from a value in a configuration file; an error says what is expected.
    pub(super) set_toml: fn(&mut S, &toml::Value) -> Result<(), String>,
    pub(super) to_toml: fn(&S) -> Option<toml::Value>,
    pub(super) to_text: fn(&S) -> Option<String>,
    /// Checks the value independently of the other settings.
    pub(super) check: fn(&S) -> Result<(), String>,
    pub(super) default: fn(Recipe) -> Option<String>,
    pub(super) choices: fn() -> Vec<String>,
}

impl<S> Definition<S> {
    /// Parses the setting from the texts of a command line.
    ///
    /// # Errors
    /// If a text is not valid. The error says only what is expected; the caller adds the name and the value
    /// of the setting.
    pub fn set(&self, settings: &mut S, texts: &[OsString]) -> Result<(), String> {
        (self.access.set_texts)(settings, texts)
    }

    /// Returns all possible values as text, for types with a list of them; otherwise an empty list.
    #[must_use]
    pub fn choices(&self) -> Vec<String> {
        (self.access.choices)()
    }

    /// Returns the value as text; `None` if it is not set.
    #[must_use]
    pub fn text(&self, settings: &S) -> Option<String> {
        (self.access.to_text)(settings)
    }

    /// Returns the value as TOML; `None` if it is not set.
    #[must_use]
    pub fn toml(&self, settings: &S) -> Option<toml::Value> {
        (self.access.to_toml)(settings)
    }

    /// Returns the default of a recipe as text, assuming that all other settings have their defaults; `None`
    /// if there is no default.
    #[must_use]
    pub fn default_of(&self, recipe: Recipe) -> Option<String> {
        (self.access.default)(recipe)
    }

    /// Returns a text with the defaults of the recipes, such as `6; paper: 200`.
    #[must_use]
    pub fn defaults(&self) -> Option<String> {
        if let Some(note) = self.default_note {
            return Some(note.into());
        }
        let [quick, paper] = [Recipe::Quick, Recipe::Paper].map(|recipe| self.default_of(recipe));
        match (quick, paper) {
            (Some(quick), Some(paper)) if quick != paper => {
                Some(format!("{quick}; paper: {paper}"))
            }
            (quick, _) => quick,
        }
    }

    /// Checks the value of the setting, independently of the others.
    pub(crate) fn check(&self, settings: &S) -> Result<(), VisionError> {
        (self.access.check)(settings).map_err(|expected| {
            VisionError::setting(self.key, self.text(settings).unwrap_or_default(), expected)
        })
    }
}

/// Details of a setting besides its name, type and defaults.
pub(super) struct Details<T> {
    pub(super) value_name: &'static str,
    pub(super) heading: Heading,
    pub(super) input: Input,
    /// Description of the default, if it depends on other settings or leaves the setting unset.
    pub(super) default_note: Option<&'static str>,
    /// Checks a value; an error says what is expected.
    pub(super) check: fn(&T) -> Result<(), String>,
    pub(super) is_essential: bool,
    pub(super) may_change: bool,
    pub(super) may_differ: bool,
}

impl<T> Details<T> {
    /// Default details.
    pub(super) const USUAL: Self = Self {
        value_name: "VALUE",
        heading: Heading::General,
        input: Input::Value,
        default_note: None,
        check: |_| Ok(()),
        is_essential: false,
        may_change: false,
        may_differ: false,
    };
}

/// Generates `Settings`, `Complete` and the list of definitions from a table of entries:
///
/// ```text
/// /// Help in one line.
/// ///
/// /// Details, if any.
/// "key" field: Type = [default] {
///     detail: value,
/// }
/// ```
///
/// The default is `[value]`, `[quick value, paper: value]`, or `[from function]` with a function of the
/// recipe and the given settings. A setting without a default may stay unset. The details are the fields of
/// [`Details`].
macro_rules! settings {
    ($(
        #[doc = $help:literal]
        $(#[doc = $details:literal])*
        $key:literal $field:ident: $type:ty $(= [$($default:tt)+])? {
            $($detail:ident: $value:expr,)*
        }
    )*) => {
        /// Settings of a run. A field is `None` if the setting is not set.
        ///
        /// The keys of a configuration file are the names of the fields with hyphens. Values are checked
        /// when a [`Config`](crate::Config) is created from the settings.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Settings {
            $(#[doc = $help] $(#[doc = $details])* pub $field: Option<$type>,)*
        }

        /// Complete settings: every setting with a default has a value.
        #[derive(Clone, Debug)]
        pub(crate) struct Complete {
            $(pub(crate) $field: complete_type!($type $(, $($default)+)?),)*
        }

        impl Settings {
            /// The keys of a configuration file.
            pub const KEYS: &[&str] = &[$($key),*];

            /// Takes each setting that is not set from `other`.
            pub(super) fn or_each(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }

            /// Fills in the defaults of a recipe.
            pub(crate) fn complete(self, recipe: Recipe) -> Complete {
                let given = self.clone();
                Complete {
                    $($field: complete_value!(self.$field, recipe, given $(, $($default)+)?),)*
                }
            }
        }

        impl From<Complete> for Settings {
            fn from(complete: Complete) -> Self {
                Self { $($field: complete.$field.into(),)* }
            }
        }

        /// The definitions of all settings, in the order of a configuration file.
        pub(super) static DEFINITIONS: &[Definition<Settings>] = &[$({
            const DETAILS: Details<$type> = Details { $($detail: $value,)* ..Details::USUAL };
            Definition {
                key: $key,
                help: $help.trim_ascii(),
                details: concat!($($details),*).trim_ascii(),
                value_name: DETAILS.value_name,
                heading: DETAILS.heading,
                is_essential: DETAILS.is_essential,
                input: DETAILS.input,
                may_change: DETAILS.may_change,
                may_differ: DETAILS.may_differ,
                default_note: DETAILS.default_note,
                access: Access {
                    set_texts: |settings, texts| {
                        settings.$field = Some(SettingValue::from_texts(texts)?);
                        Ok(())
                    },
                    set_toml: |settings, value| {
                        settings.$field = Some(SettingValue::from_toml(value)?);
                        Ok(())
                    },
                    to_toml: |settings| settings.$field.as_ref().map(SettingValue::to_toml),
                    to_text: |settings| settings.$field.as_ref().map(SettingValue::to_text),
                    check: |settings| match &settings.$field {
                        Some(value) => (DETAILS.check)(value).and_then(|()| value.check()),
                        None => Ok(()),
                    },
                    choices: <$type as SettingValue>::choices,
                    default: |recipe| {
                        let complete = Settings::default().complete(recipe);
                        Settings::from(complete).$field.as_ref().map(SettingValue::to_text)
                    },
                },
            }
        }),*];
    };
}

/// The type of a setting in `Complete`: optional if there is no default.
macro_rules! complete_type {
    ($type:ty) => { Option<$type> };
    ($type:ty, $($default:tt)+) => { $type };
}

/// The value of a setting, or its default.
macro_rules! complete_value {
    ($value:expr, $recipe:ident, $given:ident) => {
        $value
    };
    ($value:expr, $recipe:ident, $given:ident, from $function:path) => {
        $value.unwrap_or_else(|| $function($recipe, &$given))
    };
    ($value:expr, $recipe:ident, $given:ident, $quick:expr, paper: $paper:expr) => {
        $value.unwrap_or_else(|| match $recipe {
            Recipe::Quick => $quick,
            Recipe::Paper => $paper,
        })
    };
    ($value:expr, $recipe:ident, $given:ident, $default:expr) => {
        $value.unwrap_or_else(|| $default)
    };
}

pub(super) use {complete_type, complete_value, settings};
