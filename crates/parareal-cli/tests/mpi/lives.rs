//! A run that is started, killed and resumed repeatedly, observed through its folder and its
//! processes.

#![allow(clippy::print_stderr, reason = "what a test had to pass over")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parareal_testing::ranks::{Ended, Launcher, Running};

use crate::common::{Remains, assert_same, checkpoints, metrics, remains};
use crate::launch::{Part, send, start_with};

/// Time after which the launcher is considered to have missed the end of a rank.
const MISSED: Duration = Duration::from_secs(10);
/// Time after which a run is considered to hang, far longer than any test takes.
const DEADLINE: Duration = Duration::from_secs(180);
/// Environment variable with the folder of a run, set in all of its processes.
const MARK: &str = "PARAREAL_TEST_RUN";
/// Number of steps in an epoch of the runs of [`Lives::new`].
const STEPS: usize = 4;

/// A run that is executed by several launches in turn ("lives"), compared with an uninterrupted run.
pub(crate) struct Lives {
    folder: PathBuf,
    ranks: usize,
    arguments: Vec<String>,
    expected: Remains,
    before: Before,
}

/// Moments in a run at which a rank is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    Start,
    Step,
    Evaluation,
    Checkpoint,
}

/// Content of a run's folder at the start of a life.
#[derive(Default)]
struct Before {
    events: BTreeSet<PathBuf>,
    partial: BTreeSet<(PathBuf, u64, i64, i64)>,
}

/// The end of a life.
pub(crate) struct Death {
    pub(crate) ended: Ended,
    /// The time until all processes had ended, which is printed but not asserted.
    pub(crate) time: Duration,
    /// The moment at which the run ended, as seen from its folder.
    pub(crate) found: Moment,
    /// The step that the next life must resume from.
    pub(crate) step: usize,
}

impl Lives {
    /// Trains the uninterrupted run.
    pub(crate) fn new(folder: &Path, ranks: usize, epochs: usize, more: &[&str]) -> Self {
        let epochs = epochs.to_string();
        #[rustfmt::skip]
        let own = [
            "train",
            "--executor", "mpi",
            "--depth", "11",
            "--limit-train", "64",
            "--limit-test", "150",
            "--epochs", &epochs,
            "--batch-size", "16",
            "--learning-rate", "0.05",
            "--checkpoint-every", "2",
            "--keep-checkpoints", "2",
        ];
        let arguments = own.iter().chain(more).map(ToString::to_string).collect();
        let (folder, expected, before) =
            (folder.to_path_buf(), Remains::default(), Before::default());
        let mut this = Self { folder, ranks, arguments, expected, before };
        let ended = this.launch(&this.fresh("whole"), None).wait();
        ended.assert_done();
        this.expected = remains(&this.folder.join("whole"));
        this
    }

    fn fresh<'a>(&'a self, output: &'a str) -> Vec<&'a str> {
        self.arguments.iter().map(String::as_str).chain(["--output", output]).collect()
    }

    fn launch(&self, arguments: &[&str], script: Option<&str>) -> Running {
        self.launch_parts(&[(self.ranks, arguments)], script)
    }

    pub(crate) fn launch_parts(&self, parts: &[Part<'_>], script: Option<&str>) -> Running {
        let mark = (MARK, self.folder.to_str().unwrap());
        let mut environment = vec![mark];
        // The scripts of tests limit the size of files.
        if script.is_some() {
            environment.extend(Launcher::used().without_shared_files());
        }
        start_with(&self.folder, parts, script, &environment)
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    pub(crate) fn ranks(&self) -> usize {
        self.ranks
    }

    /// Starts or resumes the run, each rank through a shell script if one is given.
    pub(crate) fn begin(&mut self, script: Option<&str>) -> Running {
        self.begin_with(script, &[])
    }

    /// Starts or resumes the run with more flags.
    pub(crate) fn begin_with(&mut self, script: Option<&str>, more: &[&str]) -> Running {
        let run = self.run();
        // A process may have been killed after creating the folder and before writing into it.
        if run.is_dir() && !run.join("config.toml").is_file() {
            fs::remove_dir_all(&run).unwrap();
        }
        self.before = Before::of(&run);
        let arguments = match run.is_dir() {
            true => vec!["train", "--resume", "--output", "run"],
            false => self.fresh("run"),
        };
        self.launch(&[&arguments, more].concat(), script)
    }

    /// Starts or resumes the run by a command that is the same each time.
    pub(crate) fn begin_again(&mut self) -> Running {
        self.before = Before::of(&self.run());
        self.launch(&[&self.fresh("run")[..], &["--resume-or-start"]].concat(), None)
    }

    /// Returns the processes of the running ranks by rank.
    pub(crate) fn processes(&self) -> BTreeMap<usize, u32> {
        let variable = format!("{}=", Launcher::used().rank_variable());
        let number = |variables: &[String]| {
            let value = variables.iter().find_map(|v| v.strip_prefix(&variable));
            value.and_then(|value| value.parse().ok())
        };
        self.marked().into_iter().filter_map(|(id, own)| Some((number(&own)?, id))).collect()
    }

    /// Returns all running processes of the run, with their environment variables.
    fn marked(&self) -> Vec<(u32, Vec<String>)> {
        let mark = format!("{MARK}={}", self.folder.display());
        let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            // The files of a process that has ended cannot be read.
            let variables = fs::read(format!("/proc/{id}/environ")).ok()?;
            let variables = variables.split(|&byte| byte == 0);
            let variables = variables.map(|text| String::from_utf8_lossy(text).into_owned());
            let variables: Vec<String> = variables.collect();
            variables.contains(&mark).then_some((id, variables))
        });
        entries.collect()
    }

    /// Waits until the run reaches a moment. Returns false if it ends before.
    pub(crate) fn come_to(&self, moment: Moment) -> bool {
        let begun = Instant::now();
        let mut looked = begun;
        while !self.is_at(moment) {
            if looked.elapsed() > Duration::from_millis(200) {
                looked = Instant::now();
                // The launcher needs some time to start.
                if begun.elapsed() > Duration::from_secs(2) && self.marked().is_empty() {
                    return false;
                }
            }
            assert!(begun.elapsed() < DEADLINE, "there is no {moment:?} to wait for");
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn is_at(&self, moment: Moment) -> bool {
        let run = self.run();
        if moment == Moment::Start {
            return self.processes().len() == self.ranks;
        }
        if Before::events(&run).is_subset(&self.before.events) {
            return false;
        }
        match moment {
            Moment::Start => unreachable!("it was seen to above"),
            Moment::Step => count(&run, "step") > newest(&run),
            Moment::Evaluation => {
                let step = newest(&run);
                step > 0 && step.is_multiple_of(STEPS) && count(&run, "epoch") < step / STEPS
            }
            Moment::Checkpoint => !Before::partial(&run).is_subset(&self.before.partial),
        }
    }

    /// Returns the moment at which the run ended.
    fn found(&self) -> Moment {
        let moments = [Moment::Checkpoint, Moment::Evaluation, Moment::Step];
        if Before::events(&self.run()).is_subset(&self.before.events) {
            return Moment::Start;
        }
        moments.into_iter().find(|moment| self.is_at(*moment)).unwrap_or(Moment::Step)
    }

    /// Kills a rank; `None` if the launcher has not noticed.
    ///
    /// The launcher of Open MPI 4.1.4 missed a rank that was killed while connecting in about two of a
    /// hundred cases. Such a life is ended here and does not count.
    pub(crate) fn kill(&self, rank: usize, mut running: Running) -> Option<Death> {
        if let Some(process) = self.processes().get(&rank) {
            send("KILL", *process);
        }
        if self.found() == Moment::Start && !running.ends_within(MISSED) {
            eprintln!("the launcher has missed the end of rank {rank}");
            send("KILL", running.id());
            self.processes().values().for_each(|&process| send("KILL", process));
            let _ = running.wait();
            return None;
        }
        Some(self.bury(running))
    }

    /// Waits until all processes have ended.
    #[track_caller]
    pub(crate) fn bury(&self, running: Running) -> Death {
        let begun = Instant::now();
        let ended = running.wait();
        while !self.marked().is_empty() {
            assert!(begun.elapsed() < DEADLINE, "there still are {:?}", self.marked());
            std::thread::sleep(Duration::from_millis(5));
        }
        let time = begun.elapsed();
        let step = newest(&self.run());
        Death { ended, time, found: self.found(), step }
    }

    /// Resumes the run from this step until it ends, and compares it with the uninterrupted run.
    #[track_caller]
    pub(crate) fn finish(&mut self, step: usize) {
        let running = self.begin(None);
        self.assert_finishes(running, step);
    }

    /// Waits until a run that resumes from this step ends, and compares it with the uninterrupted run.
    #[track_caller]
    pub(crate) fn assert_finishes(&self, running: Running, step: usize) {
        let ended = running.wait();
        ended.assert_done();
        assert_goes_on(&ended.errors, step);
        self.assert_finished();
    }

    #[track_caller]
    pub(crate) fn assert_finished(&self) {
        let run = self.run();
        assert_same(&remains(&run), &self.expected);
        assert!(checkpoints(&run).iter().all(|name| !name.starts_with(".step")));
    }

    /// Removes the run, so that the next life starts a new one.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.run()).unwrap();
    }
}

impl Before {
    fn of(run: &Path) -> Self {
        Self { events: Self::events(run), partial: Self::partial(run) }
    }

    /// Returns the TensorBoard files, of which each life creates one before its first step.
    fn events(run: &Path) -> BTreeSet<PathBuf> {
        entries(run).into_iter().filter(|path| name(path).starts_with("events.")).collect()
    }

    /// Returns incomplete checkpoints, with their inodes and modification times.
    fn partial(run: &Path) -> BTreeSet<(PathBuf, u64, i64, i64)> {
        let entries = entries(&run.join("checkpoints")).into_iter();
        let partial = entries.filter(|path| name(path).starts_with(".step"));
        let changed = partial.filter_map(|path| {
            let data = fs::metadata(&path).ok()?;
            Some((path, data.ino(), data.mtime(), data.mtime_nsec()))
        });
        changed.collect()
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Returns the step of the newest complete checkpoint, or 0.
pub(crate) fn newest(run: &Path) -> usize {
    let entries = entries(&run.join("checkpoints"));
    let steps = entries.iter().filter_map(|path| name(path).strip_prefix("step-")?.parse().ok());
    steps.max().unwrap_or(0)
}

/// Returns the number of lines of a kind in the metrics so far.
fn count(run: &Path, event: &str) -> usize {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    text.matches(&format!("\"event\":\"{event}\"")).count()
}

/// Asserts that a life, if it prints the step that it resumes from, has resumed from this step.
#[track_caller]
pub(crate) fn assert_goes_on(errors: &str, step: usize) {
    let told = errors.lines().find_map(|line| line.strip_prefix("resuming after step "));
    assert!(told.is_none_or(|told| told == step.to_string()), "{step}: {errors}");
    let anew = errors.contains("no checkpoint was saved yet");
    assert!(!anew || step == 0, "{step}: {errors}");
}

/// Returns the numbers of steps and epochs of a run.
pub(crate) fn length(run: &Path) -> (usize, usize) {
    (metrics(run, "step").len(), metrics(run, "epoch").len())
}
