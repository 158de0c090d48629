//! Evaluation of a trained network on test images.

use std::path::{Path, PathBuf};

use parareal_data::{DataError, Dataset, DatasetName, LoadOptions, LoadProgress};
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::{Resources, checkpoint, folder};
use serde::Serialize;

use crate::evaluation_pass::evaluate_set;
use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::recorded::check_unedited;
use crate::{Config, Settings, VisionError};

/// Result of evaluating the weights of a run on the test images.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The epoch of the checkpoint, from 1.
    pub epoch: usize,
    /// The step of the checkpoint, from 1.
    pub step: usize,
    /// The mean loss.
    pub test_loss: f64,
    /// The fraction of images that are classified wrongly.
    pub test_error: f64,
    /// The fraction of images whose class is not among the five most likely ones.
    pub test_top5_error: f64,
    /// Number of images that are classified wrongly.
    pub wrong: usize,
    /// Number of images.
    pub images: usize,
    /// The file with the confusion matrix and the most confident mistakes; `None` if it was not written.
    #[serde(serialize_with = "folder::optional_path_as_text")]
    pub details: Option<PathBuf>,
    /// Notes for the user, such as the reason that the details were not saved.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// Evaluates the weights in a checkpoint of a run on test images.
///
/// `changes` are settings that differ from those of the run, such as the folder of the images or their
/// number. Normalization and class numbers are always those of the run. Of a folder of other images without test
/// images, all images are evaluated ([`Dataset::load_for_evaluation`]).
///
/// If `changes` is empty and the images are those of the run, the confusion matrix and the most confident
/// mistakes are saved in the folder of the run as `evaluations/step-NNNNNNNN.json`, named after the
/// checkpoint.
///
/// # Errors
/// If the folder is not the folder of a run, the weights are damaged, the scores are not finite, there are no
/// test images, or the test images do not have the classes and the size of the run's images.
pub fn evaluate(
    run: &Path,
    choice: CheckpointChoice,
    changes: Settings,
) -> Result<Evaluation, VisionError> {
    evaluate_with(run, choice, changes, &|_| {})
}

/// Evaluates weights as [`evaluate`] does. `progress` is as in [`Dataset::load_with`].
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_with(
    run: &Path,
    choice: CheckpointChoice,
    changes: Settings,
    progress: &dyn Fn(LoadProgress),
) -> Result<Evaluation, VisionError> {
    let own = changes == Settings::default();
    let recorded = Settings::of_run(run)?;
    let config = Config::resolve(changes.or(recorded.clone()), &Resources::alone())?;
    let saved = checkpoint::open(run, choice, CHECK_MANIFEST)?;
    check_unedited(run, recorded.clone(), &saved)?;
    let images = ImageRecord::of_saved(run, &saved)?;
    let position = saved.position;
    let dataset = load(&config, &recorded, &images, progress)?;
    let changed = own && dataset.fingerprint() != images.fingerprint;
    let own = own && !changed;
    let dataset = images.adapt(dataset)?;
    let no_images = || {
        let expected = "expected at least 1, because an evaluation needs test images";
        VisionError::setting("limit-test", 0, expected)
    };
    let test = dataset.test.as_ref().ok_or_else(no_images)?;
    let mut executor =
        config.evaluator(run, &saved.into_weights(), test.channels(), test.classes())?;
    let found = evaluate_set(&mut *executor, test, &dataset.normalization, &|| Ok(false))?;
    let (summary, details) = found.expect("the evaluation is not interrupted");
    if !summary.finite {
        let path = checkpoint::path_of(run, position.step);
        return Err(VisionError::ScoresNotFinite { path });
    }
    let tally = summary.first;
    let test_error = tally.error().ok_or_else(no_images)?;
    let mut evaluation = Evaluation {
        epoch: position.epoch,
        step: position.step,
        test_loss: tally.mean_loss().ok_or_else(no_images)?,
        test_error,
        test_top5_error: summary.top5_error().ok_or_else(no_images)?,
        wrong: tally.wrong.unwrap_or(0),
        images: tally.samples,
        details: None,
        // The notes on the run's own images were already reported during training.
        notes: if own { Vec::new() } else { dataset.notes.clone() },
    };
    if changed {
        let note = "the details were not saved, because the images differ from those that the run was trained on";
        evaluation.notes.push(note.into());
    }
    if own {
        match details.save(run, position, test_error, &dataset) {
            Ok(path) => evaluation.details = path,
            Err(error) => evaluation.notes.push(format!("the details were not saved: {error}")),
        }
    }
    Ok(evaluation)
}

/// Loads the images to evaluate. Images that the network was trained on are not among them.
fn load(
    config: &Config,
    recorded: &Settings,
    images: &ImageRecord,
    progress: &dyn Fn(LoadProgress),
) -> Result<Dataset, DataError> {
    let Config { dataset, load, .. } = config;
    let same_set = recorded.dataset == Some(*dataset);
    let same_place = same_set && recorded.data_dir == load.data_dir;
    // The same images in another place, or by another path, are divided as for the training.
    let is_copy = || {
        let load = LoadOptions {
            limit_train: recorded.limit_train,
            limit_test: recorded.limit_test,
            ..load.clone()
        };
        let copy = Dataset::load_with(*dataset, &load, progress);
        same_set && copy.is_ok_and(|copy| copy.fingerprint() == images.fingerprint)
    };
    if *dataset == DatasetName::Folder && !same_place && !is_copy() {
        Dataset::load_for_evaluation(*dataset, load, progress)
    } else {
        Dataset::load_with(*dataset, load, progress)
    }
}
