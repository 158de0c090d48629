//! Images other than the training set: `predict`, and `eval` on another folder.

use std::fs;
use std::path::Path;

use crate::common::{errors, json, parareal, train};
use image::{GrayImage, Luma, Rgb, RgbImage};
use parareal_text::in_hexadecimal;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn picture(path: &Path, color: [u8; 3], index: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let shade = |x: u32, y: u32| Rgb(color.map(|value| value + (x + y) as u8 / 8 + index));
    RgbImage::from_fn(32, 32, shade).save(path).unwrap();
}

/// Writes `count` images of each class.
fn classes(folder: &Path, classes: &[(&str, [u8; 3])], count: u8) {
    for (name, color) in classes {
        for index in 0..count {
            picture(&folder.join(format!("{name}/{index}.png")), *color, index);
        }
    }
}

const RED: (&str, [u8; 3]) = ("red", [220, 40, 40]);
const GREEN: (&str, [u8; 3]) = ("green", [40, 200, 40]);
const BLUE: (&str, [u8; 3]) = ("blue", [40, 40, 220]);

fn eval(folder: &Path, more: &[&str]) -> Value {
    let output = parareal(folder, &[&["eval", "run", "--json"], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    json(&output)
}

#[track_caller]
fn assert_refused(folder: &Path, arguments: &[&str], words: &str) {
    let output = parareal(folder, arguments);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    let last = message.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains(words), "{message}");
}

/// Writes files of MNIST with `count` images each: bright rectangles whose position gives the
/// class.
fn digits(folder: &Path, count: u8) -> Vec<GrayImage> {
    fs::create_dir_all(folder).unwrap();
    let digit = |index: u8| {
        let (row, column) = (u32::from(index) % 10 / 5 * 14, u32::from(index) % 5 * 5);
        let inside = |x, y| (column..column + 7).contains(&x) && (row..row + 13).contains(&y);
        let noise = move |x, y| (x * 7 + y * 13 + u32::from(index)) % 60;
        GrayImage::from_fn(28, 28, |x, y| {
            Luma([if inside(x, y) { 250 - noise(x, y) as u8 } else { noise(x, y) as u8 }])
        })
    };
    let images: Vec<GrayImage> = (0..count).map(digit).collect();
    let pixels: Vec<u8> = images.iter().flat_map(|image| image.as_raw().clone()).collect();
    let labels: Vec<u8> = (0..count).map(|index| index % 10).collect();
    let file = |kind: u8, rest: &[u8], items: &[u8]| {
        [&[0, 0, 8, kind, 0, 0, 0, count], rest, items].concat()
    };
    for split in ["train", "t10k"] {
        let [image_file, label_file] =
            [format!("{split}-images-idx3-ubyte"), format!("{split}-labels-idx1-ubyte")];
        let size = [0, 0, 0, 28, 0, 0, 0, 28];
        fs::write(folder.join(image_file), file(3, &size, &pixels)).unwrap();
        fs::write(folder.join(label_file), file(1, &[], &labels)).unwrap();
    }
    images
}

#[test]
fn images_of_digits_are_prepared_as_in_training() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = digits(&folder.join("mnist"), 60);
    // The folder of the files itself is accepted as well.
    let more = ["--dataset", "mnist", "--data-dir", "mnist", "--output", "run"];
    train(
        folder,
        &[&more[..], &["--epochs", "10", "--batch-size", "8", "--limit-test", "60"]].concat(),
    );
    let evaluation = eval(folder, &[]);
    assert_eq!(evaluation["images"], 60);
    let mut all = Vec::new();
    for padding in [0, 2] {
        let names: Vec<String> = (0..images.len()).map(|index| format!("{index}.png")).collect();
        for (image, name) in images.iter().zip(&names) {
            let mut framed = GrayImage::new(28 + 2 * padding, 28 + 2 * padding);
            image::imageops::replace(&mut framed, image, padding.into(), padding.into());
            framed.save(folder.join(name)).unwrap();
        }
        let arguments: Vec<&str> = ["predict", "run", "--json"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        let predicted = json(&parareal(folder, &arguments));
        let predicted = predicted.as_array().unwrap();
        let wrong = predicted
            .iter()
            .enumerate()
            .filter(|(index, predicted)| predicted["answers"][0]["class"] != index % 10);
        assert_eq!(wrong.count(), evaluation["wrong"].as_u64().unwrap() as usize);
        all.push(
            predicted.iter().map(|predicted| predicted["answers"].clone()).collect::<Vec<_>>(),
        );
    }
    assert_eq!(all[0], all[1]);
    let words =
        "its images have shape 3x32x32 (channels, rows, columns), but the network expects 1x32x32";
    assert_refused(folder, &["eval", "run", "--dataset", "shapes"], words);
}

#[test]
fn other_images_are_evaluated_with_the_classes_and_the_normalization_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    classes(&folder.join("own"), &[RED, GREEN, BLUE], 20);
    let more = ["--dataset", "folder", "--data-dir", "own", "--output", "run"];
    train(folder, &[&more[..], &["--epochs", "6", "--batch-size", "8"]].concat());
    assert_eq!(eval(folder, &[])["wrong"], 0);
    // As a separate data set, red and green would have the numbers 1 and 0, and another normalization.
    classes(&folder.join("other"), &[RED, GREEN], 10);
    let evaluation = eval(folder, &["--data-dir", "other"]);
    assert_eq!((&evaluation["wrong"], &evaluation["images"]), (&0.into(), &20.into()));
    // Test images need no training images next to them, and no second class.
    classes(&folder.join("tests/test"), &[GREEN], 3);
    let evaluation = eval(folder, &["--data-dir", "tests"]);
    assert_eq!((&evaluation["wrong"], &evaluation["images"]), (&0.into(), &3.into()));
    let evaluation = eval(folder, &["--data-dir", "tests", "--limit-test", "2"]);
    assert_eq!(evaluation["images"], 2);
    // Images that the network was trained on are not evaluated, by whatever path they are found.
    for data_dir in ["./own", "own/red/.."] {
        let evaluation = eval(folder, &["--data-dir", data_dir]);
        assert_eq!((&evaluation["wrong"], &evaluation["images"]), (&0.into(), &6.into()));
    }
    classes(&folder.join("unknown"), &[RED, BLUE, ("azure", [0, 200, 200])], 10);
    let arguments = ["eval", "run", "--data-dir", "unknown"];
    assert_refused(folder, &arguments, "unknown class `azure`: expected one of blue, green, red");

    let renamed = "the classes of the images differ from those of run: expected blue, \
                   green, red, got azure, blue, red";
    let start = ["train", "--depth", "11", "--subnetworks", "3", "--init-from", "run"];
    let more = ["--dataset", "folder", "--data-dir", "unknown", "--output", "next"];
    let output = parareal(folder, &[&start[..], &more].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains(": expected blue, green, red, got azure, blue, red"));
    // The same images in the same order, with another class name.
    fs::rename(folder.join("own/blue"), folder.join("own/azure")).unwrap();
    let arguments = ["train", "--resume", "--output", "run", "--epochs", "7"];
    assert_refused(folder, &arguments, &renamed.replace("azure, blue, red", "azure, green, red"));
}

#[test]
fn a_damaged_image_does_not_prevent_answers_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--output", "run"]);
    picture(&folder.join("a.png"), RED.1, 0);
    picture(&folder.join("c.png"), BLUE.1, 0);
    fs::write(folder.join("b.png"), "no image").unwrap();
    let arguments = ["predict", "run", "a.png", "b.png", "c.png"];
    let output = parareal(folder, &arguments);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let starts: Vec<&str> = text.lines().map(|line| &line[..7]).collect();
    assert_eq!(starts, ["a.png: ", "c.png: "]);
    assert_eq!(errors(&output).lines().count(), 1);
    assert!(errors(&output).starts_with("error: cannot read b.png"));
    let output = parareal(folder, &[&arguments[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let value = json(&output);
    assert_eq!(value[1]["path"], "b.png");
    assert!(value[1]["error"].as_str().unwrap().starts_with("cannot read b.png"));
    assert_eq!(value[1].get("answers"), None);
    for good in [&value[0], &value[2]] {
        assert_eq!(good["answers"].as_array().unwrap().len(), 5);
        assert_eq!(good.get("error"), None);
    }

    // A folder is replaced by its images, sorted by name. An empty folder does not affect the other
    // predictions.
    fs::create_dir_all(folder.join("own/deeper")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    for name in ["own/b.png", "own/a.png", "own/deeper/c.png"] {
        picture(&folder.join(name), RED.1, 0);
    }
    fs::write(folder.join("own/notes.txt"), "no image").unwrap();
    let output = parareal(folder, &["predict", "run", "c.png", "empty", "own"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let names: Vec<&str> = text.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(names, ["c.png", "own/a.png", "own/b.png"]);
    assert_eq!(
        errors(&output),
        "error: empty: no PNG or JPEG files (.png, .jpg, .jpeg) in this folder\n"
    );
    // In earlier versions, the run was given by a flag.
    let output = parareal(folder, &["predict", "--run", "run", "own", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(json(&output).as_array().unwrap().len(), 2);
}

/// Replaces the last value of the first weights file by NaN, and adapts the checksums so that the
/// checkpoint remains valid.
fn make_not_finite(checkpoint: &Path) {
    let [weights, manifest] = ["subnetwork-01.weights.safetensors", "manifest.json"];
    let sum = |bytes: &[u8]| in_hexadecimal(&Sha256::digest(bytes));
    let mut bytes = fs::read(checkpoint.join(weights)).unwrap();
    let before = sum(&bytes);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(checkpoint.join(weights), &bytes).unwrap();
    let text = fs::read_to_string(checkpoint.join(manifest)).unwrap();
    let text = text.replace(&before, &sum(&bytes));
    fs::write(checkpoint.join(manifest), &text).unwrap();
    let line = format!("{}  {manifest}\n", sum(text.as_bytes()));
    fs::write(checkpoint.join("manifest.sha256"), line).unwrap();
}

#[test]
fn scores_that_are_not_finite_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    picture(&folder.join("a.png"), RED.1, 0);
    let run = train(folder, &["--output", "run"]);
    let checkpoint = format!("run/checkpoints/step-{:08}", run["steps"].as_u64().unwrap());
    make_not_finite(&folder.join(&checkpoint));
    let words = format!("{checkpoint}: the scores of the network are not finite");
    let words = words.as_str();
    assert_refused(folder, &["predict", "run", "a.png"], words);
    assert_refused(folder, &["eval", "run"], words);
}

#[test]
fn evaluating_changed_images_does_not_change_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    classes(&folder.join("own"), &[("day", [170; 3]), ("night", [60; 3])], 8);
    #[rustfmt::skip]
    let output = parareal(folder, &[
        "train", "--depth", "11", "--subnetworks", "2", "--dataset", "folder", "--data-dir", "own",
        "--epochs", "1", "--batch-size", "8", "--output", "run",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let evaluation = || {
        let files = fs::read_dir(folder.join("run/evaluations")).unwrap();
        files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect::<Vec<_>>()
    };
    let before = evaluation();
    assert_eq!(before.len(), 1);
    picture(&folder.join("own/day/99.png"), [170; 3], 9);
    let output = parareal(folder, &["eval", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let note = "note: the details were not saved, because the images differ";
    assert!(errors(&output).contains(note), "{}", errors(&output));
    assert!(evaluation() == before);
}
