//! The lines of the socket: one JSON document each way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest request and longest answer read, in bytes.
pub const MAX_REQUEST: u64 = 64 << 10;
pub const MAX_ANSWER: u64 = 2 << 20;
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// For requests that wait for a management controller: longer than the daemon waits.
pub const DEVICE_TIMEOUT: Duration = Duration::from_secs(170);

/// `T`: an [`Answer`](super::answer::Answer) when written, what the caller expects when read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply<T> {
    Done(T),
    Error(String),
}

pub fn read_line<T: DeserializeOwned>(stream: &UnixStream, limit: u64) -> Result<T> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(stream.take(limit)).read_line(&mut line).context("reading the control socket")?;
    serde_json::from_str(&line).context("reading the control socket's line")
}

pub fn write_line<T: Serialize>(mut stream: &UnixStream, value: &T) -> Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(value)?);
    line.push(b'\n');
    stream.write_all(&line).context("writing to the control socket")
}
