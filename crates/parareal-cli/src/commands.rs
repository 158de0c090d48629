//! What each command does: hand its flags to the library and show what comes back.

use std::path::Path;

use parareal_train::{
    Answer, Format, NetworkConfig, OutputFile, Prediction, Predictor, Recipe, TrainError, evaluate,
};
use serde_json::{Value, json};

use crate::arguments::{Eval, Export, Plan, Predict, Report};
use crate::failure::Failure;
use crate::output::{amount, count, note, percent, result};
use crate::{Ending, advice, images, plan as show};

pub(crate) fn eval(arguments: Eval) -> Result<Ending, Failure> {
    let Eval { run, checkpoint, flags, json } = arguments;
    let evaluation = evaluate(&run.into_path(), checkpoint.parse()?, flags.settings)?;
    evaluation.notes.iter().for_each(|remark| note(&format!("note: {remark}")));
    if json {
        result(&serde_json::to_string(&evaluation).expect("numbers and names are JSON"))?;
    } else {
        result(&format!(
            "epoch {}, step {}: test loss {:.4}, test error {} ({} of {} images wrong), top-5 error {}",
            evaluation.epoch,
            evaluation.step,
            evaluation.test_loss,
            percent(evaluation.test_error),
            evaluation.wrong,
            evaluation.images,
            percent(evaluation.test_top5_error),
        ))?;
    }
    if let Some(path) = &evaluation.details {
        note(&format!("the confusion matrix and the worst mistakes are in {}", path.display()));
    }
    Ok(Ending::Done)
}

pub(crate) fn predict(arguments: Predict) -> Result<Ending, Failure> {
    let (run, paths) = arguments.run_and_images();
    let mut predictor = Predictor::open(&run, arguments.checkpoint.parse()?)?;
    let (mut ending, mut values) = (Ending::Done, Vec::new());
    for path in &paths {
        // An image or folder that is of no use does not cost the answers of the others.
        let mut refuse = |path: &Path, error: Failure| {
            let message = advice::message(&error);
            note(&format!("error: {message}"));
            ending = Ending::BadInput;
            json!({ "path": path.to_string_lossy(), "error": message })
        };
        let images = match images::expand(path) {
            Ok(images) => images,
            Err(error) => {
                values.push(refuse(path, error.into()));
                continue;
            }
        };
        for image in &images {
            match predictor.predict(image) {
                Ok(prediction) if arguments.json => {
                    let value = serde_json::to_value(prediction);
                    values.push(value.expect("numbers and names are JSON"));
                }
                Ok(prediction) => result(&answers(&prediction))?,
                Err(error @ TrainError::Data(_)) => values.push(refuse(image, error.into())),
                Err(error) => return Err(error.into()),
            }
        }
    }
    if arguments.json {
        result(&Value::from(values).to_string())?;
    }
    Ok(ending)
}

/// The line that says what is in an image.
fn answers(Prediction { path, answers, .. }: &Prediction) -> String {
    let answers = answers
        .iter()
        .map(|Answer { name, probability, .. }| format!("{name} {}", percent(*probability)));
    format!("{}: {}", path.display(), answers.collect::<Vec<_>>().join(", "))
}

pub(crate) fn export(arguments: Export) -> Result<Ending, Failure> {
    let which = arguments.checkpoint.parse()?;
    let output = OutputFile::new(&arguments.output, &[Format::Safetensors], arguments.overwrite)?;
    let exported = parareal_train::export(&arguments.run.into_path(), which, &output)?;
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
    let Report { output, overwrite, .. } = arguments;
    let runs = arguments.runs();
    let file = OutputFile::new(output, &[Format::Html], *overwrite)?;
    let page = parareal_report::render(&runs)?;
    file.write(page.as_bytes())?;
    note(&format!("{} shows {}", output.display(), count(runs.len(), "run")));
    Ok(Ending::Done)
}

pub(crate) fn plan(arguments: &Plan) -> Result<Ending, Failure> {
    let mut network = NetworkConfig::resolve(&arguments.network.settings, Recipe::default())?;
    // Refuses what cannot be before anything is measured.
    network.summary(3, arguments.classes)?;
    network.net = network.net.with_classes(arguments.classes);
    let step = arguments.predict(&network)?;
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
