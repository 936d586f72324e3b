//! A search of the event log as it is in an address: the same for the page, its links, the JSON API and the export.

use std::fmt::Write as _;

use axum::http::StatusCode;
use serde::Deserialize;

use crate::api::{AuditQuery, ExportFormat};
use crate::dates::parse_time;
use crate::error::Failure;

/// Longest field of a search, in characters.
const MAX_FIELD: usize = 200;

/// The fields of an address. Empty ones are as if they were not there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Search {
    pub(crate) kind: String,
    pub(crate) actor: String,
    pub(crate) machine: String,
    /// Words.
    pub(crate) q: String,
    /// Times as [`parse_time`] reads them.
    pub(crate) since: String,
    pub(crate) until: String,
    /// Only events with lower numbers: the next page.
    pub(crate) before: Option<i64>,
    pub(crate) limit: Option<u32>,
    /// Of an export.
    pub(crate) format: ExportFormat,
    /// The page updates itself; any value.
    pub(crate) follow: Option<String>,
}

impl Search {
    /// What the daemon looks for.
    ///
    /// # Errors
    /// 400 for a time that cannot be read and for a field that is too long.
    pub(crate) fn query(&self) -> Result<AuditQuery, Failure> {
        let bad = |why: String, hint: &str| Failure::new(StatusCode::BAD_REQUEST, why).with_hint(hint);
        let fields = [&self.kind, &self.actor, &self.machine, &self.q];
        if fields.iter().any(|f| f.chars().count() > MAX_FIELD) {
            return Err(bad("the search is too long".to_owned(), &format!("at most {MAX_FIELD} characters per field")));
        }
        let time = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            text => parse_time(text).map(Some).ok_or_else(|| {
                bad(format!("{name} is not a valid time"), "write it in UTC, as 2026-11-22T19:54:05Z or 2026-11-22 19:54")
            }),
        };
        let word = |text: &str| text.trim().to_owned();
        Ok(AuditQuery {
            kind: word(&self.kind),
            actor: word(&self.actor),
            machine: word(&self.machine),
            words: word(&self.q),
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
        })
    }

    /// The part of the address behind the question mark, with the filters that are set and then `more`.
    pub(crate) fn address(&self, more: &[(&str, &str)]) -> String {
        let own = [
            ("kind", &self.kind),
            ("actor", &self.actor),
            ("machine", &self.machine),
            ("q", &self.q),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let own = own.iter().map(|(name, text)| (*name, text.trim()));
        let set = own.chain(more.iter().copied()).filter(|(_, text)| !text.is_empty());
        set.map(|(name, text)| format!("{name}={}", encode(text))).collect::<Vec<_>>().join("&")
    }
}

/// A value for an address (RFC 3986, section 2.3).
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_the_same_search() {
        let search =
            Search { kind: "login".into(), q: " a&b=c ü ".into(), since: "2026-11-22 19:54".into(), ..Default::default() };
        let address = search.address(&[("before", "7"), ("follow", "")]);
        assert_eq!(address, "kind=login&q=a%26b%3Dc%20%C3%BC&since=2026-11-22%2019%3A54&before=7");
        let query = search.query().unwrap();
        assert_eq!((query.words.as_str(), query.since), ("a&b=c ü", Some(1_795_377_240_000)));
    }

    #[test]
    fn a_time_that_is_none_and_a_field_of_one_character_too_many_are_refused() {
        let of = |since: &str, q: usize| Search { since: since.into(), q: "é".repeat(q), ..Default::default() }.query();
        assert!(of("", MAX_FIELD).is_ok());
        assert_eq!(of("", MAX_FIELD + 1).unwrap_err().status, 400);
        assert_eq!(of("yesterday", 0).unwrap_err().status, 400);
    }
}
