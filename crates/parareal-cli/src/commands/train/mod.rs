//! `train`: trains a network, or resumes a run.

mod progress;

use std::path::{Path, PathBuf};

use parareal_run::{EpochRecord, StepRecord, Usage};
use parareal_train::{ExecutorKind, Launcher, Observer, Outcome, ProcessGroup, StepTimeline};
use parareal_vision::{ClassificationRun, Config, Preparation, Settings};

use progress::Progress;

use crate::arguments::Train;
use crate::commands::loading::Loading;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{amount, count, duration, note, percent, program, result, shell_word, table};
use crate::{network_text, ranks};

pub(crate) fn run(arguments: Box<Train>) -> Result<Ending, Failure> {
    let timeline = timeline(&arguments);
    let Train { config: file, flags, output, resume, resume_or_start, timeout, json, .. } =
        *arguments;
    let flags = flags.settings;
    let mut resumed = output.clone().filter(|_| resume || resume_or_start);
    // A batch system may stop the ranks while they wait for each other.
    let signals = Signals::handle();
    let group = ranks::group(&flags, file.as_deref(), resumed.as_deref(), timeout)?;
    if !group.is_ranks() {
        signals.announce("after this step");
    }
    ranks::together(&group, || {
        ranks::check_timeout(&group, timeout)?;
        let file = file.as_deref().map(Settings::read).transpose();
        let mut settings = flags.or(group.agree(file)?.unwrap_or_default());
        let timeline = group.agree(timeline)?;
        if let (true, Some(folder)) = (resume_or_start, &resumed) {
            match ClassificationRun::exists(&group, folder)? {
                true => settings = settings.repeated(),
                false => resumed = None,
            }
        }
        train(&group, settings, resumed, output, timeline, json, &signals)
    })
}

/// Returns the request for a timeline from the flags, if any.
fn timeline(arguments: &Train) -> Result<Option<StepTimeline>, Failure> {
    let Some(path) = &arguments.timeline else {
        let flags = [
            ("--timeline-step", arguments.timeline_step.is_some()),
            ("--overwrite", arguments.overwrite),
        ];
        let flag = flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag));
        return flag.map_or(Ok(None), |flag| Err(Failure::without_timeline(flag)));
    };
    let mut timeline = StepTimeline::new(path);
    if let Some(step) = arguments.timeline_step {
        timeline = timeline.step(step);
    }
    if arguments.overwrite {
        timeline = timeline.overwrite();
    }
    Ok(Some(timeline))
}

fn train(
    group: &ProcessGroup,
    settings: Settings,
    resumed: Option<PathBuf>,
    output: Option<PathBuf>,
    timeline: Option<StepTimeline>,
    json: bool,
    signals: &Signals,
) -> Result<Ending, Failure> {
    let stop = || signals.have_asked();
    let is_new = resumed.is_none();
    let loading = Loading::default();
    let preparation: &dyn Preparation = if group.is_root() { &loading } else { &() };
    let run = match resumed {
        Some(folder) => {
            ClassificationRun::resume_with(group, &folder, settings, timeline, preparation)?
        }
        None => {
            ClassificationRun::check_output(group, output.as_deref())?;
            let config = Config::resolve_with(group, settings)?;
            StepTimeline::check(timeline.as_ref(), group, config.run.executor)?;
            if group.is_root() && config.needs_balance() {
                note("measuring the costs of the components to balance the cuts");
            }
            let config = config.balance(group)?;
            ClassificationRun::create_with(group, config, output, timeline, preparation)?
        }
    };
    if !group.is_root() {
        let outcome = run.train(&mut Silent, &stop)?;
        return Ok(ending(&outcome));
    }
    introduce(group, &run, is_new);
    let mut progress = Progress::new(run.run());
    let outcome = run.train(&mut progress, &stop);
    drop(progress);
    let outcome = outcome?;
    conclude(&outcome);
    if json {
        result(&serde_json::to_string(&outcome).expect("numbers and names are JSON"))?;
    }
    Ok(ending(&outcome))
}

fn ending(outcome: &Outcome) -> Ending {
    if outcome.interrupted { Ending::Interrupted } else { Ending::Done }
}

/// Observer of ranks other than rank 0, which print nothing.
struct Silent;

impl Observer for Silent {
    fn on_step(&mut self, _: &StepRecord) {}

    fn on_epoch(&mut self, _: &EpochRecord) {}
}

/// Prints the run that is about to start. What can only be changed in a new run is not suggested for others.
fn introduce(group: &ProcessGroup, run: &ClassificationRun, is_new: bool) {
    let (config, summary, images) = (run.config(), run.summary(), run.images());
    let run = run.run();
    if !config.placement_times.is_empty() {
        let times = config
            .placement_times
            .iter()
            .map(|time| format!("{:.1} ms with {}", 1e3 * time.step.as_secs_f64(), time.placement));
        note(&format!("times of a step: {}", times.collect::<Vec<_>>().join(", ")));
    }
    let units: Vec<String> = summary.units.iter().map(ToString::to_string).collect();
    let parameters = &summary.parameters;
    note(&format!(
        "{}: {} of {} units, {} parameters ({} before cutting)",
        summary.network,
        network_text::subnetworks(summary),
        units.join(" + "),
        amount(parameters.total),
        amount(parameters.original),
    ));
    if config.network.is_balanced() && summary.subnetworks > 1 {
        let cuts: Vec<String> = summary.cuts.iter().map(ToString::to_string).collect();
        note(&format!(
            "cuts after units {}, which give the shortest predicted step (component times measured here with a \
             batch of {}); config.toml records these cuts",
            cuts.join(","),
            count(
                config.run.batch_size.div_ceil(config.run.replicas * config.run.accumulate),
                "image"
            ),
        ));
    }
    if summary.subnetworks > 1 {
        note(&network_text::coarse(&config.network));
    }
    if is_new && let Some(warning) = network_text::coarse_warning(&config.network) {
        note(&warning);
    }
    let devices: Vec<String> = config.run.devices.iter().map(ToString::to_string).collect();
    let mut details = Vec::new();
    if let Some(units) = config.run.kept_units(&config.network.cuts) {
        details.push(format!("one state kept per {}", count(units, "unit")));
    }
    note(&format!(
        "executor {}: {}{} of {} on {}{}{}",
        config.run.executor,
        match (group.is_ranks(), config.run.replicas) {
            (true, 1) => format!("{}, each ", count(group.size(), "rank")),
            (true, copies) =>
                format!("{} for {copies} replicas, each ", count(group.size(), "rank")),
            (false, 1) => String::new(),
            (false, copies) => format!("{copies} replicas, each "),
        },
        count(config.run.workers, "worker"),
        count(config.run.threads, "thread"),
        devices.join(", "),
        details.iter().map(|detail| format!(", {detail}")).collect::<String>(),
        network_text::step_details(config),
    ));
    let (train, test) = images;
    note(&format!(
        "{}: {train} training images, {test} test images; {} of {}",
        config.dataset,
        count(config.run.epochs, "epoch"),
        count(run.steps_per_epoch(), "step"),
    ));
    if let Some(steps) = config.distill.filter(|_| run.steps_done() == 0) {
        let workers = config.run.workers.min(summary.subnetworks);
        let whose = if config.run.executor == ExecutorKind::Mpi { " of rank 0" } else { "" };
        note(&format!(
            "distilling for {} before the first training step, {} on {}{whose}",
            count(steps, "step"),
            count(summary.subnetworks - 1, "interface"),
            count(workers, "worker"),
        ));
    }
    note(&format!("output {}", run.output().display()));
    match run.finished_epochs() {
        Some(epochs) => note(&format!(
            "nothing left to do: the run has finished after {} ({}); pass a larger --epochs to continue \
             it",
            count(epochs, "epoch"),
            count(run.steps_done(), "step"),
        )),
        None if run.steps_done() > 0 => {
            note(&format!("resuming after step {}", run.steps_done()));
        }
        None => {}
    }
    run.notes().iter().for_each(|remark| note(&format!("note: {remark}")));
}

/// Prints the outcome of the run.
fn conclude(outcome: &Outcome) {
    if outcome.interrupted {
        let step = outcome.steps;
        let folder = shell_word(&outcome.output);
        let launcher = match (outcome.traffic.len(), ProcessGroup::launched()) {
            (0, _) => String::new(),
            (ranks, Some((Launcher::Slurm, _))) => format!("srun -n {ranks} "),
            (ranks, _) => format!("mpirun -n {ranks} "),
        };
        let is_distilling = step == 0;
        let place = match is_distilling {
            true => "stopped during the distillation, before the first training step; no training is lost, but \
                     the distillation will start over"
                .into(),
            false => format!("stopped after step {step}"),
        };
        note(&format!(
            "{place}; resume with `{launcher}{} train --resume --output {folder}`",
            program(),
        ));
        if is_distilling {
            return;
        }
    }
    let mut told = Vec::new();
    match (outcome.test_error, outcome.train_error) {
        (Some(test), _) => told.push(format!("test error {}", percent(test))),
        (None, Some(train)) => told.push(format!("training error {}", percent(train))),
        (None, None) => {}
    }
    if let Some(seconds) = outcome.seconds_per_epoch {
        told.push(format!("{} per epoch", duration(seconds)));
    }
    told.push(format!("{} in total", duration(outcome.seconds)));
    note(&told.join(", "));
    if !outcome.usage.subnetworks.is_empty() {
        note(&show_usage(&outcome.usage));
    }
    if !outcome.traffic.is_empty() {
        note(&ranks::traffic(&outcome.traffic));
    }
    if outcome.out_of_patience {
        note("stopped early by --patience: no improvement in the last epochs");
    }
    note(&format!(
        "waiting for images: {} of the training time",
        percent(outcome.waiting_for_data)
    ));
    outcome.notes.iter().for_each(|remark| note(&format!("note: {remark}")));
    note(&format!("weights and metrics are in {}", outcome.output.display()));
    if !outcome.interrupted {
        note(&next_steps(outcome));
    }
}

/// Returns a list of commands that a user may want to run next.
fn next_steps(outcome: &Outcome) -> String {
    let (program, run) = (program(), shell_word(&outcome.output));
    let mut page = outcome.output.clone().into_os_string();
    page.push(".html");
    let page = shell_word(Path::new(&page));
    let mut steps =
        vec![("see its curves and settings in one page", format!("report {run} --output {page}"))];
    // Without test images, a run may have no best checkpoint.
    let mut checkpoint = "";
    if outcome.test_error.is_some() {
        checkpoint = " --checkpoint best";
        steps.push(("evaluate its best checkpoint", format!("eval {run}{checkpoint}")));
    }
    steps.push(("classify images of your own", format!("predict {run} IMAGE..{checkpoint}")));
    let lines = steps.iter().map(|(aim, command)| format!("  {program} {command}    # {aim}"));
    format!("next steps\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Formats the shares of the training time as tables, by subnetwork and by worker.
fn show_usage(usage: &Usage) -> String {
    let cells = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    // Records of earlier versions do not distinguish the two kinds of waiting.
    let is_told_apart = usage.subnetworks.iter().all(|each| each.waiting_for_worker.is_some());
    let waiting: &[&str] = match is_told_apart {
        true => &["waiting for worker", "waiting for neighbors"],
        false => &["waiting"],
    };
    let mut rows = vec![cells(&[&["subnetwork", "computing", "coarse chain"], waiting].concat())];
    for (index, each) in usage.subnetworks.iter().enumerate() {
        let waiting = match (each.waiting_for_worker, each.waiting_for_neighbors) {
            (Some(worker), Some(neighbors)) if is_told_apart => vec![worker, neighbors],
            _ => vec![each.waiting],
        };
        let shares = [each.computing, each.coarse].into_iter().chain(waiting).map(percent);
        rows.push(std::iter::once((index + 1).to_string()).chain(shares).collect());
    }
    let mut text = format!("shares of the training time\n{}", table(&rows));
    if !usage.workers.is_empty() {
        let mut rows = vec![cells(&["worker", "subnetworks", "busy"])];
        for (index, worker) in usage.workers.iter().enumerate() {
            let own = match (worker.subnetworks.first(), worker.subnetworks.last()) {
                (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
                (first, _) => first.map_or(String::new(), ToString::to_string),
            };
            rows.push(vec![(index + 1).to_string(), own, percent(worker.busy)]);
        }
        text = format!("{text}\n{}", table(&rows));
    }
    text
}
