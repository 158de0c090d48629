//! `data fetch` from a server on the loopback interface.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::{errors, json};
use parareal_testing::real_images;
use parareal_testing::server::{Answer, Server};

/// Returns the command in a folder, without the proxies of the environment.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parareal"));
    command.current_dir(folder).args(["data", "fetch"]).args(arguments);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

fn fetch(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

#[test]
#[ignore = "needs real images: set PARAREAL_DATA_DIR"]
fn all_of_mnist_is_fetched_and_checked_in_one_run() {
    let canonical = real_images(&["mnist"]).join("mnist");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(move |number, request| {
        let name = request.path.strip_prefix("/mirror/mnist/").unwrap();
        let bytes = fs::read(canonical.join(name)).unwrap();
        let answer = Answer::good(request, &bytes);
        // The connection is lost in the middle of the first response.
        if number == 0 { answer.cut(bytes.len() / 2) } else { answer }
    });
    let mirror = server.url("mirror/mnist/");
    let output = fetch(folder.path(), &["mnist", "--from", &mirror, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let value = json(&output);
    assert_eq!(value["train"]["images"], 60_000);
    assert_eq!(value["test"]["images"], 10_000);
    assert!(value["files"].as_array().unwrap().iter().all(|file| file["canonical"] == true));
    assert_eq!(value["fetched"].as_array().unwrap().len(), 4);
    let first = format!("{mirror}train-images-idx3-ubyte.gz");
    assert_eq!(value["fetched"][0]["address"], first.as_str());
    assert_eq!(value["notes"].as_array().unwrap().len(), 0);
    let froms = server.froms();
    assert_eq!(froms, [None, Some(9_912_422 / 2), None, None, None]);
    let told = errors(&output);
    assert!(told.contains("retrying in") && told.contains("4.956MB are already here"), "{told}");

    // If all files exist, nothing is requested.
    let output = fetch(folder.path(), &["MNIST", "--from", &mirror, "--data-dir", "data"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains("nothing to fetch"), "{}", errors(&output));
    assert!(errors(&output).contains("train --dataset mnist --data-dir data"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("the canonical file"));
    assert_eq!(server.requests().len(), froms.len());
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = Server::new(|_, _| Answer::status("404 Not Found"));
    let mut command = command(folder.path(), &["svhn", "--from", "http://mirror.invalid/svhn"]);
    let output = command.env("ALL_PROXY", proxy.url("")).output().unwrap();
    let requests = proxy.requests();
    let paths: Vec<&str> = requests.iter().map(|request| &*request.path).collect();
    assert_eq!(paths, ["mirror.invalid:80", "/svhn/train_32x32.mat"], "{}", errors(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn failed_downloads_are_reported_in_one_line_with_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(|_, request| match &*request.path {
        "/gone/cifar-10-binary.tar.gz" => Answer::status("404 Not Found"),
        "/size/cifar-10-binary.tar.gz" => Answer::whole(b"a login page"),
        "/long/cifar-10-binary.tar.gz" => Answer::redirect("/long/cifar-10-binary.tar.gz"),
        path => panic!("{path}"),
    });
    for (place, expected) in [
        ("gone", "the server responded 404 Not Found; pass the address of a folder with"),
        ("size", "the file on the server has 12 bytes, but the canonical file has 170052171"),
        ("long", "more than 10 redirects"),
    ] {
        let output = fetch(folder.path(), &["cifar10", "--from", &server.url(place), "--json"]);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(output.stdout.is_empty());
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let output = fetch(folder.path(), &["cifar10", "--data-dir", "file"]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(errors(&output).contains("cannot create file/cifar-10: "), "{}", errors(&output));
}

#[test]
fn wrong_use_is_refused_in_a_line_with_code_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("data/svhn")).unwrap();
    fs::write(folder.path().join("data/svhn/test_32x32.mat"), "of my own").unwrap();
    for (arguments, expected) in [
        (&["cats"][..], "unknown data set `cats`"),
        (&["folder"], "folder is for images of your own"),
        (&["svhn"], "test_32x32.mat exists but is not the canonical file (9 bytes instead of"),
        (&["mnist", "--from", "mirror"], "`mirror` is not a valid address"),
        (&["mnist", "--from", "ftp://mirror/"], "http:// or https://"),
    ] {
        let output = fetch(folder.path(), arguments);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty());
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
    let kept = fs::read(folder.path().join("data/svhn/test_32x32.mat")).unwrap();
    assert_eq!(kept, b"of my own");
}

#[test]
fn shapes_need_no_download() {
    let folder = tempfile::tempdir().unwrap();
    let output = fetch(folder.path(), &["shapes"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains("nothing to fetch"), "{}", errors(&output));
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[cfg(unix)]
#[test]
fn an_interrupted_download_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let length = "Content-Length: 9912422\r\n";
    let server = Server::new(|_, _| Answer::new("200 OK", length, &[1; 1_000]).then_stall());
    let mut child = command(folder.path(), &["mnist", "--from", &server.url("m")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let part = folder.path().join("data/mnist/train-images-idx3-ubyte.gz.part");
    while fs::metadata(&part).map_or(0, |metadata| metadata.len()) < 1_000 {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(output.stdout.is_empty());
    assert!(
        message.contains("1000 of 9912422 bytes") && message.contains("run the same command again")
    );
    assert_eq!(fs::read(part).unwrap(), [1; 1_000]);
}
