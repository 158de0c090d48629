//! The folder of a run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use parareal_run::names::CONFIG;

use crate::{ConfigRecord, TrainError, output};

/// The folder of a new run.
#[derive(Clone, Debug)]
pub enum OutputFolder {
    /// This folder, which must be new or empty.
    Named(PathBuf),
    /// A new folder in `parent`: `name` with the first number that is free.
    Numbered {
        /// Folder of runs.
        parent: PathBuf,
        /// Name of the run without its number.
        name: String,
    },
}

/// Checks that a folder can be used for a new run, before any work is done for the run. A partial
/// `config.toml`, left by a process that was killed while it created the run, is ignored.
///
/// # Errors
/// If the folder is not empty ([`TrainError::OutputNotEmpty`]) or its name is not valid
/// ([`TrainError::Output`]).
pub fn check(folder: &Path) -> Result<(), TrainError> {
    let path = folder.to_path_buf();
    let is_empty = match fs::metadata(folder) {
        Ok(found) if found.is_dir() => fs::read_dir(folder).map(|mut all| {
            all.all(|entry| entry.is_ok_and(|entry| entry.file_name() == partial_name(CONFIG)))
        }),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    match is_empty {
        Ok(true) => Ok(()),
        Ok(false) => Err(TrainError::OutputNotEmpty { path }),
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::read_link(folder) {
            Ok(link) => {
                let message = format!("it links to {}, which does not exist", link.display());
                Err(TrainError::Output { path, message })
            }
            Err(_) => Ok(()),
        },
        Err(error) => {
            let message = output::explain(folder, &error);
            Err(TrainError::Output { path, message })
        }
    }
}

/// Creates the folder and writes the configuration into it.
pub(crate) fn create(
    output: &OutputFolder,
    configuration: &ConfigRecord,
) -> Result<PathBuf, TrainError> {
    let folder = match output {
        OutputFolder::Named(folder) => {
            check(folder)?;
            fs::create_dir_all(folder).map_err(TrainError::file("create", folder))?;
            folder.clone()
        }
        OutputFolder::Numbered { parent, name } => next(parent, name)?,
    };
    write_config(&folder, configuration)?;
    Ok(folder)
}

/// Rejects a folder whose name is not UTF-8, because ranks send the name to each other as text.
pub(crate) fn check_unicode(output: &OutputFolder) -> Result<(), TrainError> {
    match output {
        OutputFolder::Named(path) | OutputFolder::Numbered { parent: path, .. }
            if path.to_str().is_none() =>
        {
            let message = "with several ranks, the path must be valid UTF-8".into();
            Err(TrainError::Output { path: path.clone(), message })
        }
        _ => Ok(()),
    }
}

/// Rejects a folder that another rank has created and that is not visible on this rank.
pub(crate) fn is_visible(folder: &Path) -> Result<(), TrainError> {
    let path = folder.join(CONFIG);
    match fs::metadata(&path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(TrainError::NotShared { path: folder.to_path_buf() })
        }
        Err(error) => Err(TrainError::file("read", &path)(error)),
    }
}

/// Writes the configuration; an older one is replaced atomically.
pub(crate) fn write_config(folder: &Path, configuration: &ConfigRecord) -> Result<(), TrainError> {
    replace(&folder.join(CONFIG), configuration.text().as_bytes())
}

/// Writes a file atomically: the content is written to a temporary file, synced, and renamed.
///
/// # Errors
/// If the file cannot be written ([`TrainError::File`]).
pub fn replace(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    let partial = path.with_file_name(partial_name(path.file_name().unwrap_or_default()));
    let written = write_and_sync(&partial, content).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.map_err(TrainError::file("write", path))
}

/// Returns the name of a file while it is written.
fn partial_name(name: impl AsRef<OsStr>) -> OsString {
    let mut partial = OsString::from(".");
    partial.push(name);
    partial
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    write_and_sync(path, bytes).map_err(TrainError::file("write", path))
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Serializes a path as text, with a replacement character for anything that is not UTF-8.
///
/// # Errors
/// If the serializer fails.
pub fn path_as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

/// Serializes an optional path as [`path_as_text`] does.
///
/// # Errors
/// If the serializer fails.
pub fn optional_path_as_text<S: Serializer>(
    path: &Option<PathBuf>,
    to: S,
) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(to)
}

/// Lock that keeps a second process from working on a run. The system releases it when the process ends for
/// any reason.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(TrainError::file("create", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TrainError::Busy { path: folder.to_path_buf() }),
            // Some file systems do not support locks; then the run is not locked.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}

/// Returns true if a folder holds a run, whose configuration is the first file that is written.
#[must_use]
pub fn holds_run(folder: &Path) -> bool {
    folder.join(CONFIG).symlink_metadata().is_ok()
}

/// Returns the path of a run's configuration.
///
/// # Errors
/// If the folder has none ([`TrainError::NoRun`]).
pub fn config_file(folder: &Path) -> Result<PathBuf, TrainError> {
    let path = folder.join(CONFIG);
    let message = match fs::metadata(&path) {
        Ok(found) if found.is_file() => return Ok(path),
        Ok(_) => format!("its {CONFIG} is not a regular file"),
        Err(error) if error.kind() == ErrorKind::NotFound => format!("it has no {CONFIG}"),
        Err(error) => output::explain(&path, &error),
    };
    Err(TrainError::NoRun { path: folder.to_path_buf(), message })
}

/// Creates a new folder with the first number that is free.
fn next(parent: &Path, name: &str) -> Result<PathBuf, TrainError> {
    fs::create_dir_all(parent).map_err(TrainError::file("create", parent))?;
    for number in 1.. {
        let folder = parent.join(format!("{name}-{number:03}"));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map_err(TrainError::file("create", &folder)).map(|()| folder),
        }
    }
    unreachable!("the range is endless")
}
