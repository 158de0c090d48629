//! `completions`: prints a completion script for a shell.

use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::result;

pub(crate) fn run(arguments: &Completions) -> Result<Ending, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "parareal", &mut script);
    result(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Ending::Done)
}
