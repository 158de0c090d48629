//! Evaluation pass over a set of images.

use parareal::exec::{Executor, SoftTargetCrossEntropy};
use parareal_data::{Batches, ImageSet, Normalization};
use parareal_models::ImageNetwork;
use parareal_train::prefetch;
use parareal_train::task::Stop;

use crate::VisionError;
use crate::details::Details;
use crate::image_batch::to_tensors;
use crate::scores::{Scores, Summary};

/// Number of images of 32x32 pixels in a batch. There are fewer larger ones, so that a batch takes as much memory.
const BATCH: usize = 128;
/// Smallest number of images in a batch.
const LEAST: usize = 8;

/// Evaluates all images of a set. Returns `None` if `stop` returned true.
pub(crate) fn evaluate_set(
    executor: &mut dyn Executor<ImageNetwork, SoftTargetCrossEntropy>,
    set: &ImageSet,
    normalization: &Normalization,
    stop: Stop<'_>,
) -> Result<Option<(Summary, Details)>, VisionError> {
    let (mut summary, mut details) = (Summary::default(), Details::new(set.classes()));
    let size = (BATCH * 32 * 32 / (set.height() * set.width())).clamp(LEAST, BATCH);
    let batches = Batches::evaluation(set, normalization, size)?;
    let batches = batches.map(|batch| batch.map(|batch| to_tensors(batch, set.classes())));
    prefetch(batches, |batches| {
        for batch in batches {
            if stop()? {
                return Ok(None);
            }
            let batch = batch?;
            let scores = Scores::read(executor.infer(batch.input)?);
            summary.add(&scores, &batch.labels);
            details.add(&scores, &batch.labels);
        }
        Ok(Some((summary, details)))
    })?
}
