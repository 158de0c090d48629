//! The `parareal` command: arguments, terminal output, exit codes. Everything else is in the libraries.

mod advice;
mod arguments;
mod commands;
mod ending;
mod failure;
mod interrupt;
mod network_text;
mod output;
mod ranks;
mod status_line;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use parareal_kernels::allocator::{self, MiMalloc};
use parareal_train::check_environment;

use arguments::{Arguments, Command};
use commands::{
    bench, completions, data, eval, export, lr_find, man, ode, plan, predict, report, train,
};
use ending::Ending;

/// Allocator that keeps freed blocks for the next step instead of returning them to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    allocator::retain();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            match arguments::refused_value(&error) {
                Some(refusal) => {
                    ranks::refuse(&refusal, || output::note(&format!("error: {refusal}")));
                }
                // Help that cannot be printed is not an error.
                None if asked => drop(error.print()),
                None => ranks::refuse(&arguments::first_line(&error), || drop(error.print())),
            }
            return if asked { Ending::Done } else { Ending::BadInput }.into();
        }
    };
    if arguments.command.computes()
        && let Err(error) = check_environment()
    {
        ranks::refuse(&error.to_string(), || output::note(&format!("error: {error}")));
        return Ending::BadInput.into();
    }
    let ending = match arguments.command {
        Command::Train(arguments) => train::run(arguments),
        Command::LrFind(arguments) => lr_find::run(*arguments),
        Command::Eval(arguments) => eval::run(arguments),
        Command::Predict(arguments) => predict::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Data(command) => data::run(command),
        Command::Ode(arguments) => ode::run(arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    };
    match ending {
        Ok(ending) => ending.into(),
        Err(error) => error.report().into(),
    }
}
