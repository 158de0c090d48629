//! Predictions of a trained network for image files.

use std::path::{Path, PathBuf};

use parareal::exec::{Executor, SoftTargetCrossEntropy};
use parareal_data::{Batches, DatasetName};
use parareal_export::TrainedNetwork;
use parareal_models::ImageNetwork;
use parareal_train::checkpoint::CheckpointChoice;
use parareal_train::task::Batch;
use parareal_train::{Resources, checkpoint, folder};
use serde::Serialize;

use crate::image_batch::to_tensors;
use crate::image_record::ImageRecord;
use crate::recorded;
use crate::scores::Scores;
use crate::weight_source::read_export;
use crate::{Config, CutsSetting, Settings, VisionError};

/// Largest number of classes in a prediction.
const ANSWERS: usize = 5;

/// A trained network that classifies image files.
pub struct Predictor {
    executor: Box<dyn Executor<ImageNetwork, SoftTargetCrossEntropy>>,
    images: ImageRecord,
    /// Folder of the checkpoint, or the file.
    weights: PathBuf,
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
    /// Reads a safetensors file that [`export`](crate::export()) has written.
    ///
    /// # Errors
    /// If the file cannot be read, or is not such a file ([`VisionError::WeightFile`]).
    pub fn open_file(path: &Path) -> Result<Self, VisionError> {
        let trained = read_export(path)?;
        let images = ImageRecord::of_export(&trained).map_err(|message| {
            VisionError::WeightFile { path: path.to_path_buf(), message: message.into() }
        })?;
        let TrainedNetwork { net, weights, .. } = trained;
        let settings = Settings {
            // The data set whose images may have any size.
            dataset: Some(DatasetName::Folder),
            data_dir: Some(".".into()),
            network: Some(net.architecture()),
            width: Some(net.width()),
            image_size: Some(net.image_size()),
            cuts: Some(CutsSetting::Positions(weights.cuts().positions().to_vec())),
            coarse_unit: Some(net.coarse_kind()),
            coarse_units: net.coarse_units(),
            ..Settings::default()
        };
        let config = Config::resolve(settings, &Resources::alone())?;
        let (channels, classes) = (images.channels, images.class_names.len());
        let executor = config.evaluator(path, &weights, channels, classes)?;
        Ok(Self { executor, images, weights: path.to_path_buf() })
    }

    /// Reads a checkpoint of a run.
    ///
    /// # Errors
    /// If the folder is not the folder of a run, or the checkpoint is missing or damaged.
    pub fn open(run: &Path, choice: CheckpointChoice) -> Result<Self, VisionError> {
        let (config, saved, images) = recorded::open(run, choice)?;
        let (channels, classes) = (images.channels, images.class_names.len());
        let checkpoint = checkpoint::path_of(run, saved.position.step);
        let executor = config.evaluator(run, &saved.into_weights(), channels, classes)?;
        Ok(Self { executor, images, weights: checkpoint })
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
            return Err(VisionError::ScoresNotFinite { path: self.weights.clone() });
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
