//! The command line.

mod bench;
mod data;
mod ode;
mod plan;
mod runs;
mod train;

use std::num::{IntErrorKind, ParseFloatError, ParseIntError};

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

pub(crate) use bench::Bench;
pub(crate) use data::{Data, Fetch, ImageFiles};
pub(crate) use ode::Ode;
pub(crate) use plan::{Plan, Step};
pub(crate) use runs::{Eval, Export, Predict, Report};
pub(crate) use train::{Network, Train};

/// Trains very deep feed-forward networks as parareal networks: cut into subnetworks that run in
/// parallel, with a small coarse network between neighbours.
#[derive(Parser)]
#[command(name = "parareal", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train a parareal ResNet; without any flag a small one, on built-in images, in minutes
    Train(Box<Train>),
    /// Judge saved weights of a run by its test images
    Eval(Eval),
    /// Say what is in images of your own, by the weights of a run
    Predict(Predict),
    /// Write the weights of a run as one safetensors file
    Export(Export),
    /// Put one run or several beside each other in a page to look at
    Report(Report),
    /// Fetch, check or show the images of a data set
    #[command(subcommand)]
    Data(Data),
    /// Solve a differential equation by parareal, the algorithm behind the networks
    Ode(Ode),
    /// Show how a network would be cut, what bridges its interfaces, its parameters, and what a step
    /// would take on devices that one has or has not
    Plan(Plan),
    /// Time a step part by part and as a whole, as the paper's Tables 2 and 3 do
    Bench(Bench),
}

/// What is wrong with a value, in one line, where the error is about one.
pub(crate) fn refused_value(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg)?.split(' ').next()?;
    let value = text(ContextKind::InvalidValue).filter(|value| !value.is_empty())?;
    let source = std::error::Error::source(error)?;
    let expected = match source.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow) => "that is too large".into(),
        Some(_) => "a whole number is expected".into(),
        None if source.is::<ParseFloatError>() => "a number is expected".into(),
        None => source.to_string(),
    };
    Some(format!("{flag} is `{value}`: {expected}"))
}

/// What is wrong, without what would be right.
pub(crate) fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_string()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use parareal_train::Settings;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_key_of_a_file_is_a_flag() {
        let command = Arguments::command();
        let train = command.find_subcommand("train").unwrap();
        let flags: Vec<_> = train.get_arguments().filter_map(|flag| flag.get_long()).collect();
        assert!(Settings::KEYS.iter().all(|key| flags.contains(key)));
        for command in ["train", "plan", "bench"].map(|name| command.find_subcommand(name)) {
            assert!(command.unwrap().get_arguments().all(|flag| flag.get_help().is_some()));
        }
    }
}
