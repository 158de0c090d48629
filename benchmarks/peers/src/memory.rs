//! The memory of this process as reported by Linux, in gigabytes of 10⁹ bytes.

use crate::Result;

fn status(key: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kibibytes: f64 = line
        .and_then(|line| line.trim_start_matches(':').split_whitespace().next())
        .ok_or_else(|| format!("/proc/self/status has no {key}"))?
        .parse()?;
    Ok(kibibytes * 1024.0 / 1e9)
}

/// Returns the resident memory.
pub(crate) fn resident() -> Result<f64> {
    status("VmRSS")
}

/// Returns the maximum resident memory since [`forget_peak`].
pub(crate) fn peak() -> Result<f64> {
    status("VmHWM")
}

/// Resets the peak. If the system does not permit this, the peak is that since the start of the process.
pub(crate) fn forget_peak() {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        eprintln!("the memory peak is that of the whole process: {error}");
    }
}
