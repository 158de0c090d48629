//! The reference of the command line in the documentation, generated from the definitions of the flags.

use std::path::Path;
use std::{env, fs};

use clap::{Arg, Command, CommandFactory};

use super::Arguments;

const PAGE: &str = "docs/src/reference/command-line.md";
/// Environment variable that makes the test write the page.
const WRITE: &str = "PARAREAL_WRITE_REFERENCE";

#[test]
fn the_reference_is_that_of_the_flags() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let page = page();
    if env::var_os(WRITE).is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(written == page, "{PAGE} is out of date: run this test with {WRITE}=1");
}

fn page() -> String {
    let mut root = Arguments::command().disable_help_subcommand(true);
    root.build();
    let mut page = String::from(
        "# Command line\n\n\
         <!-- Generated from the definitions of the flags; see CONTRIBUTING.md. -->\n\n\
         `parareal COMMAND -h` shows the flags that a first user needs, `--help` all of them, and `parareal man \
         COMMAND` prints a manual page. Results go to standard output, everything else to standard error; exit \
         codes are listed in [Exit codes and signals](exit-codes.md). The values in brackets are defaults and \
         possible values; \"paper\" stands for `--recipe paper`.\n",
    );
    for command in root.get_subcommands() {
        add(&mut page, command);
    }
    page
}

/// Adds the sections of a command and of its subcommands.
fn add(page: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    *page += &format!("\n## {name}\n\n{}\n\n", sentences(&about.unwrap().to_string()));
    *page += &format!("```text\n{usage}\n```\n");
    let mut headings = Vec::new();
    let arguments = || command.get_arguments().filter(|argument| !argument.is_hide_set());
    for argument in arguments().filter(|argument| argument.get_id() != "help") {
        if !headings.contains(&argument.get_help_heading()) {
            headings.push(argument.get_help_heading());
        }
    }
    for heading in headings {
        *page += "\n";
        if let Some(heading) = heading {
            *page += &format!("### {heading} ({name})\n\n");
        }
        for argument in arguments().filter(|each| each.get_help_heading() == heading) {
            if argument.get_id() != "help" {
                *page += &entry(argument);
            }
        }
    }
    if let Some(text) = command.get_after_long_help().or(command.get_after_help()) {
        *page += &format!("\n```text\n{text}\n```\n");
    }
    for subcommand in command.get_subcommands() {
        add(page, subcommand);
    }
}

/// Returns the entry of a flag or a positional argument.
fn entry(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let mut text = sentences(&help.unwrap_or_else(|| panic!("{argument} has no help")).to_string());
    if argument.get_action().takes_values() {
        let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let defaults: Vec<_> = defaults.collect();
        if !defaults.is_empty() {
            text += &format!(" [default: {}]", defaults.join(","));
        }
        let values = argument.get_possible_values();
        if !values.is_empty() {
            let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
            text += &format!(" [possible values: {}]", values.join(", "));
        }
    }
    format!("- `{argument}`: {text}\n")
}

/// Joins the paragraphs of a help text into sentences, in Markdown.
fn sentences(help: &str) -> String {
    let mut text = String::new();
    for paragraph in help.split("\n\n") {
        let is_bracketed = paragraph.starts_with('[');
        if !text.is_empty() {
            text += if text.ends_with(['.', ']']) || is_bracketed { " " } else { ". " };
        }
        text += paragraph;
    }
    text.replace('<', "\\<").replace('*', "\\*").replace('_', "\\_")
}
