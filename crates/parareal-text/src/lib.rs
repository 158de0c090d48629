//! Helpers for the text of messages and files. Messages stay on one line even if names in them contain line
//! breaks.

mod panic_message;

use std::fmt;
use std::path::Path;

pub use panic_message::panic_message;

/// Returns a text with its control characters escaped, so that a message stays on one line even if a file name in
/// it contains a line break.
#[must_use]
pub fn one_line(text: &str) -> String {
    let escaped = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.into(),
    };
    text.chars().map(escaped).collect()
}

/// A path that is displayed with its control characters escaped ([`one_line`]).
pub struct OneLine<'a>(pub &'a Path);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&one_line(&self.0.to_string_lossy()))
    }
}

/// Joins names with commas. Of more than `most` names, the first ones are followed by the number of the others.
///
/// ```
/// assert_eq!(parareal_text::list(&["a", "b", "c"], 2), "a, b and 1 more");
/// ```
pub fn list(names: &[impl AsRef<str>], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    let shown = one_line(&shown.join(", "));
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns a number with a noun in the singular or plural, such as `1 rank` or `2 ranks`.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Returns bytes as lowercase hexadecimal digits, two per byte.
#[must_use]
pub fn in_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the contents of a text file without a byte order mark, which some editors write at the start of UTF-8
/// files.
#[must_use]
pub fn without_byte_order_mark(contents: &[u8]) -> &[u8] {
    contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents)
}

/// Tests the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        assert_eq!([0, 1, 2].map(|number| count(number, "rank")), ["0 ranks", "1 rank", "2 ranks"]);
    }

    #[test]
    fn only_a_mark_at_the_start_is_removed() {
        assert_eq!(without_byte_order_mark("\u{feff}a\u{feff}".as_bytes()), "a\u{feff}".as_bytes());
        for text in [&b"a"[..], b"", b"\xef\xbb"] {
            assert_eq!(without_byte_order_mark(text), text);
        }
    }
}
