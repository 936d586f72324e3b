//! `webhooks:` of cluster.yaml: receivers of events.

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::events::EventKind;
use crate::spec_error::{SpecError, at};

/// Most webhooks of a site; each has a task of its own.
pub const MAX_WEBHOOKS: usize = 16;
/// Most beginnings of kinds of one webhook.
const MAX_EVENTS: usize = 64;
/// Longest URL, in bytes.
const MAX_URL: usize = 2_048;

/// A receiver of events.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookSpec {
    pub url: Spanned<String>,
    /// Absolute path of a file whose first line is the secret of the signatures.
    pub secret_file: Spanned<String>,
    /// Absolute path of a file with the certificates of the authorities that are believed, in PEM. Needed for https.
    #[serde(default)]
    pub ca_file: Option<Spanned<String>>,
    /// Beginnings of kinds; if empty, all events.
    #[serde(default)]
    pub events: Vec<Spanned<String>>,
}

impl WebhookSpec {
    /// Whether an event of this kind is sent. Never one about webhooks: one that fails would cause another.
    pub fn wants(&self, kind: &str) -> bool {
        let named = self.events.is_empty() || self.events.iter().any(|prefix| kind.starts_with(prefix.value.as_str()));
        named && !kind.starts_with("webhook.")
    }
}

/// A URL without what may be a secret in it: scheme, host and port. The path and query of many receivers are one.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The check refuses users in URLs; a URL from elsewhere may have one.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let hidden = host != authority || !matches!(rest.get(authority.len()..), Some("" | "/"));
    format!("{scheme}://{host}{}", if hidden { "/\u{2026}" } else { "/" })
}

/// # Errors
/// The first problem.
pub fn check(all: &[WebhookSpec]) -> Result<(), SpecError> {
    if let Some(first) = all.get(MAX_WEBHOOKS) {
        return Err(at(&first.url, format!("there are more than {MAX_WEBHOOKS} webhooks"), ""));
    }
    for (n, hook) in all.iter().enumerate() {
        check_receiver("webhooks", &hook.url, &hook.secret_file, hook.ca_file.as_ref())?;
        if all[..n].iter().any(|other| other.url.value == hook.url.value) {
            return Err(at(&hook.url, "webhooks: this receiver is there twice".to_owned(), "list its events in one entry"));
        }
        if hook.events.len() > MAX_EVENTS {
            return Err(at(&hook.url, format!("webhooks: more than {MAX_EVENTS} events"), ""));
        }
        let known = |prefix: &str| EventKind::ALL.iter().any(|kind| kind.as_str().starts_with(prefix));
        if let Some(bad) = hook.events.iter().find(|prefix| prefix.value.is_empty() || !known(&prefix.value)) {
            let message = format!("webhooks: no event begins with {:?}", bad.value.chars().take(60).collect::<String>());
            return Err(at(bad, message, "for example enrollment., node. or power.failed"));
        }
    }
    Ok(())
}

/// Where signed messages go. `section` is for the message.
///
/// # Errors
/// The first problem.
pub(crate) fn check_receiver(
    section: &str,
    url: &Spanned<String>,
    secret_file: &Spanned<String>,
    ca_file: Option<&Spanned<String>>,
) -> Result<(), SpecError> {
    let text = url.value.as_str();
    let rest = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && !host.contains('@') && !rest.contains('#');
    if host.is_empty() || !plain || text.len() > MAX_URL {
        let hint = "http://HOST[:PORT]/PATH or https://…";
        return Err(at(url, format!("{section}: this is not the URL of a receiver"), hint));
    }
    if text.starts_with("https://") && ca_file.is_none() {
        let hint = "caFile: /etc/ssl/certs/ca-certificates.crt believes what this machine does";
        return Err(at(url, format!("{section}: https needs a caFile"), hint));
    }
    for file in [Some(secret_file), ca_file].into_iter().flatten() {
        if !file.value.starts_with('/') {
            return Err(at(file, format!("{section}: {:?} is not an absolute path", file.value), ""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::read;

    #[test]
    fn a_url_is_shown_without_its_path_query_and_user() {
        for (url, expected) in [
            ("https://hooks.lan/services/T00/SECRET", "https://hooks.lan/\u{2026}"),
            ("https://hooks.lan:8443?token=SECRET", "https://hooks.lan:8443/\u{2026}"),
            ("http://user:SECRET@hooks.lan/", "http://hooks.lan/\u{2026}"),
            ("http://[fd00::1]:80/SECRET", "http://[fd00::1]:80/\u{2026}"),
            ("http://hooks.lan/", "http://hooks.lan/"),
            ("http://hooks.lan", "http://hooks.lan/"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    fn checked(text: &str) -> Result<(), String> {
        let all: Vec<WebhookSpec> = read(text).map_err(|e| e.message)?;
        check(&all).map_err(|e| e.message)
    }

    #[test]
    fn receivers_are_checked_strictly() {
        for good in [
            "[]",
            "[{url: 'http://hooks.lan/x?y=1', secretFile: /etc/s}]",
            "[{url: 'https://10.0.0.9:8443', secretFile: /s, caFile: /ca.pem, events: [enrollment., node.revoked]}]",
        ] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("[{url: 'ftp://x', secretFile: /s}]", "not the URL"),
            ("[{url: 'http://', secretFile: /s}]", "not the URL"),
            ("[{url: 'http://ada@x/', secretFile: /s}]", "not the URL"),
            ("[{url: 'http://x/ y', secretFile: /s}]", "not the URL"),
            ("[{url: 'https://x', secretFile: /s}]", "caFile"),
            ("[{url: 'http://x', secretFile: s}]", "absolute"),
            ("[{url: 'http://x', secretFile: /s, events: [nothing.]}]", "no event begins"),
            ("[{url: 'http://x', secretFile: /s, events: ['']}]", "no event begins"),
            ("[{url: 'http://x', secretFile: /s}, {url: 'http://x', secretFile: /s}]", "twice"),
            ("[{url: 'http://x'}]", "secretFile"),
        ] {
            assert!(checked(bad).is_err_and(|e| e.contains(why)), "{bad}: {:?}", checked(bad));
        }
        let many = |n: usize| {
            let all: Vec<String> = (0..n).map(|i| format!("{{url: 'http://x/{i}', secretFile: /s}}")).collect();
            checked(&format!("[{}]", all.join(", "))).is_ok()
        };
        assert!(many(MAX_WEBHOOKS) && !many(MAX_WEBHOOKS + 1));
    }

    #[test]
    fn events_are_wanted_by_their_beginning_and_never_those_of_webhooks() {
        let of = |text: &str| read::<Vec<WebhookSpec>>(text).unwrap().remove(0);
        let some = of("[{url: 'http://x', secretFile: /s, events: [enrollment., login]}]");
        for (kind, wanted) in [("enrollment.pending", true), ("login.failed", true), ("dhcp.ack", false)] {
            assert_eq!(some.wants(kind), wanted, "{kind}");
        }
        let all = of("[{url: 'http://x', secretFile: /s}]");
        assert!(all.wants("dhcp.ack") && !all.wants("webhook.dead"));
    }
}
