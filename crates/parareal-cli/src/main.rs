//! The `parareal` command: it reads arguments, shows what happens, and says by its exit code how
//! it ended. All else is in the library `parareal-train`.

mod advice;
mod arguments;
mod bench;
mod commands;
mod data;
mod failure;
mod fetch;
mod images;
mod interrupt;
mod ode;
mod output;
mod plan;
mod predict;
mod progress;
mod ranks;
mod step;
mod train;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use parareal_kernels::allocator::{self, MiMalloc};

use arguments::{Arguments, Command};

/// Keeps freed blocks for the next step instead of handing them back to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How a command ended.
#[derive(Clone, Copy)]
enum Ending {
    Done,
    Failed,
    BadInput,
    Interrupted,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::Failed => 1,
            Ending::BadInput => 2,
            Ending::Interrupted => 130,
        })
    }
}

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
                // Where nobody reads it, there is nobody to tell.
                None if asked => drop(error.print()),
                None => ranks::refuse(&arguments::first_line(&error), || drop(error.print())),
            }
            return if asked { Ending::Done } else { Ending::BadInput }.into();
        }
    };
    let ending = match arguments.command {
        Command::Train(arguments) => train::run(arguments),
        Command::Eval(arguments) => commands::eval(arguments),
        Command::Predict(arguments) => commands::predict(arguments),
        Command::Export(arguments) => commands::export(arguments),
        Command::Report(arguments) => commands::report(&arguments),
        Command::Data(command) => data::run(command),
        Command::Ode(arguments) => ode::run(arguments),
        Command::Plan(arguments) => commands::plan(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match ending {
        Ok(ending) => ending.into(),
        Err(error) => {
            if !error.is_told_elsewhere() {
                output::note(&format!("error: {}", advice::message(&error)));
            }
            if error.is_bad_input() { Ending::BadInput } else { Ending::Failed }.into()
        }
    }
}
