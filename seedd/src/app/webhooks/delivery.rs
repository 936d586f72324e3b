//! One signed request to a receiver, and its answer.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use camino::Utf8Path;
use cluster_seed::asked::{AskSpec, MAX_ANSWER as MAX_INVENTORY};
use cluster_seed::webhooks::WebhookSpec;
use host::clock::now;
use host::files::read_limited;
use hyper::Uri;
use tokio::time::timeout;

use super::message::{headers, secret};
use crate::remote::http::{Call, send, send_for_status};
use crate::remote::server::Server;
use crate::remote::trust::{Believed, Trust};

/// Time for one attempt of a webhook.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Most of a webhook's answer that is read, in bytes: only its status counts.
const MAX_ANSWER: usize = 64 << 10;
/// Largest file of authorities, in bytes.
const MAX_CA: u64 = 4 << 20;

/// Where a message goes.
pub struct Receiver<'a> {
    url: &'a str,
    secret_file: &'a str,
    ca_file: Option<&'a str>,
    time: Duration,
    /// Largest answer read, in bytes.
    most: usize,
    /// The answer's body counts, not only its status.
    reads: bool,
}

impl<'a> Receiver<'a> {
    pub fn of_webhook(spec: &'a WebhookSpec) -> Self {
        let WebhookSpec { url, secret_file, ca_file, .. } = spec;
        let ca_file = ca_file.as_ref().map(|file| file.value.as_str());
        Receiver { url: &url.value, secret_file: &secret_file.value, ca_file, time: ATTEMPT, most: MAX_ANSWER, reads: false }
    }

    pub fn of_inventory(spec: &'a AskSpec) -> Self {
        let AskSpec { url, secret_file, ca_file, timeout_seconds, .. } = spec;
        let time = Duration::from_secs(*timeout_seconds);
        let ca_file = ca_file.as_ref().map(|file| file.value.as_str());
        // One more, so that an answer that is too large is told from one that was cut.
        Receiver { url: &url.value, secret_file: &secret_file.value, ca_file, time, most: MAX_INVENTORY + 1, reads: true }
    }

    /// One attempt; the receiver takes it with a status from 200 to 299. Returns status and, of an inventory, the body.
    pub async fn deliver(&self, id: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>)> {
        let (server, path) = target(self.url)?;
        let ca = self.ca_file.map(|file| authorities(Utf8Path::new(file))).transpose()?;
        let trust = Trust::new(&Believed { fingerprint: None, ca })?;
        let secret = secret(Utf8Path::new(self.secret_file))?;
        let headers = headers(id, now(), &body, &secret);
        let call = Call { method: "POST", path: &path, body: Some(body), token: None, headers: &headers, most: self.most };
        let late = |_| anyhow!("it did not answer within {} s", self.time.as_secs());
        let answer = async {
            if !self.reads {
                return anyhow::Ok((send_for_status(&server, &trust, call).await?, Vec::new()));
            }
            let reply = send(&server, &trust, call).await?;
            Ok((reply.status, reply.body))
        };
        let (status, body) = timeout(self.time, answer).await.map_err(late)??;
        if (200..300).contains(&status) { Ok((status, body)) } else { bail!("it answered with status {status}") }
    }
}

fn authorities(path: &Utf8Path) -> Result<String> {
    String::from_utf8(read_limited(path, MAX_CA)?).with_context(|| format!("reading {path} as UTF-8"))
}

/// Server and path of a receiver's URL. Plain HTTP is for receivers on networks that are trusted: it is signed, but readable.
fn target(url: &str) -> Result<(Server, String)> {
    let uri: Uri = url.parse().context("reading the URL of a receiver")?;
    let tls = uri.scheme_str() == Some("https");
    let host = uri.host().ok_or_else(|| anyhow!("the URL of a receiver names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Ok((Server { tls, host, port }, uri.path_and_query().map_or("/", |p| p.as_str()).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_has_a_server_and_a_path() {
        for (url, at, path) in [
            ("http://hooks.lan", "http://hooks.lan:80", "/"),
            ("https://10.0.0.9:8443/a/b?c=d", "https://10.0.0.9:8443", "/a/b?c=d"),
            ("https://[fd00::1]/x", "https://[fd00::1]:443", "/x"),
        ] {
            let (server, found) = target(url).unwrap();
            assert_eq!((server.to_string().as_str(), found.as_str()), (at, path));
        }
    }
}
