//! Programs that a test runs.

use std::process::Command;

/// Returns a command that runs `program`, which the Debian package `package` has.
///
/// # Panics
/// Panics if the program is not installed. The message says how to install it and how to leave the test
/// out.
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
/// Always panics, with a line that says what the test needs and how to leave it out.
#[track_caller]
pub fn missing(what: &str) -> ! {
    // The test harness names a test's thread after the test.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("NAME");
    panic!("this test needs {what}; to skip it: cargo test -- --skip {test}")
}
