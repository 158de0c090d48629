//! The folder of a run.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::{Config, Settings, TrainError, output};

const CONFIG: &str = "config.toml";

/// Refuses a folder that holds something, or a name that no folder can have, before any work is done
/// for it.
pub(crate) fn check(folder: &Path) -> Result<(), TrainError> {
    let path = folder.to_path_buf();
    let is_empty = match fs::metadata(folder) {
        Ok(found) if found.is_dir() => fs::read_dir(folder).map(|mut all| all.next().is_none()),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    match is_empty {
        Ok(true) => Ok(()),
        Ok(false) => Err(TrainError::OutputExists { path }),
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::read_link(folder) {
            Ok(link) => {
                let message = format!("it is a link to {}, which does not exist", link.display());
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

/// Makes the folder, or a new one below `runs`, and writes the configuration.
pub(crate) fn create(folder: Option<PathBuf>, config: &Config) -> Result<PathBuf, TrainError> {
    let folder = match folder {
        Some(folder) => {
            check(&folder)?;
            fs::create_dir_all(&folder).map_err(TrainError::file("create", &folder))?;
            folder
        }
        None => next(Path::new("runs"), config)?,
    };
    write_config(&folder, config)?;
    Ok(folder)
}

/// Refuses a folder that another rank has made and this one does not see.
pub(crate) fn is_seen(folder: &Path) -> Result<(), TrainError> {
    let path = folder.join(CONFIG);
    match fs::metadata(&path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(TrainError::NotShared { path: folder.to_path_buf() })
        }
        Err(error) => Err(TrainError::file("read", &path)(error)),
    }
}

/// Writes the configuration, over an older one in one go.
pub(crate) fn write_config(folder: &Path, config: &Config) -> Result<(), TrainError> {
    replace(&folder.join(CONFIG), config.settings().to_toml().as_bytes())
}

/// Writes a file, over an older one in one go: beside it, synced, and renamed.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let partial = path.with_file_name(name);
    let written = write_and_sync(&partial, content).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.map_err(TrainError::file("write", path))
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    write_and_sync(path, bytes).map_err(TrainError::file("write", path))
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A path for a person or a program to read, also where it is no text: as far as it is one.
pub(crate) fn path_as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

/// Like [`path_as_text`], for an optional path.
pub(crate) fn optional_path_as_text<S: Serializer>(
    path: &Option<PathBuf>,
    to: S,
) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(to)
}

/// Keeps a second process from working on a run. The system takes it back when the process ends,
/// however it ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(TrainError::file("create", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TrainError::Busy { path: folder.to_path_buf() }),
            // Some file systems have no locks; then there is none.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}

/// The configuration of a run.
pub(crate) fn read_config(folder: &Path) -> Result<Settings, TrainError> {
    let path = folder.join(CONFIG);
    let message = match fs::metadata(&path) {
        Ok(found) if found.is_file() => return Settings::read(&path),
        Ok(_) => format!("its {CONFIG} is not a file"),
        Err(error) if error.kind() == ErrorKind::NotFound => format!("there is no {CONFIG} in it"),
        Err(error) => output::explain(&path, &error),
    };
    Err(TrainError::NoRun { path: folder.to_path_buf(), message })
}

/// A new folder with the first number that is free.
fn next(parent: &Path, config: &Config) -> Result<PathBuf, TrainError> {
    fs::create_dir_all(parent).map_err(TrainError::file("create", parent))?;
    let (net, cuts) = (&config.network.net, &config.network.cuts);
    let name = format!("{}-resnet{}-n{}", config.dataset, net.depth(), cuts.subnetworks());
    for number in 1.. {
        let folder = parent.join(format!("{name}-{number:03}"));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map_err(TrainError::file("create", &folder)).map(|()| folder),
        }
    }
    unreachable!("numbers do not end")
}
