//! Time and memory to index a folder of many files.

use std::fs;
use std::time::Instant;

use parareal_data::{Dataset, DatasetName, LoadOptions};

use crate::Result;

const CLASSES: usize = 100;

/// Writes `count` small files, and indexes them as images of 64x64 pixels.
pub(crate) fn run(count: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(80, 60).write_to(&mut file, image::ImageFormat::Jpeg)?;
    for class in 0..CLASSES {
        let class = folder.path().join(format!("train/n{class:08}"));
        fs::create_dir_all(&class)?;
        for index in 0..count.div_ceil(CLASSES) {
            // Names as long as those of ImageNet.
            fs::write(class.join(format!("n01440764_{index:08}.jpeg")), file.get_ref())?;
        }
    }
    let before = resident("VmRSS")?;
    let options = LoadOptions {
        data_dir: Some(folder.path().to_path_buf()),
        image_size: Some(64),
        ..Default::default()
    };
    for pass in ["first", "second"] {
        let begun = Instant::now();
        let dataset = Dataset::load(DatasetName::Folder, &options)?;
        println!(
            "{pass} time: {} files in {:.1} s; memory {:.0} MB, at most {:.0} MB",
            dataset.train.len() + dataset.test.as_ref().map_or(0, |test| test.len()),
            begun.elapsed().as_secs_f64(),
            resident("VmRSS")? - before,
            resident("VmHWM")? - before,
        );
    }
    Ok(())
}

/// Returns an entry of Linux about the memory of this process, in megabytes.
fn resident(key: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no such entry in /proc/self/status")?.parse::<f64>()? * 1.024e-3)
}
