//! Effects of the settings of a recipe.

use std::fs;

use crate::common::{TINY, errors, json, metrics, parareal, train};

#[test]
fn schedule_smoothing_clipping_and_momentum_are_equal_between_the_executors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    #[rustfmt::skip]
    let recipe = [
        "--epochs", "2",
        "--schedule", "cosine",
        "--warmup-epochs", "0.5",
        "--nesterov",
        "--decay-weights-only",
        "--random-erasing", "0.5",
        "--trivial-augment",
        "--mixup", "0.4",
        "--cutmix", "1",
        "--label-smoothing", "0.1",
        "--clip-norm", "1.5",
        "--ema-decay", "0.5",
        // A coarse unit with few operations, and small steps, so that rounding differences stay small. They grow with each
        // step once one of them changes the sign of a value before a ReLU.
        "--coarse-unit", "bottleneck",
        "--coarse-units", "1",
        "--learning-rate", "0.005",
    ];
    let is_kept = |pair: &&[&str]| !["--epochs", "--learning-rate"].contains(&pair[0]);
    let kept: Vec<&str> = TINY.chunks(2).filter(is_kept).flatten().copied().collect();
    for (name, more) in [("a", ["--workers", "3"]), ("b", ["--executor", "sequential"])] {
        let arguments = [&["train"], &kept[..], &recipe, &more, &["--output", name]].concat();
        let output = parareal(folder, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    }
    let [a, b] = ["a", "b"].map(|name| metrics(&folder.join(name), "step"));
    assert_eq!(a.len(), 6);
    // A warm-up of a step and a half, then half a cosine until the end.
    let cosine =
        |passed: f64| 0.005 * 0.5 * (1.0 + (std::f64::consts::PI * (passed - 0.5) / 1.5).cos());
    let third = 1.0 / 3.0;
    let rates = [0.005 * third / 0.5, 0.005, cosine(2.0 * third), cosine(1.0)];
    for (step, rate) in a.iter().zip(rates) {
        assert!((step["learning_rate"].as_f64().unwrap() - rate).abs() < 1e-12, "{step} {rate}");
    }
    for (a, b) in a.iter().zip(&b) {
        for key in ["loss", "gradient_norm"] {
            let [a, b] = [a, b].map(|step| step[key].as_f64().unwrap());
            assert!((a - b).abs() < 1e-3 * b.abs(), "{key}: {a} {b}");
        }
    }
    let [a, b] = ["a", "b"].map(|name| metrics(&folder.join(name), "epoch"));
    for (a, b) in a.iter().zip(&b) {
        let [a, b] = [a, b].map(|epoch| epoch["test_loss"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-3 * b.abs(), "{a} {b}");
    }
    let config = fs::read_to_string(folder.join("a/config.toml")).unwrap();
    for line in [
        "nesterov = true",
        "decay-weights-only = true",
        "random-erasing = 0.5",
        "mixup = 0.4",
        "cutmix = 1.0",
        "schedule = \"cosine\"",
        "warmup-epochs = 0.5",
    ] {
        assert!(config.contains(line), "{config}");
    }
}

#[test]
fn augmentation_changes_the_first_step_and_the_decay_of_vectors_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let losses = |name: &str, more: &[&str]| -> Vec<f64> {
        let output = ["--output", name, "--limit-test", "0", "--weight-decay", "0.5"];
        train(folder.path(), &[&output, more].concat());
        let steps = metrics(&folder.path().join(name), "step");
        steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect()
    };
    let plain = losses("plain", &[]);
    let off = ["--random-erasing", "0", "--mixup", "0", "--cutmix", "0"];
    assert_eq!(plain, losses("off", &[&off[..], &["--decay-weights-only=false"]].concat()));
    let decayed = losses("decayed", &["--decay-weights-only"]);
    assert!(plain[0] == decayed[0] && plain[1] != decayed[1], "{plain:?} {decayed:?}");
    let erased = losses("erased", &["--random-erasing", "0.5"]);
    assert!(plain[0] != erased[0], "{plain:?} {erased:?}");
    let operated = losses("operated", &["--trivial-augment"]);
    assert!(plain[0] != operated[0], "{plain:?} {operated:?}");
    let [added, pasted] =
        ["mixup", "cutmix"].map(|name| losses(name, &[&format!("--{name}"), "1"]));
    assert!(plain[0] != added[0] && plain[0] != pasted[0], "{plain:?} {added:?} {pasted:?}");
    assert_ne!(added, pasted);
}

#[test]
fn mixing_is_announced_and_leaves_a_last_batch_of_one_image_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    #[rustfmt::skip]
    let train = |more: &[&str]| {
        let tiny = ["train", "--depth", "11", "--limit-train", "17", "--epochs", "1", "--limit-test", "0"];
        parareal(folder, &[&tiny[..], more].concat())
    };
    // No step learns anything, so that the second step depends on its batch alone.
    let still = ["--batch-size", "16", "--learning-rate", "1e-30", "--weight-decay", "0"];
    let losses = |name: &str, more: &[&str]| -> (Vec<f64>, String) {
        let output = train(&[&still[..], &["--output", name], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let steps = metrics(&folder.join(name), "step");
        (steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect(), errors(&output))
    };
    let (plain, quiet) = losses("plain", &[]);
    let (mixed, told) = losses("mixed", &["--mixup", "1"]);
    assert!(plain[0] != mixed[0] && plain[1] == mixed[1], "{plain:?} {mixed:?}");
    let note = "note: training images are mixed: the training error counts the label with the larger share";
    assert!(told.contains(note) && !quiet.contains("mixed"), "{told}");
    let refused = train(&["--batch-size", "1", "--cutmix", "1", "--output", "one"]);
    assert_eq!(refused.status.code(), Some(2));
    let message = "invalid value `1` for cutmix: requires batches of at least 2 images";
    assert!(errors(&refused).contains(message), "{}", errors(&refused));
}

#[test]
fn the_best_epoch_is_chosen_by_held_out_images_and_patience_ends_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The learning rate is too small for any progress.
    #[rustfmt::skip]
    let output = parareal(folder, &[
        "train", "--depth", "11", "--limit-train", "80", "--limit-test", "20",
        "--batch-size", "16", "--learning-rate", "1e-9", "--epochs", "9",
        "--validation", "0.2", "--patience", "2", "--output", "run",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let run = folder.join("run");
    // 64 of the 80 images are left for training.
    let epochs = metrics(&run, "epoch");
    assert_eq!(metrics(&run, "step").len(), 4 * epochs.len());
    let errors_of: Vec<f64> =
        epochs.iter().map(|epoch| epoch["validation_error"].as_f64().unwrap()).collect();
    assert!(errors_of.iter().all(|error| (error * 16.0).fract() == 0.0), "{errors_of:?}");
    let lowest = errors_of.iter().copied().fold(f64::INFINITY, f64::min);
    let best = errors_of.iter().position(|&error| error == lowest).unwrap();
    assert!(epochs.len() < 9 && epochs.len() == best + 3, "{errors_of:?}");
    let chosen = fs::read_to_string(run.join("checkpoints/best.json")).unwrap();
    assert!(chosen.contains(&format!("\"step\":{}", 4 * (best + 1))), "{chosen}");
    assert_eq!(metrics(&run, "end").len(), 1);

    // The run has ended, so resuming it changes nothing.
    let output = parareal(folder, &["train", "--resume", "--output", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(metrics(&run, "epoch"), epochs);
}

#[test]
fn a_trained_network_classifies_images_and_is_exported_as_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--output", "run"]);
    let picture = image::RgbImage::from_fn(50, 40, |x, y| image::Rgb([x as u8, y as u8, 200]));
    picture.save(folder.join("a.png")).unwrap();
    picture.save(folder.join("b.jpeg")).unwrap();
    // The format is recognized by the first bytes, not by the extension.
    fs::copy(folder.join("b.jpeg"), folder.join("c.png")).unwrap();
    let predict = |more: &[&str]| parareal(folder, &[&["predict", "run"], more].concat());
    let answered = crate::common::json(&predict(&["a.png", "b.jpeg", "c.png", "--json"]));
    let answered = answered.as_array().unwrap();
    assert_eq!(answered.len(), 3);
    assert_eq!(answered[1]["answers"], answered[2]["answers"]);
    let likely = answered[0]["answers"].as_array().unwrap();
    assert_eq!(likely.len(), 5);
    let shares: Vec<f64> = likely.iter().map(|a| a["probability"].as_f64().unwrap()).collect();
    assert!(shares.is_sorted_by(|a, b| a >= b) && shares.iter().sum::<f64>() <= 1.0 + 1e-9);
    let text = predict(&["a.png"]);
    assert!(String::from_utf8_lossy(&text.stdout).starts_with("a.png: "));
    fs::write(folder.join("d.png"), "no image").unwrap();
    for name in ["d.png", "e.png"] {
        let output = predict(&[name]);
        assert_eq!(output.status.code(), Some(2));
        let message = errors(&output);
        assert!(message.contains(name) && message.lines().count() == 1, "{message}");
    }

    let export = || parareal(folder, &["export", "run", "--output", "w.safetensors", "--json"]);
    let exported = crate::common::json(&export());
    let bytes = fs::read(folder.join("w.safetensors")).unwrap();
    assert_eq!(exported["bytes"], bytes.len());
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let tensors = header.as_object().unwrap();
    assert_eq!(tensors["__metadata__"]["network"], "resnet-11");
    assert_eq!(exported["tensors"], tensors.len() - 1);
    assert_eq!(tensors["postprocessing.linear.weight"]["shape"].to_string(), "[10,256]");
    let output = export();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("pass --overwrite"), "{}", errors(&output));
    let again = ["export", "--run", "run", "--output", "w.safetensors", "--overwrite"];
    assert_eq!(parareal(folder, &again).status.code(), Some(0));
    assert!(fs::read(folder.join("w.safetensors")).unwrap() == bytes);
}

#[test]
fn runs_are_compared_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--output", "a"]);
    train(folder, &["--output", "b", "--seed", "2"]);
    let evaluated = parareal(folder, &["eval", "a"]);
    assert_eq!(evaluated.status.code(), Some(0), "{}", errors(&evaluated));
    let path = "a/evaluations/step-00000003.json";
    assert!(errors(&evaluated).contains(&format!("are in {path}")), "{}", errors(&evaluated));
    let text = String::from_utf8_lossy(&evaluated.stdout);
    assert!(text.contains(", top-5 error "), "{text}");
    let details = fs::read_to_string(folder.join(path)).unwrap();
    let details: serde_json::Value = serde_json::from_str(&details).unwrap();
    let confusion = details["confusion"].as_array().unwrap();
    let counts = confusion.iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 50);
    // An evaluation on other images does not overwrite the details.
    let other = json(&parareal(folder, &["eval", "a", "--limit-test", "10", "--json"]));
    assert!(other["details"].is_null());
    let after = fs::read_to_string(folder.join(path)).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&after).unwrap(), details);

    let report = |more: &[&str]| {
        parareal(folder, &[&["report", "a", "b", "--output", "page.html"], more].concat())
    };
    assert_eq!(report(&[]).status.code(), Some(0));
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("confusion") && !page.contains("src=\"http"));
    let again = report(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(errors(&again).contains("--overwrite"), "{}", errors(&again));
    assert_eq!(report(&["--overwrite"]).status.code(), Some(0));
    let none = parareal(folder, &["report", "c", "--output", "other.html"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(!folder.join("other.html").exists());
}

#[test]
fn data_sets_are_checked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let checked = crate::common::json(&parareal(folder, &["data", "check", "shapes", "--json"]));
    assert_eq!(checked["class_names"].as_array().unwrap().len(), 10);
    let text = parareal(folder, &["data", "check", "shapes"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("fingerprint"));
    let show = || parareal(folder, &["data", "show", "shapes", "--output", "sheet.png"]);
    assert_eq!(show().status.code(), Some(0));
    let sheet = image::open(folder.join("sheet.png")).unwrap();
    assert!(sheet.width() > 8 * 64 && sheet.height() > 10 * 64);
    assert_eq!(show().status.code(), Some(2));
    let again = ["data", "show", "shapes", "--output", "sheet.png", "--overwrite"];
    assert_eq!(parareal(folder, &again).status.code(), Some(0));
    let pixels = |more: &[&str]| {
        assert_eq!(parareal(folder, &[&again[..], more].concat()).status.code(), Some(0));
        image::open(folder.join("sheet.png")).unwrap()
    };
    let plain = pixels(&[]);
    assert_eq!(plain, pixels(&["--mixup", "0"]));
    // The images after mixing are drawn below those before.
    let [added, pasted] = ["--mixup", "--cutmix"].map(|flag| pixels(&[flag, "1"]));
    assert!(added.height() > plain.height() && added.height() == pasted.height());
    assert_ne!(added, pasted);
    let refused = parareal(folder, &[&again[..], &["--cutmix", "-1"]].concat());
    assert_eq!(refused.status.code(), Some(2));
    let message = "invalid value `-1` for cutmix: expected 0 for none, or a positive number";
    assert!(errors(&refused).contains(message) && errors(&refused).lines().count() == 1);
    for arguments in [&["data", "check", "mnist"][..], &["data", "check", "cats"]] {
        assert_eq!(parareal(folder, arguments).status.code(), Some(2));
    }
}
