//! The command line.

mod bench;
mod data;
mod lr_find;
mod ode;
mod plan;
#[cfg(test)]
mod reference;
mod runs;
mod settings;
mod shell;
mod train;

use std::num::{IntErrorKind, ParseFloatError, ParseIntError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use parareal_train::TrainError;

pub(crate) use bench::Bench;
pub(crate) use data::{Data, Fetch, ImageFiles, Show};
pub(crate) use lr_find::LrFind;
pub(crate) use ode::Ode;
pub(crate) use plan::{Plan, Step};
pub(crate) use runs::{Eval, Export, ExportFormatName, Predict, Report};
pub(crate) use shell::{Completions, Man};
pub(crate) use train::Train;

/// Trains very deep networks as parareal networks
///
/// A parareal network is cut in depth into subnetworks that run in parallel, with a small coarse network at each
/// interface between neighbors.
#[derive(Parser)]
#[command(name = "parareal", version, arg_required_else_help = true, max_term_width = 80)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train a parareal network, by default on built-in images
    ///
    /// Without flags, the training takes about three minutes on two cores.
    Train(Box<Train>),
    /// Find a learning rate by a short training in which it grows
    ///
    /// The loss first falls slowly, then quickly, and finally rises (Smith 2017). Nothing is saved but the plot.
    LrFind(Box<LrFind>),
    /// Evaluate a run on its test images
    Eval(Eval),
    /// Classify images with a trained network
    Predict(Predict),
    /// Export the weights of a run for other programs
    Export(Export),
    /// Write an HTML page that shows and compares runs
    Report(Report),
    /// Download, check or show data sets
    #[command(subcommand)]
    Data(Data),
    /// Solve a differential equation with the parareal algorithm
    Ode(Ode),
    /// Show the parts of a network and predict the time of a training step
    ///
    /// A step is predicted with --cuts balanced, or if one of the flags under "Step" is given.
    Plan(Plan),
    /// Measure a training step, as a whole and part by part
    ///
    /// The output has the form of the paper's Tables 2 and 3.
    Bench(Bench),
    /// Print a completion script for a shell
    ///
    /// For example, for bash: parareal completions bash > ~/.local/share/bash-completion/completions/parareal
    Completions(Completions),
    /// Print the manual page of a command
    ///
    /// For example: parareal man train | man -l -
    Man(Man),
}

impl Command {
    /// Returns true if the command computes with networks, so that the vector instructions matter.
    pub(crate) fn computes(&self) -> bool {
        !matches!(
            self,
            Self::Report(_) | Self::Data(_) | Self::Ode(_) | Self::Completions(_) | Self::Man(_)
        )
    }
}

/// Returns a one-line message about an invalid value; `None` for other errors.
pub(crate) fn refused_value(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    // The argument includes the name of its value: `--depth <9n+2>`, `--nesterov[=<true|false>]`.
    let flag = text(ContextKind::InvalidArg)?.split([' ', '[', '=']).next()?;
    let value = text(ContextKind::InvalidValue)?;
    if value.is_empty() && error.kind() == ErrorKind::InvalidValue {
        return Some(format!("no value for {flag}"));
    }
    let source = std::error::Error::source(error)?;
    let expected = match source.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow) => "expected a smaller number".into(),
        Some(_) => "expected a whole number".into(),
        None if source.is::<ParseFloatError>() => "expected a number".into(),
        None => match source.downcast_ref::<TrainError>() {
            Some(TrainError::Setting { expected, .. }) => expected.clone(),
            _ => source.to_string(),
        },
    };
    Some(format!("invalid value `{value}` for {flag}: {expected}"))
}

/// Returns the first line of an error, without usage and suggestions.
pub(crate) fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_string()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use parareal_vision::{Recipe, Settings};

    use super::*;

    fn train() -> clap::Command {
        Arguments::command().find_subcommand("train").unwrap().clone()
    }

    /// Returns the settings of a `train` command line.
    fn settings(flags: &[&str]) -> Settings {
        let words = [&["parareal", "train"], flags].concat();
        match Arguments::try_parse_from(words).map_err(|error| error.to_string()).unwrap().command {
            Command::Train(train) => train.flags.settings,
            _ => unreachable!("the command is train"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_key_of_a_file_is_a_flag_with_help() {
        let command = train();
        let flags: Vec<_> = command.get_arguments().filter_map(|flag| flag.get_long()).collect();
        assert!(Settings::KEYS.iter().all(|key| flags.contains(key)));
        let root = Arguments::command();
        for command in ["train", "plan", "bench", "eval"].map(|name| root.find_subcommand(name)) {
            for flag in command.unwrap().get_arguments() {
                assert!(flag.get_help().is_some(), "{flag}");
            }
        }
    }

    #[test]
    fn the_help_shows_the_defaults_of_the_definitions() {
        let command = train();
        for definition in Settings::definitions() {
            let flag = command.get_arguments().find(|flag| flag.get_long() == Some(definition.key));
            let help = flag.unwrap().get_help().unwrap().to_string();
            match definition.defaults() {
                Some(default) => {
                    assert!(help.contains(&format!("[default: {default}]")), "{help}")
                }
                None => assert!(!help.contains("[default"), "{help}"),
            }
        }
        let help = |key| {
            let flag = command.get_arguments().find(|flag| flag.get_long() == Some(key));
            flag.unwrap().get_help().unwrap().to_string()
        };
        for (key, end) in [
            (
                "dataset",
                "[default: shapes] [possible values: shapes, mnist, cifar10, cifar100, svhn, folder]",
            ),
            ("depth", "[default: 110; paper: 1001]"),
            ("momentum", "[default: 0.9]"),
            ("cuts", "[default: even]"),
            ("checkpoint-every", "[default: 10m]"),
            ("device", "[default: cpu]"),
        ] {
            assert!(help(key).ends_with(end), "{}", help(key));
        }
    }

    #[test]
    fn flags_and_texts_set_the_same_values() {
        for definition in Settings::definitions() {
            let other = match definition.key {
                "recipe" => "paper",
                "network" => "resnet-29",
                _ => "3",
            };
            let text = definition.default_of(Recipe::Paper).unwrap_or_else(|| other.into());
            let flag = format!("--{}={text}", definition.key);
            let set = settings(&[&flag]);
            assert_eq!(definition.text(&set).as_deref(), Some(text.as_str()));
            let keys = Settings::definitions().iter().filter(|each| each.text(&set).is_some());
            assert_eq!(keys.count(), 1);
        }
    }

    #[test]
    fn some_flags_need_no_value_and_one_can_be_repeated() {
        let set = settings(&["--recompute", "--nesterov", "--device", "cpu", "--device", "wgpu:0"]);
        let text = |key: &str| {
            let definition = Settings::definitions().iter().find(|each| each.key == key);
            definition.unwrap().text(&set).unwrap()
        };
        assert_eq!(["recompute", "nesterov", "device"].map(text), ["0", "true", "cpu,wgpu:0"]);
        assert_eq!(settings(&["--epochs", "3", "--epochs", "4"]).epochs, Some(4));
        assert_eq!(settings(&["--recompute", "4"]), settings(&["--recompute=4"]));
    }

    #[test]
    fn a_run_is_positional_or_named_by_a_flag() {
        let parse = |words: &[&str]| {
            let words = [&["parareal"], words].concat();
            Arguments::try_parse_from(words).map(|arguments| arguments.command)
        };
        for words in
            [&["predict", "run", "a.png", "b"][..], &["predict", "--run", "run", "a.png", "b"]]
        {
            let Ok(Command::Predict(predict)) = parse(words) else { panic!("{words:?}") };
            let images = ["a.png", "b"].map(std::path::PathBuf::from).to_vec();
            assert_eq!(predict.run_and_images(), ("run".into(), images));
        }
        for words in [&["eval", "run"][..], &["eval", "--run", "run"]] {
            let Ok(Command::Eval(eval)) = parse(words) else { panic!("{words:?}") };
            assert_eq!(eval.run.into_path(), std::path::PathBuf::from("run"));
        }
        for words in [&["eval"][..], &["eval", "a", "--run", "b"], &["predict", "run"], &["report"]]
        {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
