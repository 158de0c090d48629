//! Exclusive access of one fetch to a folder.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::error::FetchError;

/// A lock that keeps a second process from fetching into a folder.
///
/// The system releases it when the process ends, in any way. The lock file stays, because another
/// process may hold a lock on it when it is removed.
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
            // File systems without locks are used without one.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}
