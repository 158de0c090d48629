//! Output files and folders named by the user.
#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{errors, parareal};

/// Returns the folder of an existing run.
fn run() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-3/finished")
}

fn report(folder: &Path, output: &str, more: &[&str]) -> Output {
    let run = run();
    parareal(folder, &[&["report", run.to_str().unwrap(), "--output", output], more].concat())
}

#[track_caller]
fn assert_done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", errors(output));
}

#[track_caller]
fn assert_refused(output: &Output, words: &str) {
    let message = errors(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message, format!("error: {words}\n"));
}

#[track_caller]
fn assert_page(bytes: &[u8]) {
    assert!(bytes.starts_with(b"<!DOCTYPE html>") && bytes.trim_ascii_end().ends_with(b"</html>"));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_link_is_followed_and_other_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("else")).unwrap();
    let target = folder.join("else/target");
    fs::write(&target, "older").unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
    symlink("else/target", folder.join("link")).unwrap();
    symlink("else/new", folder.join("dangling")).unwrap();
    fs::write(folder.join("link.partial"), "mine").unwrap();
    fs::write(folder.join(".link"), "mine").unwrap();
    for name in ["link", "dangling"] {
        let refused = report(folder, name, &[]);
        assert_refused(
            &refused,
            &format!("{name} already exists; choose another file, or pass --overwrite"),
        );
        assert_done(&report(folder, name, &["--overwrite"]));
        assert!(folder.join(name).is_symlink());
        assert_page(&fs::read(folder.join(name)).unwrap());
    }
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(&folder.join("else")), ["new", "target"]);
    assert_eq!(names(folder), [".link", "dangling", "else", "link", "link.partial"]);
    assert_eq!(fs::read(folder.join("link.partial")).unwrap(), b"mine");
    assert_eq!(fs::read(folder.join(".link")).unwrap(), b"mine");
}

#[test]
fn a_new_file_has_the_permissions_of_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let output = Command::new("sh")
        .current_dir(folder)
        .args(["-c", "umask 027; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_parareal")])
        .args(["ode", "--plot", "plot.svg"])
        .output()
        .unwrap();
    assert_done(&output);
    let mode = fs::metadata(folder.join("plot.svg")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn pipes_and_standard_output_are_written_to_directly() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let fifo = folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for more in [&[][..], &["--overwrite"]] {
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        assert_done(&report(folder, "fifo", more));
        assert_page(&reader.join().unwrap());
        assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    }
    assert_done(&report(folder, "/dev/null", &["--overwrite"]));
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert_page(&report(folder, "/dev/stdout", &[]).stdout);
    // A regular file as standard output is appended to.
    fs::write(folder.join("page"), "<!-- -->").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_parareal"))
        .arg("report")
        .arg(run())
        .args(["--output", "/dev/stdout"])
        .stdout(File::options().append(true).open(folder.join("page")).unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_done(&output);
    assert_page(fs::read(folder.join("page")).unwrap().strip_prefix(b"<!-- -->").unwrap());
    assert_eq!(names(folder), ["fifo", "page"]);
}

#[test]
fn a_file_that_cannot_be_written_is_named_as_given() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = run();
    let output = Command::new("sh")
        .current_dir(folder)
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_parareal"))
        .args(["export", run.to_str().unwrap(), "--output", "weights.safetensors"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = errors(&output);
    assert!(message.starts_with("error: cannot write weights.safetensors: File too"), "{message}");
    assert!(names(folder).is_empty());
}

#[test]
fn a_file_name_of_another_format_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("there.svg"), "mine").unwrap();
    let timeline = ".json (a trace for ui.perfetto.dev) or .svg (a picture)";
    // The inputs are missing or slow to process, so the output is checked first.
    for (arguments, name, expected) in [
        (&["report", "nowhere", "--output"][..], "page.pdf", ".html"),
        (&["export", "nowhere", "--output"], "weights.pt", ".safetensors"),
        (&["data", "show", "mnist", "--output"], "images.jpg", ".png"),
        (&["ode", "--problem", "heat", "--plot"], "plot.png", ".svg (a picture)"),
        (&["plan", "--timeline"], "step.png", timeline),
        (&["bench", "--timeline"], "step", timeline),
        (&["train", "--cuts", "balanced", "--timeline"], "step.txt", timeline),
    ] {
        let output = parareal(folder, &[arguments, &[name]].concat());
        let words = format!("cannot write {name}: expected a name that ends in {expected}");
        assert_refused(&output, &words);
    }
    for arguments in [
        &["ode", "--plot"][..],
        &["plan", "--timeline"],
        &["bench", "--timeline"],
        &["train", "--cuts", "balanced", "--timeline"],
    ] {
        let output = parareal(folder, &[arguments, &["there.svg"]].concat());
        assert_refused(
            &output,
            "there.svg already exists; choose another file, or pass --overwrite",
        );
    }
    assert_eq!(names(folder), ["there.svg"]);
    assert_done(&report(folder, "page.HTM", &[]));
    assert_done(&report(folder, "page", &[]));
}

#[test]
fn an_unusable_path_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("file"), "").unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    symlink("b", folder.join("a")).unwrap();
    symlink("a", folder.join("b")).unwrap();
    symlink("nowhere", folder.join("link")).unwrap();
    let before = names(folder);
    let long = "x".repeat(256);
    let too_long = format!("cannot write {long}: File name too long (os error 36)");
    let too_many = "Too many levels of symbolic links (os error 40)";
    #[cfg(target_os = "linux")]
    for (output, words) in
        [(long.as_str(), too_long.as_str()), ("a/run", &format!("cannot write a/run: {too_many}"))]
    {
        assert_refused(&parareal(folder, &["train", "--output", output]), words);
        assert_refused(&report(folder, output, &[]), words);
    }
    for (output, words) in [
        ("file", "file is not an empty folder; choose another folder with --output"),
        ("file/run", "cannot write file/run: file is not a folder"),
        ("link", "cannot write link: it links to nowhere, which does not exist"),
    ] {
        assert_refused(&parareal(folder, &["train", "--output", output]), words);
    }
    for (output, words) in [
        ("file/page", "cannot write file/page: file is not a folder"),
        ("none/page", "cannot write none/page: folder none not found"),
        ("folder", "cannot write folder: is a directory"),
    ] {
        assert_refused(&report(folder, output, &["--overwrite"]), words);
    }
    let train = parareal(folder, &["train", "--timeline", "none/step.svg", "--overwrite"]);
    assert_refused(&train, "cannot write none/step.svg: folder none not found");
    let resume = parareal(folder, &["train", "--resume", "--output", "file/run"]);
    assert_refused(&resume, "file/run is not the folder of a run: file is not a folder");
    assert_eq!(names(folder), before);
}
