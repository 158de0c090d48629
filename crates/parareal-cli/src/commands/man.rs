//! `man`: prints the manual page of a command.

use clap::{Command, CommandFactory};

use crate::arguments::{Arguments, Man};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::result;

pub(crate) fn run(arguments: &Man) -> Result<Ending, Failure> {
    let mut root = Arguments::command().disable_help_subcommand(true);
    // Sets the full names of the commands, such as `parareal-data-fetch`.
    root.build();
    let mut page = Vec::new();
    let command = find(&root, &arguments.command)?.clone();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|source| Failure::Write { path: "the manual page".into(), source })?;
    result(String::from_utf8_lossy(&page).trim_end())?;
    Ok(Ending::Done)
}

/// Returns the command with this name, given as words such as `data fetch`.
fn find<'a>(root: &'a Command, words: &[String]) -> Result<&'a Command, Failure> {
    words.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let expected = match names.as_slice() {
                [] => format!("no further word after `{}`", command.get_name()),
                names => format!("one of {}", names.join(", ")),
            };
            Failure::Flag(format!("invalid value `{word}` for COMMAND: expected {expected}"))
        })
    })
}
