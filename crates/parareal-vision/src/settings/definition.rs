//! What a setting's definition consists of, and the macro that makes everything else from a table of them.

use std::ffi::OsString;

use super::recipe::Recipe;
use crate::VisionError;

/// Definition of a setting: everything that flags, configuration files and their messages need to know.
///
/// `S` is the type with a field for each setting.
#[non_exhaustive]
pub struct Definition<S> {
    /// Key in configuration files, such as `learning-rate`.
    pub key: &'static str,
    /// Meaning in one or more sentences, without the default.
    pub help: &'static str,
    /// Placeholder for a value, such as `R`.
    pub value_name: &'static str,
    /// Group of settings that this one is shown in.
    pub heading: Heading,
    /// How values are given on a command line.
    pub input: Input,
    /// True if it may have another value when a run is resumed: it says where and how the run is computed,
    /// or for how long, and not what the run is.
    pub may_change: bool,
    /// True if it may differ between the ranks of a run: it depends on the machine.
    pub may_differ: bool,
    pub(super) default_note: Option<&'static str>,
    pub(super) access: Access<S>,
}

/// Groups of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// Settings of other settings.
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

/// Ways in which values are given on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// One value.
    Value,
    /// A list with one value for each time that the setting is given.
    Repeated,
    /// One value, or nothing, which stands for this text.
    Optional(&'static str),
    /// A switch: nothing stands for this text, and a value is attached by an equals sign.
    Switch(&'static str),
}

/// Functions that get at the value of one setting whatever its type.
pub(super) struct Access<S> {
    /// Sets the setting to what texts say; an error says what is expected.
    pub(super) set_texts: fn(&mut S, &[OsString]) -> Result<(), String>,
    /// Sets the setting to what a configuration file holds; an error says what is expected.
    pub(super) set_toml: fn(&mut S, &toml::Value) -> Result<(), String>,
    pub(super) to_toml: fn(&S) -> Option<toml::Value>,
    pub(super) to_text: fn(&S) -> Option<String>,
    /// Refuses a value that is not allowed, whatever the other settings are.
    pub(super) check: fn(&S) -> Result<(), String>,
    pub(super) default: fn(Recipe) -> Option<String>,
    pub(super) choices: fn() -> Vec<String>,
}

impl<S> Definition<S> {
    /// Sets the setting to what texts of a command line say.
    ///
    /// # Errors
    /// What is expected instead, without the setting's name and its value.
    pub fn set(&self, settings: &mut S, texts: &[OsString]) -> Result<(), String> {
        (self.access.set_texts)(settings, texts)
    }

    /// Returns all values that the setting can have as text, where their names do not stand in the help;
    /// otherwise nothing.
    #[must_use]
    pub fn choices(&self) -> Vec<String> {
        (self.access.choices)()
    }

    /// Returns the value of the setting as text, `None` where it is left open.
    #[must_use]
    pub fn text(&self, settings: &S) -> Option<String> {
        (self.access.to_text)(settings)
    }

    /// Returns the value of the setting as TOML, `None` where it is left open.
    #[must_use]
    pub fn toml(&self, settings: &S) -> Option<toml::Value> {
        (self.access.to_toml)(settings)
    }

    /// Returns the default of a recipe as text, `None` where the setting stays open. It may depend on
    /// other settings, which are left open here.
    #[must_use]
    pub fn default_of(&self, recipe: Recipe) -> Option<String> {
        (self.access.default)(recipe)
    }

    /// Returns the defaults of the recipes in words, such as `6; paper: 200`.
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

    /// Refuses a value that the setting cannot have, whatever the others are.
    pub(crate) fn check(&self, settings: &S) -> Result<(), VisionError> {
        (self.access.check)(settings).map_err(|expected| {
            VisionError::setting(self.key, self.text(settings).unwrap_or_default(), expected)
        })
    }
}

/// What the table says of a setting beside its name, type and defaults.
pub(super) struct Details<T> {
    pub(super) value_name: &'static str,
    pub(super) heading: Heading,
    pub(super) input: Input,
    /// The default in words, where it depends on other settings or leaves the setting open.
    pub(super) default_note: Option<&'static str>,
    /// Refuses values that are not allowed with what is expected.
    pub(super) check: fn(&T) -> Result<(), String>,
    pub(super) may_change: bool,
    pub(super) may_differ: bool,
}

impl<T> Details<T> {
    /// Details of a setting of which nothing else is said.
    pub(super) const USUAL: Self = Self {
        value_name: "VALUE",
        heading: Heading::General,
        input: Input::Value,
        default_note: None,
        check: |_| Ok(()),
        may_change: false,
        may_differ: false,
    };
}

/// Makes `Settings`, `Complete` and the list of definitions from a table. An entry is
///
/// ```text
/// /// Help.
/// "key" field: Type = [default] {
///     detail: value,
/// }
/// ```
///
/// where the default is a value, `[quick, paper: value]`, or `[from function]` with a function of the
/// recipe and the settings that are given. A setting without one may stay open. The details are the fields
/// of [`Details`].
macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $key:literal $field:ident: $type:ty $(= [$($default:tt)+])? {
            $($detail:ident: $value:expr,)*
        }
    )*) => {
        /// Settings that may be given or left open.
        ///
        /// A configuration file has the same names with hyphens. Fields are typed, yet their values are
        /// checked when a [`Config`](crate::Config) is made of them.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Settings {
            $($(#[doc = $help])+ pub $field: Option<$type>,)*
        }

        /// Settings without gaps: those that a recipe has a default for have a value.
        #[derive(Clone, Debug)]
        pub(crate) struct Complete {
            $(pub(crate) $field: complete_type!($type $(, $($default)+)?),)*
        }

        impl Settings {
            /// The keys of a configuration file.
            pub const KEYS: &[&str] = &[$($key),*];

            /// Returns these settings, and `other`'s where these leave something open.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
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
                help: concat!($($help),+).trim_ascii(),
                value_name: DETAILS.value_name,
                heading: DETAILS.heading,
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

/// The type of a setting in `Complete`: optional where there is no default.
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
