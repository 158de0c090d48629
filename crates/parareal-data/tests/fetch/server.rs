//! A server on the loopback interface that does what a test tells it.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// The first byte that is wanted, where a part is.
    pub from: Option<usize>,
}

/// What is sent back.
pub struct Answer {
    head: String,
    body: Vec<u8>,
    /// Whether the connection is kept open and silent behind the body.
    stalls: bool,
}

impl Answer {
    pub fn new(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        Self { head, body: body.to_vec(), stalls: false }
    }

    pub fn whole(bytes: &[u8]) -> Self {
        Self::new("200 OK", &format!("Content-Length: {}\r\n", bytes.len()), bytes)
    }

    /// What a good server answers: all of it, or the rest where that is asked for.
    pub fn good(request: &Request, bytes: &[u8]) -> Self {
        match request.from {
            None => Self::whole(bytes),
            Some(from) => Self::rest(from, from, bytes),
        }
    }

    /// The bytes from `from` on, said to be those from `said` on.
    pub fn rest(from: usize, said: usize, bytes: &[u8]) -> Self {
        let (len, last) = (bytes.len() - from, bytes.len() - 1);
        let headers = format!(
            "Content-Length: {len}\r\nContent-Range: bytes {said}-{last}/{}\r\n",
            bytes.len()
        );
        Self::new("206 Partial Content", &headers, &bytes[from..])
    }

    pub fn status(status: &str) -> Self {
        Self::new(status, "Content-Length: 0\r\n", &[])
    }

    pub fn redirect(to: &str) -> Self {
        Self::new("302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n"), &[])
    }

    /// Nothing that HTTP knows.
    pub fn raw(bytes: &[u8]) -> Self {
        Self { head: String::new(), body: bytes.to_vec(), stalls: false }
    }

    /// The connection ends behind so many bytes of the body.
    pub fn cut(mut self, len: usize) -> Self {
        self.body.truncate(len);
        self
    }

    /// Behind what is sent nothing more comes.
    pub fn then_stall(mut self) -> Self {
        self.stalls = true;
        self
    }
}

/// The server, as long as the test lasts.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers each request, which `answer` gets with its number from 0 on.
    pub fn new(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                // A client that goes away is part of the tests.
                thread::spawn(move || serve(&stream, &*answer, &seen).ok());
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The first bytes that were asked for, one for each request.
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
    // A client that begins with TLS is answered as servers without it do.
    if reader.fill_buf()?.starts_with(&[0x16]) {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
        reader.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let (mut number, mut request) = note(&mut reader, seen)?;
    if request.path.ends_with(":80") {
        // It is taken for a proxy, and answers in the place of the other server.
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

/// Reads a request and writes it down; with its number.
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
