//! PyTorch, in a process of its own (`benchmarks/peers/peer.py`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::contestant::Contestant;

/// Memory layouts and compilation, as `peer.py` names them.
pub(crate) const VARIANTS: [&str; 4] =
    ["plain", "channels-last", "compiled", "channels-last+compiled"];

/// Settings of the C library with which it keeps freed memory, as our allocator does.
const RETAIN: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
    ("MALLOC_TRIM_THRESHOLD_", "68719476736"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// A serial network in PyTorch.
pub(crate) struct Peer {
    process: Child,
    /// `None` once it is closed, which ends the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the process and waits until it has warmed up.
    ///
    /// # Errors
    /// If it cannot be started, or ends before it is ready.
    pub(crate) fn start(
        python: &Path,
        threads: usize,
        variant: &str,
        depth: usize,
        batch: usize,
    ) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/peer.py");
        let units = (depth - 2) / 9;
        let mut process = Command::new(python)
            .arg(script)
            .args([threads.to_string().as_str(), variant, "network", &units.to_string()])
            .args(["1", "bottleneck", "1", &batch.to_string()])
            .envs(RETAIN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or("the process has no standard output")?;
        let mut peer = Self { process, input, output: BufReader::new(output) };
        match peer.line()?.as_str() {
            "ready" => Ok(peer),
            other => {
                Err(format!("PyTorch ({variant}) answered `{other}`, expected `ready`").into())
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Contestant for Peer {
    fn step(&mut self) -> Result<Duration> {
        let input = self.input.as_mut().ok_or("the process was closed")?;
        input.write_all(b"time\n")?;
        input.flush()?;
        let line = self.line()?;
        let seconds: f64 = line.parse().map_err(|_| format!("PyTorch answered `{line}`"))?;
        Ok(Duration::try_from_secs_f64(seconds)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}
