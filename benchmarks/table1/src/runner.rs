//! Runs `parareal train` for the remaining runs, several at a time, and stores the results.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use parareal_data::DatasetName;
use parareal_run::{Line, names};
use parareal_text::count;

use crate::Result;
use crate::conditions::Conditions;
use crate::machine::Machine;
use crate::network::{parameters, shape_of};
use crate::process::{run_to_end, today, with_low_priority};
use crate::queue::{Next, Started, next};
use crate::record::{DistillationResult, Results, RunRecord};
use crate::row::{Row, Start};
use crate::scratch::has_checkpoint;

/// Interval at which a thread without a run looks for one.
const PERIOD: Duration = Duration::from_millis(100);

/// The end of a run.
enum Ended {
    Finished(Box<RunRecord>),
    Interrupted,
}

/// State shared between the threads.
struct State<'a> {
    results: &'a mut Results,
    started: Started,
    /// Number of runs that were started.
    runs: usize,
    /// Messages of the failed runs, in order.
    failures: Vec<String>,
}

impl Machine {
    /// Trains all remaining runs, until `stop` is set. A failed run does not stop the others.
    ///
    /// Returns false if `stop` was set.
    ///
    /// # Errors
    /// If runs fail or results cannot be written. Each failure is printed when it occurs.
    pub(crate) fn run(
        &self,
        rows: &[Row],
        results: &mut Results,
        stop: &AtomicBool,
    ) -> Result<bool> {
        self.scratch.tidy(rows, results)?;
        let state = State { results, started: Started::default(), runs: 0, failures: Vec::new() };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        thread::scope(|scope| {
            for _ in 0..self.conditions.runs_at_a_time {
                scope.spawn(|| self.work(rows, &state, &changed, stop));
            }
        });
        let state = state.into_inner().expect("no thread panicked");
        if let Some(first) = state.failures.first() {
            let (failed, runs) = (state.failures.len(), count(state.runs, "run"));
            return Err(format!("{failed} of {runs} failed; the first: {first}").into());
        }
        Ok(!stop.load(Ordering::Relaxed))
    }

    /// Trains one run after another.
    fn work(&self, rows: &[Row], state: &Mutex<State<'_>>, changed: &Condvar, stop: &AtomicBool) {
        loop {
            let (row, seed, epochs) = {
                let mut state = state.lock().expect("no thread panicked");
                loop {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match next(rows, state.results, &self.scratch, &state.started) {
                        Next::Run { row, seed, epochs, again } => {
                            state.started.begin(row, seed);
                            state.runs += 1;
                            if again {
                                crate::note(&format!(
                                    "{}: {}, seed {seed}: trained again, because other runs start \
                                     from it and its folder is missing or incomplete",
                                    row.group, row.title
                                ));
                            }
                            break (row, seed, epochs);
                        }
                        Next::Wait => {
                            let waited = changed.wait_timeout(state, PERIOD);
                            state = waited.expect("no thread panicked").0;
                        }
                        Next::Done => return,
                    }
                }
            };
            let name = format!("{}, seed {seed}", row.title);
            crate::note(&format!("{}: {name}, {epochs} epochs", row.group));
            let ended = self.train(row, seed, epochs, stop);
            let mut state = state.lock().expect("no thread panicked");
            state.started.end(row, seed);
            let done = match ended {
                Ok(Ended::Finished(record)) => {
                    crate::note(&format!(
                        "{}: {name}: {:.2} % after {:.0} s",
                        row.group,
                        100.0 * record.error,
                        record.train_seconds
                    ));
                    let stored = state.results.add(*record);
                    stored.and_then(|()| self.scratch.tidy(rows, state.results))
                }
                Ok(Ended::Interrupted) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                let message = format!("{}: {name}: {error}", row.group);
                crate::note(&message);
                state.failures.push(message);
            }
            changed.notify_all();
        }
    }

    /// Trains a run, or resumes it if it was interrupted.
    fn train(&self, row: &Row, seed: u64, epochs: usize, stop: &AtomicBool) -> Result<Ended> {
        let folder = self.scratch.run(row, seed, epochs);
        let log = self.scratch.log(row, seed, epochs);
        let source = self.scratch.source(row, seed).unwrap_or_default().display().to_string();
        let is_resumed = has_checkpoint(&folder);
        let start = if is_resumed { Start::Resumed } else { Start::New(&source) };
        let mut arguments = arguments(row.arguments_for(seed, epochs, start), &self.arguments);
        if is_resumed {
            arguments.push("--resume".into());
        } else if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        arguments.extend(["--output".into(), folder.display().to_string()]);
        if let Some(data_dir) = &self.data_dir {
            arguments.extend(["--data-dir".into(), data_dir.display().to_string()]);
        }
        fs::create_dir_all(&self.scratch.folder)?;
        let conditions = self.scratch.conditions(row, seed, epochs);
        self.conditions.clone().added_to(&conditions, is_resumed)?;
        let mut command = with_low_priority(&self.parareal);
        command.args(&arguments);
        if !run_to_end(command, &log, stop)? {
            return Ok(Ended::Interrupted);
        }
        let conditions = Conditions::read(&conditions)?;
        Ok(Ended::Finished(Box::new(self.record(row, seed, epochs, &folder, conditions)?)))
    }

    /// Returns the result of a complete run.
    fn record(
        &self,
        row: &Row,
        seed: u64,
        epochs: usize,
        folder: &Path,
        conditions: Conditions,
    ) -> Result<RunRecord> {
        let path = folder.join(names::METRICS);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let (mut errors, mut epoch_seconds) = (Vec::new(), Vec::new());
        let mut distillation = Vec::new();
        for line in text.lines() {
            match serde_json::from_str(line)? {
                Line::Epoch(epoch) => {
                    errors.push(epoch.deciding_error().ok_or("an epoch has no error")?);
                    epoch_seconds.push(epoch.seconds);
                }
                Line::Distillation(record) => distillation.push(record),
                _ => {}
            }
        }
        let &error = errors.last().ok_or("no epoch was trained")?;
        if errors.len() != epochs {
            return Err(format!("{} of {epochs} epochs were trained", errors.len()).into());
        }
        let ([_, test], train) = (row.used_images(), row.train_images());
        let held_out = row.held_out_images(train);
        Ok(RunRecord {
            row: row.id.clone(),
            seed,
            arguments: row.arguments(seed, epochs),
            source_arguments: row.source_arguments(seed),
            command: command(row, seed, epochs, &self.arguments),
            train_images: train - held_out,
            evaluated_images: if row.held_out { held_out } else { test },
            parameters: parameters(&row.network, shape_of(row.dataset)?)?.total,
            error,
            errors,
            train_seconds: epoch_seconds.iter().sum(),
            epoch_seconds,
            distillation: DistillationResult::of(&distillation),
            conditions,
            date: today(),
        })
    }
}

/// Returns arguments of `parareal` without the paths of a run. `own` are the arguments of the row; `further`
/// arguments do not affect the result.
fn arguments(own: Vec<String>, further: &[String]) -> Vec<String> {
    let mut list = vec!["train".to_string()];
    list.extend(own);
    list.extend(further.iter().cloned());
    list.extend(["--keep-checkpoints", "1", "--checkpoint-every", "5m"].map(String::from));
    list
}

/// Returns the command of a run, with the placeholders `DIR`, `RUN` and `RUN-OF-..` for folders.
pub(crate) fn command(row: &Row, seed: u64, epochs: usize, further: &[String]) -> String {
    let arguments = arguments(row.arguments(seed, epochs), further).join(" ");
    let data = if row.dataset == DatasetName::Shapes { "" } else { " --data-dir DIR" };
    format!("parareal {arguments}{data} --output RUN")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::scratch::Scratch;
    use crate::study;
    use crate::times::Measurement;

    /// A mock of `parareal`. It records its arguments, and writes a checkpoint and metrics: a distillation, a
    /// line for each epoch, and the end. It fails after the checkpoint unless there is a file `go-on` next to
    /// the folder of the run.
    const PROGRAM: &str = r#"#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
epochs=1
kind=test
while [ $# -gt 0 ]; do
    case $1 in
        --epochs) epochs=$2 ;;
        --output) run=$2 ;;
        --validation) kind=validation ;;
        --distill) distill=$2 ;;
        --init-from) [ -e "$2/metrics.jsonl" ] || exit 8 ;;
    esac
    shift
done
mkdir -p "$run/checkpoints/step-00000001"
[ -e "$run/../go-on" ] || exit 7
{
    for step in ${distill:+1 $distill}; do
        losses="[{\"preprocessing\":1.0,\"coarse\":$step.5}]"
        echo "{\"event\":\"distillation\",\"step\":$step,\"steps\":$distill,\"interfaces\":$losses,\"seconds\":3.0}"
    done
    for epoch in $(seq 1 "$epochs"); do
        echo "{\"event\":\"epoch\",\"epoch\":$epoch,\"train_loss\":1.0,\"${kind}_error\":0.$epoch,\"seconds\":10.0}"
    done
    echo '{"event":"end","seconds":30.0}'
} > "$run/metrics.jsonl"
"#;

    fn machine(folder: &Path) -> Machine {
        let parareal = folder.join("parareal");
        fs::write(&parareal, PROGRAM).unwrap();
        fs::set_permissions(&parareal, fs::Permissions::from_mode(0o755)).unwrap();
        Machine {
            parareal,
            data_dir: Some("images".into()),
            scratch: Scratch { folder: folder.join("scratch") },
            arguments: vec!["--threads".into(), "1".into()],
            conditions: Conditions {
                runs_at_a_time: 2,
                shared_machine: false,
                cpu: "some processor".into(),
                cores: 2,
                commit: "0123abc".into(),
            },
        }
    }

    #[test]
    fn an_interrupted_run_is_resumed_and_a_finished_one_stored_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        let mut rows = study::small(true).unwrap();
        rows.truncate(1);
        rows[0].seeds = vec![1];
        rows[0].images = Some([4_000, 1_000]);
        let stop = AtomicBool::new(false);
        let stored = folder.path().join("results");
        let mut results = Results::read(&stored).unwrap();
        let error = machine.run(&rows, &mut results, &stop).unwrap_err().to_string();
        assert!(error.starts_with("1 of 1 run failed; the first: "), "{error}");
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(Results::read(&stored).unwrap().of(&rows[0]).is_empty());

        fs::write(machine.scratch.folder.join("go-on"), "").unwrap();
        assert!(machine.run(&rows, &mut results, &stop).unwrap());
        let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
        let calls: Vec<_> = calls.lines().collect();
        assert_eq!(calls.len(), 2);
        assert!(!calls[0].contains("--resume") && calls[1].contains("--resume"), "{calls:?}");
        assert!(
            calls[1].contains("--data-dir images") && calls[1].contains("--threads 1"),
            "{calls:?}"
        );

        let results = Results::read(&stored).unwrap();
        let record = results.get(&rows[0], 1).unwrap();
        assert_eq!((record.error, record.train_seconds), (0.2, 20.0));
        assert_eq!(record.errors, [0.1, 0.2]);
        assert_eq!((record.train_images, record.evaluated_images), (32, 1_000));
        assert_eq!(record.conditions, machine.conditions);
        let left: Vec<_> = fs::read_dir(&machine.scratch.folder)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["go-on"]);
        // Nothing is left to do.
        let mut results = results;
        assert!(machine.run(&rows, &mut results, &stop).unwrap());
        assert_eq!(fs::read_to_string(folder.path().join("calls")).unwrap().lines().count(), 2);
    }

    #[test]
    fn runs_for_the_same_wall_clock_come_after_the_measurement() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        fs::create_dir(&machine.scratch.folder).unwrap();
        fs::write(machine.scratch.folder.join("go-on"), "").unwrap();
        let rows = study::small(true).unwrap();
        let mut results = Results::read(&folder.path().join("results")).unwrap();
        let stop = AtomicBool::new(false);
        assert!(machine.run(&rows, &mut results, &stop).unwrap());
        for row in &rows {
            let expected = if row.id == "cifar10-29-n1-same-time" { 0 } else { row.seeds.len() };
            assert_eq!(results.of(row).len(), expected, "{}", row.id);
        }
        let times = Measurement::measure(&machine, &rows, 2, &stop).unwrap().unwrap();
        // 10 s for 32 images.
        assert!(times.image_seconds.values().all(|seconds| seconds[..] == [0.3125; 2]));
        results.add_times(times).unwrap();
        assert_eq!(results.image_seconds(&rows[0]), Some(0.3125));
        assert!(machine.run(&rows, &mut results, &stop).unwrap());
        for row in &rows {
            assert_eq!(results.of(row).len(), row.seeds.len(), "{}", row.id);
        }
        let same = rows.iter().find(|row| row.id == "cifar10-29-n1-same-time").unwrap();
        assert_eq!(results.epochs(same), Some(2));
        let stopped = AtomicBool::new(true);
        assert_eq!(Measurement::measure(&machine, &rows, 2, &stopped).unwrap(), None);
    }

    #[test]
    fn the_error_of_held_out_images_is_stored_with_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        fs::create_dir(&machine.scratch.folder).unwrap();
        fs::write(machine.scratch.folder.join("go-on"), "").unwrap();
        let mut rows = study::screening(true).unwrap();
        rows.truncate(1);
        let mut results = Results::read(&folder.path().join("results")).unwrap();
        assert!(machine.run(&rows, &mut results, &AtomicBool::new(false)).unwrap());
        let record = results.get(&rows[0], 1).unwrap();
        assert_eq!(record.errors, [0.1, 0.2]);
        // 15 % of 32 images.
        assert_eq!((record.train_images, record.evaluated_images), (27, 5));
    }

    #[test]
    fn no_run_is_started_after_a_signal() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        let rows = study::small(true).unwrap();
        let mut results = Results::read(&folder.path().join("results")).unwrap();
        assert!(!machine.run(&rows, &mut results, &AtomicBool::new(true)).unwrap());
        assert!(!folder.path().join("calls").exists());
    }

    #[test]
    fn a_run_starts_from_the_folder_of_another_one_that_stays_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        fs::create_dir(&machine.scratch.folder).unwrap();
        fs::write(machine.scratch.folder.join("go-on"), "").unwrap();
        let rows = study::initialization(true).unwrap();
        let mut results = Results::read(&folder.path().join("results")).unwrap();
        assert!(machine.run(&rows, &mut results, &AtomicBool::new(false)).unwrap());
        let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
        let source = machine.scratch.source(&rows[2], 1).unwrap();
        let expected = format!(" --init-from {} --distill 2 --seed 1 ", source.display());
        assert_eq!(calls.lines().filter(|call| call.contains(&expected)).count(), 1, "{calls}");
        assert_eq!(calls.lines().count(), rows.len());
        let left: Vec<_> = fs::read_dir(&machine.scratch.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["go-on"]);

        let record = results.get(&rows[2], 1).unwrap();
        assert_eq!(record.source_arguments, Some(rows[0].arguments(1, 2)));
        assert!(record.command.contains("--init-from RUN-OF-initialization-serial-29 "));
        let distillation = record.distillation.as_ref().unwrap();
        assert_eq!((distillation.steps, distillation.seconds), (2, 3.0));
        assert_eq!((distillation.first[0].coarse, distillation.last[0].coarse), (1.5, 2.5));
        assert_eq!(results.get(&rows[0], 1).unwrap().distillation, None);
        // If the result of a run is missing, the run that provides its initial weights is trained again, and
        // its folder is deleted again.
        let stored = folder.path().join("results").join(format!("{}-seed1.json", rows[2].id));
        fs::remove_file(stored).unwrap();
        let mut results = Results::read(&folder.path().join("results")).unwrap();
        assert!(machine.run(&rows, &mut results, &AtomicBool::new(false)).unwrap());
        assert!(results.get(&rows[2], 1).is_some() && !source.exists());
        let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
        assert_eq!(calls.lines().count(), rows.len() + 2);
    }
}
