//! Help, manual pages and completions.

use crate::common::{errors, parareal};

const COMMANDS: [&[&str]; 14] = [
    &[],
    &["train"],
    &["eval"],
    &["predict"],
    &["export"],
    &["report"],
    &["data"],
    &["data", "fetch"],
    &["data", "check"],
    &["data", "show"],
    &["ode"],
    &["plan"],
    &["bench"],
    &["completions"],
];

fn output(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = parareal(folder.path(), arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the flags whose names a help text lists.
fn flags(help: &str) -> Vec<&str> {
    let words = help.lines().filter_map(|line| {
        let line = line.trim_start();
        line.split_whitespace()
            .find(|word| word.starts_with("--"))
            .filter(|_| line.starts_with('-'))
    });
    words.map(|flag| flag.split(['[', '=', '<']).next().unwrap()).collect()
}

#[test]
fn help_is_wrapped_for_a_terminal_of_80_columns() {
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let help = output(&[command, &[flag]].concat());
            let longest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(longest.chars().count() <= 80, "{command:?} {flag}: {longest}");
        }
    }
}

#[test]
fn the_short_help_has_the_flags_of_a_first_user() {
    let (short, long) = (output(&["train", "-h"]), output(&["train", "--help"]));
    let (short, long) = (flags(&short), flags(&long));
    assert!((10..=16).contains(&short.len()), "{short:?}");
    assert!(short.iter().all(|flag| long.contains(flag)), "{short:?}");
    assert!(long.len() > 40, "{long:?}");
    for flag in ["--dataset", "--depth", "--subnetworks", "--epochs", "--output", "--resume"] {
        assert!(short.contains(&flag), "{flag}");
    }
    assert!(output(&["train", "-h"]).contains("see more with '--help'"));
}

#[test]
fn every_command_has_a_manual_page() {
    for command in COMMANDS {
        let page = output(&[&["man"], command].concat());
        let name = [&["parareal"], command].concat().join("-");
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    let folder = tempfile::tempdir().unwrap();
    for (arguments, message) in [
        (
            &["man", "trane"][..],
            "error: invalid value `trane` for COMMAND: expected one of train, lr-find, eval, ",
        ),
        (
            &["man", "eval", "now"],
            "error: invalid value `now` for COMMAND: expected no further word after `eval`",
        ),
    ] {
        let refused = parareal(folder.path(), arguments);
        assert_eq!(refused.status.code(), Some(2));
        assert!(errors(&refused).starts_with(message), "{}", errors(&refused));
    }
}

#[test]
fn completions_are_scripts_of_a_shell() {
    for (shell, words) in [
        ("bash", "complete -F _parareal"),
        ("zsh", "#compdef parareal"),
        ("fish", "complete -c parareal"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let script = output(&["completions", shell]);
        assert!(script.contains(words), "{shell}");
        assert!(script.contains("--subnetworks") || script.contains("subnetworks"), "{shell}");
    }
}
