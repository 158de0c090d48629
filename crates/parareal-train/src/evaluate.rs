//! How good a network is on images that it was not trained on.

use std::path::{Path, PathBuf};

use parareal_data::{Batches, Dataset, ImageSet, Normalization};
use serde::Serialize;

use crate::ahead::ahead;
use crate::details::Details;
use crate::executor::AnyExecutor;
use crate::scores::{Judgement, Scores, tensors};
use crate::{Config, Place, Settings, TrainError, Which, checkpoint, folder};

/// Images that are judged at once.
const BATCH: usize = 128;

/// Says whether to stop.
pub(crate) type Stop<'a> = &'a dyn Fn() -> Result<bool, TrainError>;

/// What the weights of a run make of the test images.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The epoch behind which the weights were saved, from 1.
    pub epoch: usize,
    /// The step behind which they were saved, from 1.
    pub step: usize,
    /// The mean loss.
    pub test_loss: f64,
    /// The share of wrong answers.
    pub test_error: f64,
    /// The share of images whose class is not among the five most likely ones.
    pub test_top5_error: f64,
    /// Images with a wrong answer.
    pub wrong: usize,
    /// All images.
    pub images: usize,
    /// The file with the confusion matrix and the most confident mistakes; `None` where it was not
    /// written.
    #[serde(serialize_with = "folder::optional_path_as_text")]
    pub details: Option<PathBuf>,
    /// What a person should know: why the details were not saved, say.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// Judges saved weights in the folder of a run by its test images. Which classes were taken for
/// which, and the most confident mistakes, go into `evaluations/step-NNNNNNNN.json` there, named after
/// the checkpoint, unless other images than the run's own were asked for. Normalization and class
/// numbers are always the run's. `changes` says where these images are now, or how many of them to
/// take, where that is not as it was.
///
/// # Errors
/// [`TrainError`] where the folder holds no run, its weights are damaged or give scores that are not
/// finite, there are no images, or they have classes that the run does not have.
pub fn evaluate(run: &Path, which: Which, changes: Settings) -> Result<Evaluation, TrainError> {
    let own = changes == Settings::default();
    let config = Config::resolve(changes.or(folder::read_config(run)?), &Place::alone())?;
    let saved = checkpoint::open(run, which)?;
    let position = saved.position;
    let dataset = Dataset::load(config.dataset, &config.load)?;
    let changed = own && dataset.fingerprint() != saved.images.fingerprint;
    let own = own && !changed;
    let dataset = saved.images.adapt(dataset)?;
    let no_images = || {
        let expected = "there are no test images to judge by: set it to at least 1";
        TrainError::setting("limit-test", "0", expected)
    };
    let test = dataset.test.as_ref().ok_or_else(no_images)?;
    let mut executor = config.trained(run, &saved.judged(), test.channels(), test.classes())?;
    let judged = judge(&mut executor, test, &dataset.normalization, &|| Ok(false))?;
    let (judged, details) = judged.expect("nothing told it to stop");
    if !judged.finite {
        let path = checkpoint::path_of(run, position.step);
        return Err(TrainError::ScoresNotFinite { path });
    }
    let tally = judged.first;
    let test_error = tally.error().ok_or_else(no_images)?;
    let mut evaluation = Evaluation {
        epoch: position.epoch,
        step: position.step,
        test_loss: tally.loss().ok_or_else(no_images)?,
        test_error,
        test_top5_error: judged.top5_error().ok_or_else(no_images)?,
        wrong: tally.wrong,
        images: tally.images,
        details: None,
        // The run has told its own.
        notes: if own { Vec::new() } else { dataset.notes.clone() },
    };
    if changed {
        let note =
            "the images are not those that the run was trained with: the details are not saved";
        evaluation.notes.push(note.into());
    }
    if own {
        match details.save(run, position, test_error, &dataset) {
            Ok(path) => evaluation.details = path,
            Err(error) => evaluation.notes.push(format!("the details are not saved: {error}")),
        }
    }
    Ok(evaluation)
}

/// Judges all images of a set, with what else there is to say of them; `None` where it was told to
/// stop.
pub(crate) fn judge(
    executor: &mut AnyExecutor,
    set: &ImageSet,
    normalization: &Normalization,
    stop: Stop<'_>,
) -> Result<Option<(Judgement, Details)>, TrainError> {
    let (mut judged, mut details) = (Judgement::default(), Details::new(set.classes()));
    let see = |scores: &Scores, labels: &[u8]| {
        judged.add(scores, labels);
        details.add(scores, labels);
    };
    let complete = answer(executor, set, normalization, stop, see)?;
    Ok(complete.then_some((judged, details)))
}

/// Shows the scores of all images of a set, batch by batch; false where it was told to stop.
fn answer(
    executor: &mut AnyExecutor,
    set: &ImageSet,
    normalization: &Normalization,
    stop: Stop<'_>,
    mut see: impl FnMut(&Scores, &[u8]),
) -> Result<bool, TrainError> {
    let batches = Batches::evaluation(set, normalization, BATCH)?.map(tensors);
    ahead(batches, |batches| {
        for (images, _, labels) in batches {
            if stop()? {
                return Ok(false);
            }
            see(&Scores::read(executor.infer(images)?), &labels);
        }
        Ok(true)
    })?
}
