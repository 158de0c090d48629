//! File systems that do not support an operation: the run continues with a note.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use parareal_testing::tool;

use crate::common::{TINY, checkpoints, errors, metrics};

/// Source of a preloaded library whose functions refuse to sync or to remove folders.
const REFUSALS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int refuses(const char *what) {
    const char *refused = getenv("REFUSED");
    return refused && !strcmp(refused, what);
}
int fsync(int file) {
    struct stat status;
    if (refuses("sync") && !fstat(file, &status) && S_ISDIR(status.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}
int unlinkat(int folder, const char *path, int flags) {
    if (refuses("remove") && (flags & AT_REMOVEDIR)) {
        errno = ENOTEMPTY;
        return -1;
    }
    return ((int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat"))(folder, path, flags);
}
int rmdir(const char *path) {
    if (refuses("remove")) {
        errno = ENOTEMPTY;
        return -1;
    }
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "rmdir"))(path);
}
"#;

/// Trains on a file system that refuses an operation.
fn train_where(folder: &Path, refused: &str) -> Output {
    fs::write(folder.join("refusals.c"), REFUSALS).unwrap();
    let compiled = tool("cc", "gcc")
        .current_dir(folder)
        .args(["-shared", "-fPIC", "refusals.c", "-o", "refusals.so", "-ldl"])
        .status()
        .unwrap();
    assert!(compiled.success(), "refusals.c does not compile: {compiled}");
    let more = ["--checkpoint-every", "1", "--keep-checkpoints", "1", "--output", "run"];
    Command::new(env!("CARGO_BIN_EXE_parareal"))
        .current_dir(folder)
        .env("LD_PRELOAD", folder.join("refusals.so"))
        .env("REFUSED", refused)
        .arg("train")
        .args(TINY)
        .args(more)
        .output()
        .unwrap()
}

/// Checks that the run completed, and that the note was printed when the fault occurred and again
/// at the end.
#[track_caller]
fn assert_noted(folder: &Path, output: &Output, note: &str) {
    let message = errors(output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert_eq!(message.matches(note).count(), 2, "{message}");
    assert!(message.find(note) < message.find("epoch 1/1: "), "{message}");
    assert_eq!(metrics(&folder.join("run"), "end").len(), 1);
}

#[test]
fn a_folder_that_cannot_be_synced_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let output = train_where(folder.path(), "sync");
    let note = "note: the file system of run/checkpoints/.step-00000001 does not sync folders (Invalid \
                argument (os error 22)): a power failure may lose the newest checkpoint";
    assert_noted(folder.path(), &output, note);
}

#[test]
fn a_checkpoint_that_cannot_be_removed_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let output = train_where(folder.path(), "remove");
    let note = "note: an old checkpoint was not removed: cannot remove run/checkpoints/step-00000001: Directory \
                not empty (os error 39)";
    assert_noted(folder.path(), &output, note);
    let names = checkpoints(&folder.path().join("run"));
    assert_eq!(names, ["best.json", "step-00000001", "step-00000002", "step-00000003"]);
}
