//! Flags of settings, generated from the definitions of the settings.

use std::ffi::OsString;
use std::marker::PhantomData;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use parareal_vision::{Definition, Heading, Input, Recipe, Settings};

/// The flags of a selection of settings.
pub(crate) struct SettingFlags<S> {
    pub(crate) settings: Settings,
    selection: PhantomData<S>,
}

/// The settings that a command has flags for.
pub(crate) trait Selection {
    /// Returns the flags in the order of the help.
    fn flags() -> Vec<Flag>;
}

/// The flag of a setting.
pub(crate) struct Flag {
    definition: &'static Definition,
    help: Option<&'static str>,
    value_name: &'static str,
    default: FlagDefault,
    heading: Option<&'static str>,
    /// True if the short help also shows the flag.
    is_essential: bool,
}

/// The default that the help of a flag shows.
enum FlagDefault {
    /// The defaults of the recipes.
    Recipes,
    /// The default of the quick recipe, for a command without recipes.
    Quick,
    /// This note.
    Note(&'static str),
    /// This value, which applies if the flag is not given.
    Value(&'static str),
}

impl Flag {
    /// Creates the flag of a setting for `train`.
    pub(crate) fn new(definition: &'static Definition) -> Self {
        let heading = match definition.heading {
            Heading::General => None,
            Heading::Data => Some("Data"),
            Heading::Network => Some("Network"),
            Heading::Training => Some("Training"),
            Heading::Machine => Some("Machine"),
            Heading::Output => Some("Output"),
        };
        let Definition { is_essential, value_name, .. } = *definition;
        let default = FlagDefault::Recipes;
        Self { definition, help: None, value_name, default, heading, is_essential }
    }

    /// Creates the flag of the setting with this key, without a heading.
    ///
    /// # Panics
    /// If no setting has this key.
    pub(crate) fn of(key: &str) -> Self {
        let definition = Settings::definitions().iter().find(|definition| definition.key == key);
        let definition = definition.expect("the keys of a selection are those of settings");
        Self { heading: None, ..Self::new(definition) }
    }

    /// Shows the flag below a heading.
    pub(crate) fn heading(self, heading: &'static str) -> Self {
        Self { heading: Some(heading), ..self }
    }

    /// Replaces the help and the details of the setting.
    pub(crate) fn help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }

    /// Replaces the name of the value.
    pub(crate) fn value_name(self, value_name: &'static str) -> Self {
        Self { value_name, ..self }
    }

    /// Also shows the flag in the short help.
    pub(crate) fn essential(self) -> Self {
        Self { is_essential: true, ..self }
    }

    /// Replaces the default with another value.
    pub(crate) fn default(self, value: &'static str) -> Self {
        Self { default: FlagDefault::Value(value), ..self }
    }

    /// Shows the default of the quick recipe only.
    pub(crate) fn quick_default(self) -> Self {
        Self { default: FlagDefault::Quick, ..self }
    }

    /// Replaces the note about the default.
    pub(crate) fn default_note(self, note: &'static str) -> Self {
        Self { default: FlagDefault::Note(note), ..self }
    }

    fn arg(self) -> Arg {
        let definition = self.definition;
        let note = match self.default {
            FlagDefault::Recipes => definition.defaults(),
            FlagDefault::Quick => {
                let note = definition.default_note.map(String::from);
                note.or_else(|| definition.default_of(Recipe::Quick))
            }
            FlagDefault::Note(note) => Some(note.into()),
            FlagDefault::Value(_) => None,
        };
        let (help, details) = match self.help {
            Some(help) => (help, ""),
            None => (definition.help, definition.details),
        };
        let choices = definition.choices().join(", ");
        let default = note.map(|note| format!("[default: {note}]"));
        let choices = (!choices.is_empty()).then(|| format!("[possible values: {choices}]"));
        let values = [default, choices].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let joined = |parts: &[&str], separator| {
            let parts = parts.iter().copied().filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(separator)
        };
        let parser = OsStringValueParser::new().try_map(move |text: OsString| {
            let texts = [text];
            definition.set(&mut Settings::default(), &texts)?;
            let [text] = texts;
            Ok::<_, String>(text)
        });
        let arg = Arg::new(definition.key)
            .long(definition.key)
            .value_name(self.value_name)
            .help(joined(&[help, &values], " "))
            .long_help(joined(&[help, details, &values], "\n\n"))
            .hide_short_help(!self.is_essential)
            .allow_negative_numbers(true)
            .value_parser(parser);
        let arg = match self.heading {
            Some(heading) => arg.help_heading(heading),
            None => arg,
        };
        let arg = match self.default {
            FlagDefault::Value(value) => arg.default_value(value),
            _ => arg,
        };
        match definition.input {
            Input::Repeated => arg.action(ArgAction::Append),
            Input::Optional(alone) => arg.num_args(0..=1).default_missing_value(alone),
            Input::Switch(alone) => {
                arg.num_args(0..=1).default_missing_value(alone).require_equals(true)
            }
            _ => arg,
        }
    }
}

impl<S: Selection> Args for SettingFlags<S> {
    fn augment_args(command: Command) -> Command {
        command.args(S::flags().into_iter().map(Flag::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Selection> FromArgMatches for SettingFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut settings = Settings::default();
        for Flag { definition, .. } in S::flags() {
            if let Some(texts) = matches.get_many::<OsString>(definition.key) {
                let texts: Vec<OsString> = texts.cloned().collect();
                let set = definition.set(&mut settings, &texts);
                set.expect("every value was parsed before");
            }
        }
        Ok(Self { settings, selection: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
