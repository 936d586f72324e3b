//! One message to a receiver: its text and its signature, after the specification "Standard Webhooks" 1.0 (headers `webhook-id`,
//! `webhook-timestamp`, `webhook-signature`), which libraries of many languages verify.

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use camino::Utf8Path;
use cluster_seed::ids::Mac;
use host::files::read_limited;
use ring::hmac;
use serde::Serialize;
use site::hint::Hint as _;
use site::store::events::EventRow;
use zeroize::Zeroizing;

/// Largest file with a secret, in bytes; shortest secret.
const MAX_SECRET: u64 = 4_096;
const MIN_SECRET: usize = 16;
/// What a secret in base64 begins with.
const BASE64: &str = "whsec_";

/// The JSON of a message.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    /// The event's kind.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// When it happened, RFC 3339.
    pub timestamp: String,
    pub site: &'a str,
    pub data: Data<'a>,
}

#[derive(Debug, Serialize)]
pub struct Data<'a> {
    /// Number of the event in the log.
    pub id: i64,
    pub text: &'a str,
    pub machine: Option<i64>,
    pub mac: Option<Mac>,
    pub actor: Option<&'a str>,
}

impl<'a> Message<'a> {
    pub fn of(site: &'a str, event: &'a EventRow, mac: Option<Mac>) -> Self {
        let at = i64::try_from(event.at).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        let (machine, actor) = (event.machine, event.actor.as_deref());
        Message {
            kind: &event.kind,
            timestamp: at.to_string(),
            site,
            data: Data { id: event.id, text: &event.text, machine, mac, actor },
        }
    }
}

/// The secret in a file: its first line, as text or, after `whsec_`, in base64.
pub fn secret(path: &Utf8Path) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(read_limited(path, MAX_SECRET)?);
    let text = std::str::from_utf8(&bytes).with_context(|| format!("reading {path} as UTF-8"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    let secret = match line.strip_prefix(BASE64) {
        Some(encoded) => B64.decode(encoded).with_context(|| format!("reading the secret in {path}"))?,
        None => line.as_bytes().to_vec(),
    };
    let secret = Zeroizing::new(secret);
    if secret.len() < MIN_SECRET {
        return Err(anyhow!("the secret in {path} has fewer than {MIN_SECRET} bytes"))
            .hint("make one: (printf whsec_; head -c 32 /dev/urandom | base64) > FILE");
    }
    Ok(secret)
}

/// The headers that identify and sign a body. `now` is in Unix seconds.
pub fn headers(id: &str, now: u64, body: &[u8], secret: &[u8]) -> Vec<(&'static str, String)> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{now}.").as_bytes());
    context.update(body);
    let signature = format!("v1,{}", B64.encode(context.sign()));
    vec![("webhook-id", id.to_owned()), ("webhook-timestamp", now.to_string()), ("webhook-signature", signature)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the specification's reference libraries.
        let secret = B64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let all = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#, &secret);
        assert_eq!(all[2], ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()));
    }

    #[test]
    fn secrets_are_read_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("secret");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            secret(&path).map(|s| s.to_vec())
        };
        assert_eq!(read("sixteen bytes or\nmore\n").unwrap(), b"sixteen bytes or");
        assert_eq!(read(&format!("whsec_{}\n", B64.encode([7; 16]))).unwrap(), [7; 16]);
        for bad in ["", "fifteen bytes..", "whsec_AAAA", "whsec_?"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
