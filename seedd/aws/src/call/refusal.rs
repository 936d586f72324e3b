//! Refusals, as the two services write them.

use roxmltree::Document;
use serde::Deserialize;

use crate::error::{Fault, shown};

/// Bytes of an unknown body that are looked at.
const MAX_UNKNOWN: usize = 300;

/// An error without status and clock yet.
fn fault(code: &str, message: &str, request: &str) -> Fault {
    Fault { status: 0, code: shown(code), message: shown(message), request: shown(request), ahead: None }
}

/// Of EC2: `<Response><Errors><Error><Code>…`.
pub(super) fn of_query(body: &[u8]) -> Fault {
    let read = || {
        let source = std::str::from_utf8(body).ok()?;
        let document = Document::parse(source).ok()?;
        let named = |name: &str| document.descendants().find(|n| n.is_element() && n.tag_name().name() == name);
        let find = |name: &str| named(name).and_then(|n| n.text()).unwrap_or("").to_owned();
        let request = if find("RequestID").is_empty() { find("RequestId") } else { find("RequestID") };
        Some(fault(&find("Code"), &find("Message"), &request))
    };
    read().unwrap_or_else(|| {
        let start = body.get(..body.len().min(MAX_UNKNOWN)).unwrap_or_default();
        fault("", &String::from_utf8_lossy(start), "")
    })
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default, rename = "__type", alias = "code", alias = "Code")]
    code: String,
    #[serde(default, rename = "message", alias = "Message")]
    message: String,
    /// More exact than the type: `SNAPSHOT_NOT_FOUND`.
    #[serde(default, rename = "Reason", alias = "reason")]
    reason: String,
}

/// Of a REST service: the type in a header (`ValidationException:http://…`) or in the body (`prefix#ValidationException`).
pub(super) fn of_rest(kind: &str, body: &[u8]) -> Fault {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_else(|_| {
        // XML, or a proxy's page.
        let other = of_query(body);
        Refusal { code: other.code, message: other.message, reason: String::new() }
    });
    let code = if kind.is_empty() { refusal.code.as_str() } else { kind };
    let code = code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default();
    let message = match refusal.reason.as_str() {
        "" => refusal.message,
        reason => format!("{reason}: {}", refusal.message),
    };
    fault(code, &message, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_a_code() {
        let body = b"<Response><Errors><Error><Code>AuthFailure</Code><Message>no\nway</Message></Error></Errors><RequestID>r-1\
                     </RequestID></Response>";
        let found = of_query(body);
        assert_eq!((found.code.as_str(), found.message.as_str(), found.request.as_str()), ("AuthFailure", "no way", "r-1"));
        assert_eq!(of_query(b"<html>").code, "");
        assert_eq!(of_query(b"bad gateway").message, "bad gateway");
        assert_eq!(of_query(b"\xff").message, "\u{fffd}");
    }

    #[test]
    fn errors_are_read_from_header_or_body() {
        let read = |kind: &str, body: &str| {
            let f = of_rest(kind, body.as_bytes());
            (f.code, f.message)
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(read("ValidationException:http://x/", r#"{"message":"m"}"#), pair("ValidationException", "m"));
        assert_eq!(
            read("", r##"{"__type":"com.amazon#ResourceNotFoundException","Message":"m","Reason":"SNAPSHOT_NOT_FOUND"}"##),
            pair("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND: m")
        );
        assert_eq!(
            read("", "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>m</Message></Error></ErrorResponse>"),
            pair("InvalidClientTokenId", "m")
        );
        assert_eq!(read("", "busy"), pair("", "busy"));
    }
}
