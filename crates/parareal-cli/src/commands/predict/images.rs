//! Image files, given by path or by folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parareal_text::OneLine;
use thiserror::Error;

/// A folder without usable images.
#[derive(Debug, Error)]
pub(crate) enum FolderError {
    #[error("cannot read folder {path}: {source}", path = OneLine(path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path}: no PNG or JPEG files (.png, .jpg, .jpeg) in this folder", path = OneLine(path))]
    Empty { path: PathBuf },
}

/// Returns the PNG and JPEG files of a folder, sorted by name. Subfolders are not searched. Any other path is
/// returned unchanged.
///
/// # Errors
/// If a folder cannot be read or has no such files.
pub(crate) fn expand(path: &Path) -> Result<Vec<PathBuf>, FolderError> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let unreadable = |source| FolderError::Unreadable { path: path.to_path_buf(), source };
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let entries = entries.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
    files.retain(|file| is_image(file) && !file.is_dir());
    if files.is_empty() {
        return Err(FolderError::Empty { path: path.to_path_buf() });
    }
    files.sort();
    Ok(files)
}

/// Returns true if the file has the extension of a PNG or JPEG file and is not hidden.
fn is_image(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = |ending: &std::ffi::OsStr| {
        ["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    };
    !is_hidden && path.extension().is_some_and(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_expands_to_its_images_sorted_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in ["b.PNG", "a.jpeg", "c.jpg", "notes.txt", ".hidden.png"] {
            fs::write(folder.join(name), "").unwrap();
        }
        fs::create_dir(folder.join("d.png")).unwrap();
        fs::write(folder.join("d.png/e.png"), "").unwrap();
        let expected = ["a.jpeg", "b.PNG", "c.jpg"].map(|name| folder.join(name));
        assert_eq!(expand(folder).unwrap(), expected);
        let file = folder.join("notes.txt");
        assert_eq!(expand(&file).unwrap(), [file]);
        fs::create_dir(folder.join("empty")).unwrap();
        let message = expand(&folder.join("empty")).unwrap_err().to_string();
        assert!(
            message.contains("no PNG or JPEG files (.png, .jpg, .jpeg) in this folder"),
            "{message}"
        );
    }
}
