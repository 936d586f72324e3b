//! Texts from machines, the log and other seeds, made safe to show.

use crate::limits::MAX_SHOWN;

/// Whether a character is not what it looks like: controls, marks that reorder or hide text, tags.
pub(crate) fn is_tricky(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text for a page: bounded, and without characters that reorder or hide the text around them. (The templates escape
/// what has a meaning in HTML.)
pub(crate) fn clean(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if is_tricky(c) { '\u{fffd}' } else { c }).collect()
}

/// A text of several lines that goes back into the field that it was typed into: as [`clean`], but whole, and with its lines.
pub(crate) fn clean_lines(text: &str) -> String {
    let line = |c: char| {
        if c == '\t' {
            ' '
        } else if c != '\n' && is_tricky(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().filter(|c| *c != '\r').map(line).collect()
}

/// Like [`clean`], with `or` in place of an empty text.
pub(crate) fn clean_or(text: &str, or: &str) -> String {
    let text = clean(text);
    if text.trim().is_empty() { or.to_owned() } else { text }
}

/// For a value in the query of an address (RFC 3986, 2.3: all but the unreserved characters).
pub(crate) fn in_address(text: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_addresses_are_encoded() {
        assert_eq!(in_address("a b&c=\u{e9}\"<#"), "a%20b%26c%3D%C3%A9%22%3C%23");
        assert_eq!(in_address("node-1.lab_~"), "node-1.lab_~");
    }

    #[test]
    fn text_is_cut_and_straightened() {
        assert_eq!(clean("a\u{202e}b\u{0}c\nd"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
        assert_eq!(clean(&"é".repeat(MAX_SHOWN + 1)).chars().count(), MAX_SHOWN);
        assert_eq!(clean_or(" ", "none"), "none");
        assert_eq!(clean_lines("a\r\nb\tc\u{202e}"), "a\nb c\u{fffd}");
    }
}
