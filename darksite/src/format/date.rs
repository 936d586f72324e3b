//! Dates as Release files write them.

use jiff::Timestamp;

/// Parses a date such as `Sat, 12 Sep 2026 07:55:41 UTC`.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let local = ["UTC", "GMT", "Z", "+0000", "-0000"].iter().find_map(|zone| text.strip_suffix(zone))?;
    let civil = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S", local.trim()).ok()?.to_datetime().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// Writes what [`parse_date`] reads.
pub fn format_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}
