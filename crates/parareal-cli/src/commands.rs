//! What each command does: hand its flags to the library and show what comes back.

use parareal_train::{
    Answer, Config, NetworkConfig, Outcome, Prediction, Predictor, Recipe, Run, Settings, evaluate,
};

use crate::arguments::{Eval, Export, Plan, Predict, Report, Train};
use crate::failure::Failure;
use crate::output::{
    amount, check_free, count, duration, note, percent, result, table, write_whole,
};
use crate::progress::Progress;
use crate::{Ending, interrupt, plan as show};

pub(crate) fn train(mut arguments: Box<Train>) -> Result<Ending, Failure> {
    let (file, output, json) = (arguments.config.take(), arguments.output.take(), arguments.json);
    let file = file.map(|path| Settings::read(&path)).transpose()?.unwrap_or_default();
    let resumed = output.clone().filter(|_| arguments.resume);
    let settings = arguments.settings().or(file);
    let stop = interrupt::watch("behind this step");
    let run = match resumed {
        Some(folder) => Run::resume(&folder, settings)?,
        None => Run::prepare(Config::resolve(settings)?, output)?,
    };
    introduce(&run);

    let mut progress = Progress::new(&run);
    let outcome = run.train(&mut progress, &stop);
    progress.end();
    let outcome = outcome?;
    conclude(&outcome);
    if json {
        result(&serde_json::to_string(&outcome).expect("numbers and names are JSON"))?;
    }
    Ok(if outcome.interrupted { Ending::Interrupted } else { Ending::Done })
}

pub(crate) fn eval(arguments: Eval) -> Result<Ending, Failure> {
    let (run, json) = (arguments.run.clone(), arguments.json);
    let which = arguments.checkpoint.parse()?;
    let evaluation = evaluate(&run, which, arguments.settings())?;
    evaluation.notes.iter().for_each(|remark| note(&format!("note: {remark}")));
    if json {
        result(&serde_json::to_string(&evaluation).expect("numbers and names are JSON"))?;
    } else {
        result(&format!(
            "epoch {}, step {}: test loss {:.4}, test error {} ({} of {} images wrong), top-5 {}",
            evaluation.epoch,
            evaluation.step,
            evaluation.test_loss,
            percent(evaluation.test_error),
            evaluation.wrong,
            evaluation.images,
            percent(evaluation.test_top5_error),
        ))?;
    }
    Ok(Ending::Done)
}

pub(crate) fn predict(arguments: Predict) -> Result<Ending, Failure> {
    let mut predictor = Predictor::open(&arguments.run, arguments.checkpoint.parse()?)?;
    let predictions = arguments.images.iter().map(|path| predictor.predict(path));
    let predictions = predictions.collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        result(&serde_json::to_string(&predictions).expect("numbers and names are JSON"))?;
        return Ok(Ending::Done);
    }
    for Prediction { path, answers } in predictions {
        let answers = answers
            .iter()
            .map(|Answer { name, probability, .. }| format!("{name} {}", percent(*probability)));
        result(&format!("{}: {}", path.display(), answers.collect::<Vec<_>>().join(", ")))?;
    }
    Ok(Ending::Done)
}

pub(crate) fn export(arguments: Export) -> Result<Ending, Failure> {
    let which = arguments.checkpoint.parse()?;
    let exported = parareal_train::export(&arguments.run, which, &arguments.output)?;
    if arguments.json {
        result(&serde_json::to_string(&exported).expect("numbers and names are JSON"))?;
    } else {
        note(&format!(
            "{}: {} of step {}, {}B",
            exported.path.display(),
            count(exported.tensors, "tensor"),
            exported.step,
            amount(exported.bytes),
        ));
    }
    Ok(Ending::Done)
}

pub(crate) fn report(arguments: &Report) -> Result<Ending, Failure> {
    let Report { runs, output, overwrite } = arguments;
    check_free(output, *overwrite)?;
    write_whole(output, &parareal_report::render(runs)?)?;
    note(&format!("{} shows {}", output.display(), count(runs.len(), "run")));
    Ok(Ending::Done)
}

pub(crate) fn plan(arguments: &Plan) -> Result<Ending, Failure> {
    let mut network = NetworkConfig::resolve(&arguments.settings(), Recipe::default())?;
    // Refuses what cannot be before anything is measured.
    network.summary(3, arguments.classes)?;
    let step = arguments.step(&network)?;
    if let Some(step) = &step {
        network = step.planned.network.clone();
    }
    let summary = network.summary(3, arguments.classes)?;
    if arguments.json {
        let mut value = show::as_json(&network, &summary);
        if let Some(step) = &step {
            value["predicted"] = step.as_json();
        }
        result(&value.to_string())?;
    } else {
        let mut text = show::as_text(&network, &summary);
        if let Some(step) = &step {
            text = format!("{text}\n\n{}", step.as_text());
        }
        result(&text)?;
    }
    Ok(Ending::Done)
}

/// Says what is about to be trained.
fn introduce(run: &Run) {
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
    if summary.subnetworks > 1 {
        note(&show::coarse(&config.network));
    }
    let devices: Vec<String> = config.devices.iter().map(ToString::to_string).collect();
    note(&format!(
        "executor {}: {} of {} on {}{}",
        config.executor,
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
    if run.steps_done() > 0 {
        note(&format!("goes on behind step {}", run.steps_done()));
    }
    run.notes().iter().for_each(|remark| note(&format!("note: {remark}")));
}

/// Says what came of it.
fn conclude(outcome: &Outcome) {
    if outcome.interrupted {
        let step = outcome.steps;
        let folder = outcome.output.display();
        note(&format!(
            "stopped behind step {step}; `parareal train --resume --output {folder}` goes on"
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
