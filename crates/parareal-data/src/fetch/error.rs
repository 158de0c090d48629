//! Errors from downloading files; every message is one line.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parareal_text::OneLine;
use thiserror::Error;

use crate::error::DataError;
use crate::name::DatasetName;

/// An error from downloading the canonical files of a data set.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// An error of the data set itself.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data set consists of the user's own images, which cannot be downloaded.
    #[error("{dataset} is for images of your own and cannot be fetched; name {}", published())]
    Own {
        /// The data set.
        dataset: DatasetName,
    },
    /// The mirror is not the HTTP or HTTPS address of a folder.
    #[error(
        "`{}` is not a valid address; give the http:// or https:// address of the folder that \
         holds the files",
        address.escape_debug()
    )]
    Address {
        /// The given text.
        address: String,
    },
    /// Something other than the canonical file already exists at its path. It is left unchanged.
    #[error(
        "{path} exists but is not the canonical file ({found}); move or delete it, then fetch \
         again",
        path = OneLine(path)
    )]
    NotCanonical {
        /// The path.
        path: PathBuf,
        /// The difference from the canonical file.
        found: String,
    },
    /// Another process is downloading files into the folder.
    #[error(
        "another process is fetching files into {path}; wait for it, or stop it",
        path = OneLine(path)
    )]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// No address delivered the file.
    #[error(
        "cannot fetch {name} from {address}: {fault}{}",
        kept_in_words(fault, *kept, *bytes)
    )]
    Download {
        /// Name of the file.
        name: String,
        /// The last address that was tried.
        address: String,
        /// The failure at that address.
        fault: DownloadFault,
        /// Number of bytes that were received and are kept.
        kept: u64,
        /// Length of the file in bytes.
        bytes: u64,
    },
    /// [`Job::stop`](super::Job::stop) returned true.
    #[error("interrupted: {kept} of {bytes} bytes of {name} were downloaded and kept")]
    Interrupted {
        /// The current or next file.
        name: String,
        /// Number of bytes that were received.
        kept: u64,
        /// Length of the file in bytes.
        bytes: u64,
    },
    /// A file or folder could not be read or written; bytes received so far are kept.
    #[error("cannot {action} {path}: {source}", path = OneLine(path))]
    File {
        /// The operation: "read", "write", "create", "rename".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl FetchError {
    /// Returns true if the request was invalid, and false if an error occurred while carrying it
    /// out.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Data(_)
            | Self::Own { .. }
            | Self::Address { .. }
            | Self::NotCanonical { .. }
            | Self::Busy { .. } => true,
            Self::Download { .. } | Self::Interrupted { .. } | Self::File { .. } => false,
        }
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// Reason why a download failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownloadFault {
    /// The name of the server cannot be resolved.
    #[error("cannot resolve the name of the server")]
    Host,
    /// The server cannot be reached.
    #[error("cannot connect ({message})")]
    Connection {
        /// Details.
        message: String,
    },
    /// The connection ended before the file was complete.
    #[error("the connection was lost ({message})")]
    BrokenOff {
        /// Details.
        message: String,
    },
    /// The server stopped sending data.
    #[error("no data received for {:.1} s", after.as_secs_f64())]
    Stalled {
        /// The time for which nothing was received.
        after: Duration,
    },
    /// The server responded with an unexpected HTTP status.
    #[error("the server responded {code}{reason}")]
    Status {
        /// The HTTP status code.
        code: u16,
        /// The reason phrase of the code after a space; empty if unknown.
        reason: String,
    },
    /// Too many redirects.
    #[error("more than {max} redirects")]
    Redirects {
        /// Number of redirects that are followed.
        max: u32,
    },
    /// The TLS handshake failed.
    #[error("cannot establish a secure connection ({message})")]
    Tls {
        /// Details.
        message: String,
    },
    /// An HTTPS address redirected to an address without HTTPS.
    #[error("redirected to an address without HTTPS")]
    Insecure,
    /// The server announced a file whose size differs from the size of the canonical file.
    #[error("the file on the server has {found} bytes, but the canonical file has {expected}")]
    Size {
        /// The announced size.
        found: u64,
        /// The size of the canonical file.
        expected: u64,
    },
    /// The server sent more bytes than the file has.
    #[error("received more than the {expected} bytes of the canonical file")]
    TooLarge {
        /// The size of the canonical file.
        expected: u64,
    },
    /// The server sent a different range from the one requested.
    #[error("the server sent a different part of the file from the one requested")]
    Range,
    /// The received file does not have the published MD5 sum.
    #[error("the downloaded file has the MD5 sum {found}, but the canonical file has {published}")]
    Checksum {
        /// MD5 sum of the received file.
        found: String,
        /// MD5 sum of the canonical file.
        published: String,
    },
    /// The response is not valid HTTP.
    #[error("invalid response ({message})")]
    Protocol {
        /// Details.
        message: String,
    },
}

impl DownloadFault {
    /// Returns true if a retry may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. }
            | Self::BrokenOff { .. }
            | Self::Stalled { .. }
            | Self::Range => true,
            Self::Status { code, .. } => matches!(code, 408 | 416 | 429 | 500..),
            _ => false,
        }
    }
}

/// Lists the data sets that can be fetched, in the form "a, b or c".
fn published() -> String {
    let names = DatasetName::ALL.into_iter().filter(|name| name.is_published());
    let names: Vec<&str> = names.map(DatasetName::as_str).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Describes how much of a file was kept after its download failed.
fn kept_in_words(fault: &DownloadFault, kept: u64, bytes: u64) -> String {
    match fault {
        _ if kept > 0 => format!("; {kept} of {bytes} bytes were downloaded and kept"),
        DownloadFault::Checksum { .. } | DownloadFault::TooLarge { .. } => {
            "; nothing was kept".into()
        }
        _ => String::new(),
    }
}
