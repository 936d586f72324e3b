//! `seedd admin`: who may log in at the pages. For whoever has the data directory; no session is needed.

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::events::EventKind;
use web::api::ApiError;
use zeroize::Zeroizing;

use super::{Where, ask_secret, passphrase_from, show};
use crate::app::auth::{check_password, check_user, hash_password};
use host::clock::{now, now_ms};
use site::hint::{self, Hint as _};
use site::store::StoreError;
use site::store::events::NewEvent;

/// Who did it, in the event log.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub enum Admin {
    /// List the administrators
    List(List),
    /// Make an administrator, or give one a new password (open sessions end)
    Set(Set),
    /// Remove an administrator; never the last one
    Remove(Remove),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    place: Where,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    place: Where,
    user: String,
    /// Read the password from the first line of this file instead of asking
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
}

#[derive(Args)]
pub struct Remove {
    #[command(flatten)]
    place: Where,
    user: String,
}

impl Admin {
    pub fn run(&self) -> Result<()> {
        match self {
            Admin::List(v) => v.run(),
            Admin::Set(v) => v.run(),
            Admin::Remove(v) => v.run(),
        }
    }
}

/// An error for pages, as one for terminals.
fn told(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::BadRequest { why, hint: Some(text) } => hint::with(anyhow!(why), text),
        other => anyhow!(other.to_string()),
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let admins = self.place.site().open_store()?.read(|tx| tx.admins())?;
        let names: Vec<&str> = admins.iter().map(|(user, _)| user.as_str()).collect();
        let text = if names.is_empty() { "there is no administrator yet".to_owned() } else { names.join("\n") };
        let rows: Vec<_> = admins.iter().map(|(user, made)| serde_json::json!({"user": user, "created": made})).collect();
        show(self.json, &serde_json::json!({"administrators": rows}), &text)
    }
}

impl Set {
    fn run(&self) -> Result<()> {
        check_user(&self.user).map_err(told)?;
        let store = self.place.site().open_store()?;
        let password = match &self.password_file {
            Some(file) => passphrase_from(file)?,
            None => twice()?,
        };
        check_password(&password).map_err(told)?;
        let hash = hash_password(&password).map_err(told)?;
        let known = store.write(|tx| {
            let known = tx.set_password(&self.user, &hash)?;
            if !known {
                tx.add_admin(&self.user, &hash, now())?;
            }
            let what = if known { "got a new password" } else { "became an administrator" };
            let text = format!("{} {what}", self.user);
            tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(EventKind::AdminSet, &text) })?;
            Ok::<_, StoreError>(known)
        })?;
        let what = if known { "has a new password; open sessions ended" } else { "is an administrator now" };
        show(false, &serde_json::Value::Null, &format!("{} {what}", self.user))
    }
}

fn twice() -> Result<Zeroizing<String>> {
    let password = ask_secret("New password")?;
    if *ask_secret("The same again")? != *password {
        return Err(anyhow!("the two passwords differ")).hint("nothing was changed; try again");
    }
    Ok(password)
}

impl Remove {
    fn run(&self) -> Result<()> {
        let store = self.place.site().open_store()?;
        let left = store.write(|tx| {
            let others = tx.admins()?.iter().filter(|(user, _)| *user != self.user).count();
            if others == 0 || !tx.remove_admin(&self.user)? {
                return Ok((others, false));
            }
            let text = format!("{} is no administrator any more", self.user);
            tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(EventKind::AdminRemoved, &text) })?;
            Ok::<_, StoreError>((others, true))
        });
        match left.context("removing an administrator")? {
            (_, true) => show(false, &serde_json::Value::Null, &format!("{} may not log in any more", self.user)),
            (0, false) => Err(anyhow!("{:?} is the only administrator, or there is none", self.user))
                .hint("make another one first: seedd admin set NAME"),
            (_, false) => Err(anyhow!("there is no administrator {:?}", self.user)).hint("`seedd admin list` shows them"),
        }
    }
}
