//! Fetching files from a server on the loopback interface, with and without faults.

mod answers;
mod disk;
mod stops;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use md5::{Digest, Md5};
use parareal_data::fetch::{
    DownloadFault, FetchError, FetchEvent, FetchOptions, Fetched, Job, RemoteFile, fetch_files,
};
use parareal_testing::server::{Answer, Request, Server};
use tempfile::TempDir;

/// Length in bytes of the file that the tests fetch.
const LEN: usize = 100_000;

/// The correct contents.
fn contents() -> Vec<u8> {
    (0..LEN as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A server and a destination folder.
struct Place {
    server: Server,
    folder: TempDir,
}

impl Place {
    fn new(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self { server: Server::new(answer), folder: TempDir::new().unwrap() }
    }

    /// The published file.
    fn file(&self) -> RemoteFile {
        let md5 = Md5::digest(contents()).iter().map(|byte| format!("{byte:02x}")).collect();
        let addresses = vec![self.server.url("a/thing.bin")];
        RemoteFile { name: "thing.bin".into(), bytes: LEN as u64, md5, addresses }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("thing.bin")
    }

    /// The contents of the partial file; `None` if there is none.
    fn part(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join("thing.bin.part")).ok()
    }

    fn leave_part(&self, bytes: &[u8]) {
        fs::write(self.folder.path().join("thing.bin.part"), bytes).unwrap();
    }

    fn fetch(&self) -> Result<Vec<Fetched>, FetchError> {
        self.fetch_with(options(), &|| false, &mut |_| {})
    }

    fn fetch_with(
        &self,
        options: FetchOptions,
        stop: &(dyn Fn() -> bool + Sync),
        events: &mut dyn FnMut(FetchEvent<'_>),
    ) -> Result<Vec<Fetched>, FetchError> {
        fetch_files(&[self.file()], self.folder.path(), &mut Job { options, stop, events })
    }

    /// Asserts that the file is complete and no partial file is left. Returns the first byte of
    /// each request.
    fn assert_fetched(&self) -> Vec<Option<usize>> {
        let fetched = self.fetch().unwrap_or_else(|error| panic!("{error}"));
        let [Fetched { path, bytes, address: Some(_) }] = &fetched[..] else {
            panic!("{fetched:?}")
        };
        assert_eq!((path, *bytes), (&self.path(), LEN as u64));
        assert!(fs::read(self.path()).unwrap() == contents());
        assert_eq!(self.part(), None);
        self.server.froms()
    }

    /// Asserts that fetching fails, leaves no file and keeps at most `most` bytes. Returns the
    /// fault.
    fn assert_failed(&self, most: usize) -> DownloadFault {
        let error = self.fetch().unwrap_err();
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("thing.bin from http://127.0.0.1:"), "{text}");
        assert!(!error.is_bad_input());
        let FetchError::Download { fault, kept, bytes, .. } = error else { panic!("{text}") };
        assert_eq!((kept, bytes), (most as u64, LEN as u64));
        assert_eq!(text.contains("were downloaded and kept"), most > 0, "{text}");
        assert!(!self.path().exists());
        let part = self.part();
        assert!(part.as_deref().unwrap_or_default() == &contents()[..most]);
        assert_eq!(part.is_some(), most > 0);
        fault
    }
}

/// Options with timeouts for a test.
fn options() -> FetchOptions {
    FetchOptions {
        connect_timeout: Duration::from_secs(20),
        stall_timeout: Duration::from_secs(20),
        tries: 3,
        pause: Duration::from_millis(1),
        redirects: 3,
        proxy: false,
    }
}
