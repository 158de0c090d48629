//! The user's own images, in a folder for each class.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use parareal_data::{DataError, Dataset, DatasetName, LoadOptions, Preprocessing, inspect};

/// Writes an image of a single color.
fn picture(path: &Path, colour: [u8; 3], width: u32, height: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(colour)).save(path).unwrap();
}

fn load(folder: &Path) -> Result<Dataset, DataError> {
    let options = LoadOptions { data_dir: Some(folder.to_path_buf()), ..Default::default() };
    Dataset::load(DatasetName::Folder, &options)
}

/// Writes fifteen red images with different aspect ratios, and five blue images.
fn red_and_blue(folder: &Path) {
    for index in 0..15 {
        let ending = ["png", "PNG", "jpg", "jpeg"][index % 4];
        let file = folder.join(format!("red/{index:02}.{ending}"));
        picture(&file, [250, 0, 0], 20 + index as u32, 40);
    }
    for index in 0..5 {
        picture(&folder.join(format!("blue things/{index}.png")), [0, 0, 250], 32, 32);
    }
}

/// Checks that the label of each image matches its color. Returns the number of images of each
/// class.
fn check(set: &parareal_data::ImageSet) -> [usize; 2] {
    assert_eq!((set.channels(), set.height(), set.width(), set.classes()), (3, 32, 32, 2));
    let mut counts = [0, 0];
    for index in 0..set.len() {
        let image = set.image(index).unwrap();
        let (red, blue) = (image[500], image[2 * 1024 + 500]);
        let label = set.label(index);
        assert!(if label == 0 { blue > 240 && red < 10 } else { red > 240 && blue < 10 });
        counts[usize::from(label)] += 1;
    }
    counts
}

#[test]
fn a_folder_is_a_class_and_a_tenth_is_held_out() {
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(folder.path());
    fs::write(folder.path().join("red/notes.txt"), "x").unwrap();
    fs::write(folder.path().join(".hidden"), "x").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let dataset = load(folder.path()).unwrap();
    assert_eq!(dataset.class_names, ["blue things", "red"]);
    let test = dataset.test.as_ref().unwrap();
    let [train, held_out] = [check(&dataset.train), check(test)];
    assert_eq!((train[0] + held_out[0], train[1] + held_out[1], test.len()), (5, 15, 3));
    assert_eq!(held_out, [1, 2]);
    // The images are not sorted by class: the first few belong to both classes.
    assert!(!dataset.train.labels().is_sorted());
    assert_eq!(dataset.notes.len(), 2, "{:?}", dataset.notes);
    assert!(
        dataset.notes[1].contains("1 file not named .png, .jpg or .jpeg: red/notes.txt"),
        "{:?}",
        dataset.notes
    );
    assert_eq!(load(folder.path()).unwrap().fingerprint(), dataset.fingerprint());
    // Green is zero everywhere, so its deviation is replaced with 1.
    assert_eq!(dataset.normalization.deviation[1], 1.0);
    let counts = inspect(DatasetName::Folder, Some(folder.path())).unwrap();
    assert_eq!(counts.train.per_class, train);
}

#[test]
fn folders_of_training_and_test_images_are_found() {
    for name in ["test", "val", "valid", "validation", "Test"] {
        let folder = tempfile::tempdir().unwrap();
        red_and_blue(&folder.path().join("train"));
        picture(&folder.path().join(name).join("red/0.png"), [250, 0, 0], 9, 9);
        let dataset = load(folder.path()).unwrap();
        assert_eq!(check(&dataset.train), [5, 15]);
        assert_eq!(check(&dataset.test.unwrap()), [0, 1]);
        assert!(dataset.notes.is_empty());
        picture(&folder.path().join(name).join("green/0.png"), [0, 250, 0], 9, 9);
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains("the training images have no class `green`"), "{message}");
    }
}

#[test]
fn all_images_are_loaded_for_evaluation() {
    let load = |folder: &Path, limit_test| {
        let data_dir = Some(folder.to_path_buf());
        let options = LoadOptions { data_dir, limit_test, ..Default::default() };
        Dataset::load_for_evaluation(DatasetName::Folder, &options, &|_| {})
    };
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(folder.path());
    let dataset = load(folder.path(), None).unwrap();
    assert_eq!((dataset.train.len(), check(dataset.test.as_ref().unwrap())), (0, [5, 15]));
    assert!(dataset.notes.is_empty(), "{:?}", dataset.notes);
    let test = load(folder.path(), Some(4)).unwrap().test.unwrap();
    assert_eq!(test.len(), 4);
    assert_eq!(load(folder.path(), Some(0)).unwrap().test, None);
    // With training images only in `train`, as well.
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(&folder.path().join("train"));
    assert_eq!(check(&load(folder.path(), None).unwrap().test.unwrap()), [5, 15]);
    // Test images are preferred.
    picture(&folder.path().join("val/red/0.png"), [250, 0, 0], 9, 9);
    let dataset = load(folder.path(), None).unwrap();
    assert_eq!(dataset.test.unwrap().len(), 1);
    assert_eq!(dataset.class_names, ["red"]);
    // They need no training images.
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(&folder.path().join("Test"));
    assert_eq!(check(&load(folder.path(), None).unwrap().test.unwrap()), [5, 15]);
    // A class may be called `test`.
    picture(&folder.path().join("green/0.png"), [0, 250, 0], 9, 9);
    assert_eq!(load(folder.path(), None).unwrap().class_names, ["Test", "green"]);
    let error = load(&folder.path().join("green"), None).unwrap_err().to_string();
    assert!(error.contains("expected 1 to 65536 folders") && error.ends_with("found 0"), "{error}");
}

#[test]
fn a_test_folder_is_used_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(&folder.path().join("train"));
    let test = folder.path().join("test");
    fs::create_dir(&test).unwrap();
    for expected in
        ["it has no PNG or JPEG files; sort", "it has 1 PNG or JPEG files, none of them in"]
    {
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("test: "), "{message}");
        assert_eq!(message.lines().count(), 1);
        picture(&test.join("0.png"), [250, 0, 0], 9, 9);
    }
    // A folder of test images next to the classes, without `train`.
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(folder.path());
    picture(&folder.path().join("test/red/0.png"), [250, 0, 0], 9, 9);
    let dataset = load(folder.path()).unwrap();
    assert_eq!((check(&dataset.train), check(&dataset.test.unwrap())), ([5, 15], [0, 1]));
}

#[test]
fn training_images_without_classes_beside_test_images_are_refused() {
    for test in ["test/0.png", "val/red/0.png"] {
        let folder = tempfile::tempdir().unwrap();
        for file in ["train/0.png", "train/1.png", "train/2.png", test] {
            picture(&folder.path().join(file), [250, 0, 0], 9, 9);
        }
        let message = load(folder.path()).unwrap_err().to_string();
        let expected = "sort the images of train into a folder for each class";
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    }
}

#[test]
fn further_folders_of_test_images_are_not_classes() {
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(folder.path());
    for file in ["test/red/0.png", "val/red/0.png", "val/blue things/0.png"] {
        picture(&folder.path().join(file), [250, 0, 0], 9, 9);
    }
    let dataset = load(folder.path()).unwrap();
    assert_eq!((check(&dataset.train), check(&dataset.test.unwrap())), ([5, 15], [0, 1]));
    let notes = dataset.notes.join("\n");
    let expected = "1 folder of images next to the training and test images: val (2 images)";
    assert!(notes.contains(expected), "{notes}");
}

#[test]
fn classes_may_be_called_train_and_valid() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["bus", "train", "valid"] {
        for file in
            [format!("{class}/0.png"), format!("{class}/1.png"), format!("test/{class}/0.png")]
        {
            picture(&folder.path().join(file), [1, 2, 3], 4, 4);
        }
    }
    let counts = inspect(DatasetName::Folder, Some(folder.path())).unwrap();
    assert_eq!(counts.class_names, ["bus", "train", "valid"]);
    assert_eq!((counts.train.images, counts.test.unwrap().images), (6, 3));
}

#[test]
fn skipped_files_are_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(&folder.path().join("train"));
    for file in ["test/red/0.png", "valid/red/0.png", "valid/red/1.png", "spare/0.png", "0.png"] {
        picture(&folder.path().join(file), [250, 0, 0], 9, 9);
    }
    for file in ["train/a.txt", "train/red/b.txt", "train/red/c.txt", "test/d.txt"] {
        fs::write(folder.path().join(file), "x").unwrap();
    }
    // A stray image does not make `train` a class, because the test images have the same classes.
    picture(&folder.path().join("train/1.png"), [250, 0, 0], 9, 9);
    let dataset = load(folder.path()).unwrap();
    assert_eq!((check(&dataset.train), check(&dataset.test.unwrap())), ([5, 15], [0, 1]));
    let notes = dataset.notes.join("\n");
    for expected in [
        "skipped 4 files not named .png, .jpg or .jpeg: train/a.txt, train/red/b.txt, \
         train/red/c.txt and 1 more",
        "skipped 2 folders of images next to the training and test images: spare (1 image), \
         valid (2 images)",
        "skipped 1 image outside the class folders: train/1.png",
    ] {
        assert!(notes.contains(expected), "{notes}");
    }
}

#[test]
fn a_class_may_be_called_train_and_have_folders() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["bus", "car", "train"] {
        for file in ["0.png", "1.png", "2024/0.png", "2024/may/0.png"] {
            picture(&folder.path().join(class).join(file), [1, 2, 3], 4, 4);
        }
    }
    let counts = inspect(DatasetName::Folder, Some(folder.path())).unwrap();
    assert_eq!(counts.class_names, ["bus", "car", "train"]);
    assert_eq!(counts.train.images + counts.test.unwrap().images, 12);
}

#[test]
fn system_files_and_folders_named_like_images_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(folder.path());
    for file in
        ["@eaDir/0.png/thumb.jpg", "red/x.png/thumb.jpg", "red/@eaDir/1.jpg", "__MACOSX/red/0.png"]
    {
        picture(&folder.path().join(file), [1, 2, 3], 4, 4);
    }
    picture(&folder.path().join("red/.thumbnails/0.png"), [1, 2, 3], 4, 4);
    let dataset = load(folder.path()).unwrap();
    assert_eq!(dataset.class_names, ["blue things", "red"]);
    check(&dataset.train);
    assert_eq!(dataset.train.len() + dataset.test.unwrap().len(), 20);
    let notes = dataset.notes.join("\n");
    assert!(
        notes.contains("skipped 4 folders created by the system or named like an image"),
        "{notes}"
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_are_skipped() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    red_and_blue(folder.path());
    picture(&elsewhere.path().join("0.png"), [250, 0, 0], 4, 4);
    symlink(elsewhere.path(), folder.path().join("red/linked")).unwrap();
    symlink(folder.path(), folder.path().join("red/loop")).unwrap();
    symlink(".", folder.path().join("all")).unwrap();
    let message = load(folder.path()).map(|dataset| dataset.notes.join("\n")).unwrap();
    assert!(
        message.contains("skipped 2 folders linked in a loop or too deep: all, red/loop"),
        "{message}"
    );
    let dataset = load(folder.path()).unwrap();
    let [train, test] = [check(&dataset.train), check(&dataset.test.unwrap())];
    assert_eq!((train[0] + test[0], train[1] + test[1]), (5, 16));
}

#[test]
fn classes_are_numbered_as_another_set_has_them() {
    let folder = tempfile::tempdir().unwrap();
    red_and_blue(folder.path());
    let dataset = load(folder.path()).unwrap();
    let names = ["red", "green", "blue things"].map(String::from);
    let renumbered = dataset.clone().with_classes(&names).unwrap();
    assert_eq!((renumbered.train.classes(), renumbered.class_names.len()), (3, 3));
    for (old, new) in dataset.train.labels().iter().zip(renumbered.train.labels()) {
        assert_eq!(names[usize::from(*new)], dataset.class_names[usize::from(*old)]);
    }
    let error = dataset.with_classes(&names[..2]).unwrap_err();
    assert!(matches!(&error, DataError::UnknownClass { class, .. } if class == "blue things"));
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn folders_without_images_by_class_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let message = |part: &str| {
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(part) && message.lines().count() == 1, "{message}");
    };
    message("expected 2 to 65536 folders with PNG or JPEG files, one for each class, found 0");
    picture(&folder.path().join("one/0.png"), [1, 2, 3], 4, 4);
    message("one for each class, found 1");
    picture(&folder.path().join("two/0.png"), [1, 2, 3], 4, 4);
    message("expected at least 4 images of the 2 classes");
    for file in ["one/1.png", "two/1.png"] {
        picture(&folder.path().join(file), [1, 2, 3], 4, 4);
    }
    load(folder.path()).unwrap();
    fs::write(folder.path().join("two/2.jpg"), "no picture\n").unwrap();
    message("two/2.jpg as a PNG or JPEG image");
    let error = load(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere: cannot read the folder"), "{error}");
}

#[test]
fn images_are_rotated_by_their_exif_orientation() {
    // The left half is red, the right half blue. The orientation says that the left side is the
    // top.
    let folder = tempfile::tempdir().unwrap();
    let [plain, turned] = ["plain.jpg", "turned.jpg"].map(|name| folder.path().join(name));
    let colours = |x, _| if x < 32 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) };
    RgbImage::from_fn(64, 64, colours).save(&plain).unwrap();
    let bytes = fs::read(&plain).unwrap();
    // An Exif segment after the first marker: orientation 6, a quarter turn to the right.
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let segment = [&b"\xff\xe1"[..], &length, exif].concat();
    fs::write(&turned, [&bytes[..2], &segment, &bytes[2..]].concat()).unwrap();
    let color = Preprocessing { channels: 3, height: 32, width: 32, padding: 0 };
    let [plain, turned] = [&plain, &turned].map(|path| color.read(path).unwrap());
    let red = |image: &[u8], y: usize, x: usize| image[y * 32 + x] > 200;
    assert!(red(&plain, 16, 4) && !red(&plain, 16, 28));
    assert!(red(&turned, 4, 16) && !red(&turned, 28, 16));
    // With one channel, the image has one value for each pixel.
    let grey = Preprocessing { channels: 1, height: 8, width: 8, padding: 0 };
    assert_eq!(grey.read(&folder.path().join("plain.jpg")).unwrap().len(), 64);
}
