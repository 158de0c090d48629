//! Terminal output: results go to standard output, everything else to standard error.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use os_display::Quotable;
pub(crate) use parareal_text::count;

use crate::failure::Failure;

/// Prints a note for the user on standard error. Failures are ignored.
///
/// The note and its line break are one write: standard error has no buffer, and a launcher joins
/// the writes of several ranks in the order of their arrival.
pub(crate) fn note(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Prints a result on standard output. A closed pipe is not an error.
pub(crate) fn result(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => {
            written.map_err(|source| Failure::Write { path: "standard output".into(), source })
        }
    }
}

/// Quotes a path for a shell.
pub(crate) fn shell_word(path: &Path) -> String {
    // A name that begins with a hyphen would be parsed as a flag.
    match path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        true => Path::new(".").join(path).maybe_quote().to_string(),
        false => path.maybe_quote().to_string(),
    }
}

/// Returns the name with which this program was started, quoted for a shell.
pub(crate) fn program() -> String {
    let name = std::env::args_os().next().unwrap_or_else(|| "parareal".into());
    shell_word(Path::new(&name))
}

/// Formats a table: the first column is left-aligned, the others right-aligned, with two spaces in
/// between.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Formats a number of parameters, multiply-adds or bytes, with the suffix k or M if it is large.
pub(crate) fn amount(number: impl TryInto<u64>) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        _ => format!("{:.3}M", number as f64 / 1e6),
    }
}

/// Formats a duration in seconds, minutes or hours.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// Formats a fraction in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn paths_are_quoted_for_a_shell() {
        use std::os::unix::ffi::OsStrExt;
        for (path, word) in [
            (&b"runs/first-1.0"[..], "runs/first-1.0"),
            (b"my runs/it's", "\"my runs/it's\""),
            (b"a\"b'c", r#"'a"b'\''c'"#),
            (b"$HOME/`id`", "'$HOME/`id`'"),
            (b"~", "'~'"),
            (b"-x", "./-x"),
            (b"a\nb\xff", r"$'a\nb\xFF'"),
        ] {
            assert_eq!(shell_word(Path::new(OsStr::from_bytes(path))), word);
        }
    }
}
