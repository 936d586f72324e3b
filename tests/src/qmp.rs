//! QEMU's monitor: one command per connection (QEMU Machine Protocol).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Events and answers read before giving up on the answer asked for.
const MAX_MESSAGES: usize = 256;
const MAX_BYTES: u64 = 1 << 20;

/// Sends one command and returns what QEMU answers.
pub fn ask(socket: &Path, command: &str, arguments: &Value) -> Result<Value> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).context("limiting QEMU's answer")?;
    let mut lines = BufReader::new(stream.try_clone().context("sharing QEMU's socket")?.take(MAX_BYTES)).lines();
    for (execute, arguments) in [("qmp_capabilities", &json!({})), (command, arguments)] {
        let text = json!({"execute": execute, "arguments": arguments}).to_string();
        writeln!(stream, "{text}").with_context(|| format!("asking QEMU for {execute}"))?;
        let answer = answer(&mut lines).with_context(|| format!("asking QEMU for {execute}"))?;
        if execute == command {
            return Ok(answer);
        }
    }
    bail!("QEMU was not asked anything")
}

fn answer(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Result<Value> {
    for line in lines.take(MAX_MESSAGES) {
        let mut message: Value = serde_json::from_str(&line.context("reading QEMU's answer")?).context("reading QEMU's JSON")?;
        if let Some(error) = message.get("error") {
            bail!("QEMU says {}", error["desc"]);
        }
        if message.get("return").is_some() {
            return Ok(message["return"].take());
        }
    }
    bail!("QEMU closed its socket")
}
