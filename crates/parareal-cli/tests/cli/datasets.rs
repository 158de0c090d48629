//! Training on every data set, with N = 3.
use std::fs;

use parareal_testing::real_images;
use serde_json::Value;

use crate::common::{errors, metrics, parareal, train};

/// Colors of three classes that any network can distinguish.
const COLOURS: [[u8; 3]; 3] = [[230, 20, 20], [20, 230, 20], [20, 20, 230]];

#[test]
#[ignore = "needs real images: set PARAREAL_DATA_DIR"]
fn a_network_trains_on_real_images() {
    let data_dir = real_images(&["mnist", "cifar-10", "svhn"]);
    let data_dir = data_dir.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for dataset in ["mnist", "cifar10", "svhn"] {
        let more = ["--dataset", dataset, "--data-dir", data_dir, "--output", dataset];
        let outcome = train(folder.path(), &more);
        assert_eq!((&outcome["epochs"], &outcome["steps"]), (&1.into(), &3.into()));
        assert!(outcome["test_error"].as_f64().unwrap() < 1.0);
    }
}

#[test]
fn cifar_100_in_its_canonical_layout_trains() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("cifar-100/cifar-100-binary");
    fs::create_dir_all(&layout).unwrap();
    for (name, images) in [("train.bin", 300), ("test.bin", 60)] {
        let records = (0..images).flat_map(|index| {
            let colour = COLOURS[index % 3];
            // The coarse label, then the fine label, which is the class: 7, 49 or 91.
            let labels = [(index % 20) as u8, 7 + 42 * (index % 3) as u8];
            let shade = (index % 16) as u8;
            let pixels = colour.into_iter().flat_map(move |value| [value + shade; 1024]);
            labels.into_iter().chain(pixels)
        });
        fs::write(layout.join(name), records.collect::<Vec<_>>()).unwrap();
    }
    let more = ["--dataset", "cifar100", "--data-dir", ".", "--output", "run"];
    let more = [&more[..], &["--limit-train", "300", "--batch-size", "8"]].concat();
    let outcome = train(folder.path(), &more);
    assert!(outcome["test_error"].as_f64().unwrap() < 0.1, "{outcome}");
    let output = parareal(folder.path(), &["eval", "run", "--json"]);
    let evaluated = crate::common::json(&output);
    assert_eq!(evaluated["test_error"], outcome["test_error"]);
    assert_eq!(evaluated["test_top5_error"], 0.0);
}

#[test]
fn a_folder_of_images_by_class_trains() {
    let folder = tempfile::tempdir().unwrap();
    for (class, colour) in COLOURS.into_iter().enumerate() {
        let classes = folder.path().join(format!("images/class {class}"));
        fs::create_dir_all(&classes).unwrap();
        for index in 0..30 {
            let shaded = image::Rgb(colour.map(|value| value + index % 16));
            let picture = image::RgbImage::from_pixel(40 + u32::from(index), 30, shaded);
            picture.save(classes.join(format!("{index}.png"))).unwrap();
        }
    }
    let more = ["--dataset", "folder", "--data-dir", "images", "--output", "run"];
    let more = [&more[..], &["--epochs", "3", "--batch-size", "8"]].concat();
    let outcome = train(folder.path(), &more);
    assert!(outcome["test_error"].as_f64().unwrap() < 0.2, "{outcome}");
    assert_eq!(metrics(&folder.path().join("run"), "epoch").len(), 3);
    let image = "images/class 1/3.png";
    let output = parareal(folder.path(), &["predict", "run", image, "--json"]);
    let answer = &crate::common::json(&output)[0]["answers"][0];
    assert_eq!(answer["name"], "class 1", "{}", errors(&output));
}

#[test]
fn a_folder_may_have_more_classes_than_a_byte_can_number() {
    const CLASSES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    for split in ["train", "test"] {
        for class in 0..CLASSES {
            let classes = folder.path().join(format!("images/{split}/class {class:03}"));
            fs::create_dir_all(&classes).unwrap();
            let color = image::Rgb([class as u8, (class / 2) as u8, 90]);
            image::RgbImage::from_pixel(8, 8, color).save(classes.join("0.png")).unwrap();
        }
    }
    let data = ["train", "--dataset", "folder", "--data-dir", "images", "--output", "run"];
    let network = ["--depth", "11", "--width", "2", "--epochs", "1", "--batch-size", "60"];
    let output = parareal(folder.path(), &[&data[..], &network].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let output = parareal(folder.path(), &["eval", "run", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let evaluations = folder.path().join("run/evaluations");
    let file = fs::read_dir(evaluations).unwrap().next().unwrap().unwrap().path();
    let record: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let rows = record["confusion"].as_array().unwrap();
    assert_eq!(rows.len(), CLASSES);
    for row in rows {
        let counts = row.as_array().unwrap();
        let images: u64 = counts.iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!((counts.len(), images), (CLASSES, 1));
    }
    let output = parareal(folder.path(), &["predict", "run", "images/test/class 299/0.png"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}
