//! The timeline of one step of a run as a file.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parareal_run::{EpochRecord, StepRecord};
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{assert_same, sgd_trainer};

/// Returns the title of a trace, and the activities of each row with their subnetworks.
pub(crate) fn trace(path: &Path) -> (String, BTreeMap<String, Vec<(u64, String)>>) {
    let trace: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (mut title, mut names, mut rows) = (String::new(), BTreeMap::new(), BTreeMap::new());
    for event in trace["traceEvents"].as_array().unwrap() {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_string();
        let (row, name) = (event["tid"].as_u64().unwrap(), text(&event["name"]));
        match name.as_str() {
            "process_name" => title = text(&event["args"]["name"]),
            "thread_name" => {
                names.insert(row, text(&event["args"]["name"]));
            }
            "thread_sort_index" | "waiting" => {}
            _ => {
                let row: &mut Vec<_> = rows.entry(names[&row].clone()).or_default();
                row.push((event["args"]["subnetwork"].as_u64().unwrap(), name));
            }
        }
    }
    (title, rows)
}

/// Asserts that a row has the forward pass, the backward pass and the update of each of these subnetworks.
#[track_caller]
pub(crate) fn assert_works(row: &[(u64, String)], subnetworks: &[u64]) {
    for &subnetwork in subnetworks {
        for activity in ["fine, forward", "fine, backward", "update"] {
            assert!(row.contains(&(subnetwork, activity.into())), "{subnetwork}, {activity}");
        }
    }
    assert!(row.iter().all(|(subnetwork, _)| subnetworks.contains(subnetwork)), "{row:?}");
}

/// Observer that records timelines, notes and the last step.
#[derive(Default)]
struct Told {
    step: Cell<usize>,
    timelines: Vec<(usize, PathBuf)>,
    notes: Vec<String>,
}

struct Listener<'a>(&'a Cell<usize>, &'a mut Vec<(usize, PathBuf)>, &'a mut Vec<String>);

impl Observer for Listener<'_> {
    fn on_step(&mut self, record: &StepRecord) {
        self.0.set(record.step);
    }

    fn on_epoch(&mut self, _: &EpochRecord) {}

    fn on_timeline(&mut self, step: usize, path: &Path) {
        assert_eq!(step, self.0.get(), "it is written at once");
        self.1.push((step, path.into()));
    }

    fn on_note(&mut self, note: &str) {
        self.2.push(note.into());
    }
}

/// Trains, or resumes, and stops after a step.
fn train(
    trainer: &Trainer<impl Coarsen<Output = Tensor<2>>, CrossEntropy>,
    run: &Path,
    stop: usize,
) -> (Told, Outcome) {
    let mut told = Told::default();
    let mut listener = Listener(&told.step, &mut told.timelines, &mut told.notes);
    let stop = || told.step.get() >= stop;
    let outcome = match run.exists() {
        true => trainer.resume_with(run, &mut listener, &stop),
        false => trainer.train_with(run, &mut listener, &stop),
    };
    let outcome = outcome.unwrap();
    (told, outcome)
}

#[test]
fn a_run_writes_the_timeline_of_its_tenth_step_and_trains_as_without_it() {
    let folder = tempdir().unwrap();
    let [with, without, file] = ["with", "without", "step.json"].map(|it| folder.path().join(it));
    let (told, outcome) =
        train(&sgd_trainer().timeline(StepTimeline::new(&file)), &with, usize::MAX);
    assert_eq!((told.timelines, outcome.steps), (vec![(10, file.clone())], 20));
    let (title, rows) = trace(&file);
    assert_eq!(title, "network of 6 units, N = 3, executor threads, 2 workers, step 10");
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["device 1", "device 2"]);
    assert_works(&rows["device 1"], &[1, 2]);
    assert_works(&rows["device 2"], &[3]);
    assert!(rows["device 2"].contains(&(3, "h and loss".into())));

    sgd_trainer().train(&without).unwrap();
    assert_same(&with, &without);
    let config = |run: &Path| fs::read_to_string(run.join("config.toml")).unwrap();
    assert_eq!(config(&with), config(&without));
}

#[test]
fn replicas_have_their_own_workers_and_a_short_run_shows_its_last_step() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("step.json");
    let trainer = sgd_trainer().epochs(1).replicas(2).timeline(StepTimeline::new(&file));
    let (told, _) = train(&trainer, &folder.path().join("run"), usize::MAX);
    assert_eq!(told.timelines, [(5, file.clone())]);
    let (title, rows) = trace(&file);
    assert_eq!(
        title,
        "network of 6 units, N = 3, executor threads, 2 replicas of 2 workers, step 5"
    );
    for (device, subnetworks) in [(1, &[1, 2][..]), (2, &[3]), (3, &[1, 2]), (4, &[3])] {
        assert_works(&rows[&format!("device {device}")], subnetworks);
    }
}

#[test]
fn the_step_is_counted_over_the_whole_run() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = path("run");
    // If the run is stopped before its tenth step, the timeline shows the last step.
    let (told, outcome) = train(&sgd_trainer().timeline(StepTimeline::new(path("a.svg"))), &run, 3);
    assert_eq!((told.timelines, outcome.steps), (vec![(3, path("a.svg"))], 3));
    assert!(outcome.interrupted);
    assert!(fs::read_to_string(path("a.svg")).unwrap().contains("2 workers, step 3\""));

    // If the run is stopped before the selected step, no timeline is written.
    let chosen = |step| sgd_trainer().timeline(StepTimeline::new(path("b.svg")).step(step));
    let (told, outcome) = train(&chosen(12), &run, 4);
    let note = "no timeline was written: the run ended after step 4, before step 12";
    assert_eq!((told.timelines, told.notes.last().unwrap().as_str()), (vec![], note));
    assert_eq!(outcome.notes, [note]);
    assert!(!path("b.svg").exists());

    let refused = |step| chosen(step).resume(&run).unwrap_err().to_string();
    let expected =
        "invalid value `4` for timeline-step: expected a step from 5 to 20; 4 are already trained";
    assert_eq!(refused(4), expected);
    assert!(
        refused(21)
            .starts_with("invalid value `21` for timeline-step: expected a step from 5 to 20")
    );
    let (told, _) = train(&chosen(5), &run, 5);
    assert_eq!(told.timelines, [(5, path("b.svg"))]);

    // The tenth step of this process.
    let typical = |name: &str| sgd_trainer().timeline(StepTimeline::new(path(name)));
    let (told, outcome) = train(&typical("c.svg"), &run, usize::MAX);
    assert_eq!((told.timelines, outcome.steps), (vec![(15, path("c.svg"))], 20));

    let (told, outcome) = train(&typical("d.svg"), &run, usize::MAX);
    let note = "no timeline was written: the run has no steps left";
    assert_eq!((told.timelines, outcome.notes), (vec![], vec![note.to_string()]));
    let expected =
        "invalid value `20` for timeline-step: all 20 steps of the run are already trained";
    assert_eq!(
        refused(20),
        "b.svg already exists".replace("b.svg", path("b.svg").to_str().unwrap())
    );
    let overwriting = StepTimeline::new(path("b.svg")).step(20).overwrite();
    let error = sgd_trainer().timeline(overwriting).resume(&run).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

/// Creates a file at the path of the timeline in each step.
struct InTheWay<'a>(&'a Path);

impl Observer for InTheWay<'_> {
    fn on_step(&mut self, _: &StepRecord) {
        fs::write(self.0, "mine").unwrap();
    }
}

#[test]
fn a_timeline_that_cannot_be_written_does_not_end_the_run() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("step.svg");
    let trainer = || sgd_trainer().epochs(1).timeline(StepTimeline::new(&file));
    let run = folder.path().join("run");
    let outcome = trainer().train_with(&run, &mut InTheWay(&file), &|| false).unwrap();
    assert_eq!(outcome.steps, 5);
    let note = format!("the timeline was not written: {} already exists", file.display());
    assert_eq!(outcome.notes, [note]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");

    let other = folder.path().join("other");
    let error = trainer().train(&other).unwrap_err();
    assert!(matches!(error, TrainError::FileExists { .. }), "{error}");
    assert!(!other.exists());
    let overwriting = StepTimeline::new(&file).overwrite();
    sgd_trainer().epochs(1).timeline(overwriting).train(&other).unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("<svg"));
}
