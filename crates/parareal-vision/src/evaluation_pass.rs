//! Evaluation pass over a set of images.

use parareal::exec::{Executor, SoftTargetCrossEntropy};
use parareal_data::{Batches, ImageSet, Normalization};
use parareal_models::resnet::ResNet;
use parareal_train::prefetch;
use parareal_train::task::Stop;

use crate::VisionError;
use crate::details::Details;
use crate::image_batch::to_tensors;
use crate::scores::{Scores, Summary};

/// Number of images in a batch.
const BATCH: usize = 128;

/// Evaluates all images of a set. Returns `None` if `stop` returned true.
pub(crate) fn evaluate_set(
    executor: &mut dyn Executor<ResNet, SoftTargetCrossEntropy>,
    set: &ImageSet,
    normalization: &Normalization,
    stop: Stop<'_>,
) -> Result<Option<(Summary, Details)>, VisionError> {
    let (mut summary, mut details) = (Summary::default(), Details::new(set.classes()));
    let batches = Batches::evaluation(set, normalization, BATCH)?;
    let batches = batches.map(|batch| to_tensors(batch, set.classes()));
    prefetch(batches, |batches| {
        for batch in batches {
            if stop()? {
                return Ok(None);
            }
            let scores = Scores::read(executor.infer(batch.input)?);
            summary.add(&scores, &batch.labels);
            details.add(&scores, &batch.labels);
        }
        Ok(Some((summary, details)))
    })?
}
