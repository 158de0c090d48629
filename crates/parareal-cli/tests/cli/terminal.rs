//! Progress on terminals.
#![cfg(target_os = "linux")]

use std::process::Stdio;

use parareal_testing::tool;

/// Returns the output of a short bench on a terminal, with this value of `TERM`.
fn bench(term: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let bench = "bench --depth 11 --subnetworks 1 --batch-size 1 --repetitions 1 --json";
    let mut command = tool("script", "bsdutils");
    command
        .current_dir(folder.path())
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {bench}", env!("CARGO_BIN_EXE_parareal")))
        .arg("typescript")
        .stdin(Stdio::null())
        .env_remove("TERM");
    if let Some(term) = term {
        command.env("TERM", term);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn progress_is_lines_if_the_terminal_cannot_move_its_cursor() {
    for term in [None, Some("dumb"), Some("xterm")] {
        let shown = bench(term);
        let lines = shown.contains("measuring the serial network\r\n");
        assert_eq!(lines, term != Some("xterm"), "{term:?}: {shown}");
        assert_eq!(shown.contains('\u{1b}'), term == Some("xterm"), "{term:?}: {shown}");
    }
}
