//! Predictions of a trained network for image files.

use std::path::{Path, PathBuf};

use parareal::exec::{Executor, SoftTargetCrossEntropy};
use parareal_data::Batches;
use parareal_models::ImageNetwork;
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::task::Batch;
use parareal_train::{Resources, checkpoint, folder};
use serde::Serialize;

use crate::image_batch::to_tensors;
use crate::image_record::{CHECK_MANIFEST, ImageRecord};
use crate::scores::Scores;
use crate::{Config, Settings, VisionError};

/// Largest number of classes in a prediction.
const ANSWERS: usize = 5;

/// A trained network that classifies image files.
pub struct Predictor {
    executor: Box<dyn Executor<ImageNetwork, SoftTargetCrossEntropy>>,
    images: ImageRecord,
    /// Folder of the checkpoint.
    checkpoint: PathBuf,
}

/// Prediction for one image.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// The file.
    #[serde(serialize_with = "folder::path_as_text")]
    pub path: PathBuf,
    /// The five most likely classes (or all, if there are fewer), in order of decreasing probability.
    pub answers: Vec<ClassProbability>,
}

/// A class with its predicted probability.
#[derive(Clone, Debug, Serialize)]
pub struct ClassProbability {
    /// The class, from 0.
    pub class: usize,
    /// The name of the class.
    pub name: String,
    /// The predicted probability of the class.
    pub probability: f64,
}

impl Predictor {
    /// Reads a checkpoint of a run.
    ///
    /// # Errors
    /// If the folder is not the folder of a run, or the checkpoint is missing or damaged.
    pub fn open(run: &Path, choice: CheckpointChoice) -> Result<Self, VisionError> {
        let config = Config::resolve(Settings::of_run(run)?, &Resources::alone())?;
        let saved = checkpoint::open(run, choice, CHECK_MANIFEST)?;
        let images = ImageRecord::of_saved(run, &saved)?;
        let (channels, classes) = (images.channels, images.class_names.len());
        let checkpoint = checkpoint::path_of(run, saved.position.step);
        let executor = config.evaluator(run, &saved.into_weights(), channels, classes)?;
        Ok(Self { executor, images, checkpoint })
    }

    /// Classifies a PNG or JPEG file, with the same preprocessing as in training.
    ///
    /// # Errors
    /// If the file is not an image ([`VisionError::Data`]), the scores are not finite
    /// ([`VisionError::ScoresNotFinite`]), or a worker fails.
    pub fn predict(&mut self, path: &Path) -> Result<Prediction, VisionError> {
        let image = self.images.set_of_one(self.images.preprocessing().read(path)?)?;
        let mut batches = Batches::evaluation(&image, &self.images.normalization(), 1)?;
        let batch = batches.next().expect("the batch has one image")?;
        let Batch { input, .. } = to_tensors(batch, image.classes());
        let scores = Scores::read(self.executor.infer(input)?);
        if !scores.are_finite() {
            return Err(VisionError::ScoresNotFinite { path: self.checkpoint.clone() });
        }
        let mut answers: Vec<ClassProbability> = scores
            .probabilities()
            .zip(&self.images.class_names)
            .enumerate()
            .map(|(class, (probability, name))| ClassProbability {
                class,
                name: name.clone(),
                probability,
            })
            .collect();
        answers.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        answers.truncate(ANSWERS);
        Ok(Prediction { path: path.to_path_buf(), answers })
    }
}
