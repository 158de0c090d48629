//! `bench`: its fields, its files, and invalid flags. No durations are asserted.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::common::{assert_rows_do_not_overlap, errors, json, parareal, train};
use parareal_vision::UnitKind;
use roxmltree::Document;
use serde_json::Value;

fn bench(folder: &Path, more: &[&str]) -> Output {
    let tiny = ["bench", "--depth", "11", "--batch-size", "2", "--repetitions", "1"];
    parareal(folder, &[&tiny[..], more].concat())
}

/// Asserts that all values are positive numbers.
#[track_caller]
fn assert_times<'a>(values: impl IntoIterator<Item = &'a Value>) {
    for value in values {
        assert!(value.as_f64().is_some_and(|number| number > 0.0), "{value}");
    }
}

#[test]
fn a_bench_of_another_width_has_costs_for_that_width() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--subnetworks", "3", "--width", "6", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let benched = json(&output);
    assert_eq!((&benched["network"], &benched["width"]), (&"resnet-11-w6".into(), &6.into()));
    fs::write(folder.path().join("costs.json"), output.stdout).unwrap();
    for (width, code) in [("6", 0), ("16", 2)] {
        let arguments = ["plan", "--depth", "20", "--width", width, "--costs", "costs.json"];
        assert_eq!(parareal(folder.path(), &arguments).status.code(), Some(code), "{width}");
    }
}

#[test]
fn a_bench_reports_all_fields_and_plan_reads_its_costs() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        bench(folder.path(), &["--subnetworks", "1,2,3", "--json", "--timeline", "step.svg"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let benched = json(&output);
    assert_eq!(benched["network"], "resnet-11");
    assert_eq!(benched["batch_size"], 2);
    let rows = benched["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for (row, count) in rows.iter().zip(1..) {
        assert_eq!(row["subnetworks"], count);
        assert_eq!(row["cuts"].as_array().unwrap().len(), count - 1);
        assert_eq!(row["coarse_units"], [0, 1, 1][count - 1]);
        let own = &row["virtual"];
        let passes = ["preprocessing_ms", "subnetworks_ms", "postprocessing_ms", "total_ms"];
        for part in passes {
            assert_times(["forward", "backward"].map(|pass| &own[part][pass]));
        }
        let coarse = ["forward", "backward"].map(|pass| own["coarse_ms"][pass].as_f64().unwrap());
        assert!(coarse.iter().all(|&time| (time > 0.0) == (count > 1)), "{own}");
        for pass in ["forward", "backward"] {
            let parts = [passes[0], passes[1], passes[2], "coarse_ms"];
            let sum: f64 = parts.iter().map(|part| own[part][pass].as_f64().unwrap()).sum();
            assert!((sum - own["total_ms"][pass].as_f64().unwrap()).abs() < 1e-9);
        }
        let each = own["parts"].as_array().unwrap();
        assert_eq!(each.len(), count);
        assert!(each.iter().all(|part| part["spread_ms"]["forward"].is_number()));
        for kind in ["predicted", "measured"] {
            let of = &row[kind];
            assert_times(["devices", "step_ms", "speedup"].map(|key| &of[key]));
            let serial = rows[0][kind]["step_ms"].as_f64().unwrap();
            let gain = serial / of["step_ms"].as_f64().unwrap();
            assert!((gain - of["speedup"].as_f64().unwrap()).abs() < 1e-9);
        }
        assert_eq!(row["predicted"]["devices"], count);
        assert_times(["predicted_ms", "measured_ms", "workers"].map(|key| &row["clock"][key]));
        assert!(row.as_object().unwrap().contains_key("paper") && row["paper"].is_null());
    }
    let picture = fs::read_to_string(folder.path().join("step.svg")).unwrap();
    Document::parse(&picture).unwrap();
    assert!(picture.contains("N = 3") && picture.contains("measured"));

    assert_eq!(benched["width"], 16);
    fs::write(folder.path().join("costs.json"), output.stdout).unwrap();
    for kind in UnitKind::CONVOLUTIONAL.map(UnitKind::name).into_iter().chain(["auto"]) {
        let network = ["plan", "--depth", "20", "--subnetworks", "3", "--coarse-unit", kind];
        let flags = ["--costs", "costs.json", "--cuts", "balanced", "--json"];
        let planned = parareal(folder.path(), &[&network[..], &flags].concat());
        assert_eq!(planned.status.code(), Some(0), "{}", errors(&planned));
        assert_times([&json(&planned)["predicted"]["step_ms"]]);
    }
}

#[test]
fn a_measured_step_is_a_trace_without_overlaps() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--subnetworks", "3", "--workers", "2", "--timeline", "step.json"];
    let output = bench(folder.path(), &flags);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let rows = assert_rows_do_not_overlap(&folder.path().join("step.json"));
    assert_eq!(rows, ["device 1", "device 2"]);
}

/// The paper's times are for ResNet-1001, so they are not shown for another network.
#[test]
fn times_of_the_paper_are_not_shown_for_another_network() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--subnetworks", "3", "--cuts", "balanced"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    for part in [
        "resnet-11, batch 2",
        "Each component timed alone",
        "200 epochs of 50000 images",
        "predicted",
        "measured",
        "The paper's times are not shown: they are for ResNet-1001 with 100 classes",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["131.92/458.87", "2.60x", "27.6 %", "paper's  ", "  paper"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
    assert!(errors(&output).lines().all(|line| line.starts_with("measuring ")));
}

#[test]
fn balanced_cuts_are_chosen_once_and_kept_when_a_run_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--batch-size", "4", "--limit-train", "12", "--limit-test", "0"];
    let flags = ["--cuts", "balanced", "--coarse-unit", "bottleneck", "--output", "run"];
    // Six units can be cut into three in ten ways.
    let network = ["train", "--depth", "20", "--subnetworks", "3", "--epochs", "1", "--json"];
    let output = parareal(folder.path(), &[&network[..], &small, &flags].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let outcome = json(&output);
    assert_eq!(outcome["steps"], 3);
    let cuts = || {
        let config = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
        config.lines().find(|line| line.starts_with("cuts = ")).unwrap().to_string()
    };
    let chosen = cuts();
    let positions = chosen.trim_start_matches("cuts = ").trim_matches('"').split(',');
    let positions: Vec<usize> = positions.map(|cut| cut.parse().unwrap()).collect();
    assert!(matches!(positions[..], [a, b] if 0 < a && a < b && b < 6), "{chosen}");
    let more = ["train", "--resume", "--output", "run", "--epochs", "2"];
    let output = parareal(folder.path(), &more);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(!errors(&output).contains("measuring the costs"), "{}", errors(&output));
    // Repeating the flag keeps the cuts, without another measurement.
    let again = [&more[..5], &["3", "--cuts", "balanced"]].concat();
    let output = parareal(folder.path(), &again);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(cuts(), chosen);
}

#[test]
fn a_run_with_one_subnetwork_and_balanced_cuts_can_be_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--batch-size", "4", "--limit-train", "8", "--limit-test", "4", "--epochs", "1"];
    let flags = ["--subnetworks", "1", "--cuts", "balanced", "--output", "run"];
    train(folder.path(), &[&small[..], &flags].concat());
    let output = parareal(folder.path(), &["eval", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn wrong_use_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there.svg"), "mine").unwrap();
    for (arguments, expected) in [
        (&["--subnetworks", "0"][..], "expected at least 1 subnetwork"),
        (&["--subnetworks", "99"], "99 subnetworks"),
        (&["--subnetworks", "1,x"], "invalid value `x` for --subnetworks: expected a whole number"),
        (&["--depth", "12"], "try 11 or 20"),
        (&["--cuts", "1,2"], "even or balanced"),
        (&["--cuts", "balanced", "--depth", "6005"], "for at most 2000 units"),
        (&["--coarse-unit", "square"], "basic, bottleneck, depthwise"),
        (&["--batch-size", "0"], "invalid value `0` for batch-size"),
        (&["--repetitions", "0"], "invalid value `0` for repetitions"),
        (&["--threads", "0"], "invalid value `0` for threads"),
        (&["--workers", "0"], "invalid value `0` for workers"),
        (&["--workers", "auto"], "expected a whole number; only `train` chooses it"),
        (&["--classes", "0"], "invalid value `0` for classes"),
        (&["--images", "0"], "invalid value `0` for --images"),
        (&["--epochs", "0"], "invalid value `0` for --epochs"),
        (&["--device", "rocm:77"], "available: cpu"),
        (&["--timeline", "step.txt"], "a name that ends in .json"),
        (&["--timeline", "there.svg"], "there.svg already exists"),
        (&["--overwrite"], "--overwrite requires --timeline"),
    ] {
        let all: Vec<&str> = ["--depth", "11", "--subnetworks", "3"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let own = ["--depth", "--subnetworks"].iter().any(|flag| arguments.contains(flag));
        let all = if own { arguments.to_vec() } else { all };
        let output = parareal(folder.path(), &[&["bench"], &all[..]].concat());
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty());
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("there.svg")).unwrap(), "mine");
}

#[test]
fn networks_of_each_family_and_other_image_sizes_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    for (network, width, size, name) in [
        ("vgg16", "2", "64", "vgg16-w2-64px"),
        ("resnet50", "2", "64", "resnet50-w2-64px"),
        ("vit-tiny-8", "6", "32", "vit-tiny-8-w6"),
    ] {
        let output = parareal(
            folder.path(),
            &[
                "bench",
                "--network",
                network,
                "--width",
                width,
                "--image-size",
                size,
                "--subnetworks",
                "2",
                "--batch-size",
                "2",
                "--repetitions",
                "1",
                "--json",
            ],
        );
        assert!(output.status.success(), "{}", errors(&output));
        let benched: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(benched["network"], name);
    }
    let output = parareal(folder.path(), &["bench", "--image-size", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("a multiple of 4 from 32 to 1024"), "{}", errors(&output));
}
