//! Text files as people and their editors write them.

/// The contents of a text file without the byte order mark that some editors put before UTF-8.
#[must_use]
pub fn without_byte_order_mark(contents: &[u8]) -> &[u8] {
    contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mark_at_the_start_is_taken_away() {
        assert_eq!(without_byte_order_mark("\u{feff}a\u{feff}".as_bytes()), "a\u{feff}".as_bytes());
        for text in [&b"a"[..], b"", b"\xef\xbb"] {
            assert_eq!(without_byte_order_mark(text), text);
        }
    }
}
