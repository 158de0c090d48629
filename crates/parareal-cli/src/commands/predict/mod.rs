//! `predict`: classifies image files with the weights of a run.

pub(crate) mod images;

use std::path::Path;

use parareal_vision::{ClassProbability, Prediction, Predictor, VisionError, weight_file};
use serde_json::{Value, json};

use crate::advice;
use crate::arguments::Predict;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{note, percent, result};

pub(crate) fn run(arguments: Predict) -> Result<Ending, Failure> {
    let (run, paths) = arguments.run_and_images();
    let checkpoint = arguments.checkpoint.as_deref();
    let mut predictor = match weight_file(&run) {
        Some(_) if checkpoint.is_some() => {
            let message =
                format!("{} is one file; --checkpoint is for the folder of a run", run.display());
            return Err(Failure::Flag(message));
        }
        Some(file) => Predictor::open_file(&file)?,
        None => Predictor::open(&run, checkpoint.unwrap_or("latest").parse()?)?,
    };
    let (mut ending, mut values) = (Ending::Done, Vec::new());
    for path in &paths {
        // An invalid image or folder is reported, and the other images are still classified.
        let mut refuse = |path: &Path, failure: Failure| {
            let message = advice::message(&failure);
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
                Err(error @ VisionError::Data(_)) => values.push(refuse(image, error.into())),
                Err(error) => return Err(error.into()),
            }
        }
    }
    if arguments.json {
        result(&Value::from(values).to_string())?;
    }
    Ok(ending)
}

/// Formats a prediction as one line.
fn answers(Prediction { path, answers, .. }: &Prediction) -> String {
    let answers = answers.iter().map(|ClassProbability { name, probability, .. }| {
        format!("{name} {}", percent(*probability))
    });
    format!("{}: {}", path.display(), answers.collect::<Vec<_>>().join(", "))
}
