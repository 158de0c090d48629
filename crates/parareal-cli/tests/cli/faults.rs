//! Faults outside of the program, and modified files of a run. Each fault results in a message of one line
//! and an exit code that distinguishes bad input from failures. No saved work is lost. `docs/src/faults.md`
//! lists all faults.
#![cfg(unix)]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use parareal_testing::tool;

use crate::common::{TINY, checkpoints, errors, json, parareal, train};

/// Asserts that a command ended with this code, and that its last line contains this text.
#[track_caller]
fn assert_ended(output: &Output, code: i32, words: &str) {
    let message = errors(output);
    let last = message.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(last.starts_with("error: ") && last.contains(words), "{message}");
}

fn resume(folder: &Path) -> Output {
    parareal(folder, &["train", "--resume", "--output", "run"])
}

/// Returns a command with these arguments, which need not be UTF-8.
fn command(folder: &Path, arguments: &[&[u8]]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parareal"));
    command.current_dir(folder).args(arguments.iter().map(|bytes| OsStr::from_bytes(bytes)));
    command
}

/// Starts a run, and waits for its first step.
fn started(folder: &Path) -> Child {
    let arguments = ["train", "--depth", "11", "--output", "run", "--limit-test", "0"];
    let child = Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder)
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while fs::metadata(folder.join("run/metrics.jsonl")).map_or(0, |file| file.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no step was taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn signal(child: &Child, signal: &str) {
    assert!(
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success()
    );
}

#[test]
fn names_that_are_not_utf_8_are_kept_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train: Vec<&[u8]> = std::iter::once("train").chain(TINY).map(str::as_bytes).collect();
    let refused = [&train[..], &[b"--data-dir", b"\xff", b"--output", b"none"]].concat();
    let output = command(folder, &refused).output().unwrap();
    assert_ended(&output, 2, "\u{fffd}` for data-dir: expected a UTF-8 path");
    assert!(!folder.join("none").exists());
    let refused = [&train[..], &[b"--init-from", b"\xff", b"--output", b"none"]].concat();
    let output = command(folder, &refused).output().unwrap();
    assert_ended(&output, 2, "\u{fffd}` for init-from: expected a UTF-8 path");
    assert!(!folder.join("none").exists());
    let kept = [&train[..], &[b"--output", b"\xfe", b"--json"]].concat();
    let output = command(folder, &kept).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(json(&output)["output"], "\u{fffd}");
    let export: [&[u8]; 5] = [b"export", b"\xfe", b"--output", b"\xfd", b"--json"];
    let output = command(folder, &export).output().unwrap();
    assert_eq!(json(&output)["path"], "\u{fffd}");
    assert!(folder.join(OsStr::from_bytes(b"\xfd")).is_file());
    let output = parareal(folder, &["eval", "a\nb"]);
    assert_ended(&output, 2, "a\\nb is not the folder of a run");
    assert_eq!(errors(&output).lines().count(), 1);
}

#[test]
fn a_closed_pipe_is_not_an_error_and_a_full_disk_is() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["plan --json", "--help", "data check shapes"] {
        let output = Command::new("sh")
            .current_dir(folder.path())
            .args(["-c", &format!("\"$0\" {command} | true"), env!("CARGO_BIN_EXE_parareal")])
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}", errors(&output));
    }
    if cfg!(target_os = "linux") {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let arguments: [&[u8]; 2] = [b"plan", b"--json"];
        let output = command(folder.path(), &arguments).stdout(full).output().unwrap();
        assert_ended(&output, 1, "cannot write standard output: No space left");
    }
}

#[test]
fn a_run_in_use_by_another_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let child = started(folder.path());
    assert_ended(
        &resume(folder.path()),
        2,
        "another process is training in run; wait for it, or stop it",
    );
    // SIGTERM stops a run like Ctrl-C.
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", errors(&output));
    assert!(errors(&output).contains("parareal train --resume --output run`"));
    assert_eq!(checkpoints(&folder.path().join("run")).len(), 1);
}

/// Runs the program in a folder without write permission, such that the permission is respected even if
/// the test runs as root.
fn bound_by_permissions(folder: &Path, arguments: &[&str]) -> Output {
    let probe = folder.join("probe");
    if File::create(&probe).is_err() {
        return parareal(folder, arguments);
    }
    fs::remove_file(probe).unwrap();
    let drop = ["--bounding-set", "-dac_override", "--inh-caps", "-dac_override"];
    tool("setpriv", "util-linux")
        .current_dir(folder)
        .args(drop)
        .arg(env!("CARGO_BIN_EXE_parareal"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_read_only_folder_ends_the_run_and_keeps_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--output", "run"]);
    let saved = checkpoints(&folder.join("run"));
    let path = folder.join("run/checkpoints");
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&path, 0o555);
    mode(folder, 0o555);
    let more = ["train", "--resume", "--output", "run", "--epochs", "2"];
    let found =
        [&more[..], &["train", "--output", "new"], &["report", "run", "--output", "r.html"]]
            .map(|arguments| bound_by_permissions(folder, arguments));
    mode(folder, 0o755);
    mode(&path, 0o755);
    let [going_on, new, report] = found;
    assert_ended(&going_on, 1, "cannot write run/checkpoints/best.json: Permission denied");
    assert_ended(&new, 1, "cannot create new: Permission denied");
    assert_ended(&report, 2, "cannot write r.html: Permission denied");
    assert_eq!(checkpoints(&folder.join("run")), saved);
    assert_eq!(parareal(folder, &more).status.code(), Some(0));
}

#[test]
fn a_full_disk_keeps_the_older_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--output", "run"]);
    fs::write(folder.join("page.html"), "older").unwrap();
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .current_dir(folder)
        .args(["-c", limited, env!("CARGO_BIN_EXE_parareal")])
        .args(["report", "run", "--output", "page.html", "--overwrite"])
        .output()
        .unwrap();
    assert_ended(&output, 1, "cannot write page.html: File too large");
    assert_eq!(fs::read_to_string(folder.join("page.html")).unwrap(), "older");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
}

#[test]
fn changed_files_of_a_run_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--output", "run", "--epochs", "1"]);
    let run = folder.join("run");
    let eval = |which| parareal(folder, &["eval", "run", "--checkpoint", which]);
    let change = |name: &str, text: &[u8]| {
        let path = run.join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        move || fs::write(&path, before).unwrap()
    };

    let restore = change("config.toml", b"depth = = 11\n");
    assert_ended(&resume(folder), 2, "run/config.toml: line 1: ");
    restore();
    let restore = change("checkpoints/best.json", b"{\"step\":");
    assert_ended(
        &eval("best"),
        2,
        "invalid value `best` for checkpoint: not found; available steps: 3",
    );
    restore();
    let lines = fs::read(run.join("metrics.jsonl")).unwrap();
    let restore = change("metrics.jsonl", &lines[..40]);
    assert_ended(
        &resume(folder),
        2,
        "metrics.jsonl is damaged: it has 40 bytes, but the checkpoint was saved after ",
    );
    restore();
    let restore = change("metrics.jsonl", &[b"{]", &lines[2..]].concat());
    assert_ended(&resume(folder), 2, "metrics.jsonl is damaged: line 1: ");
    restore();

    // A checkpoint with the name of another step.
    let (own, other) = ("step-00000003", "step-00000009");
    let at = |name: &str| run.join("checkpoints").join(name);
    fs::rename(at(own), at(other)).unwrap();
    assert_ended(&eval("latest"), 2, "step-00000009 is damaged: its manifest is for step 3");
    fs::rename(at(other), at(own)).unwrap();
    assert_eq!(eval("best").status.code(), Some(0));
}

/// Writes the four files of MNIST with a few images whose pixels are all `grey`.
fn mnist(folder: &Path, grey: u8) {
    fs::create_dir_all(folder).unwrap();
    for (name, count) in [("train", 32_u8), ("t10k", 8)] {
        let images = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28];
        let images = [&images[..], &vec![grey; 784 * usize::from(count)]].concat();
        let labels = [&[0, 0, 8, 1, 0, 0, 0, count], &vec![3; usize::from(count)][..]].concat();
        fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn a_run_is_not_resumed_with_other_images() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    mnist(&folder.join("a/mnist"), 1);
    mnist(&folder.join("b/mnist"), 2);
    train(folder, &["--dataset", "mnist", "--data-dir", "a", "--output", "run"]);
    let other = ["train", "--resume", "--output", "run", "--data-dir", "b"];
    let output = parareal(folder, &other);
    assert_ended(
        &output,
        2,
        "the images of mnist differ from those that the run in run was trained on",
    );
    assert_eq!(resume(folder).status.code(), Some(0));
}

#[test]
fn damaged_and_too_large_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, &["--output", "run"]);
    image::GrayImage::new(20_001, 1).save(folder.join("wide.png")).unwrap();
    image::GrayImage::new(200, 100).save(folder.join("cut.png")).unwrap();
    let whole = fs::read(folder.join("cut.png")).unwrap();
    fs::write(folder.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("text.png"), "no image").unwrap();
    for (name, words) in [
        ("wide.png", "it has 20001 x 1 pixels, more than the limit of 20000 on a side"),
        ("cut.png", "the file is truncated: it ends before its IEND chunk"),
        ("text.png", "its first bytes are those of another file type"),
        ("none.png", "No such file"),
    ] {
        let output = parareal(folder, &["predict", "run", name]);
        assert_ended(&output, 2, words);
        assert!(errors(&output).contains(&format!("cannot read {name} as a PNG or JPEG image")));
        assert_eq!(errors(&output).lines().count(), 1);
    }
}
