//! Writes a report on the runs in the given folders to standard output.

use std::io::Write;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    std::io::stdout().write_all(parareal_report::render(&runs)?.as_bytes())?;
    Ok(())
}
