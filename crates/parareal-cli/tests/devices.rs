//! Devices other than the CPU.

mod common;

use std::process::Command;

use parareal_testing::missing;

use common::{errors, parareal, train};

#[test]
fn a_missing_device_is_refused_with_the_available_ones() {
    let folder = tempfile::tempdir().unwrap();
    // In the second pass, the drivers of Vulkan and OpenGL are hidden.
    let hidden = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"];
    for variables in [&[][..], &hidden] {
        for device in ["wgpu:7", "cuda:77"] {
            let output = Command::new(env!("CARGO_BIN_EXE_parareal"))
                .current_dir(folder.path())
                .args(["train", "--device", device])
                .envs(variables.iter().map(|name| (name, "/nonexistent")))
                // EGL, which is also searched for devices, prints a warning if this is not set.
                .env("XDG_RUNTIME_DIR", folder.path())
                .output()
                .unwrap();
            let message = errors(&output);
            assert_eq!(output.status.code(), Some(2), "{message}");
            assert!(message.contains(&format!("device `{device}` not found")), "{message}");
            let there = message.trim_end().rsplit_once("; available: ").expect(&message).1;
            assert!(there.starts_with("cpu"), "{message}");
            assert!(variables.is_empty() || there == "cpu", "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn the_command_trains_on_the_cpu_and_a_vulkan_device() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = errors(&parareal(folder.path(), &["train", "--device", "wgpu:77"]));
    if !refusal.contains("wgpu:cpu") {
        missing("a software Vulkan device (Debian package mesa-vulkan-drivers)");
    }
    let devices = ["--device", "cpu", "--device", "wgpu:cpu"];
    let expected = train(folder.path(), &["--output", "cpu"]);
    let found = train(folder.path(), &[&devices[..], &["--output", "both"]].concat());
    assert_eq!(found["steps"], expected["steps"]);
    for loss in ["train_loss", "test_loss"] {
        let [found, expected] = [&found, &expected].map(|run| run[loss].as_f64().unwrap());
        assert!((found / expected - 1.0).abs() <= 1e-3, "{loss} {found}, expected {expected}");
    }
}

#[test]
fn recorded_launches_train_like_launched_ones() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = errors(&parareal(folder.path(), &["train", "--device", "wgpu:77"]));
    if !refusal.contains("wgpu:cpu") {
        missing("a software Vulkan device (Debian package mesa-vulkan-drivers)");
    }
    let device = ["--device", "wgpu:cpu", "--workers", "1"];
    let expected = train(folder.path(), &[&device[..], &["--output", "launched"]].concat());
    let graphs = ["--launch-graphs", "--timeline", "steps.svg", "--output", "replayed"];
    let found = train(folder.path(), &[&device[..], &graphs].concat());
    for value in ["steps", "train_loss", "test_loss"] {
        assert_eq!(found[value], expected[value], "{value}");
    }
    let timeline = std::fs::read_to_string(folder.path().join("steps.svg")).unwrap();
    assert!(timeline.contains("recorded passes"), "{timeline}");
}
