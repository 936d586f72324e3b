//! What differs between two answers with the same head.

use crate::dates::http_date;

/// A head to reuse: without the id of this request.
pub(super) fn reusable(head: &[u8]) -> Vec<u8> {
    let lines = head.split_inclusive(|b| *b == b'\n').filter(|l| !l.starts_with(b"X-Request-Id:"));
    lines.flatten().copied().collect()
}

/// What differs from answer to answer: the date, and the request's id, which starts at a random number per connection and
/// counts up.
pub(super) struct Stamp {
    id: u64,
    second: u64,
    date: String,
}

impl Stamp {
    pub(super) fn new() -> Option<Self> {
        let id = u64::from_le_bytes(host::random::bytes().ok()?);
        Some(Stamp { id, second: 0, date: String::new() })
    }

    /// Ends a head that has no id yet.
    pub(super) fn end(&mut self, out: &mut Vec<u8>, close: bool) {
        self.id = self.id.wrapping_add(1);
        out.extend(format!("X-Request-Id: {:016x}\r\n", self.id).bytes());
        self.finish(out, close);
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>, close: bool) {
        let second = host::clock::now();
        if second != self.second || self.date.is_empty() {
            (self.second, self.date) = (second, http_date(second));
        }
        out.extend(b"Date: ");
        out.extend(self.date.bytes());
        out.extend(if close { &b"\r\nConnection: close\r\n\r\n"[..] } else { b"\r\n\r\n" });
    }
}
