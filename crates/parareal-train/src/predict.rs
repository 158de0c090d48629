//! What a trained network says of a person's own images.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use parareal_data::read_image;
use serde::Serialize;

use crate::checkpoint::{self, ImageRecord};
use crate::executor::AnyExecutor;
use crate::scores::Scores;
use crate::{Config, TrainError, Which, folder};

/// Answers that are given for an image.
const ANSWERS: usize = 5;

/// A trained network that takes images from files.
pub struct Predictor {
    executor: AnyExecutor,
    images: ImageRecord,
}

/// What it says of one image.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// The file.
    #[serde(serialize_with = "folder::path_as_text")]
    pub path: PathBuf,
    /// The five most likely classes, the most likely first.
    pub answers: Vec<Answer>,
}

/// A class, and how likely it is.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The class, from 0.
    pub class: usize,
    /// What it is called.
    pub name: String,
    /// Its probability, by the network.
    pub probability: f64,
}

impl Predictor {
    /// Reads a checkpoint of a run.
    ///
    /// # Errors
    /// [`TrainError`] where the folder holds no run, or there is no such checkpoint, or it is
    /// damaged.
    pub fn open(run: &Path, which: Which) -> Result<Self, TrainError> {
        let config = Config::resolve(folder::read_config(run)?)?;
        let saved = checkpoint::open(run, which)?;
        let images = saved.images.clone();
        let (channels, classes) = (images.channels, images.class_names.len());
        Ok(Self { executor: config.trained(run, &saved.judged(), channels, classes)?, images })
    }

    /// Classifies the image in a PNG or JPEG file, scaled to the size that the network knows.
    ///
    /// # Errors
    /// [`TrainError::Data`] where the file is no image, or a worker's failure.
    pub fn predict(&mut self, path: &Path) -> Result<Prediction, TrainError> {
        let ImageRecord { channels, height, width, ref class_names, .. } = self.images;
        let values = self.read(path)?;
        let data = TensorData::new(values, [1, channels, height, width]);
        let output = self.executor.infer(Tensor::from_data(data, &Device::flex()))?;
        let mut answers: Vec<Answer> = Scores::read(output)
            .probabilities()
            .zip(class_names)
            .enumerate()
            .map(|(class, (probability, name))| Answer { class, name: name.clone(), probability })
            .collect();
        answers.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        answers.truncate(ANSWERS);
        Ok(Prediction { path: path.to_path_buf(), answers })
    }

    /// The normalized pixels of an image, `[channels, height, width]`.
    fn read(&self, path: &Path) -> Result<Vec<f32>, TrainError> {
        let ImageRecord { channels, height, width, ref mean, ref deviation, .. } = self.images;
        let pixels = read_image(path, channels, height, width)?;
        let planes = pixels.chunks_exact(height * width).zip(mean.iter().zip(deviation));
        let planes = planes.flat_map(|(plane, (mean, deviation))| {
            plane.iter().map(move |&value| (f32::from(value) / 255.0 - mean) / deviation)
        });
        Ok(planes.collect())
    }
}
