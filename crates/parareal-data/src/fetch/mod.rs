//! Downloads of the canonical files of the data sets. No other part of the crate uses the network.
//!
//! A file is downloaded to `NAME.part` in its destination folder, and renamed to `NAME` once its
//! size and MD5 sum match the published ones. An interrupted download is resumed where it ended, by
//! further requests of the same call or by a later call. Existing files are never overwritten.
//!
//! ```
//! use parareal_data::DatasetName;
//! use parareal_data::fetch::canonical_files;
//!
//! let files = canonical_files(DatasetName::Cifar10);
//! assert_eq!((files[0].name.as_str(), files[0].bytes), ("cifar-10-binary.tar.gz", 170_052_171));
//! // The program draws these images, so there are no files.
//! assert!(canonical_files(DatasetName::Shapes).is_empty());
//! ```

mod download;
mod error;
mod job;
mod lock;
mod partial;

use std::fs;
use std::path::Path;

use ureq::http::Uri;

use crate::md5;
use crate::name::DatasetName;
use crate::sets;
use crate::sets::definition::{Origin, PublishedFile};
use download::{End, download};
pub use error::{DownloadFault, FetchError};
pub use job::{FetchEvent, FetchOptions, Fetched, Job, RemoteFile};
use lock::Lock;
use partial::{PartialDownload, is_free};

/// Returns the canonical files of a data set with their known addresses. The list is empty for a
/// set that is not published as files.
pub fn canonical_files(name: DatasetName) -> Vec<RemoteFile> {
    let Some(publication) = sets::definition(name).publication() else { return Vec::new() };
    let file = |file: &PublishedFile| RemoteFile {
        name: file.name.to_owned(),
        bytes: file.bytes,
        md5: file.md5.to_owned(),
        addresses: publication
            .addresses
            .iter()
            .map(|folder| format!("{folder}{}", file.name))
            .collect(),
    };
    publication.files.iter().map(file).collect()
}

/// Downloads the canonical files of a data set to the folder in `data_dir` from which
/// [`Dataset::load`](crate::Dataset::load) reads them.
///
/// `mirror` is the address of a folder that holds the files under their names. Without a mirror,
/// the files are downloaded from their known addresses. For a set that the program draws, nothing
/// is downloaded and the result is empty.
///
/// # Errors
///
/// [`FetchError::Address`] for an invalid mirror, [`FetchError::Own`] for the user's own images,
/// and the errors of [`fetch_files`].
pub fn fetch(
    name: DatasetName,
    data_dir: &Path,
    mirror: Option<&str>,
    job: &mut Job<'_>,
) -> Result<Vec<Fetched>, FetchError> {
    let publication = match sets::definition(name).origin {
        Origin::Own { .. } => return Err(FetchError::Own { dataset: name }),
        Origin::Drawn => None,
        Origin::Published(publication) => Some(publication),
    };
    let mut files = canonical_files(name);
    if let Some(mirror) = mirror {
        let folder = folder_address(mirror)?;
        for file in &mut files {
            file.addresses = vec![format!("{folder}/{}", file.name)];
        }
    }
    match publication {
        Some(publication) => fetch_files(&files, &publication.directory(data_dir), job),
        None => Ok(Vec::new()),
    }
}

/// Downloads files into a folder, which is created if necessary.
///
/// Existing files with the right size and MD5 sum are not downloaded again. If all files exist,
/// nothing is written.
///
/// # Errors
///
/// [`FetchError::NotCanonical`] if something other than the canonical file exists at its path (all
/// paths are checked before the first download); [`FetchError::Busy`] if another process is
/// downloading into the folder; [`FetchError::Download`] if no address delivers a file;
/// [`FetchError::Interrupted`] if [`Job::stop`] returned true; [`FetchError::File`] for errors of
/// the file system.
pub fn fetch_files(
    files: &[RemoteFile],
    directory: &Path,
    job: &mut Job<'_>,
) -> Result<Vec<Fetched>, FetchError> {
    let mut there = Vec::new();
    for file in files {
        there.push(is_there(file, &directory.join(&file.name), job)?);
    }
    let _lock = if there.contains(&false) { Some(Lock::take(directory)?) } else { None };
    let fetched = files.iter().zip(there).map(|(file, there)| {
        let path = directory.join(&file.name);
        // Another process may have downloaded the file in the meantime.
        let address = match there || is_there(file, &path, job)? {
            true => None,
            false => Some(fetch_file(file, &path, job)?),
        };
        Ok(Fetched { path, bytes: file.bytes, address })
    });
    fetched.collect()
}

/// Returns true if the file exists and is the canonical one.
fn is_there(file: &RemoteFile, path: &Path, job: &Job<'_>) -> Result<bool, FetchError> {
    if is_free(path)? {
        return Ok(false);
    }
    if (job.stop)() {
        return Err(FetchError::Interrupted {
            name: file.name.clone(),
            kept: 0,
            bytes: file.bytes,
        });
    }
    let different = |found: String| FetchError::NotCanonical { path: path.to_owned(), found };
    let metadata = fs::metadata(path).map_err(FetchError::file("read", path))?;
    if !metadata.is_file() {
        return Err(different("not a regular file".into()));
    }
    if metadata.len() != file.bytes {
        return Err(different(format!("{} bytes instead of {}", metadata.len(), file.bytes)));
    }
    let sum = md5::of_file(path).map_err(FetchError::file("read", path))?;
    if sum != file.md5 {
        return Err(different(format!("MD5 sum {sum} instead of {}", file.md5)));
    }
    Ok(true)
}

/// Downloads a file from the first address that delivers it, and returns that address.
fn fetch_file(file: &RemoteFile, path: &Path, job: &mut Job<'_>) -> Result<String, FetchError> {
    let mut partial = PartialDownload::open(path)?;
    let mut last = None;
    for address in &file.addresses {
        if let Some((_, fault)) = &last {
            (job.events)(FetchEvent::NextAddress { fault, address });
        }
        match fetch_from(file, address, &mut partial, job) {
            Ok(()) => {
                partial.finish(path)?;
                (job.events)(FetchEvent::Done { file });
                return Ok(address.clone());
            }
            Err(End::Fault(fault)) => last = Some((address, fault)),
            Err(End::Failed(error)) => {
                partial.remove_if_empty();
                return Err(error);
            }
            Err(End::Stopped) => {
                let RemoteFile { name, bytes, .. } = file.clone();
                let kept = partial.len();
                partial.remove_if_empty();
                return Err(FetchError::Interrupted { name, kept, bytes });
            }
        }
    }
    let RemoteFile { name, bytes, .. } = file.clone();
    let kept = partial.len();
    partial.remove_if_empty();
    let (address, fault) = last.map_or_else(
        || (String::new(), DownloadFault::Host),
        |(address, fault)| (address.clone(), fault),
    );
    Err(FetchError::Download { name, address, fault, kept, bytes })
}

/// Downloads a file from one address and compares its MD5 sum.
///
/// Bytes kept from earlier requests may belong to another file. If the sum of a resumed download is
/// wrong, the whole file is therefore downloaded again.
fn fetch_from(
    file: &RemoteFile,
    address: &str,
    partial: &mut PartialDownload,
    job: &mut Job<'_>,
) -> Result<(), End> {
    loop {
        let pieces = partial.len() > 0;
        download(file, address, partial, job)?;
        let found =
            md5::of_file(partial.path()).map_err(FetchError::file("read", partial.path()))?;
        if found == file.md5 {
            return Ok(());
        }
        partial.clear()?;
        let fault = DownloadFault::Checksum { found, published: file.md5.clone() };
        if !pieces {
            return Err(fault.into());
        }
        (job.events)(FetchEvent::Restarted { fault: &fault });
    }
}

/// Checks the address of a folder, and returns it without trailing slashes.
fn folder_address(text: &str) -> Result<&str, FetchError> {
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        let plain = uri.query().is_none() && !text.contains('#');
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && plain
    });
    match uri {
        Some(_) => Ok(text.trim_end_matches('/')),
        None => Err(FetchError::Address { address: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_in_files_knows_its_files_and_where_they_are() {
        for name in DatasetName::ALL {
            let files = canonical_files(name);
            assert_eq!(!files.is_empty(), name.is_published());
            for file in files {
                assert!(file.bytes > 0 && file.md5.len() == 32);
                assert!(file.md5.chars().all(|digit| matches!(digit, '0'..='9' | 'a'..='f')));
                assert!(file.addresses[0].starts_with("https://"));
                for address in &file.addresses {
                    assert!(address.ends_with(&format!("/{}", file.name)));
                    assert!(address.parse::<Uri>().is_ok());
                }
            }
        }
    }

    #[test]
    fn a_mirror_is_the_address_of_a_folder() {
        for good in ["http://h", "https://h:1/a/b", "http://127.0.0.1:80/", "http://[::1]/a//"] {
            let address = folder_address(good).unwrap();
            assert!(good.starts_with(address) && !address.ends_with('/'));
        }
        for bad in ["", "h", "/a", "ftp://h/a", "http://", "http://h/a?b", "http://h/#a", "a\nb"] {
            let error = folder_address(bad).unwrap_err();
            assert!(error.is_bad_input());
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}
