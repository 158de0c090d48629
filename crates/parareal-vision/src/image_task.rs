//! Image classification as a task of the trainer.

use burn::tensor::Tensor;
use parareal::exec::{Executor, SoftTargetCrossEntropy};
use parareal_data::{
    Augmentation, Batches, Dataset, ImageSet, LoadProgress, Mixing, RandomErasing,
};
use parareal_models::ImageNetwork;
use parareal_train::task::{BatchesOf, Evaluated, Stop};
use parareal_train::{Model, Task, TrainError};
use toml::Table;

use crate::evaluation_pass::evaluate_set;
use crate::image_batch::to_tensors;
use crate::image_record::ImageRecord;
use crate::scores::Scores;
use crate::{Config, VisionError};

/// Classification of the images of a data set by a built-in network.
pub struct ImageTask {
    model: Model<ImageNetwork, SoftTargetCrossEntropy>,
    pub(crate) dataset: Dataset,
    /// Training images that are set aside for validation.
    pub(crate) validation: Option<ImageSet>,
    augmentation: Augmentation,
    trivial_augment: bool,
    erasing: Option<RandomErasing>,
    mixing: Option<Mixing>,
    pub(crate) record: ImageRecord,
}

impl ImageTask {
    /// Loads the images of a configuration. `progress` is as in [`Dataset::load_with`].
    ///
    /// # Errors
    /// If the images cannot be loaded.
    pub(crate) fn load(
        config: &Config,
        progress: &dyn Fn(LoadProgress),
    ) -> Result<Self, VisionError> {
        let (dataset, validation) = config.load_images(progress)?;
        let train = &dataset.train;
        let model = config.model(train.channels(), train.classes());
        let augmentation = if config.augment { dataset.augmentation } else { Augmentation::None };
        let record = ImageRecord::of(&dataset);
        let (trivial_augment, erasing) = (config.trivial_augment, config.random_erasing);
        let mixing = config.mixing;
        Ok(Self {
            model,
            dataset,
            validation,
            augmentation,
            trivial_augment,
            erasing,
            mixing,
            record,
        })
    }

    /// Returns the numbers of training images and of test images.
    #[must_use]
    pub fn images(&self) -> (usize, usize) {
        (self.dataset.train.len(), self.dataset.test.as_ref().map_or(0, ImageSet::len))
    }
}

impl Task for ImageTask {
    type Network = ImageNetwork;
    type Loss = SoftTargetCrossEntropy;
    type Labels = Vec<u16>;

    fn model(&self) -> &Model<ImageNetwork, SoftTargetCrossEntropy> {
        &self.model
    }

    fn network_name(&self) -> String {
        self.model.network.name()
    }

    fn samples(&self) -> usize {
        self.dataset.train.len()
    }

    fn batches(
        &self,
        batch_size: usize,
        seed: u64,
        epoch: usize,
        skip: usize,
    ) -> Result<BatchesOf<'_, Self>, TrainError> {
        let Dataset { train, normalization, .. } = &self.dataset;
        let mut batches =
            Batches::training(train, normalization, self.augmentation, batch_size, seed, epoch)
                .map_err(VisionError::from)?;
        if self.trivial_augment {
            batches = batches.trivial_augment();
        }
        if let Some(erasing) = self.erasing {
            batches = batches.random_erasing(erasing);
        }
        if let Some(mixing) = self.mixing {
            batches = batches.mixing(mixing);
        }
        batches.skip_batches(skip);
        let classes = train.classes();
        let tensors = move |batch| to_tensors(batch, classes);
        Ok(Box::new(batches.map(move |batch| Ok(tensors(batch.map_err(VisionError::from)?)))))
    }

    fn wrong(&self, output: Tensor<2>, labels: &Vec<u16>) -> Option<usize> {
        Some(Scores::read(output).wrong(labels))
    }

    fn evaluate(
        &self,
        executor: &mut dyn Executor<ImageNetwork, SoftTargetCrossEntropy>,
        stop: Stop<'_>,
    ) -> Result<Option<Evaluated<'_>>, TrainError> {
        let (dataset, normalization) = (&self.dataset, &self.dataset.normalization);
        let mut evaluated = Evaluated::default();
        if let Some(test) = &dataset.test {
            let found = evaluate_set(executor, test, normalization, stop)?;
            let Some((summary, details)) = found else { return Ok(None) };
            evaluated.test = summary.score();
            if evaluated.test.is_some_and(|score| score.has_diverged()) {
                // The run has diverged; the result for the validation images would not change that.
                return Ok(Some(evaluated));
            }
            if let Some(error) = evaluated.test.and_then(|score| score.error) {
                let save = move |run: &_, position| {
                    Ok(details.save(run, position, error, dataset).map(drop)?)
                };
                evaluated.details = Some(Box::new(save));
            }
        }
        if let Some(validation) = &self.validation {
            let found = evaluate_set(executor, validation, normalization, stop)?;
            let Some((summary, _)) = found else { return Ok(None) };
            evaluated.validation = summary.score();
        }
        Ok(Some(evaluated))
    }

    fn data(&self) -> Table {
        self.record.to_table()
    }
}
