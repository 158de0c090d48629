//! A fetch: its files, options and events.

use std::path::PathBuf;
use std::time::Duration;

use super::error::DownloadFault;

/// A file as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name, without any folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its MD5 sum in hexadecimal digits.
    pub md5: String,
    /// Where to get it, at least one address; the next one is tried where one does not give it.
    pub addresses: Vec<String>,
}

/// How patient a fetch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// How long to look for a server and to wait for a connection.
    pub connect_timeout: Duration,
    /// How long nothing may come before a connection is given up.
    pub stall_timeout: Duration,
    /// Requests in a row that may bring next to nothing, at least 1.
    pub tries: u32,
    /// Pause behind the first of them; each later one is twice as long, up to 30 s.
    pub pause: Duration,
    /// How many redirections are followed. Those of https lead to https.
    pub redirects: u32,
    /// Whether to go through the proxy that the environment names (`HTTPS_PROXY` and so on).
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

/// What happens while files are fetched.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchEvent<'a> {
    /// Bytes of a file are about to come.
    Started {
        /// The file.
        file: &'a RemoteFile,
        /// How many bytes of it are there already.
        have: u64,
    },
    /// Bytes have come.
    Bytes {
        /// How many bytes of the file are there now.
        have: u64,
    },
    /// It is tried again.
    Retry {
        /// What stood in the way.
        fault: &'a DownloadFault,
        /// How long to wait before.
        pause: Duration,
    },
    /// The parts of the file did not fit together: it is fetched anew.
    Restarted {
        /// What stood in the way.
        fault: &'a DownloadFault,
    },
    /// An address does not give the file; the next one is asked.
    NextAddress {
        /// What stood in the way.
        fault: &'a DownloadFault,
        /// The next address.
        address: &'a str,
    },
    /// The file has come, is right, and has its name.
    Done {
        /// The file.
        file: &'a RemoteFile,
    },
}

/// A file that is there, whole and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Where it came from; none where it was there before.
    pub address: Option<String>,
}

/// How to fetch.
pub struct Job<'a> {
    /// How patiently.
    pub options: FetchOptions,
    /// Asked now and then, from several threads, whether to stop.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told what happens.
    pub events: &'a mut dyn FnMut(FetchEvent<'_>),
}
