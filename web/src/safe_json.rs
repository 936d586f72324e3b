//! JSON that is safe to display: the same values, with every character escaped that a page, a terminal or a reader could
//! mistake for something else.

use std::io;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::error::Failure;
use crate::text::is_tricky;

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let special = |c: char| matches!(c, '<' | '>' | '&' | '\'') || is_tricky(c);
        let mut from = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| special(*c)) {
            writer.write_all(&fragment.as_bytes()[from..at])?;
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            from = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[from..])
    }
}

pub(crate) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Escaping))?;
    Ok(out)
}

/// A JSON answer that must not be cached.
pub(crate) struct SafeJson<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for SafeJson<T> {
    fn into_response(self) -> Response {
        match to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response(),
            Err(e) => Failure::internal(format!("writing a JSON answer: {e}")).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_value_without_tricky_characters() {
        let text = "a<script>\"'&\\ \u{202e}\u{2066}\u{feff}\u{e0041}\u{85}\n\u{0}é日😀";
        let json = to_vec(&text).unwrap();
        let seen = std::str::from_utf8(&json).unwrap();
        assert!(!seen.chars().any(|c| is_tricky(c) || "<>&'".contains(c)), "{seen}");
        assert!(seen.contains("é日😀"));
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }
}
