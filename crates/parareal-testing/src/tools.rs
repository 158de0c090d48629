//! Programs that a test runs.

use std::process::Command;

/// Returns a command that runs `program`, which is in the Debian package `package`.
///
/// # Panics
/// Panics if the program is not installed. The message says which package has it and how to skip the test.
#[must_use]
#[track_caller]
pub fn tool(program: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_installed {
        missing(&format!("`{program}` (Debian package {package})"));
    }
    Command::new(program)
}

/// Ends a test that cannot run on this machine.
///
/// # Panics
/// Always panics, with a message that says what the test needs and how to skip it.
#[track_caller]
pub fn missing(what: &str) -> ! {
    // The test harness names a test's thread after the test.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("NAME");
    panic!("this test needs {what}; to skip it: cargo test -- --skip {test}")
}
