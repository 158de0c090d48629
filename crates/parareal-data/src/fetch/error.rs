//! Why files could not be fetched; every message is one line.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::error::DataError;
use crate::name::DatasetName;
use crate::text::OneLine;

/// Why the canonical files of a data set are not all there after a fetch.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The data set has no folder to be fetched to.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The user's own images, which nobody publishes.
    #[error("{dataset} is for images of your own, which are not fetched: name {}", published())]
    Own {
        /// The data set.
        dataset: DatasetName,
    },
    /// An address that none can be.
    #[error(
        "{address:?} is no address to fetch files from: give the http:// or https:// address of \
         the folder that they lie in"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// Something else has the name of a file. It is left as it is.
    #[error(
        "{path} is there and is not the canonical file ({found}): move it away or delete it, then \
         fetch again",
        path = OneLine(path)
    )]
    NotCanonical {
        /// What has the name.
        path: PathBuf,
        /// What tells it from the canonical file.
        found: String,
    },
    /// Another process fetches files into the folder.
    #[error("another process fetches files into {path}: wait for it, or end it", path = OneLine(path))]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// No address gave the file.
    #[error(
        "cannot fetch {name} from {address}: {fault}{}",
        kept_in_words(fault, *kept, *bytes)
    )]
    Download {
        /// The file.
        name: String,
        /// Where it was to come from; where there are several addresses, the last of them.
        address: String,
        /// What stood in the way.
        fault: DownloadFault,
        /// How many bytes of it have come and are kept.
        kept: u64,
        /// How many bytes it has.
        bytes: u64,
    },
    /// It was asked to stop.
    #[error("stopped; {kept} of the {bytes} bytes of {name} have come and are kept")]
    Interrupted {
        /// The file that was to come next, or was coming.
        name: String,
        /// How many bytes of it have come.
        kept: u64,
        /// How many bytes it has.
        bytes: u64,
    },
    /// A file or folder could not be read or written; what has come is kept.
    #[error("cannot {action} {path}: {source}", path = OneLine(path))]
    File {
        /// What was tried: "read", "write", "create", "rename".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FetchError {
    /// Whether something else was to be asked for or given, and not something failed while
    /// running.
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

/// What stood in the way of a download.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownloadFault {
    /// No server of this name is known.
    #[error("its server cannot be found")]
    Host,
    /// The server cannot be reached.
    #[error("there is no connection ({message})")]
    Connection {
        /// What was noticed.
        message: String,
    },
    /// The connection ended before the file did.
    #[error("the connection broke off ({message})")]
    BrokenOff {
        /// What was noticed.
        message: String,
    },
    /// The connection stands and nothing comes.
    #[error("nothing came for {:.1} s", after.as_secs_f64())]
    Stalled {
        /// How long nothing came.
        after: Duration,
    },
    /// The server answers with something else than the file.
    #[error("the server answers {code}{reason}")]
    Status {
        /// The status code of HTTP.
        code: u16,
        /// What the code means, behind a space; nothing where that is not known.
        reason: String,
    },
    /// The address leads to another one, and so on.
    #[error("it redirects more than {most} times")]
    Redirects {
        /// How many times are followed.
        most: u32,
    },
    /// The server of an address of https does not show that it is the one that was asked for.
    #[error("there is no secure connection ({message})")]
    Tls {
        /// What was noticed.
        message: String,
    },
    /// An address of https leads to one that is none.
    #[error("it redirects to an address without https")]
    Insecure,
    /// What the server announces is of another size than the canonical file.
    #[error("the server has a file of {found} bytes, and the canonical one has {expected}")]
    Size {
        /// What is announced.
        found: u64,
        /// What the canonical file has.
        expected: u64,
    },
    /// More came than was announced, or than the file has.
    #[error("too much came: the canonical file has {expected} bytes")]
    TooLarge {
        /// What the canonical file has.
        expected: u64,
    },
    /// The server was asked for the rest of the file and sends another part.
    #[error("the server sends another part of the file than the one that is missing")]
    Range,
    /// What came is not the canonical file.
    #[error("what came has the MD5 sum {found}, and the canonical file has {published}")]
    Checksum {
        /// The sum of what came.
        found: String,
        /// The sum that is published.
        published: String,
    },
    /// The answer makes no sense.
    #[error("its answer is not understood ({message})")]
    Protocol {
        /// What was noticed.
        message: String,
    },
}

impl DownloadFault {
    /// Whether another try may succeed.
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

/// The data sets that can be fetched, as in "a, b or c".
fn published() -> String {
    let names = DatasetName::ALL.into_iter().filter(|name| name.is_published());
    let names: Vec<&str> = names.map(DatasetName::as_str).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// What is kept of a file that could not be fetched.
fn kept_in_words(fault: &DownloadFault, kept: u64, bytes: u64) -> String {
    match fault {
        _ if kept > 0 => format!("; {kept} of its {bytes} bytes have come and are kept"),
        DownloadFault::Checksum { .. } | DownloadFault::TooLarge { .. } => {
            "; nothing of it is kept".into()
        }
        _ => String::new(),
    }
}
