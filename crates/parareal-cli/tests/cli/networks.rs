//! Networks other than the paper's.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{errors, json, parareal};

/// A wide residual network of three units, with few channels.
const WIDE: [&str; 4] = ["--network", "wide-resnet-10-2", "--width", "3"];

#[track_caller]
fn run(folder: &Path, command: &str, more: &[&str]) -> Value {
    let output = parareal(folder, &[&[command][..], &WIDE, more, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    json(&output)
}

#[test]
fn a_wide_residual_network_is_timed_planned_trained_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bench = ["--subnetworks", "1,3", "--batch-size", "2", "--repetitions", "1"];
    let benched = run(folder, "bench", &bench);
    assert_eq!(benched["network"], "wide-resnet-10-2-w3");
    fs::write(folder.join("costs.json"), benched.to_string()).unwrap();
    let planned = run(folder, "plan", &["--subnetworks", "3", "--costs", "costs.json"]);
    assert_eq!(planned["network"], "wide-resnet-10-2-w3");
    // A stage has one unit.
    assert_eq!(planned["cuts"], serde_json::json!([1, 2]));
    let suggested = run(folder, "plan", &["--suggest", "--batch-size", "2"]);
    let command = suggested["predicted"]["command"].as_str().unwrap();
    assert!(command.contains(" train --network wide-resnet-10-2 --width 3 "), "{command}");

    let images =
        ["--limit-train", "32", "--limit-test", "20", "--batch-size", "16", "--epochs", "1"];
    run(folder, "train", &[&images[..], &["--subnetworks", "3", "--output", "cut"]].concat());
    let config = fs::read_to_string(folder.join("cut/config.toml")).unwrap();
    for line in ["network = \"wide-resnet-10-2\"", "depth = 10"] {
        assert!(config.lines().any(|found| found == line), "{config}");
    }
    let evaluated = parareal(folder, &["eval", "cut"]);
    assert_eq!(evaluated.status.code(), Some(0), "{}", errors(&evaluated));

    // Units of a shallower wide network, and of another kind.
    let deeper = ["--network", "wide-resnet-16-2", "--width", "3", "--subnetworks", "1"];
    let start = ["--init-from", "cut", "--output", "deep"];
    let output = parareal(folder, &[&["train"][..], &deeper, &images, &start].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let text = errors(&output);
    let part = "3 units are new, with residual 0; weights of the other 3 are those of ";
    assert!(text.contains(part), "{text}");

    let other = ["--depth", "20", "--width", "3", "--init-from", "cut", "--output", "none"];
    let output = parareal(folder, &[&["train"][..], &images, &other].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("a network of bottleneck units, got basic"),
        "{}",
        errors(&output)
    );
    assert!(!folder.join("none").exists());
}

#[test]
fn networks_that_do_not_exist_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--network", "vgg"][..], "expected resnet-D, wide-resnet-D-K, vgg16, resnet50,"),
        (&["--network", "resnet-50"], "expected a depth of 9n+2; try 47 or 56, or resnet50"),
        (
            &["--network", "vit-tiny-7"],
            "expected a multiple of 7 for vit-tiny-7, or a network with",
        ),
        (
            &["--network", "vit-tiny-8", "--coarse-unit", "basic"],
            "expected auto, transformer or none",
        ),
        (&["--network", "vgg16", "--coarse-unit", "transformer"], "only a vision transformer can"),
        (&["--network", "vgg16", "--image-size", "36"], "expected a multiple of 32 for vgg16"),
        (&["--network", "wide-resnet-27-2"], "expected a depth of 6n+4; try 22 or 28"),
        (&["--network", "wide-resnet-28-1"], "a widening factor of at least 2"),
        (&["--network", "wide-resnet-28-2", "--depth", "20"], "has 28 layers; leave it unset"),
        (
            &["--network", "wide-resnet-28-1000"],
            "`wide-resnet-28-1000` for network: expected a network of",
        ),
        (
            &["--network", "resnet50", "--width", "900"],
            "`900` for width: expected a network of at most",
        ),
        (&["--network", "wide-resnet-28-2", "--costs", "paper"], "the paper's Table 2"),
    ] {
        let output = parareal(folder.path(), &[&["plan"], arguments].concat());
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(part) && message.lines().count() == 1, "{message}");
    }
}

#[test]
fn a_batch_of_one_image_that_has_one_pixel_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let train = |network: &str, more: &[&str]| {
        let arguments = ["train", "--network", network, "--width", "4", "--limit-test", "10"];
        let output = parareal(folder.path(), &[&arguments[..], &["--epochs", "1"], more].concat());
        (output.status.code(), errors(&output))
    };
    const NINE: [&str; 4] = ["--limit-train", "9", "--batch-size", "8"];
    // ResNet-50 halves 32x32 pixels five times. VGG-16 does so four times, and its coarse network once more.
    for (network, more) in [
        ("resnet50", &NINE[..]),
        ("resnet50", &["--limit-train", "8", "--batch-size", "1"]),
        ("resnet50", &["--limit-train", "1"]),
        ("resnet50", &["--limit-train", "11", "--batch-size", "8", "--replicas", "2"]),
        ("resnet50", &["--limit-train", "18", "--batch-size", "8", "--validation", "0.5"]),
        ("vgg16", &NINE),
    ] {
        let (code, message) = train(network, more);
        assert!(code == Some(2) && message.lines().count() == 1, "{message}");
        assert!(message.contains("reduces images of 32x32 pixels to one pixel"), "{message}");
    }
    assert!(!folder.path().join("runs").exists());
    for (network, more) in [
        ("resnet50", &["--limit-train", "10", "--batch-size", "8"][..]),
        ("vgg16", &[&NINE[..], &["--subnetworks", "1"]].concat()),
        ("vgg16", &[&NINE[..], &["--coarse-unit", "quarter"]].concat()),
    ] {
        let (code, message) = train(network, more);
        assert_eq!(code, Some(0), "{message}");
    }
}
