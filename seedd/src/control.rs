//! The daemon's control socket: a Unix socket in the data directory, mode 0600, for `seedd unseal` and `seedd status`.
//! One JSON line each way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::hint::Hint as _;

/// Longest line read, in bytes.
const MAX_LINE: u64 = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "op", deny_unknown_fields)]
pub enum Request {
    Unseal { passphrase: String },
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    Done(serde_json::Value),
    Error(String),
}

/// Opens the socket; one left behind by a killed daemon is replaced, one that answers is not.
pub fn listen(path: &Utf8Path) -> Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(anyhow!("another seedd serves this site (its socket {path} answers)"))
            .hint("stop that one first, or use another --data");
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(|| format!("removing {path}")),
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("opening {path}"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(|| format!("protecting {path}"))?;
    Ok(listener)
}

/// Answers one caller after the other, for as long as the process lives.
pub fn serve(listener: &UnixListener, app: &Arc<App>) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                if let Err(error) = answer(&stream, app) {
                    tracing::warn!(error = format!("{error:#}"), "answering on the control socket");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accepting on the control socket");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

fn answer(stream: &UnixStream, app: &App) -> Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let reply = match read_line::<Request>(stream) {
        Ok(Request::Unseal { passphrase }) => match app.unseal_with(&passphrase, "control socket") {
            Ok(()) => Reply::Done(serde_json::json!({"sealed": false})),
            Err(e) => Reply::Error(format!("{e:#}")),
        },
        Ok(Request::Status) => match app.view_overview() {
            Ok(view) => Reply::Done(serde_json::to_value(view)?),
            Err(e) => Reply::Error(e.to_string()),
        },
        Err(e) => Reply::Error(format!("{e:#}")),
    };
    write_line(stream, &reply)
}

fn read_line<T: serde::de::DeserializeOwned>(stream: &UnixStream) -> Result<T> {
    let mut line = zeroize::Zeroizing::new(String::new());
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line).context("reading the control socket")?;
    serde_json::from_str(&line).context("reading the control socket's line")
}

fn write_line<T: Serialize>(mut stream: &UnixStream, value: &T) -> Result<()> {
    let mut line = zeroize::Zeroizing::new(serde_json::to_vec(value)?);
    line.push(b'\n');
    stream.write_all(&line).context("writing to the control socket")
}

/// The caller's side.
pub fn ask(path: &Utf8Path, request: &Request) -> Result<serde_json::Value> {
    let stream = UnixStream::connect(path)
        .with_context(|| format!("reaching the daemon at {path}"))
        .hint("is `seedd serve` running for this --data?")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write_line(&stream, request)?;
    match read_line(&stream)? {
        Reply::Done(value) => Ok(value),
        Reply::Error(text) => Err(anyhow!(text)),
    }
}
