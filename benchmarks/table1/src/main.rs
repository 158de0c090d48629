//! A small version of the paper's Table 1: trains the remaining runs, and writes the table and the picture of
//! README.md.
//!
//! - `--full` selects the paper's configuration, for GPUs and complete data sets.
//! - `--screening` and `--rates` select the comparisons on held-out images that choose coarse units and
//!   learning rates.
//! - `--initialization` selects the comparison of initial weights, and `--precision` that of precisions.
//!
//! ```sh
//! cargo run --release -p table1 -- --data-dir DIR --scratch DIR
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod coarse_cost;
mod conditions;
mod dry_run;
mod files;
mod goals;
mod held_out;
mod initialization;
mod machine;
mod network;
mod paper;
mod picture;
mod precision;
mod process;
mod queue;
mod record;
mod row;
mod runner;
mod scratch;
mod statistics;
mod study;
mod table;
mod times;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use files::StudyFiles;
use machine::Machine;
use process::stopped_by_signals;
use record::Results;
use row::Row;
use study::Study;
use times::Measurement;

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// Exit code after an interruption, as that of `parareal train`.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a message on standard error.
fn note(message: &str) {
    eprintln!("{message}");
}

/// Prints a text on standard output, unless its reader has gone.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Runs the command. Returns false if it was interrupted.
fn run(arguments: &Arguments) -> Result<bool> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = StudyFiles::new(&here.join(".."), arguments.study());
    let mut results = Results::read(&files.results)?;
    let rows = arguments.rows(&results)?;
    if arguments.rehearse && !arguments.dry_run {
        return rehearse(arguments, &rows, &files);
    }
    if arguments.summary {
        print(&format!("{}\n", files.markdown(&rows, &results)?))?;
        return Ok(true);
    }
    if arguments.write {
        files.write(&rows, &results)?;
        return Ok(true);
    }
    if arguments.check {
        files.check(&rows, &results)?;
        return Ok(true);
    }
    let rows = arguments.selected(&rows)?;
    if arguments.dry_run {
        let further = arguments.machine_arguments();
        print(&dry_run::report(&rows, &results, arguments.jobs(), &further))?;
        return Ok(true);
    }
    let scratch =
        arguments.scratch.clone().ok_or("give the folder of unfinished runs with --scratch")?;
    let (machine, _lock) = Machine::new(arguments, &rows, scratch, here)?.prepared()?;
    match arguments.times {
        true => measure(&machine, &rows, times::ROUNDS, &mut results),
        false => train(&machine, &rows, &mut results),
    }
}

/// Measures the times of the networks of some rows. Returns false if it was interrupted.
fn measure(machine: &Machine, rows: &[Row], rounds: usize, results: &mut Results) -> Result<bool> {
    let stop = stopped_by_signals()?;
    let Some(measured) = Measurement::measure(machine, rows, rounds, &stop)? else {
        return Ok(false);
    };
    let counted: Vec<_> = rows.iter().map(|row| results.of(row).len()).collect();
    results.add_times(measured)?;
    for (row, counted) in rows.iter().zip(counted) {
        if results.of(row).len() < counted {
            note(&format!(
                "{}, {}: finished runs no longer count, because the times require another number of epochs; they \
                 will be repeated",
                row.group, row.title
            ));
        }
    }
    Ok(true)
}

/// Trains the remaining runs. Returns false if it was interrupted.
fn train(machine: &Machine, rows: &[Row], results: &mut Results) -> Result<bool> {
    let stop = stopped_by_signals()?;
    if !machine.run(rows, results, &stop)? {
        return Ok(false);
    }
    if rows.iter().any(|row| results.epochs(row).is_none()) {
        note(
            "some numbers of epochs follow from measured times: run with --times, then repeat this command",
        );
    }
    Ok(true)
}

/// Trains every row for a few steps in a new folder, and writes the tables and the picture there.
fn rehearse(arguments: &Arguments, rows: &[Row], files: &StudyFiles) -> Result<bool> {
    let process = std::process::id();
    let name = format!("table1-rehearsal-{}-{process}", arguments.study().name());
    let folder = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir).join(name);
    if folder.exists() {
        // Of an earlier process with this number.
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let files = files.rehearsal(&folder);
    let marks = arguments.study().marks();
    fs::write(&files.readme, format!("{}\n{}\n", marks.begin, marks.end))?;
    let mut results = Results::read(&files.results)?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = folder.join("scratch");
    let (machine, _lock) = Machine::new(arguments, rows, scratch, here)?.prepared()?;
    let done = (arguments.study() != Study::Small || measure(&machine, rows, 1, &mut results)?)
        && train(&machine, rows, &mut results)?;
    files.write(rows, &results)?;
    let results = Results::read(&files.results)?;
    files.check(rows, &results)?;
    print(&format!("{}\n", files.markdown(rows, &results)?))?;
    note(&format!("rehearsal in {}", folder.display()));
    Ok(done)
}
