//! Folders of images that stay in their files.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use parareal_data::{
    Augmentation, Batch, Batches, DataError, Dataset, DatasetName, ImageSet, LoadOptions,
    LoadStage, Normalization, RandomErasing, inspect_with,
};

const SIDE: u32 = 40;

fn options(folder: &Path) -> LoadOptions {
    let data_dir = Some(folder.to_path_buf());
    LoadOptions { data_dir, image_size: Some(SIDE as usize), ..Default::default() }
}

fn load(folder: &Path) -> Result<Dataset, DataError> {
    Dataset::load(DatasetName::Folder, &options(folder))
}

/// Returns an image without regularities, which depends on `seed`.
fn noise(seed: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let value = (x * 31 + y * 17 + seed * 7).wrapping_mul(2_654_435_761) >> 11;
        Rgb([value as u8, (value >> 8) as u8, (x * 5) as u8])
    })
}

fn save(folder: &Path, name: &str, image: &RgbImage) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(&path).unwrap();
    path
}

/// Writes twenty images of three classes, of different sizes and types.
fn three_classes(folder: &Path) {
    for index in 0..20 {
        let name = format!("train/{}/{index}.{}", index % 3, ["png", "jpg"][index as usize % 2]);
        save(folder, &name, &noise(index, 30 + 7 * index, 90 - 3 * index));
    }
    save(folder, "test/1/a.png", &noise(99, 41, 43));
}

/// Returns the set with its pixels in memory.
fn in_memory(set: &ImageSet) -> ImageSet {
    let pixels = (0..set.len()).flat_map(|index| set.image(index).unwrap().into_owned()).collect();
    let side = SIDE as usize;
    ImageSet::new(3, side, side, set.classes(), pixels, set.labels().to_vec()).unwrap()
}

fn collect(batches: Batches<'_>) -> Vec<Batch> {
    batches.collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_are_those_of_images_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    three_classes(folder.path());
    let dataset = load(folder.path()).unwrap();
    let Dataset { train, normalization, preprocessing, .. } = &dataset;
    assert_eq!((train.len(), train.height(), train.width(), train.classes()), (20, 40, 40, 3));
    assert_eq!(dataset.augmentation, Augmentation::ResizedCropFlip);
    let stored = in_memory(train);
    assert_eq!(*normalization, Normalization::measured(&stored).unwrap());
    // The order is that of images of 32x32 pixels.
    let small = LoadOptions { image_size: None, ..options(folder.path()) };
    let small = Dataset::load(DatasetName::Folder, &small).unwrap();
    assert_eq!((train.labels(), &dataset.class_names), (small.train.labels(), &small.class_names));
    // Predictions read the same pixels.
    let read = preprocessing.read(&folder.path().join("test/1/a.png")).unwrap();
    assert_eq!(dataset.test.as_ref().unwrap().image(0).unwrap(), read);

    let evaluation = |set| collect(Batches::evaluation(set, normalization, 6).unwrap());
    assert_eq!(evaluation(train), evaluation(&stored));
    let training = |set, augmentation| {
        let batches = Batches::training(set, normalization, augmentation, 6, 3, 2).unwrap();
        let batches = batches.trivial_augment().random_erasing(RandomErasing::new(0.5).unwrap());
        collect(batches)
    };
    for augmentation in [Augmentation::None, Augmentation::CropFlip { padding: 4 }] {
        assert_eq!(training(train, augmentation), training(&stored, augmentation));
    }
}

#[test]
fn random_crops_are_those_of_the_same_images_in_memory() {
    // Files of the size of the set, so that a set in memory can have all of their pixels.
    let folder = tempfile::tempdir().unwrap();
    let images: Vec<RgbImage> = (0..30).map(|index| noise(index, SIDE, SIDE)).collect();
    for (index, image) in images.iter().enumerate() {
        save(folder.path(), &format!("{}/{index}.png", index % 2), image);
    }
    let Dataset { train, normalization, .. } = load(folder.path()).unwrap();
    let planes = |image: &RgbImage| -> Vec<u8> {
        let plane = |channel| image.pixels().map(move |pixel| pixel.0[channel]);
        (0..3).flat_map(plane).collect()
    };
    // The set is in a fixed random order: find its images by what the center crop returns.
    let center = |image| {
        let path = save(folder.path(), "../one.png", image);
        let side = SIDE as usize;
        let read =
            parareal_data::Preprocessing { channels: 3, height: side, width: side, padding: 0 };
        let pixels = read.read(&path).unwrap();
        fs::remove_file(path).unwrap();
        pixels
    };
    let centers: Vec<Vec<u8>> = images.iter().map(center).collect();
    let pixels = (0..train.len()).flat_map(|index| {
        let image = train.image(index).unwrap().into_owned();
        planes(&images[centers.iter().position(|center| *center == image).unwrap()])
    });
    let side = SIDE as usize;
    let stored =
        ImageSet::new(3, side, side, 2, pixels.collect(), train.labels().to_vec()).unwrap();
    let crops = |set, size, seed, epoch| {
        let augmentation = Augmentation::ResizedCropFlip;
        collect(Batches::training(set, &normalization, augmentation, size, seed, epoch).unwrap())
    };
    let base = crops(&train, 7, 1, 1);
    assert_eq!(base, crops(&stored, 7, 1, 1));
    assert_eq!(base, crops(&train, 7, 1, 1));
    assert!(base != crops(&train, 7, 1, 2) && base != crops(&train, 7, 2, 1));
    // They do not depend on the batch.
    let joined = |batches: Vec<Batch>| -> Vec<f32> {
        batches.into_iter().flat_map(|batch| batch.images).collect()
    };
    assert_eq!(joined(base.clone()), joined(crops(&train, 5, 1, 1)));
    // A resumed epoch continues with the same batches.
    let mut rest =
        Batches::training(&train, &normalization, Augmentation::ResizedCropFlip, 7, 1, 1).unwrap();
    rest.skip_batches(2);
    assert_eq!(collect(rest), base[2..]);
}

#[test]
fn a_file_that_changes_after_indexing_ends_the_batches_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    three_classes(folder.path());
    let Dataset { train, normalization, .. } = load(folder.path()).unwrap();
    let [cut, gone] = ["train/0/6.png", "train/1/7.jpg"].map(|name| folder.path().join(name));
    let bytes = fs::read(&cut).unwrap();
    let first_error = || {
        let mut batches = Batches::evaluation(&train, &normalization, 4).unwrap();
        let error = batches.find_map(Result::err).unwrap();
        assert!(batches.next().is_none());
        error
    };
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let error = first_error();
    let text = error.to_string();
    assert!(text.contains("6.png as a PNG or JPEG image: the file is truncated"), "{text}");
    assert_eq!(text.lines().count(), 1);
    assert!(matches!(error, DataError::Image { path, .. } if path == cut));
    fs::write(&cut, bytes).unwrap();
    fs::remove_file(&gone).unwrap();
    let text = first_error().to_string();
    assert!(text.contains("7.jpg") && text.contains("No such file"), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn damaged_files_are_found_when_a_folder_is_indexed_or_checked() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |part: &str| {
        let text = load(folder.path()).unwrap_err().to_string();
        assert!(text.contains(part) && text.lines().count() == 1, "{text}");
    };
    refused("expected 2 to 65536 folders with PNG or JPEG files, one for each class, found 0");
    for name in ["a/0.png", "a/1.png", "a/2.png", "b/0.png"] {
        save(folder.path(), name, &noise(1, 50, 50));
    }
    // A class of one image has no test image.
    let dataset = load(folder.path()).unwrap();
    let test = dataset.test.unwrap();
    assert_eq!((dataset.train.len(), test.labels()), (3, &[0][..]));
    // Headers are checked at the start.
    let bytes = fs::read(folder.path().join("a/0.png")).unwrap();
    for (content, part) in [
        (&b""[..], "the file is empty"),
        (b"GIF89a..........................", "another file type"),
        (&bytes[..20], "it ends in its header"),
    ] {
        fs::write(folder.path().join("a/3.png"), content).unwrap();
        refused("a/3.png as a PNG or JPEG image: ");
        refused(part);
    }
    // The rest of a file is checked when it is decoded, by `inspect` as well.
    fs::write(folder.path().join("a/3.png"), &bytes[..bytes.len() - 20]).unwrap();
    let error = inspect_with(DatasetName::Folder, &options(folder.path()), &|_| {}).unwrap_err();
    assert!(error.to_string().contains("a/3.png") && error.to_string().contains("truncated"));
    fs::write(folder.path().join("a/3.png"), &bytes).unwrap();
    let stages = RefCell::new(Vec::new());
    let report = |progress: parareal_data::LoadProgress| {
        stages.borrow_mut().push((progress.stage, progress.done, progress.total));
    };
    let counts = inspect_with(DatasetName::Folder, &options(folder.path()), &report).unwrap();
    assert_eq!((counts.train.images, counts.test.unwrap().images), (4, 1));
    let stages = stages.into_inner();
    let last = |stage| stages.iter().rfind(|entry| entry.0 == stage).unwrap();
    assert_eq!(*last(LoadStage::Index), (LoadStage::Index, 5, 5));
    assert_eq!(*last(LoadStage::Decode), (LoadStage::Decode, 5, 5));
}

#[test]
fn the_fingerprint_depends_on_names_and_lengths_not_on_the_place() {
    let [folder, copy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    three_classes(folder.path());
    let base = load(folder.path()).unwrap().fingerprint();
    three_classes(&copy.path().join("elsewhere"));
    let elsewhere = copy.path().join("elsewhere");
    let fingerprint = || load(&elsewhere).unwrap().fingerprint();
    assert_eq!(fingerprint(), base);
    let file = elsewhere.join("train/0/0.png");
    let bytes = fs::read(&file).unwrap();
    // Bytes after the end of a PNG file are ignored, but its length counts.
    fs::write(&file, [&bytes[..], b"x"].concat()).unwrap();
    assert_ne!(fingerprint(), base);
    fs::write(&file, &bytes).unwrap();
    assert_eq!(fingerprint(), base);
    fs::rename(&file, elsewhere.join("train/0/00.png")).unwrap();
    assert_ne!(fingerprint(), base);
    let larger = LoadOptions { image_size: Some(44), ..options(folder.path()) };
    let fewer = LoadOptions { limit_train: Some(19), ..options(folder.path()) };
    for other in [larger, fewer] {
        assert_ne!(Dataset::load(DatasetName::Folder, &other).unwrap().fingerprint(), base);
    }
}

#[test]
fn sets_in_files_are_limited_and_split_as_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    three_classes(&folder.path().join("train"));
    let folder = folder.path().join("train/train");
    let load = |image_size, limit_train| {
        let options = LoadOptions { image_size, limit_train, ..options(&folder) };
        Dataset::load(DatasetName::Folder, &options).unwrap()
    };
    for limit in [None, Some(5)] {
        let (large, small) = (load(Some(40), limit), load(None, limit));
        let labels = |dataset: &Dataset| {
            let test = dataset.test.as_ref().unwrap().labels().to_vec();
            (dataset.train.labels().to_vec(), test)
        };
        assert_eq!(labels(&large), labels(&small));
        assert_eq!(large.notes, small.notes);
        let [large, small] = [large, small].map(|dataset| dataset.train.random_split(3, 1));
        assert_eq!(large.1.labels(), small.1.labels());
        assert_eq!(in_memory(&large.0).labels(), small.0.labels());
    }
    // The same image has the same pixels before and after a split.
    let train = load(Some(40), None).train;
    let (rest, aside) = train.clone().random_split(4, 1);
    let mut pixels: Vec<Vec<u8>> = [&rest, &aside]
        .into_iter()
        .flat_map(|set| (0..set.len()).map(|index| set.image(index).unwrap().into_owned()))
        .collect();
    let mut all: Vec<Vec<u8>> =
        (0..train.len()).map(|index| train.image(index).unwrap().into_owned()).collect();
    pixels.sort_unstable();
    all.sort_unstable();
    assert_eq!(pixels, all);
    assert_eq!(rest.subset(&[2, 0]).image(0).unwrap(), rest.image(2).unwrap());
}
