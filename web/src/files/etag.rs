//! Conditional and range requests (RFC 9110 sections 13 and 14), as decisions without files.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};

use crate::dates::read_http_date;

/// What is known about the requested file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    /// Strong entity tag with its quotes.
    pub(crate) etag: String,
    /// Unix seconds; `None` if the file's date is meaningless because a reproducible build or a stopped clock set it.
    pub(crate) modified: Option<u64>,
    pub(crate) len: u64,
}

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Whole,
    /// `len` bytes from `start`; never empty.
    Part {
        start: u64,
        len: u64,
    },
    NotModified,
    Unsatisfiable,
}

impl Answer {
    /// Start and length of the body, for a file of `whole` bytes; `None` for answers without one.
    pub(crate) fn part(self, whole: u64) -> Option<(u64, u64)> {
        match self {
            Answer::Whole => Some((0, whole)),
            Answer::Part { start, len } => Some((start, len)),
            Answer::NotModified | Answer::Unsatisfiable => None,
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// Weak comparison (section 8.8.3.2) against a list, or `*`.
fn matches_any(list: &str, etag: &str) -> bool {
    list.trim() == "*" || list.split(',').any(|one| one.trim().trim_start_matches("W/") == etag)
}

pub(crate) fn decide(headers: &HeaderMap, of: &Validators) -> Answer {
    // If-Modified-Since counts only where no If-None-Match was sent (section 13.1.3).
    let fresh = match text(headers, IF_NONE_MATCH) {
        Some(list) => matches_any(list, &of.etag),
        // Equal, not older: going back to an older snapshot is a change too.
        None => text(headers, IF_MODIFIED_SINCE).and_then(read_http_date).is_some_and(|since| of.modified == Some(since)),
    };
    if fresh {
        return Answer::NotModified;
    }
    // Strong comparison and exact date (section 13.1.5): otherwise the client has a piece of something older.
    let same =
        text(headers, IF_RANGE).is_none_or(|v| v == of.etag || (of.modified.is_some() && read_http_date(v) == of.modified));
    match text(headers, RANGE) {
        Some(range) if same && headers.get_all(RANGE).iter().count() == 1 => part(range, of.len),
        _ => Answer::Whole,
    }
}

/// One range. Several ranges, other units and unreadable ones are answered with the whole file, as section 14.2 allows.
fn part(range: &str, len: u64) -> Answer {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else { return Answer::Whole };
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u64>().unwrap_or(u64::MAX));
    let (start, end) = match (first, last) {
        ("", "") => return Answer::Whole,
        ("", suffix) => match number(suffix) {
            Some(0) => return Answer::Unsatisfiable,
            Some(n) => (len.saturating_sub(n), len),
            None => return Answer::Whole,
        },
        (first, last) => match (number(first), if last.is_empty() { Some(u64::MAX) } else { number(last) }) {
            (Some(a), Some(b)) if a <= b => (a, b.saturating_add(1).min(len)),
            _ => return Answer::Whole,
        },
    };
    if start >= len { Answer::Unsatisfiable } else { Answer::Part { start, len: end - start } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of() -> Validators {
        Validators { etag: "\"abc\"".into(), modified: Some(784_111_777), len: 100 }
    }

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect()
    }

    #[test]
    fn ranges_at_their_limits() {
        let part = |start, len| Answer::Part { start, len };
        for (range, answer) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-99", part(0, 100)),
            ("bytes=0-100", part(0, 100)),
            ("bytes=99-", part(99, 1)),
            ("bytes=100-", Answer::Unsatisfiable),
            ("bytes=100-200", Answer::Unsatisfiable),
            ("bytes=-1", part(99, 1)),
            ("bytes=-100", part(0, 100)),
            ("bytes=-101", part(0, 100)),
            ("bytes=-0", Answer::Unsatisfiable),
            ("bytes=5-18446744073709551615", part(5, 95)),
            ("bytes=5-99999999999999999999999999", part(5, 95)),
            ("bytes=99999999999999999999999999-", Answer::Unsatisfiable),
            ("bytes=5-4", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes=0-1,3-4", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("bytes=+1-5", Answer::Whole),
            ("lines=0-5", Answer::Whole),
            ("bytes", Answer::Whole),
        ] {
            assert_eq!(decide(&headers(&[(RANGE, range)]), &of()), answer, "{range}");
        }
        let empty = Validators { len: 0, ..of() };
        assert_eq!(decide(&headers(&[(RANGE, "bytes=0-")]), &empty), Answer::Unsatisfiable);
    }

    #[test]
    fn conditions() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let half = Answer::Part { start: 50, len: 50 };
        for (list, answer) in [
            (vec![(IF_NONE_MATCH, "\"abc\"")], Answer::NotModified),
            (vec![(IF_NONE_MATCH, "\"x\", W/\"abc\"")], Answer::NotModified),
            (vec![(IF_NONE_MATCH, "*")], Answer::NotModified),
            (vec![(IF_NONE_MATCH, "\"ab\"")], Answer::Whole),
            (vec![(IF_NONE_MATCH, "\"ab\""), (IF_MODIFIED_SINCE, date)], Answer::Whole),
            (vec![(IF_MODIFIED_SINCE, date)], Answer::NotModified),
            (vec![(IF_MODIFIED_SINCE, before)], Answer::Whole),
            (vec![(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:38 GMT")], Answer::Whole),
            (vec![(IF_MODIFIED_SINCE, "tomorrow")], Answer::Whole),
            (vec![(IF_RANGE, "\"abc\""), (RANGE, "bytes=50-")], half),
            (vec![(IF_RANGE, date), (RANGE, "bytes=50-")], half),
            (vec![(IF_RANGE, before), (RANGE, "bytes=50-")], Answer::Whole),
            (vec![(IF_RANGE, "W/\"abc\""), (RANGE, "bytes=50-")], Answer::Whole),
            (vec![(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")], Answer::Whole),
        ] {
            assert_eq!(decide(&headers(&list), &of()), answer, "{list:?}");
        }
        let undated = Validators { modified: None, ..of() };
        assert_eq!(decide(&headers(&[(IF_MODIFIED_SINCE, "tomorrow")]), &undated), Answer::Whole);
        assert_eq!(decide(&headers(&[(IF_RANGE, "tomorrow"), (RANGE, "bytes=1-")]), &undated), Answer::Whole);
    }
}
