//! Exclusive access to a folder during a download.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::error::FetchError;

/// A lock that keeps a second process from fetching into a folder.
///
/// The operating system releases the lock when the process ends, even if it is killed. The lock
/// file is never removed, because another process might hold a lock on it at that moment.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Creates the folder and locks it.
    pub(super) fn take(folder: &Path) -> Result<Self, FetchError> {
        fs::create_dir_all(folder).map_err(FetchError::file("create", folder))?;
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(FetchError::file("create", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(FetchError::Busy { path: folder.to_owned() }),
            // On a file system without locks, the folder is not locked.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}
