//! Details of evaluations. The folder `evaluations` of a run has one file for each evaluated checkpoint; the
//! report shows them.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, RgbImage};
use parareal_data::{DataError, Dataset, ImageSet};
use parareal_run::{CONFUSION_CLASSES, EvaluationRecord, Mistake, Position, names};
use parareal_train::{TrainError, folder};

use crate::VisionError;
use crate::scores::Scores;

/// Number of the most confident mistakes that are kept.
const WORST: usize = 40;
/// Largest height and width of the pictures of mistakes.
const SHOWN: u32 = 64;

/// Confusion matrix and the most confident mistakes.
pub(crate) struct Details {
    /// Counts by class (rows) and prediction (columns). Empty for more than [`CONFUSION_CLASSES`].
    confusion: Vec<Vec<usize>>,
    mistakes: Vec<Mistake>,
    seen: usize,
}

impl Details {
    pub(crate) fn new(classes: usize) -> Self {
        let counted = if classes <= CONFUSION_CLASSES { classes } else { 0 };
        Self { confusion: vec![vec![0; counted]; counted], mistakes: Vec::new(), seen: 0 }
    }

    /// Adds the next images, in stored order.
    pub(crate) fn add(&mut self, scores: &Scores, labels: &[u16]) {
        for (answer, &label) in scores.answers().zip(labels) {
            let (index, label) = (self.seen, usize::from(label));
            self.seen += 1;
            // There is no prediction if a score is NaN.
            let Some((answer, probability)) = answer else { continue };
            if let Some(row) = self.confusion.get_mut(label) {
                row[answer] += 1;
            }
            if answer != label {
                let png = String::new();
                self.mistakes.push(Mistake { index, label, answer, probability, png });
            }
        }
    }

    /// Writes the file for the checkpoint at a position, replaces an earlier version of the file, and returns
    /// its path. Returns `None`, and writes nothing, if the data set has no test images.
    pub(crate) fn save(
        &self,
        run: &Path,
        position: Position,
        test_error: f64,
        dataset: &Dataset,
    ) -> Result<Option<PathBuf>, VisionError> {
        let Some(test) = &dataset.test else { return Ok(None) };
        let mut worst = self.mistakes.clone();
        worst.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        worst.truncate(WORST);
        for mistake in &mut worst {
            mistake.png = png(test, mistake.index)?;
        }
        let record = EvaluationRecord {
            epoch: position.epoch,
            step: position.step,
            test_error: Some(test_error),
            images: Some(self.seen),
            class_names: dataset.class_names.clone(),
            confusion: self.confusion.clone(),
            worst,
        };
        let text = serde_json::to_vec(&record).expect("numbers and names are JSON");
        let folder = run.join(names::EVALUATIONS);
        fs::create_dir_all(&folder).map_err(TrainError::file("create", &folder))?;
        let path = folder.join(names::evaluation(position.step));
        folder::replace(&path, &text)?;
        Ok(Some(path))
    }
}

/// Returns an image as a PNG file in Base64, reduced to at most [`SHOWN`] pixels on a side.
fn png(set: &ImageSet, index: usize) -> Result<String, DataError> {
    let (plane, stored) = (set.width() * set.height(), set.image(index)?);
    let color = if set.channels() == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let channels = usize::from(color.channel_count());
    let stored = &stored;
    let pixels: Vec<u8> = (0..plane)
        .flat_map(|pixel| (0..channels).map(move |channel| stored[channel * plane + pixel]))
        .collect();
    let mut file = Cursor::new(Vec::new());
    let (width, height) = (set.width() as u32, set.height() as u32);
    let encoded = match RgbImage::from_raw(width, height, pixels.clone()) {
        Some(large) if width.max(height) > SHOWN => {
            let small = DynamicImage::from(large).resize(SHOWN, SHOWN, FilterType::Triangle);
            small.write_to(&mut file, ImageFormat::Png)
        }
        _ => PngEncoder::new(&mut file).write_image(&pixels, width, height, color),
    };
    encoded.expect("the number of pixels matches the size, and they are written to memory");
    Ok(STANDARD.encode(file.into_inner()))
}
