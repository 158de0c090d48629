//! A file that has not come to its end yet.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::FetchError;

/// What has come of a file, beside the place that the whole file gets.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Part {
    /// What is left from an earlier download to `target`, or nothing.
    pub(super) fn open(target: &Path) -> Result<Self, FetchError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = target.with_file_name(name);
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let mut file = file.map_err(FetchError::file("create", &path))?;
        let len = file.seek(SeekFrom::End(0)).map_err(FetchError::file("read", &path))?;
        Ok(Self { path, file, len })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let written = self.file.write_all(bytes);
        self.len = match written {
            Ok(()) => self.len + bytes.len() as u64,
            // Some of it may have been written.
            Err(_) => self.file.metadata().map_or(self.len, |metadata| metadata.len()),
        };
        written.map_err(FetchError::file("write", &self.path))
    }

    /// Throws away what has come.
    pub(super) fn clear(&mut self) -> Result<(), FetchError> {
        if self.len > 0 {
            let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
            cleared.map_err(FetchError::file("write", &self.path))?;
            self.len = 0;
        }
        Ok(())
    }

    /// Takes the file away where nothing has come.
    pub(super) fn remove_if_empty(self) {
        if self.len == 0 {
            drop(self.file);
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Gives the whole file its name, once it is on the disk.
    pub(super) fn finish(self, target: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(FetchError::file("write", &self.path))?;
        drop(self.file);
        fs::rename(&self.path, target).map_err(FetchError::file("rename", &self.path))?;
        // The name is on the disk as well, where folders can be synced.
        if let Some(folder) = target.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Keeps a second process from fetching into a folder. The system takes it back when the process
/// ends, however it ends; the file stays, because taking it away could take it from another one.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the folder and takes it.
    pub(super) fn take(folder: &Path) -> Result<Self, FetchError> {
        fs::create_dir_all(folder).map_err(FetchError::file("create", folder))?;
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(FetchError::file("create", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(FetchError::Busy { path: folder.to_owned() }),
            // Some file systems have no locks; then there is none.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}

/// Whether nothing has this name, not even a link to nowhere.
pub(super) fn is_free(path: &Path) -> Result<bool, FetchError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(false),
        // Where a file stands in the place of a folder, making the folder says so.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(true)
        }
        Err(error) => Err(FetchError::file("read", path)(error)),
    }
}
