//! Download of one file from one address, with retries and resumption.

use std::io::{self, Read};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body, Error, Timeout};

use super::error::{DownloadFault, FetchError};
use super::job::{FetchEvent, FetchOptions, Job, RemoteFile};
use super::partial::PartialDownload;

/// Time between two checks for a request to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The longest pause between two requests.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The failure count is reset after progress by `1 / PROGRESS_SHARE` of the file.
const PROGRESS_SHARE: u64 = 100;

/// Reason why a download, or one of its requests, ended before the file was complete.
pub(super) enum End {
    /// The address does not deliver the file.
    Fault(DownloadFault),
    /// An error that retrying or another address cannot fix, such as a full disk.
    Failed(FetchError),
    Stopped,
}

impl From<DownloadFault> for End {
    fn from(fault: DownloadFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FetchError> for End {
    fn from(error: FetchError) -> Self {
        Self::Failed(error)
    }
}

/// Downloads until `partial` has the size of the file. Does not check the contents.
pub(super) fn download(
    file: &RemoteFile,
    address: &str,
    partial: &mut PartialDownload,
    job: &mut Job<'_>,
) -> Result<(), End> {
    let agent = agent(address, &job.options);
    // Closes the connections on a request to stop, which ends any wait for the server.
    let (done, watched) = mpsc::channel::<()>();
    let (stop, watched_agent) = (job.stop, agent.clone());
    thread::scope(|scope| {
        scope.spawn(move || {
            while watched.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if stop() {
                    return watched_agent.shutdown();
                }
            }
        });
        let result = Download { file, address, agent, partial, job }.run();
        drop(done);
        result
    })
}

fn agent(address: &str, options: &FetchOptions) -> Agent {
    let config = Agent::config_builder()
        .https_only(address.starts_with("https:"))
        .http_status_as_error(false)
        .max_redirects(options.redirects)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_per_read(Some(options.stall_timeout))
        .timeout_per_write(Some(options.stall_timeout))
        .user_agent(concat!("parareal/", env!("CARGO_PKG_VERSION")))
        // Requests the file's own bytes, so that a .gz file is not decompressed in transit.
        .accept_encoding(AutoHeaderValue::Provided("identity".to_owned().into()));
    let config = if options.proxy { config } else { config.proxy(None) };
    config.build().new_agent()
}

struct Download<'a, 'b> {
    file: &'a RemoteFile,
    address: &'a str,
    agent: Agent,
    partial: &'a mut PartialDownload,
    job: &'a mut Job<'b>,
}

impl Download<'_, '_> {
    fn run(&mut self) -> Result<(), End> {
        let (mut failures, mut max) = (0, self.partial.len());
        loop {
            if self.partial.len() > self.file.bytes {
                self.partial.clear()?;
            }
            if self.partial.len() == self.file.bytes {
                return Ok(());
            }
            let result = if (self.job.stop)() { Err(End::Stopped) } else { self.request() };
            let fault = match result {
                _ if (self.job.stop)() => return Err(End::Stopped),
                _ if self.partial.len() == self.file.bytes => return Ok(()),
                Err(End::Fault(fault)) if fault.is_transient() => fault,
                Err(end) => return Err(end),
                Ok(()) => continue,
            };
            // Only bytes beyond the greatest length so far count as progress.
            if self.partial.len() >= max + self.file.bytes.div_ceil(PROGRESS_SHARE) {
                (failures, max) = (0, self.partial.len());
            }
            failures += 1;
            if failures >= self.job.options.tries {
                return Err(fault.into());
            }
            let pause = self.job.options.pause.saturating_mul(1 << (failures - 1).min(16));
            let pause = pause.min(MAX_PAUSE);
            (self.job.events)(FetchEvent::Retry { fault: &fault, pause });
            self.pause(pause)?;
        }
    }

    /// Requests the missing bytes once and appends what arrives.
    fn request(&mut self) -> Result<(), End> {
        let have = self.partial.len();
        let mut request = self.agent.get(self.address);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = request.call().map_err(|error| self.fault(error, false))?;
        self.check_response(&response)?;
        self.read_body(response.into_body())
    }

    /// Checks the status and headers of a response.
    fn check_response(&mut self, response: &Response<Body>) -> Result<(), End> {
        let expected = self.file.bytes;
        let check = |found: Option<u64>, expected| match found {
            Some(found) if found != expected => Err(found),
            _ => Ok(()),
        };
        let (status, headers) = (response.status(), response.headers());
        let announced = number(headers, header::CONTENT_LENGTH);
        match status {
            StatusCode::OK => {
                check(announced, expected)
                    .map_err(|found| DownloadFault::Size { found, expected })?;
                // The server is sending the whole file.
                self.partial.clear()?;
            }
            StatusCode::PARTIAL_CONTENT => {
                let have = self.partial.len();
                let Some((first, total)) = range(headers) else { return self.restart() };
                check(total, expected).map_err(|found| DownloadFault::Size { found, expected })?;
                if first != have || check(announced, expected - have).is_err() {
                    return self.restart();
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.partial.clear()?;
                return Err(status_fault(status).into());
            }
            _ => return Err(status_fault(status).into()),
        }
        (self.job.events)(FetchEvent::Started { file: self.file, have: self.partial.len() });
        Ok(())
    }

    /// Discards all bytes, because the server sent a different range. The next request is for the
    /// whole file.
    fn restart(&mut self) -> Result<(), End> {
        self.partial.clear()?;
        Err(DownloadFault::Range.into())
    }

    /// Appends the bytes of a response.
    fn read_body(&mut self, body: Body) -> Result<(), End> {
        let mut reader = body.into_reader();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fault(error.into(), true).into()),
            };
            let (have, expected) = (self.partial.len(), self.file.bytes);
            if count as u64 > expected - have {
                self.partial.clear()?;
                return Err(DownloadFault::TooLarge { expected }.into());
            }
            if count == 0 && have < expected {
                let message = format!("{have} of {expected} bytes received");
                return Err(DownloadFault::BrokenOff { message }.into());
            }
            if count == 0 {
                return Ok(());
            }
            self.partial.append(&buffer[..count])?;
            (self.job.events)(FetchEvent::Bytes { have: self.partial.len() });
            if (self.job.stop)() {
                return Err(End::Stopped);
            }
        }
    }

    /// Waits for `pause`, or returns [`End::Stopped`] early on a request to stop.
    fn pause(&self, pause: Duration) -> Result<(), End> {
        let begun = Instant::now();
        loop {
            if (self.job.stop)() {
                return Err(End::Stopped);
            }
            match pause.saturating_sub(begun.elapsed()) {
                Duration::ZERO => return Ok(()),
                left => thread::sleep(left.min(POLL_INTERVAL)),
            }
        }
    }

    /// Converts an error to a fault. `within` is true if it occurred while reading the response
    /// body.
    fn fault(&self, error: Error, within: bool) -> DownloadFault {
        let options = &self.job.options;
        let message = one_line(&error);
        match error {
            Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                let seconds = options.connect_timeout.as_secs_f64();
                let message = format!("no response within {seconds:.1} s");
                DownloadFault::Connection { message }
            }
            Error::Timeout(_) => DownloadFault::Stalled { after: options.stall_timeout },
            Error::HostNotFound => DownloadFault::Host,
            Error::TooManyRedirects => DownloadFault::Redirects { max: options.redirects },
            Error::RequireHttpsOnly(_) => DownloadFault::Insecure,
            Error::Tls(_) | Error::Rustls(_) => DownloadFault::Tls { message },
            // This kind of error is reported for invalid TLS records.
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                DownloadFault::Tls { message }
            }
            Error::Io(_) if within => DownloadFault::BrokenOff { message },
            Error::Io(_) | Error::ConnectionFailed | Error::ConnectProxyFailed(_) => {
                DownloadFault::Connection { message }
            }
            _ => DownloadFault::Protocol { message },
        }
    }
}

fn one_line(error: &Error) -> String {
    let text = match error {
        Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn status_fault(status: StatusCode) -> DownloadFault {
    let reason = status.canonical_reason().map_or(String::new(), |reason| format!(" {reason}"));
    DownloadFault::Status { code: status.as_u16(), reason }
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Parses the `Content-Range` header, `bytes FIRST-LAST/SIZE`. Returns the first byte and, if
/// known, the size of the whole file.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (part, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = part.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, total))
}
