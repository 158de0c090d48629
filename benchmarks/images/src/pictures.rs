//! Folders of image files that are made on the spot.

use std::path::Path;

use image::imageops::FilterType;
use image::{ImageFormat, RgbImage};
use parareal_data::{Dataset, DatasetName, LoadOptions};

use crate::Result;

/// Writes the built-in shapes as files, enlarged to `width` x `height` pixels: `FOLDER/CLASS/NUMBER.jpg` and every fourth one
/// as PNG.
pub(crate) fn shapes(folder: &Path, count: usize, width: u32, height: u32) -> Result<()> {
    let limits =
        LoadOptions { limit_train: Some(count), limit_test: Some(0), ..Default::default() };
    let Dataset { train, class_names, .. } = Dataset::load(DatasetName::Shapes, &limits)?;
    for index in 0..train.len() {
        let (stored, plane) = (train.image(index)?, train.height() * train.width());
        let pixels = (0..plane).flat_map(|at| (0..3).map(move |channel| channel * plane + at));
        let pixels: Vec<u8> = pixels.map(|at| stored[at]).collect();
        let small = RgbImage::from_raw(train.width() as u32, train.height() as u32, pixels);
        let small = small.ok_or("shapes have three channels")?;
        let large = image::imageops::resize(&small, width, height, FilterType::CatmullRom);
        let class = folder.join(&class_names[usize::from(train.label(index))]);
        std::fs::create_dir_all(&class)?;
        let format = if index % 4 == 0 { ImageFormat::Png } else { ImageFormat::Jpeg };
        let ending = format.extensions_str()[0];
        large.save_with_format(class.join(format!("{index}.{ending}")), format)?;
    }
    Ok(())
}
