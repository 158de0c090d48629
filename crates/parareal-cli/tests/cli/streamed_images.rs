//! Images larger than 32x32, which are read from their files for each batch.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use parareal_data::{Dataset, DatasetName, LoadOptions, epoch_order};

use crate::common::{assert_same, checkpoints, errors, json, metrics, parareal, remains};

/// Nine steps in three epochs, from a folder of 36 training images.
#[rustfmt::skip]
const RUN: [&str; 23] = [
    "train",
    "--dataset", "folder",
    "--data-dir", "images",
    "--image-size", "40",
    "--depth", "11",
    "--subnetworks", "2",
    "--epochs", "3",
    "--batch-size", "12",
    "--milestones", "2",
    "--checkpoint-every", "epoch",
    "--keep-checkpoints", "9",
    "--threads", "1",
];

/// Writes 40 images of two colors and of different sizes.
fn images(folder: &Path) {
    for (class, colour) in [[230, 20, 20], [20, 20, 230]].into_iter().enumerate() {
        let classes = folder.join(format!("images/class {class}"));
        fs::create_dir_all(&classes).unwrap();
        for index in 0..20_u8 {
            let shaded = |x, y| Rgb(colour.map(|value: u8| value + (x + y) as u8 % 20));
            let picture = RgbImage::from_fn(60 + u32::from(index), 90, shaded);
            let ending = ["png", "jpg"][usize::from(index) % 2];
            picture.save(classes.join(format!("{index}.{ending}"))).unwrap();
        }
    }
}

fn run(folder: &Path, output: &str, more: &[&str]) -> std::process::Output {
    parareal(folder, &[&RUN[..], &["--output", output], more].concat())
}

/// Returns the losses of the steps of a run.
fn losses(run: &Path) -> Vec<f64> {
    metrics(run, "step").iter().map(|step| step["loss"].as_f64().unwrap()).collect()
}

#[test]
fn a_run_on_streamed_images_is_repeated_resumed_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    let output = run(folder, "whole", &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let outcome = json(&output);
    assert!(outcome["test_error"].as_f64().unwrap() < 0.3, "{outcome}");
    let expected = remains(&folder.join("whole"));

    // All executors see the same images.
    let output = run(folder, "sequential", &["--executor", "sequential"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let both = losses(&folder.join("whole")).into_iter().zip(losses(&folder.join("sequential")));
    assert_eq!(both.clone().count(), 9);
    assert!(both.into_iter().all(|(a, b)| (a - b).abs() < 1e-3 * b.abs().max(0.1)));

    // A run that ended early continues with the same images.
    let output = run(folder, "part", &["--epochs", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let resume = ["train", "--resume", "--output", "part", "--epochs", "3"];
    let output = parareal(folder, &resume);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_same(&remains(&folder.join("part")), &expected);

    let evaluated = json(&parareal(folder, &["eval", "whole", "--json"]));
    assert_eq!(
        (&evaluated["test_error"], &evaluated["images"]),
        (&outcome["test_error"], &4.into())
    );
    // A copy is divided as for the training; all images of another folder are evaluated.
    fs::rename(folder.join("images"), folder.join("copy")).unwrap();
    let evaluate = || json(&parareal(folder, &["eval", "whole", "--data-dir", "copy", "--json"]));
    assert_eq!(evaluate()["images"], 4);
    fs::remove_file(folder.join("copy/class 0/3.jpg")).unwrap();
    assert_eq!(evaluate()["images"], 39);

    let output = parareal(folder, &["predict", "whole", "copy/class 1/4.png", "--json"]);
    assert_eq!(json(&output)[0]["answers"][0]["name"], "class 1", "{}", errors(&output));
}

#[test]
fn a_damaged_file_ends_the_run_which_is_resumed_after_its_repair() {
    const BATCH: usize = 120;

    // More images than those on which the normalization is measured, which would find the damage at the start.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for index in 0..1_200 {
        let path = folder.join(format!("images/{}/{index:04}.png", index % 2));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let colour = Rgb([(index % 2 * 200) as u8, (index / 5) as u8, 90]);
        RgbImage::from_pixel(6, 9, colour).save(path).unwrap();
    }
    let small = ["--width", "4", "--epochs", "1", "--batch-size", "120", "--milestones", "none"];
    let start = |output| {
        let arguments = RUN.iter().filter(|word| !["--depth", "11"].contains(word));
        let mut words: Vec<&str> = arguments.copied().collect();
        for flag in ["--epochs", "--batch-size", "--milestones"] {
            let at = words.iter().position(|word| *word == flag).unwrap();
            words.drain(at..at + 2);
        }
        let depth = ["--depth", "11", "--output", output];
        parareal(folder, &[&words[..], &small[..], &depth].concat())
    };
    let output = start("whole");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));

    // Damages a file of a later batch after its header, without changing its length.
    let options = LoadOptions {
        data_dir: Some(folder.join("images")),
        image_size: Some(40),
        ..LoadOptions::default()
    };
    let train = Dataset::load(DatasetName::Folder, &options).unwrap().train;
    let order = epoch_order(train.len(), 1, 1);
    let later: Vec<usize> = order[3 * BATCH..6 * BATCH].to_vec();
    let (path, bytes) = (0..1_200)
        .map(|index| folder.join(format!("images/{}/{index:04}.png", index % 2)))
        .find_map(|path| {
            let bytes = fs::read(&path).unwrap();
            let mut damaged = bytes.clone();
            let middle = damaged.len() - 20;
            damaged[middle] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let is_met = later.iter().any(|&index| train.image(index).is_err());
            let is_suitable = is_met && Dataset::load(DatasetName::Folder, &options).is_ok();
            if !is_suitable {
                fs::write(&path, &bytes).unwrap();
            }
            is_suitable.then_some((path, bytes))
        })
        .unwrap();
    let output = start("run");
    assert_eq!(output.status.code(), Some(2));
    let text = errors(&output);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("error: cannot read ") && last.contains("checksum"), "{text}");
    assert!(last.contains(path.file_name().unwrap().to_str().unwrap()), "{text}");
    // The steps before it are kept.
    assert_eq!(checkpoints(&folder.join("run")).len(), 1);
    let done = losses(&folder.join("run")).len();
    assert!((3..6).contains(&done), "{done} steps");
    fs::write(&path, bytes).unwrap();
    let output = parareal(folder, &["train", "--resume", "--output", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains(&format!("resuming after step {done}")));
    let [whole, run] = ["whole", "run"].map(|run| remains(&folder.join(run)));
    assert_eq!(whole.0, run.0);
    assert!(whole.1.iter().all(|(name, file)| run.1.get(name) == Some(file)));
}

#[test]
fn streamed_images_are_checked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    let set = ["folder", "--data-dir", "images", "--image-size", "40"];
    let check = |json: &[&str]| parareal(folder, &[&["data", "check"], &set[..], json].concat());
    let output = check(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let checked = json(&output);
    assert_eq!((&checked["train"]["images"], &checked["test"]["images"]), (&36.into(), &4.into()));
    let show = [&["data", "show"], &set[..], &["--output", "sheet.png"]].concat();
    let output = parareal(folder, &show);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let sheet = image::open(folder.join("sheet.png")).unwrap();
    // Two classes, each with a line of images and one of their crops.
    assert!(sheet.width() > 8 * 80 && sheet.height() > 4 * 80);
    let path = folder.join("images/class 0/2.png");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("class 0/2.png as a PNG or JPEG image: the file is truncated")
    );
    for (set, size, expected) in [
        ("mnist", "64", "expected 32 as the image size of mnist, got 64"),
        (
            "folder",
            "16",
            "expected a multiple of 4 from 32 to 1024 as the image size of folder, got 16",
        ),
        (
            "folder",
            "33",
            "expected a multiple of 4 from 32 to 1024 as the image size of folder, got 33",
        ),
    ] {
        let output = parareal(folder, &["data", "check", set, "--image-size", size]);
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
    let output = parareal(folder, &["train", "--image-size", "64"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "invalid value `64` for image-size: the images of shapes have 32x32 pixels";
    assert!(errors(&output).contains(expected), "{}", errors(&output));
}
