//! Dates as Release files write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Parses a date such as `Sat, 12 Sep 2026 07:55:41 UTC`.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let local = ["UTC", "GMT", "Z", "+0000", "-0000"].iter().find_map(|zone| text.strip_suffix(zone))?;
    let civil = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S", local.trim()).ok()?.to_datetime().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Writes what [`parse_date`] reads.
pub fn format_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

/// What a date says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub at: Timestamp,
    /// False if the text names no zone; UTC is assumed.
    pub zoned: bool,
}

/// Reads a date in the other forms that repositories write: any zone, one-digit days, no weekday, ISO 8601, asctime(3),
/// date(1). None if the time is not certain but for the zone.
pub fn read_date(text: &str) -> Option<Read> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return None;
    }
    if let Some(at) = parse_date(text).or_else(|| text.parse().ok()) {
        return Some(Read { at, zoned: true });
    }
    let mut parts = Parts::default();
    for word in text.split([' ', '\t', ',']).filter(|w| !w.is_empty()) {
        parts.take(word)?;
    }
    parts.finish()
}

/// Bytes of a date.
const MAX_TEXT: usize = 80;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Zones by name, in hours east of UTC (RFC 5322 section 4.3, and those of European mirrors).
const ZONES: [(&str, i64); 17] = [
    ("utc", 0),
    ("gmt", 0),
    ("ut", 0),
    ("z", 0),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
    ("wet", 0),
    ("cet", 1),
    ("cest", 2),
    ("eet", 2),
    ("eest", 3),
];

#[derive(Default)]
struct Parts {
    day: Option<i8>,
    month: Option<i8>,
    year: Option<i16>,
    time: Option<(i8, i8, i8)>,
    /// Seconds east of UTC.
    zone: Option<i64>,
    /// Hours to add: 12 after noon.
    noon: Option<i8>,
}

/// Fills a part that may stand once.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    if slot.is_some() {
        return None;
    }
    *slot = Some(value);
    Some(())
}

impl Parts {
    fn take(&mut self, word: &str) -> Option<()> {
        let lower = word.to_ascii_lowercase();
        let begins = |names: &[&str]| {
            let whole = lower.len() >= 3 && lower.bytes().all(|b| b.is_ascii_alphabetic());
            names.iter().position(|n| whole && lower.starts_with(n))
        };
        if word.starts_with(['+', '-']) {
            return once(&mut self.zone, offset(word)?);
        }
        if let Some((_, hours)) = ZONES.iter().find(|(name, _)| *name == lower) {
            return once(&mut self.zone, hours * 3600);
        }
        if word.contains(':') {
            return self.clock(word);
        }
        if let Some(at) = begins(&MONTHS) {
            return once(&mut self.month, i8::try_from(at).ok()? + 1);
        }
        if begins(&DAYS).is_some() {
            return Some(());
        }
        if matches!(lower.as_str(), "am" | "pm") {
            return once(&mut self.noon, if lower == "pm" { 12 } else { 0 });
        }
        if word.contains('-') {
            return self.dashed(word);
        }
        let digits = word.bytes().all(|b| b.is_ascii_digit());
        match (digits, word.len()) {
            (true, 1 | 2) => once(&mut self.day, word.parse().ok()?),
            (true, 4) => once(&mut self.year, word.parse().ok()?),
            _ => None,
        }
    }

    /// `28-Nov-26` (RFC 850), `2026-11-28`, and `2026-11-28T19:00:00` with or without a zone behind it.
    fn dashed(&mut self, word: &str) -> Option<()> {
        let parts: Vec<&str> = word.split('-').collect();
        let [a, b, c] = parts[..] else { return None };
        if let Some(month) = MONTHS.iter().position(|m| b.eq_ignore_ascii_case(m)) {
            once(&mut self.month, i8::try_from(month).ok()? + 1)?;
            once(&mut self.day, a.parse().ok()?)?;
            let year: i16 = c.parse().ok().filter(|y| *y >= 0)?;
            // Two digits as POSIX reads them: 69 to 99 are of the last century.
            return once(&mut self.year, if c.len() == 2 { year + if year < 69 { 2000 } else { 1900 } } else { year });
        }
        if (a.len(), b.len(), c.len()) != (4, 2, 2) {
            return None;
        }
        once(&mut self.year, a.parse().ok()?)?;
        once(&mut self.month, b.parse().ok()?)?;
        once(&mut self.day, c.parse().ok()?)
    }

    /// `19:00:00`, `19:00`, or an ISO date with its time.
    fn clock(&mut self, word: &str) -> Option<()> {
        // The T of a zone stands behind the time.
        if let Some((date, time)) = word.split_once(['T', 't']).filter(|(date, _)| !date.contains(':')) {
            self.dashed(date)?;
            return self.clock(time);
        }
        let end = word.find(|c: char| !matches!(c, '0'..='9' | ':')).unwrap_or(word.len());
        let (time, rest) = word.split_at(end);
        let parts: Vec<i8> = time.split(':').map(|p| p.parse().ok().filter(|_| p.len() <= 2)).collect::<Option<_>>()?;
        match (&parts[..], rest) {
            ([h, m], "") => once(&mut self.time, (*h, *m, 0)),
            ([h, m, s], "") => once(&mut self.time, (*h, *m, *s)),
            ([_, _] | [_, _, _], _) => {
                self.clock(time)?;
                self.take(rest)
            }
            _ => None,
        }
    }

    fn finish(self) -> Option<Read> {
        let (mut hour, minute, second) = self.time?;
        if let Some(noon) = self.noon {
            hour = if (1..=12).contains(&hour) { hour % 12 + noon } else { return None };
        }
        let civil = DateTime::new(self.year?, self.month?, self.day?, hour, minute, second, 0).ok()?;
        let utc = civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        let at = Timestamp::from_second(utc - self.zone.unwrap_or(0)).ok()?;
        Some(Read { at, zoned: self.zone.is_some() })
    }
}

/// `+0200`, `-08:00` or `+02`, in seconds.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let digits = digits.replace(':', "");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = match digits.len() {
        2 => (digits.parse().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    // RFC 5322 allows 99 hours; no zone is more than 14 hours from UTC.
    if hours <= 14 && minutes < 60 { Some(sign * (hours * 3600 + minutes * 60)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 28 November 2026, 19:00:00 UTC, in every form and zone that is read.
    #[test]
    fn one_moment_in_every_form() {
        let at: Timestamp = "2026-11-28T19:00:00Z".parse().unwrap();
        let local = |hours: i64| (19 + hours).rem_euclid(24);
        for (zone, hours) in
            [("UTC", 0), ("GMT", 0), ("Z", 0), ("+0000", 0), ("-0800", -8), ("+0200", 2), ("+02:00", 2), ("PST", -8), ("CET", 1)]
        {
            let h = local(hours);
            for text in [
                format!("Sat, 28 Nov 2026 {h:02}:00:00 {zone}"),
                format!("28 Nov 2026 {h:02}:00:00 {zone}"),
                format!("28 November 2026 {h:02}:00 {zone}"),
                format!("Saturday, 28-Nov-26 {h:02}:00:00 {zone}"),
                format!("Sat Nov 28 {h:02}:00:00 {zone} 2026"),
                format!("sat, 28 nov 2026 {h:02}:00:00   {zone}"),
                format!("2026-11-28 {h:02}:00:00 {zone}"),
                format!("2026-11-28T{h:02}:00:00{zone}"),
            ] {
                assert_eq!(read_date(&text), Some(Read { at, zoned: true }), "{text}");
            }
        }
        for text in ["Sat Nov 28 19:00:00 2026", "2026-11-28T19:00:00", "2026-11-28 19:00", "Sat 28 Nov 2026 07:00:00 PM"] {
            assert_eq!(read_date(text), Some(Read { at, zoned: false }), "{text}");
        }
        let early = read_date("Tue, 6 Jan 2026 01:02:03 UTC").unwrap().at;
        assert_eq!(early, "2026-01-06T01:02:03Z".parse().unwrap());
        assert_eq!(read_date("Sat, 28 Nov 2026 23:00:00 -0800").unwrap().at, "2026-11-29T07:00:00Z".parse().unwrap());
        assert_eq!(read_date("2026-01-06T12:30:00 AM").unwrap().at, "2026-01-06T00:30:00Z".parse().unwrap());
    }

    #[test]
    fn what_is_not_certain_is_not_read() {
        for text in [
            "",
            "yesterday",
            "28 Nov 2026",
            "19:00:00 UTC",
            "Sat, 28 Nov 2026 25:00:00 UTC",
            "Sat, 31 Nov 2026 19:00:00 UTC",
            "Sat, 28 Nov 2026 19:00:00 XYZ",
            "Sat, 28 Nov 2026 19:00:00 +2000",
            "Sat, 28 Nov 2026 19:00:00 UTC UTC",
            "Sat, 28 29 Nov 2026 19:00:00 UTC",
            "28/11/2026 19:00:00",
            "1796238000",
            "2026-11-28T19:00:00 13:00",
            "0 Nov 2026 19:00:00 UTC",
            "13:00:00 PM 28 Nov 2026",
        ] {
            assert_eq!(read_date(text), None, "{text:?}");
        }
        assert_eq!(read_date(&"1".repeat(81)), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[0-9A-Za-z:+, T-]{0,40}") {
            let _ = read_date(&text);
        }
    }
}
