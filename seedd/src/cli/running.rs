//! What the daemon of a site does for verbs that also work without one. It checks what it is told, and its open pages show a
//! change at once; beside a running daemon, nothing is written to its database.

use anyhow::{Result, anyhow};
use appliance::control::Client;
use serde_json::{Value, json};

use super::args::SiteArgs;
use crate::remote::Remote;

/// The API of the daemon that serves the site, if one runs.
///
/// # Errors
/// If one runs and cannot be asked.
pub fn daemon(args: &SiteArgs) -> Result<Option<Remote>> {
    let runs = Client::new(&args.site().control_socket()).answers();
    if runs { Remote::local(args.data()).map(Some) } else { Ok(None) }
}

/// Replaces the plan, or adds rows to it.
pub fn keep_plan(remote: &Remote, text: &str, add: bool) -> Result<()> {
    let body = json!({ "text": text });
    if add { remote.post("/api/v1/plan", &body) } else { remote.put("/api/v1/plan", &body) }.map(drop)
}

/// Removes the rows of these names, or the whole plan without any; returns how many rows that were. Names are host name labels.
pub fn remove_rows(remote: &Remote, names: &[String]) -> Result<u64> {
    let removed = |answer: Value| answer["removed"].as_u64().ok_or_else(|| anyhow!("the seed answers without a number of rows"));
    if names.is_empty() {
        return removed(remote.delete("/api/v1/plan")?);
    }
    let mut all = 0;
    for name in names {
        all += removed(remote.delete(&format!("/api/v1/plan/rows/{name}"))?)?;
    }
    Ok(all)
}

/// Opens the join window for so many seconds, or closes it; returns when it ends, in Unix seconds.
pub fn set_window(remote: &Remote, seconds: Option<u64>) -> Result<Option<u64>> {
    let path = "/api/v1/enrollment-window";
    let answer = match seconds {
        Some(seconds) => remote.put(path, &json!({ "seconds": seconds }))?,
        None => remote.delete(path)?,
    };
    Ok(answer["until"].as_u64())
}

/// Sets a machine aside for so many seconds, or allows it again.
pub fn say_of(remote: &Remote, machine: i64, seconds: Option<u64>) -> Result<()> {
    let said = match seconds {
        Some(seconds) => json!({ "what": "not-now", "seconds": seconds }),
        None => json!({ "what": "allow" }),
    };
    remote.post(&format!("/api/v1/machines/{machine}/say"), &said).map(drop)
}
