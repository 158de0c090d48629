//! An HTTP server on the loopback interface whose responses are chosen by a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path in the request line.
    pub path: String,
    /// The first byte of the requested range; `None` without a range.
    pub from: Option<usize>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    head: String,
    body: Vec<u8>,
    /// True if the connection stays open without further bytes after the body.
    stalls: bool,
}

impl Answer {
    /// Returns a response with this status, header lines and body.
    #[must_use]
    pub fn new(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        Self { head, body: body.to_vec(), stalls: false }
    }

    /// Returns a response with a whole file.
    #[must_use]
    pub fn whole(bytes: &[u8]) -> Self {
        Self::new("200 OK", &format!("Content-Length: {}\r\n", bytes.len()), bytes)
    }

    /// Returns the response of a correct server: the whole file, or the requested range.
    #[must_use]
    pub fn good(request: &Request, bytes: &[u8]) -> Self {
        match request.from {
            None => Self::whole(bytes),
            Some(from) => Self::rest(from, from, bytes),
        }
    }

    /// Returns a response with the bytes from `from` on, and a `Content-Range` header that claims they start at
    /// `said`.
    #[must_use]
    pub fn rest(from: usize, said: usize, bytes: &[u8]) -> Self {
        let (len, last) = (bytes.len() - from, bytes.len() - 1);
        let headers = format!(
            "Content-Length: {len}\r\nContent-Range: bytes {said}-{last}/{}\r\n",
            bytes.len()
        );
        Self::new("206 Partial Content", &headers, &bytes[from..])
    }

    /// Returns an empty response with this status.
    #[must_use]
    pub fn status(status: &str) -> Self {
        Self::new(status, "Content-Length: 0\r\n", &[])
    }

    /// Returns a redirection.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self::new("302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n"), &[])
    }

    /// Returns bytes that are not an HTTP response.
    #[must_use]
    pub fn raw(bytes: &[u8]) -> Self {
        Self { head: String::new(), body: bytes.to_vec(), stalls: false }
    }

    /// Closes the connection after `len` bytes of the body.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        self.body.truncate(len);
        self
    }

    /// Keeps the connection open after the response.
    #[must_use]
    pub fn then_stall(mut self) -> Self {
        self.stalls = true;
        self
    }
}

/// A server that runs until the test process ends.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server. `answer` is called with the number of each request, from 0, and the request.
    ///
    /// # Panics
    /// Panics if no port is available.
    pub fn new(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                // Some tests close the connection early.
                thread::spawn(move || serve(&stream, &*answer, &seen).ok());
            }
        });
        Self { address, requests }
    }

    /// Returns the URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Returns the requests so far.
    ///
    /// # Panics
    /// Panics if `answer` has panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the first byte of the range in each request so far; `None` for a request without a range.
    ///
    /// # Panics
    /// Panics if `answer` has panicked.
    #[must_use]
    pub fn froms(&self) -> Vec<Option<usize>> {
        self.requests().iter().map(|request| request.from).collect()
    }
}

fn serve(
    mut stream: &TcpStream,
    answer: &dyn Fn(usize, &Request) -> Answer,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    // A client that begins with TLS gets the response of a server that does not support TLS.
    if reader.fill_buf()?.starts_with(&[0x16]) {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
        reader.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let (mut number, mut request) = note(&mut reader, seen)?;
    if request.path.ends_with(":80") {
        // The client uses this server as a proxy. It responds in place of the target server.
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        (number, request) = note(&mut reader, seen)?;
    }
    let answer = answer(number, &request);
    stream.write_all(answer.head.as_bytes())?;
    stream.write_all(&answer.body)?;
    if answer.stalls {
        reader.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

/// Reads a request, records it and returns it with its number.
fn note(
    reader: &mut impl BufRead,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<(usize, Request)> {
    let mut lines = reader.lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut request = Request { path: first.split(' ').nth(1).unwrap_or("").into(), from: None };
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            request.from = Some(range.trim_end_matches('-').parse().unwrap());
        }
    }
    let mut seen = seen.lock().unwrap();
    seen.push(request.clone());
    Ok((seen.len() - 1, request))
}
