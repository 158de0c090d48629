//! A small version of the paper's Table 1: trains the remaining runs, and writes the table and the picture of
//! README.md.
//!
//! - `--full` selects the paper's configuration, for GPUs and complete data sets.
//! - `--screening` and `--rates` select the comparisons on held-out images that choose coarse units and
//!   learning rates.
//! - `--initialization` selects the comparison of initial weights, and `--precision` that of types of states.
//!
//! ```sh
//! cargo run --release -p table1 -- --data-dir DIR --scratch DIR
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod held_out;
mod initialization;
mod network;
mod paper;
mod picture;
mod place;
mod precision;
mod queue;
mod record;
mod row;
mod runner;
mod scratch;
mod statistics;
mod study;
mod table;
mod times;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use parareal_data::{DatasetName, inspect};
use parareal_text::count;
use signal_hook::{consts, flag};

use paper::{PAPER_DATASETS, PAPER_PARAMETERS};
use place::{Place, Study};
use queue::Pending;
use record::Results;
use row::{Row, Training};
use runner::{Machine, command, output};
use scratch::Scratch;
use times::Times;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Numbers of training and test images in a rehearsal.
const REHEARSED_IMAGES: [usize; 2] = [32, 20];

/// Flags that have no effect on `--times`, or no times.
const NOT_WITH_TIMES: [&str; 14] = [
    "shared",
    "jobs",
    "workers",
    "threads",
    "dry_run",
    "rehearse",
    "summary",
    "write",
    "check",
    "full",
    "screening",
    "rates",
    "initialization",
    "precision",
];

/// Flags that concern all rows of a table. Folders of runs that other runs start from are kept for all of them.
const NOT_FOR_SOME_ROWS: [&str; 6] =
    ["times", "rehearse", "summary", "write", "check", "initialization"];

/// Trains the remaining runs of a table and stores their results; resumes interrupted runs
#[derive(Parser, Debug)]
#[command(name = "table1")]
struct Arguments {
    /// Folder that holds each data set in a folder of its name
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder of unfinished runs, which are resumed; the folders of finished runs are deleted once no other run
    /// starts from them
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Program to train with; it is copied, so that it can be rebuilt during the runs [default:
    /// target/release/parareal]
    #[arg(long, value_name = "FILE")]
    parareal: Option<PathBuf>,
    /// Commit of the program, for the results [default: that of the working tree]
    #[arg(long, value_name = "COMMIT", requires = "parareal")]
    commit: Option<String>,
    /// Runs that are trained at the same time [default: 2; 1 with --full]
    #[arg(long, value_name = "K")]
    jobs: Option<usize>,
    /// Workers of a run [default: 1; with --full that of `parareal train`]
    #[arg(long, value_name = "K")]
    workers: Option<usize>,
    /// Threads of a worker [default: 1; with --full that of `parareal train`]
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    /// Note in each result that the machine also does other work
    #[arg(long)]
    shared: bool,
    /// Measure the time of an image for all networks, in turn; nothing else should run on the machine
    #[arg(long, conflicts_with_all = NOT_WITH_TIMES)]
    times: bool,
    /// Show the remaining runs with their commands and estimated times, without training
    #[arg(long)]
    dry_run: bool,
    /// Try every row with a few built-in images, in a separate folder
    #[arg(long, conflicts_with_all = ["write", "check"])]
    rehearse: bool,
    /// Print the tables from the results so far
    #[arg(long, conflicts_with_all = ["write", "check", "dry_run"])]
    summary: bool,
    /// Write the tables to README.md and draw the plot next to it
    #[arg(long, conflicts_with_all = ["check", "dry_run"])]
    write: bool,
    /// Fail if README.md or the plot differ from the results
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// The paper's configuration: ResNet-1001, batch 128, 200 epochs, complete data sets
    #[arg(long)]
    full: bool,
    /// Compare coarse units on held-out training images, for ../coarse-units
    #[arg(long, conflicts_with = "full")]
    screening: bool,
    /// Compare learning rates on held-out training images, for ../coarse-units
    #[arg(long, conflicts_with_all = ["full", "screening"])]
    rates: bool,
    /// Compare initial weights on held-out training images, for ../initialization
    #[arg(long, conflicts_with_all = ["full", "screening", "rates"])]
    initialization: bool,
    /// Compare types of states, with runs of the small table and others
    #[arg(long, conflicts_with_all = ["full", "screening", "rates", "initialization"])]
    precision: bool,
    /// Device of the full runs, for example cuda:0; can be repeated for several devices [default: cpu]
    #[arg(long, value_name = "DEVICE", requires = "full")]
    device: Vec<String>,
    /// Data sets of the full table
    #[arg(
        long,
        value_name = "NAME,..",
        requires = "full",
        value_delimiter = ',',
        default_values_t = PAPER_DATASETS.map(|set| set.name)
    )]
    datasets: Vec<DatasetName>,
    /// Numbers of subnetworks of the full table
    #[arg(
        long,
        value_name = "N,..",
        requires = "full",
        value_delimiter = ',',
        default_values_t = PAPER_PARAMETERS.map(|(count, _)| count)
    )]
    subnetworks: Vec<usize>,
    /// Rows to train, by the names of the files in results/ without -seedN.json [default: all]
    #[arg(long, value_name = "ROW,..", value_delimiter = ',', conflicts_with_all = NOT_FOR_SOME_ROWS)]
    rows: Vec<String>,
    /// Seeds to train [default: all], or of the full table [default: 1]
    #[arg(long, value_name = "S,..", value_delimiter = ',', conflicts_with_all = ["times", "initialization"])]
    seeds: Vec<u64>,
}

impl Arguments {
    fn study(&self) -> Study {
        match self {
            Self { full: true, .. } => Study::Full,
            Self { screening: true, .. } => Study::Screening,
            Self { rates: true, .. } => Study::Rates,
            Self { initialization: true, .. } => Study::Initialization,
            Self { precision: true, .. } => Study::Precision,
            _ => Study::Small,
        }
    }

    /// Returns the rows of the table.
    fn rows(&self) -> Result<Vec<Row>> {
        match self.study() {
            Study::Small => study::small(self.rehearse),
            Study::Full => {
                let seeds = if self.seeds.is_empty() { &[1] } else { &self.seeds[..] };
                study::full(&self.datasets, &self.subnetworks, seeds, self.rehearse)
            }
            Study::Screening => study::screening(self.rehearse),
            Study::Rates => study::rates(self.rehearse),
            Study::Initialization => study::initialization(self.rehearse),
            Study::Precision => study::precision(self.rehearse),
        }
    }

    /// Returns the rows and seeds that the command line selects.
    ///
    /// # Errors
    /// If the table lacks a row or a seed.
    fn selected(&self, rows: &[Row]) -> Result<Vec<Row>> {
        if let Some(id) = self.rows.iter().find(|id| rows.iter().all(|row| row.id != **id)) {
            let known: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
            return Err(format!("--rows {id}: expected some of {}", known.join(", ")).into());
        }
        let mut selected = rows.to_vec();
        selected.retain(|row| self.rows.is_empty() || self.rows.contains(&row.id));
        for seed in &self.seeds {
            if selected.iter().all(|row| !row.seeds.contains(seed)) {
                return Err(format!("--seeds {seed}: no row has this seed").into());
            }
        }
        for row in &mut selected {
            row.seeds.retain(|seed| self.seeds.is_empty() || self.seeds.contains(seed));
        }
        Ok(selected)
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(130),
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

/// Runs the command. Returns false if it was interrupted.
fn run(arguments: Arguments) -> Result<bool> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_all_seeds =
        [arguments.rehearse, arguments.summary, arguments.write, arguments.check].contains(&true);
    if of_all_seeds && !arguments.full && !arguments.seeds.is_empty() {
        return Err("--seeds: tables and rehearsals have all seeds; leave the flag out".into());
    }
    let rows = arguments.rows()?;
    let place = Place::new(&here.join(".."), arguments.study());
    if arguments.rehearse && !arguments.dry_run {
        return rehearse(&arguments, &rows, &place);
    }
    let mut results = Results::read(&place.results)?;
    if arguments.summary {
        print(&format!("{}\n", place.markdown(&rows, &results)?))?;
        return Ok(true);
    }
    if arguments.write {
        place.write(&rows, &results)?;
        return Ok(true);
    }
    if arguments.check {
        place.check(&rows, &results)?;
        return Ok(true);
    }
    let rows = arguments.selected(&rows)?;
    if arguments.dry_run {
        print(&what_is_left(&arguments, &rows, &results))?;
        return Ok(true);
    }
    let scratch =
        arguments.scratch.clone().ok_or("give the folder of unfinished runs with --scratch")?;
    let machine = machine(&arguments, &rows, scratch, here)?;
    let (machine, _lock) = prepared(&machine)?;
    if arguments.times {
        return measure(&machine, &rows, times::ROUNDS, &mut results);
    }
    train(&machine, &rows, &mut results)
}

/// Locks the folder of unfinished runs, which only one process at a time may use, until the file is dropped, and
/// copies the program, so that a build during the runs does not affect them.
fn prepared(machine: &Machine) -> Result<(Machine, File)> {
    let scratch = &machine.scratch.folder;
    fs::create_dir_all(scratch)?;
    let lock = File::create(scratch.join(".lock"))?;
    let in_use = || {
        format!("another table1 process is using {}; wait for it, or stop it", scratch.display())
    };
    lock.try_lock().map_err(|_| in_use())?;
    let copied = scratch.join("parareal");
    fs::copy(&machine.parareal, &copied)
        .map_err(|error| format!("{}: {error}", machine.parareal.display()))?;
    Ok((Machine { parareal: copied, ..machine.clone() }, lock))
}

/// Measures the times of all networks. Returns false if it was interrupted.
fn measure(machine: &Machine, rows: &[Row], rounds: usize, results: &mut Results) -> Result<bool> {
    let stop = stopped_by_signals()?;
    let times = Times::measure(machine, rows, rounds, &stop)?;
    let Some(times) = times else { return Ok(false) };
    let counted: Vec<_> = rows.iter().map(|row| results.of(row).len()).collect();
    results.set_times(times)?;
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

/// Returns a flag that is set when the process is asked to stop.
fn stopped_by_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGINT, consts::SIGTERM] {
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
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
fn rehearse(arguments: &Arguments, rows: &[Row], place: &Place) -> Result<bool> {
    let name = format!("table1-rehearsal-{}", arguments.study().name());
    let folder = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let place = place.rehearsal(&folder);
    let marks = arguments.study().marks();
    fs::write(&place.readme, format!("{}\n{}\n", marks.begin, marks.end))?;
    let mut results = Results::read(&place.results)?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let machine = machine(arguments, rows, folder.join("scratch"), here)?;
    let (machine, _lock) = prepared(&machine)?;
    let done = (arguments.study() != Study::Small || measure(&machine, rows, 1, &mut results)?)
        && train(&machine, rows, &mut results)?;
    place.write(rows, &results)?;
    let results = Results::read(&place.results)?;
    place.check(rows, &results)?;
    print(&format!("{}\n", place.markdown(rows, &results)?))?;
    note(&format!("rehearsal in {}", folder.display()));
    Ok(done)
}

/// Returns the arguments of `parareal train` that do not affect the result.
fn machine_arguments(arguments: &Arguments) -> Vec<String> {
    let default = (!arguments.full).then_some(1);
    let mut list = Vec::new();
    let flags = [("--workers", arguments.workers), ("--threads", arguments.threads)];
    for (name, value) in flags {
        if let Some(value) = value.or(default) {
            list.extend([name.to_string(), value.to_string()]);
        }
    }
    for device in &arguments.device {
        list.extend(["--device".to_string(), device.clone()]);
    }
    list
}

fn jobs(arguments: &Arguments) -> usize {
    arguments.jobs.unwrap_or(if arguments.full { 1 } else { 2 }).max(1)
}

fn machine(arguments: &Arguments, rows: &[Row], scratch: PathBuf, here: &Path) -> Result<Machine> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| here.join("../../target"));
    let program = target.join("release").join(format!("parareal{}", std::env::consts::EXE_SUFFIX));
    let parareal = arguments.parareal.clone().unwrap_or(program);
    if !parareal.exists() {
        let path = parareal.display();
        return Err(format!("{path} not found; build it with cargo build --release").into());
    }
    let images = counted_images(arguments, rows)?;
    let needs_files = images.iter().any(|(name, _)| *name != DatasetName::Shapes);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    });
    let root = here.join("../..").display().to_string();
    let of_tree = || output("git", &["-C", &root, "rev-parse", "--short", "HEAD"]);
    let commit = arguments.commit.clone().or_else(of_tree);
    Ok(Machine {
        parareal,
        data_dir: arguments.data_dir.clone().filter(|_| needs_files),
        scratch: Scratch { folder: scratch },
        jobs: jobs(arguments),
        arguments: machine_arguments(arguments),
        shared: arguments.shared,
        cpu: cpu.unwrap_or_else(|| "an unknown processor".into()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        commit: commit.unwrap_or_else(|| "unknown".into()),
        images,
    })
}

/// Returns the numbers of training and test images of the data sets of some rows.
///
/// # Errors
/// If a data set cannot be read, or the paper's table has only a part of it.
fn counted_images(arguments: &Arguments, rows: &[Row]) -> Result<Vec<(DatasetName, [usize; 2])>> {
    let mut images: Vec<(DatasetName, [usize; 2])> = Vec::new();
    for row in rows {
        if images.iter().any(|(name, _)| *name == row.dataset) {
            continue;
        }
        let found = match row.dataset {
            DatasetName::Shapes if arguments.rehearse => REHEARSED_IMAGES,
            name => {
                let folder = arguments.data_dir.as_deref();
                if name != DatasetName::Shapes && folder.is_none() {
                    return Err("give the folder of the data sets with --data-dir".into());
                }
                let found = inspect(name, folder)?;
                [found.train.images, found.test.map_or(0, |test| test.images)]
            }
        };
        if arguments.full && row.dataset != DatasetName::Shapes {
            paper::check_complete(row.dataset, found)?;
        }
        images.push((row.dataset, found));
    }
    Ok(images)
}

/// Returns the remaining runs with their commands and guessed times.
fn what_is_left(arguments: &Arguments, rows: &[Row], results: &Results) -> String {
    let (jobs, further) = (jobs(arguments), machine_arguments(arguments));
    let left = queue::pending(rows, results);
    let is_paper = rows.iter().any(|row| matches!(row.training, Training::Paper));
    let guess = |seconds: f64| {
        let before = if is_paper { "the paper's N = 1 would take" } else { "about" };
        format!("{before} {}", table::duration(seconds))
    };
    let mut text = String::new();
    for run in &left {
        let Pending { row, seed, epochs, seconds } = run;
        let time = guess(*seconds);
        let command = match epochs {
            Some(epochs) => command(row, *seed, *epochs, &further),
            None => "(the number of epochs follows from --times)".into(),
        };
        text += &format!("{}, {}, seed {seed}: {time}\n  {command}\n", row.group, row.title);
    }
    let seconds: f64 = left.iter().map(|run| run.seconds).sum();
    text += &format!(
        "{} left: {}, {jobs} at a time\n",
        count(left.len(), "run"),
        guess(seconds / jobs as f64),
    );
    text
}

/// Prints a text on standard output, unless its reader has gone.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_built_in_images_are_counted_except_in_a_rehearsal() {
        let rows = study::rates(false).unwrap();
        let built_in: Vec<_> =
            rows.into_iter().filter(|row| row.dataset == DatasetName::Shapes).collect();
        for (flags, expected) in [(&["--rates"][..], [6_000, 1_000]), (&["--rehearse"], [32, 20])] {
            let arguments = Arguments::parse_from([&["table1"], flags].concat());
            let images = counted_images(&arguments, &built_in).unwrap();
            assert_eq!(images, [(DatasetName::Shapes, expected)]);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_flag_selects_the_study() {
        let study = |flags: &[&str]| {
            let line = std::iter::once("table1").chain(flags.iter().copied());
            Arguments::try_parse_from(line).map(|arguments| arguments.study()).ok()
        };
        assert_eq!(study(&[]), Some(Study::Small));
        assert_eq!(study(&["--full"]), Some(Study::Full));
        assert_eq!(study(&["--screening", "--check"]), Some(Study::Screening));
        assert_eq!(study(&["--rates", "--write"]), Some(Study::Rates));
        assert_eq!(study(&["--initialization", "--rehearse"]), Some(Study::Initialization));
        assert_eq!(study(&["--screening", "--rates"]), None);
        assert_eq!(study(&["--initialization", "--rates"]), None);
        assert_eq!(study(&["--rows", "cifar10-29-n1", "--seeds", "2"]), Some(Study::Small));
        assert_eq!(study(&["--initialization", "--seeds", "2"]), None);
        assert_eq!(study(&["--full", "--seeds", "1,2", "--check"]), Some(Study::Full));
    }

    #[test]
    fn the_full_table_has_the_given_seeds() {
        let rows = |line: &str| {
            let line = std::iter::once("table1").chain(line.split_whitespace());
            Arguments::try_parse_from(line).unwrap().rows().unwrap()
        };
        assert!(rows("--full --seeds 2,5 --write").iter().all(|row| row.seeds == [2, 5]));
        assert!(rows("--full --write").iter().all(|row| row.seeds == [1]));
        let arguments = Arguments::try_parse_from(["table1", "--seeds", "2", "--write"]).unwrap();
        assert!(run(arguments).unwrap_err().to_string().starts_with("--seeds: "));
    }

    #[test]
    fn rows_and_seeds_are_selected() {
        let selected = |line: &str| {
            let line = std::iter::once("table1").chain(line.split_whitespace());
            let arguments = Arguments::try_parse_from(line).unwrap();
            let rows = arguments.selected(&arguments.rows().unwrap());
            let runs =
                |row: &Row| row.seeds.iter().map(|seed| format!("{} {seed}", row.id)).collect();
            rows.map(|rows| {
                rows.iter().flat_map(runs as fn(&Row) -> Vec<String>).collect::<Vec<_>>()
            })
            .map_err(|error| error.to_string())
        };
        assert_eq!(
            selected("--rows mnist-20-n1,cifar10-29-n1 --seeds 2,3").unwrap(),
            ["cifar10-29-n1 2", "cifar10-29-n1 3", "mnist-20-n1 2", "mnist-20-n1 3"]
        );
        let all: usize = study::small(false).unwrap().iter().map(|row| row.seeds.len()).sum();
        assert_eq!(selected("").unwrap().len(), all);
        let error = selected("--rows cifar10").unwrap_err();
        assert!(error.starts_with("--rows cifar10: expected some of cifar10-29-n1, "), "{error}");
        let error = selected("--rows mnist-20-n1 --seeds 9").unwrap_err();
        assert_eq!(error, "--seeds 9: no row has this seed");
    }
}
