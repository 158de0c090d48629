//! Images of one's own, a folder for each class.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use parareal_data::{DataError, Dataset, DatasetName, LoadOptions, inspect, read_image};

/// A picture of one colour.
fn picture(path: &Path, colour: [u8; 3], width: u32, height: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(colour)).save(path).unwrap();
}

fn load(folder: &Path) -> Result<Dataset, DataError> {
    let options = LoadOptions { data_dir: Some(folder.to_path_buf()), ..Default::default() };
    Dataset::load(DatasetName::Folder, &options)
}

/// Fifteen red images of any proportions and five blue ones.
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

/// The class of each image by what it shows, which has to be its label.
fn check(set: &parareal_data::ImageSet) -> [usize; 2] {
    assert_eq!((set.channels(), set.height(), set.width(), set.classes()), (3, 32, 32, 2));
    let mut counts = [0, 0];
    for index in 0..set.len() {
        let image = set.image(index);
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
    // Not sorted by classes: the first few of them are of both.
    assert!(!dataset.train.labels().is_sorted());
    assert_eq!(dataset.notes.len(), 2, "{:?}", dataset.notes);
    assert!(dataset.notes[1].contains("1 files that are not called"), "{:?}", dataset.notes);
    assert_eq!(load(folder.path()).unwrap().fingerprint(), dataset.fingerprint());
    // Green is zero everywhere, and its deviation divides all the same.
    assert_eq!(dataset.normalization.deviation[1], 1.0);
    let counts = inspect(DatasetName::Folder, Some(folder.path())).unwrap();
    assert_eq!(counts.train.per_class, train);
}

#[test]
fn folders_of_training_and_test_images_are_found() {
    for name in ["test", "val"] {
        let folder = tempfile::tempdir().unwrap();
        red_and_blue(&folder.path().join("train"));
        picture(&folder.path().join(name).join("red/0.png"), [250, 0, 0], 9, 9);
        let dataset = load(folder.path()).unwrap();
        assert_eq!(check(&dataset.train), [5, 15]);
        assert_eq!(check(&dataset.test.unwrap()), [0, 1]);
        assert!(dataset.notes.is_empty());
        picture(&folder.path().join(name).join("green/0.png"), [0, 250, 0], 9, 9);
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains("class \"green\" is not among the training images"), "{message}");
    }
}

#[test]
fn what_is_no_folder_of_images_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let message = |part: &str| {
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(part) && message.lines().count() == 1, "{message}");
    };
    message("it has 0 folders with PNG or JPEG files");
    picture(&folder.path().join("one/0.png"), [1, 2, 3], 4, 4);
    message("it has 1 folders");
    picture(&folder.path().join("two/0.png"), [1, 2, 3], 4, 4);
    message("it has 2 images of 2 classes: at least 4");
    for file in ["one/1.png", "two/1.png"] {
        picture(&folder.path().join(file), [1, 2, 3], 4, 4);
    }
    load(folder.path()).unwrap();
    fs::write(folder.path().join("two/2.jpg"), "no picture\n").unwrap();
    message("two/2.jpg: it cannot be read as a PNG or JPEG image");
    let error = load(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere: it cannot be read"), "{error}");
}

#[test]
fn images_are_turned_as_the_camera_says() {
    // Left half red, right half blue; the camera was held so that what is on the left is up.
    let folder = tempfile::tempdir().unwrap();
    let [plain, turned] = ["plain.jpg", "turned.jpg"].map(|name| folder.path().join(name));
    let colours = |x, _| if x < 32 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) };
    RgbImage::from_fn(64, 64, colours).save(&plain).unwrap();
    let bytes = fs::read(&plain).unwrap();
    // An Exif segment behind the first marker: orientation 6, to be turned by a quarter to the right.
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let segment = [&b"\xff\xe1"[..], &length, exif].concat();
    fs::write(&turned, [&bytes[..2], &segment, &bytes[2..]].concat()).unwrap();
    let [plain, turned] = [plain, turned].map(|path| read_image(&path, 3, 32, 32).unwrap());
    let red = |image: &[u8], y: usize, x: usize| image[y * 32 + x] > 200;
    assert!(red(&plain, 16, 4) && !red(&plain, 16, 28));
    assert!(red(&turned, 4, 16) && !red(&turned, 28, 16));
    // A grey one has the same brightness everywhere, whatever its colours.
    assert_eq!(read_image(&folder.path().join("plain.jpg"), 1, 8, 8).unwrap().len(), 64);
}
