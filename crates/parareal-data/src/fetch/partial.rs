//! A download that is not complete yet.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::FetchError;

/// The received bytes of a file, stored in `NAME.part` next to the path of the complete file.
pub(super) struct PartialDownload {
    path: PathBuf,
    file: File,
    len: u64,
}

impl PartialDownload {
    /// Opens the partial file that an earlier download to `target` left, or creates an empty one.
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
            // Some bytes may have been written.
            Err(_) => self.file.metadata().map_or(self.len, |metadata| metadata.len()),
        };
        written.map_err(FetchError::file("write", &self.path))
    }

    /// Discards all bytes.
    pub(super) fn clear(&mut self) -> Result<(), FetchError> {
        if self.len > 0 {
            let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
            cleared.map_err(FetchError::file("write", &self.path))?;
            self.len = 0;
        }
        Ok(())
    }

    /// Removes the file if it is empty.
    pub(super) fn remove_if_empty(self) {
        if self.len == 0 {
            drop(self.file);
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Syncs the file and renames it to `target`.
    pub(super) fn finish(self, target: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(FetchError::file("write", &self.path))?;
        drop(self.file);
        fs::rename(&self.path, target).map_err(FetchError::file("rename", &self.path))?;
        // Syncs the new name as well, if the system can sync folders.
        if let Some(folder) = target.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Returns true if nothing exists at the path, not even a dangling symbolic link.
pub(super) fn is_free(path: &Path) -> Result<bool, FetchError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(false),
        // If a parent of the path is a file, creating the folder later reports the error.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(true)
        }
        Err(error) => Err(FetchError::file("read", path)(error)),
    }
}
