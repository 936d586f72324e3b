//! HTTP dates (RFC 9110 section 5.6.7) and the times shown on pages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::words::Lang;

/// Whole seconds since the epoch; times before it count as 0.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The last second that an HTTP date can express, 9999-12-31T23:59:59Z.
const LAST_HTTP_SECOND: u64 = 253_402_300_799;

pub(crate) fn http_date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_HTTP_SECOND)))
}

pub(crate) fn read_http_date(text: &str) -> Option<u64> {
    httpdate::parse_http_date(text).ok().map(seconds)
}

/// Unix seconds as `2026-11-22T19:54:05Z`; empty if out of the calendar.
pub(crate) fn iso(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map(|t| t.to_string()).unwrap_or_default()
}

/// A typed time as Unix milliseconds: RFC 3339, or a date and time without a zone, which is taken as UTC.
pub fn parse_time(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.len() > 40 {
        return None;
    }
    let utc = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| utc().map(|z| z.timestamp()))?;
    u64::try_from(time.as_millisecond()).ok()
}

/// `just now`, `42 s ago`, `5 min ago`, `3 h ago`, `2 d ago`, in a language.
pub(crate) fn ago(lang: Lang, now: u64, then: u64) -> String {
    let (key, n) = match now.saturating_sub(then) {
        0..=4 => return lang.t("ago-now"),
        s @ 5..=89 => ("ago-seconds", s),
        s @ 90..=5399 => ("ago-minutes", s / 60),
        s @ 5400..=172_799 => ("ago-hours", s / 3600),
        s => ("ago-days", s / 86_400),
    };
    lang.with(key, &[("n", n.into())])
}

/// `12 s`, `5 min`, `3 h`, `2 d`: how long something lasts, rounded up.
pub(crate) fn lasting(seconds: u64) -> String {
    match seconds {
        s @ 0..=89 => format!("{s} s"),
        s @ 90..=5399 => format!("{} min", s.div_ceil(60)),
        s @ 5400..=172_799 => format!("{} h", s.div_ceil(3600)),
        s => format!("{} d", s.div_ceil(86_400)),
    }
}

/// Milliseconds since the first event as `+0.0 s`, `+1:05`, `+2:00:07`.
pub(crate) fn offset(millis: u64) -> String {
    let s = millis / 1000;
    match s {
        0..=59 => format!("+{}.{} s", s, millis % 1000 / 100),
        60..=3599 => format!("+{}:{:02}", s / 60, s % 60),
        _ => format!("+{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limits() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(read_http_date("Sunday"), None);
        assert!(http_date(u64::MAX).ends_with("9999 23:59:59 GMT"));
        assert_eq!((iso(0), iso(u64::MAX)), ("1970-01-01T00:00:00Z".to_owned(), String::new()));
        let table =
            [(4, "just now"), (5, "5 s ago"), (89, "89 s ago"), (90, "1 min ago"), (5400, "1 h ago"), (172_800, "2 d ago")];
        for (s, text) in table {
            assert_eq!(ago(Lang::En, 1_000_000, 1_000_000 - s), text);
        }
        assert_eq!(ago(Lang::En, 5, 10), "just now");
        for (s, text) in [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "2 h"), (172_800, "2 d")] {
            assert_eq!(lasting(s), text);
        }
        for (ms, text) in [(0, "+0.0 s"), (59_999, "+59.9 s"), (60_000, "+1:00"), (3_599_999, "+59:59"), (3_600_000, "+1:00:00")]
        {
            assert_eq!(offset(ms), text);
        }
    }

    #[test]
    fn times_that_people_type() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-22T19:54:05Z", Some(1_795_377_245_000)),
            (" 2026-11-22T19:54:05.5Z ", Some(1_795_377_245_500)),
            ("2026-11-22T20:54:05+01:00", Some(1_795_377_245_000)),
            ("2026-11-22 19:54", Some(1_795_377_240_000)),
            ("2026-11-22 19:54:05", Some(1_795_377_245_000)),
            ("2026-11-23", Some(1_795_392_000_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text), ms, "{text}");
        }
        assert_eq!(parse_time(&"9".repeat(41)), None);
    }
}
