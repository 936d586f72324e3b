//! The socket for `kubedos-flow show`: whoever connects gets the report as JSON. Root only.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8Path;
use host::clock;

use super::shared::{Shared, locked};
use crate::report::Report;

/// Longest wait for a reader.
const LIMIT: Duration = Duration::from_secs(5);

/// Listens on a thread of its own.
pub(super) fn start(shared: Shared, path: &Utf8Path) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {dir}"))?;
    }
    // Of an earlier process.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| format!("listening on {path}"))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).with_context(|| format!("restricting {path}"))?;
    let run = move || listener.incoming().filter_map(Result::ok).for_each(|stream| answer(stream, &shared));
    thread::Builder::new().name("report".to_owned()).spawn(run).context("starting a thread")?;
    Ok(())
}

fn answer(mut stream: UnixStream, shared: &Shared) {
    let report = {
        let state = locked(shared);
        Report::of(&state.header, &state.book, clock::now())
    };
    let written = stream.set_write_timeout(Some(LIMIT)).and_then(|()| {
        let mut bytes = serde_json::to_vec(&report)?;
        bytes.push(b'\n');
        stream.write_all(&bytes)
    });
    if let Err(e) = written {
        tracing::debug!(error = %e, "answering");
    }
}
