//! The `parareal` command.
fn main() {}
