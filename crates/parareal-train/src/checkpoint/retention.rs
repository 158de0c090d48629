//! Retention of checkpoints: removing old ones and setting damaged ones aside.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use parareal_run::names::{self, CHECKPOINTS};

use crate::TrainError;
use crate::notes::{Note, Notes};

/// Suffix of a checkpoint after which an evaluation was not finite.
pub(super) const DIVERGED: &str = "diverged";

/// Returns the folder of a run's checkpoints.
pub(super) fn folder_of(run: &Path) -> PathBuf {
    run.join(CHECKPOINTS)
}

/// Returns the folder of the checkpoint after a step.
#[must_use]
pub fn path_of(run: &Path, step: usize) -> PathBuf {
    folder_of(run).join(names::checkpoint(step))
}

/// Returns the step in the name of a checkpoint's folder.
pub(super) fn step_of(path: &Path) -> Option<usize> {
    names::step_of_checkpoint(path.file_name()?.to_str()?)
}

/// Lists the checkpoints in a folder, oldest first. Checkpoints that are being written or were set
/// aside have other names.
pub(super) fn list(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let mut steps = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(steps),
        entries => entries.map_err(TrainError::file("read", folder))?,
    };
    for entry in entries {
        let path = entry.map_err(TrainError::file("read", folder))?.path();
        steps.extend(step_of(&path).map(|step| (step, path)));
    }
    steps.sort();
    Ok(steps)
}

/// Removes all checkpoints up to step `newest`, except the last `count` and the best. Checkpoints
/// after `newest` are neither counted nor removed: the run has not reached their steps.
pub(super) fn rotate(
    folder: &Path,
    newest: usize,
    count: usize,
    best: Option<usize>,
    notes: &mut Notes,
) -> Result<(), TrainError> {
    let mut steps = list(folder)?;
    steps.retain(|(step, _)| *step <= newest);
    steps.truncate(steps.len().saturating_sub(count));
    for (_, path) in steps.into_iter().filter(|(step, _)| Some(*step) != best) {
        // The new checkpoint has been saved, so a failure here is not an error. Network file systems cannot
        // remove a folder in which a file is open.
        if let Err(error) = remove(&path) {
            notes.add(Note::CheckpointStays, format!("an old checkpoint was not removed: {error}"));
        }
    }
    Ok(())
}

/// Renames damaged checkpoints of a run, so that they are not used, counted or removed. Returns their new names.
pub(crate) fn set_aside(run: &Path, steps: &[usize]) -> Result<Vec<String>, TrainError> {
    let folder = folder_of(run);
    steps
        .iter()
        .map(|step| set_one_aside(&folder.join(names::checkpoint(*step)), "damaged"))
        .collect()
}

/// Checks that a run without checkpoints has not diverged. A diverged run must not start again from its
/// beginning.
///
/// # Errors
/// If a checkpoint was set aside because the run diverged ([`TrainError::Weights`]), or the folder
/// cannot be read.
pub(crate) fn check_begun(run: &Path) -> Result<(), TrainError> {
    let folder = folder_of(run);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(TrainError::file("read", &folder))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let suffix = format!(".{DIVERGED}");
    match names.into_iter().find(|name| name.contains(&suffix)) {
        Some(name) => {
            let message = "the run has diverged, and no earlier checkpoint is left; start a new \
                           run with a smaller learning rate";
            Err(TrainError::weights(&folder.join(name), message))
        }
        None => Ok(()),
    }
}

/// Renames a checkpoint by appending the reason to its name, and a number if that name is taken. Returns the new
/// name.
pub(super) fn set_one_aside(checkpoint: &Path, reason: &str) -> Result<String, TrainError> {
    let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
    for number in 1.. {
        let name = match number {
            1 => format!("{name}.{reason}"),
            number => format!("{name}.{reason}-{number}"),
        };
        let target = checkpoint.with_file_name(&name);
        if fs::symlink_metadata(&target).is_err() {
            let renamed = fs::rename(checkpoint, &target);
            return renamed.map_err(TrainError::file("rename", checkpoint)).map(|()| name);
        }
    }
    unreachable!("the range is endless")
}

/// Creates an empty folder. Files that a killed process may have left in it are removed.
pub(super) fn clear(folder: &Path) -> Result<(), TrainError> {
    // Files that cannot be removed are overwritten.
    let _ = remove(folder);
    fs::create_dir_all(folder).map_err(TrainError::file("create", folder))
}

/// Removes a folder if it exists.
fn remove(folder: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(TrainError::file("remove", folder)),
    }
}

/// Makes the names in a folder durable, if the file system supports it.
pub(super) fn sync_folder(path: &Path, notes: &mut Notes) -> Result<(), TrainError> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path).and_then(|folder| folder.sync_all()) {
        Err(error) if is_unsupported(&error) => {
            let text = format!(
                "the file system of {} does not sync folders ({error}): a power failure may lose \
                 the newest checkpoint",
                path.display()
            );
            notes.add(Note::FolderNotSynced, text);
            Ok(())
        }
        synced => synced.map_err(TrainError::file("sync", path)),
    }
}

/// Returns true if the error means that the file system does not support the operation.
fn is_unsupported(error: &io::Error) -> bool {
    use ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported | PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, steps: &[usize]) {
        for step in steps {
            fs::create_dir_all(folder.join(names::checkpoint(*step))).unwrap();
        }
    }

    fn steps(folder: &Path) -> Vec<usize> {
        list(folder).unwrap().into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn the_rotation_keeps_the_newest_the_best_and_what_is_not_reached() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, mut notes) = (folder.path(), Notes::default());
        made(folder, &[2, 5, 10, 15, 16, 20]);
        fs::create_dir(folder.join("step-20.damaged")).unwrap();
        fs::create_dir(folder.join("step-7")).unwrap();
        rotate(folder, 16, 1, Some(5), &mut notes).unwrap();
        assert_eq!(steps(folder), [5, 16, 20]);
        assert!(folder.join("step-20.damaged").is_dir() && folder.join("step-7").is_dir());
        assert!(notes.all().is_empty());
    }

    #[test]
    fn a_failed_removal_is_noted_once() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, mut notes) = (folder.path(), Notes::default());
        made(folder, &[3]);
        // Files in place of folders cannot be removed as folders.
        fs::write(folder.join(names::checkpoint(1)), "").unwrap();
        fs::write(folder.join(names::checkpoint(2)), "").unwrap();
        rotate(folder, 3, 1, None, &mut notes).unwrap();
        let [note] = notes.all() else { panic!("{:?}", notes.all()) };
        assert!(note.starts_with("an old checkpoint was not removed: cannot remove "), "{note}");
        assert!(note.contains("step-00000001"), "{note}");
    }

    #[test]
    fn a_checkpoint_set_aside_replaces_no_other() {
        let run = tempfile::tempdir().unwrap();
        let folder = folder_of(run.path());
        for expected in ["step-00000020.damaged", "step-00000020.damaged-2"] {
            made(&folder, &[15, 20]);
            assert_eq!(set_aside(run.path(), &[20]).unwrap(), [expected]);
            assert!(folder.join(expected).is_dir());
            assert_eq!(steps(&folder), [15]);
        }
        assert!(set_aside(run.path(), &[20]).is_err());
    }

    #[test]
    fn file_systems_that_refuse_differ_from_disks_that_fail() {
        // EINVAL, EACCES, EOPNOTSUPP; ENOSPC, EIO.
        if cfg!(target_os = "linux") {
            let unsupported = |code| is_unsupported(&io::Error::from_raw_os_error(code));
            assert_eq!([22, 13, 95, 28, 5].map(unsupported), [true, true, true, false, false]);
        }
    }
}
