//! What the daemon of a site does for verbs that also work without one. It checks what it is told, and its open pages show a
//! change at once; beside a running daemon, nothing is written to its database.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use appliance::control::answer::Status;
use appliance::control::{Client, Note};
use cluster_seed::ids::Mac;
use cluster_seed::people::{ApiTokenId, Rights};
use serde_json::{Value, json};
use site::putting::InUse;
use site::store::Store;
use web::api::{ConvergeAct, ConvergeWhat, SetUser};

use super::args::{DataDir, SiteArgs};
use crate::app::{change, notes};
use crate::remote::Remote;

/// The actor in the event log.
const ACTOR: &str = "command line";

/// How often the API of a daemon that has just started is looked for, and the pause between two looks: five seconds in all.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// The API of the daemon that serves the site, if one runs.
///
/// # Errors
/// If one runs and cannot be asked.
pub fn daemon(args: &SiteArgs) -> Result<Option<Remote>> {
    daemon_of(&args.dir)
}

/// The same for verbs that have no `--json`.
pub fn daemon_of(dir: &DataDir) -> Result<Option<Remote>> {
    let Some(client) = control(dir) else { return Ok(None) };
    let mut left = LOOKS;
    loop {
        match Remote::local(&dir.data) {
            // The socket answers a moment before the web interface listens.
            Err(_) if left > 0 && matches!(client.status(), Ok(Status::Site(_))) => {
                left -= 1;
                std::thread::sleep(PAUSE);
            }
            done => return done.map(Some),
        }
    }
}

/// The control socket of the daemon that serves the site, if one runs: for what the API does not do.
pub fn control(dir: &DataDir) -> Option<Client> {
    let client = Client::new(&dir.site().control_socket());
    client.answers().then_some(client)
}

/// Root's files go to the user that runs the daemon, before it looks at them.
pub fn let_it_read(dir: &DataDir) -> Result<()> {
    dir.site().hand_over().map(drop)
}

/// Puts in use what a command has made in the data directory: checked, and in the log. A running daemon does it.
///
/// # Errors
/// If anything is missing or not signed by its maker. Then nothing is changed, and what was made stays.
pub fn put_in_use(dir: &DataDir, store: &Store, named: &InUse) -> Result<()> {
    let done = match control(dir) {
        Some(daemon) => {
            if named.has_files() {
                let_it_read(dir)?;
            }
            daemon.put_in_use(named).map(drop)
        }
        None => named
            .check(&dir.site(), store)
            .and_then(|()| store.write(|tx| change::put_in_use(tx, ACTOR, named)).map_err(anyhow::Error::from)),
    };
    done.context("putting it in use")
}

/// Writes to the log what a command began or did. A running daemon does it.
pub fn note(dir: &DataDir, store: &Store, note: &Note) -> Result<()> {
    let done = match control(dir) {
        Some(daemon) => daemon.note(note.clone()).map(drop),
        None => store.write(|tx| notes::write(tx, ACTOR, note)).map_err(anyhow::Error::from),
    };
    done.context("writing to the event log")
}

/// Runs, checks, pauses or resumes the plays of nodes.
pub fn act_on_converge(remote: &Remote, act: &ConvergeAct) -> Result<()> {
    let what = match act.what {
        ConvergeWhat::Run => "run",
        ConvergeWhat::Check => "check",
        ConvergeWhat::Pause => "pause",
        ConvergeWhat::Resume => "resume",
    };
    remote.post("/api/v1/converge", &json!({ "what": what, "role": act.role, "node": act.node })).map(drop)
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

/// Sets a machine aside for so many seconds.
pub fn set_aside(remote: &Remote, machine: i64, seconds: u64) -> Result<()> {
    let said = json!({ "what": "not-now", "seconds": seconds });
    remote.post(&format!("/api/v1/machines/{machine}/say"), &said).map(drop)
}

/// Lets a machine ask again that was denied or set aside.
pub fn allow(remote: &Remote, mac: Mac) -> Result<()> {
    remote.post("/api/v1/allow", &json!({ "mac": mac })).map(drop)
}

pub fn add_user(remote: &Remote, user: &str, password: &str, rights: Rights) -> Result<()> {
    remote.post("/api/v1/users", &json!({ "user": user, "password": password, "rights": rights })).map(drop)
}

/// Changes a user. Names of users are those that `check_user` lets pass, here and below.
pub fn set_user(remote: &Remote, user: &str, set: &SetUser) -> Result<()> {
    let body = json!({ "rights": set.rights, "disabled": set.disabled });
    remote.put(&format!("/api/v1/users/{user}"), &body).map(drop)
}

pub fn set_password(remote: &Remote, user: &str, password: &str) -> Result<()> {
    remote.put(&format!("/api/v1/users/{user}/password"), &json!({ "password": password })).map(drop)
}

pub fn remove_user(remote: &Remote, user: &str) -> Result<()> {
    remote.delete(&format!("/api/v1/users/{user}")).map(drop)
}

pub fn revoke_api_token(remote: &Remote, id: ApiTokenId) -> Result<()> {
    remote.delete(&format!("/api/v1/api-tokens/{id}")).map(drop)
}
