//! Files, options and events of a download.

use std::path::PathBuf;
use std::time::Duration;

use super::error::DownloadFault;

/// A published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// File name without a folder.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// MD5 sum in hexadecimal digits.
    pub md5: String,
    /// Addresses, at least one, tried in this order.
    pub addresses: Vec<String>,
}

/// Timeouts, retries and redirects of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Timeout for resolving the name of a server, and for connecting to it.
    pub connect_timeout: Duration,
    /// Time without any bytes after which a connection is closed.
    pub stall_timeout: Duration,
    /// Number of consecutive failed requests after which an address is given up, at least 1.
    /// Progress by a hundredth of the file resets the count.
    pub tries: u32,
    /// Pause after the first failure; it doubles with each further one, up to 30 s.
    pub pause: Duration,
    /// Maximum number of redirects. HTTPS addresses may only redirect to HTTPS.
    pub redirects: u32,
    /// True to use the proxy set in the environment (`HTTPS_PROXY` and similar variables).
    pub proxy: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            tries: 5,
            pause: Duration::from_secs(1),
            redirects: 10,
            proxy: true,
        }
    }
}

/// An event of a download.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchEvent<'a> {
    /// A response with bytes of a file has begun.
    Started {
        /// The file.
        file: &'a RemoteFile,
        /// Number of bytes kept from earlier requests.
        have: u64,
    },
    /// Bytes were received.
    Bytes {
        /// Number of bytes of the file received so far.
        have: u64,
    },
    /// A request failed and is repeated after a pause.
    Retry {
        /// The failure.
        fault: &'a DownloadFault,
        /// Time until the next request.
        pause: Duration,
    },
    /// The bytes of several requests do not form the canonical file, so the download starts from
    /// the beginning.
    Restarted {
        /// The failure.
        fault: &'a DownloadFault,
    },
    /// An address failed to deliver the file, and the next one is tried.
    NextAddress {
        /// The failure.
        fault: &'a DownloadFault,
        /// The next address.
        address: &'a str,
    },
    /// The file is complete, has been checked and has its final name.
    Done {
        /// The file.
        file: &'a RemoteFile,
    },
}

/// A file that is complete and has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Path of the file.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// The address it was downloaded from; `None` if the file already existed.
    pub address: Option<String>,
}

/// Options and callbacks of a download.
pub struct Job<'a> {
    /// Timeouts, retries and redirects.
    pub options: FetchOptions,
    /// Returns true to stop the download. Polled from several threads.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Called with each event.
    pub events: &'a mut dyn FnMut(FetchEvent<'_>),
}
