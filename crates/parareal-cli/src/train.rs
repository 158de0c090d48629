//! `parareal train`.

use std::path::PathBuf;

use parareal_train::{Config, EpochRecord, Observer, Outcome, Run, Settings, StepRecord, Team};

use crate::arguments::Train;
use crate::failure::Failure;
use crate::output::{amount, count, duration, note, percent, result, table};
use crate::progress::Progress;
use crate::{Ending, interrupt, plan as show, ranks};

pub(crate) fn run(mut arguments: Box<Train>) -> Result<Ending, Failure> {
    let (file, output, json) = (arguments.config.take(), arguments.output.take(), arguments.json);
    let resumed = output.clone().filter(|_| arguments.resume);
    let flags = arguments.settings();
    let team = ranks::team(&flags, file.as_deref(), resumed.as_deref())?;
    ranks::together(&team, || {
        let file = file.as_deref().map(Settings::read).transpose();
        let settings = flags.or(team.agree(file)?.unwrap_or_default());
        train(&team, settings, resumed, output, json)
    })
}

fn train(
    team: &Team,
    settings: Settings,
    resumed: Option<PathBuf>,
    output: Option<PathBuf>,
    json: bool,
) -> Result<Ending, Failure> {
    let stop: Box<dyn Fn() -> bool + Sync> = match team.is_ranks() {
        true => Box::new(interrupt::watch_as_rank()),
        false => Box::new(interrupt::watch("behind this step")),
    };
    if team.leads() && settings.cuts.as_deref() == Some("balanced") {
        note("measures what the parts cost here, to balance the cuts");
    }
    let run = match resumed {
        Some(folder) => Run::resume(team, &folder, settings)?,
        None => Run::prepare(team, Config::resolve_with(team, settings)?, output)?,
    };
    if !team.leads() {
        let outcome = run.train(&mut Silent, &*stop)?;
        return Ok(ending(&outcome));
    }
    introduce(team, &run);
    let mut progress = Progress::new(&run);
    let outcome = run.train(&mut progress, &*stop);
    progress.end();
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

/// Of a rank that another one speaks for.
struct Silent;

impl Observer for Silent {
    fn on_step(&mut self, _: &StepRecord) {}

    fn on_epoch(&mut self, _: &EpochRecord) {}
}

/// Says what is about to be trained.
fn introduce(team: &Team, run: &Run) {
    let (config, summary) = (run.config(), run.summary());
    let units: Vec<String> = summary.units.iter().map(ToString::to_string).collect();
    let parameters = &summary.parameters;
    note(&format!(
        "{}: {} of {} units, {} parameters ({} before cutting)",
        summary.network,
        show::pieces(summary),
        units.join(" + "),
        amount(parameters.total),
        amount(parameters.original),
    ));
    if config.network.is_balanced() {
        let cuts: Vec<String> = summary.cuts.iter().map(ToString::to_string).collect();
        note(&format!(
            "cut behind {} where the predicted step is shortest, by what parts take here with {} a \
             step; config.toml keeps these cuts",
            cuts.join(","),
            count(config.batch_size, "image"),
        ));
    }
    if summary.subnetworks > 1 {
        note(&show::coarse(&config.network));
    }
    let devices: Vec<String> = config.devices.iter().map(ToString::to_string).collect();
    note(&format!(
        "executor {}: {}{} of {} on {}{}",
        config.executor,
        match (team.is_ranks(), config.replicas) {
            (true, 1) => format!("{}, each ", count(team.size(), "rank")),
            (true, copies) =>
                format!("{} for {copies} replicas, each ", count(team.size(), "rank")),
            (false, 1) => String::new(),
            (false, copies) => format!("{copies} replicas, each "),
        },
        count(config.workers, "worker"),
        count(config.threads, "thread"),
        devices.join(", "),
        config.kept_units().map_or(String::new(), |units| {
            format!(", one state kept for {}", count(units, "unit"))
        }),
    ));
    let (train, test) = run.images();
    note(&format!(
        "{}: {train} training images, {test} test images; {} of {}",
        config.dataset,
        count(config.epochs, "epoch"),
        count(run.steps_per_epoch(), "step"),
    ));
    note(&format!("output {}", run.output().display()));
    match run.finished_epochs() {
        Some(epochs) => note(&format!(
            "nothing is left to do: the run had ended after {} ({}); --epochs with a larger number \
             continues it",
            count(epochs, "epoch"),
            count(run.steps_done(), "step"),
        )),
        None if run.steps_done() > 0 => {
            note(&format!("goes on behind step {}", run.steps_done()));
        }
        None => {}
    }
    run.notes().iter().for_each(|remark| note(&format!("note: {remark}")));
}

/// Says what came of it.
fn conclude(outcome: &Outcome) {
    if outcome.interrupted {
        let step = outcome.steps;
        let folder = outcome.output.display();
        let launcher = match outcome.traffic.len() {
            0 => String::new(),
            ranks => format!("mpirun -n {ranks} "),
        };
        note(&format!(
            "stopped behind step {step}; `{launcher}parareal train --resume --output {folder}` goes on"
        ));
    }
    let mut told = Vec::new();
    match (outcome.test_error, outcome.train_error) {
        (Some(test), _) => told.push(format!("test error {}", percent(test))),
        (None, Some(train)) => told.push(format!("training error {}", percent(train))),
        (None, None) => {}
    }
    if let Some(seconds) = outcome.seconds_per_epoch {
        told.push(format!("{} an epoch", duration(seconds)));
    }
    told.push(format!("{} in all", duration(outcome.seconds)));
    note(&told.join(", "));
    if !outcome.subnetworks.is_empty() {
        let mut rows =
            vec![["subnetwork", "computing", "coarse chain", "waiting"].map(String::from).to_vec()];
        for (index, usage) in outcome.subnetworks.iter().enumerate() {
            let shares = [usage.computing, usage.coarse, usage.waiting].map(percent);
            rows.push(std::iter::once((index + 1).to_string()).chain(shares).collect());
        }
        note(&table(&rows));
    }
    if !outcome.traffic.is_empty() {
        note(&ranks::traffic(&outcome.traffic));
    }
    if outcome.out_of_patience {
        note("ended by --patience: the last epochs were no better than the best before them");
    }
    note(&format!(
        "waiting for images: {} of the steps' time",
        percent(outcome.waiting_for_images)
    ));
    outcome.notes.iter().for_each(|remark| note(&format!("note: {remark}")));
    note(&format!("weights and metrics are in {}", outcome.output.display()));
}
