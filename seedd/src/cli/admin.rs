//! `seedd admin`: administrators of the web interface; hidden since there is `seedd user`. Needs write access to the data directory, and no session.

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::events::EventKind;
use cluster_seed::people::Rights;
use host::clock::{now, now_ms};
use site::hint::{self, Hint as _};
use site::store::events::NewEvent;
use site::store::people::UserRecord;
use site::store::{Store, StoreError, Tx};
use web::api::ApiError;

use super::args::{DataDir, SiteArgs, say};
use super::prompt::{ask_new_secret, passphrase_from};
use super::running;
use crate::app::auth::{check_password, check_user, hash_password};

/// The actor in the event log.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub enum Admin {
    /// List the administrators
    List(List),
    /// Create an administrator or reset a password
    ///
    /// Resetting a password ends the open sessions of that administrator.
    #[command(after_long_help = "\
Examples:
  seedd admin set ada
  seedd admin set ada --password-file /run/secrets/ada")]
    Set(Set),
    /// Delete an administrator
    ///
    /// The last administrator cannot be deleted.
    Remove(Remove),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    args: DataDir,
    /// User name
    user: String,
    /// Read the password from the first line of this file instead of prompting
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
}

#[derive(Args)]
pub struct Remove {
    #[command(flatten)]
    args: DataDir,
    /// User name
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

/// Turns an error for the web interface into one for the terminal.
fn plain(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::BadRequest { why, hint: Some(text) } => hint::with(anyhow!(why), text),
        other => anyhow!(other.to_string()),
    }
}

fn administrators(tx: &Tx<'_>) -> Result<Vec<UserRecord>, StoreError> {
    Ok(tx.users()?.into_iter().filter(|u| u.rights == Rights::Administrator).collect())
}

impl List {
    fn run(&self) -> Result<()> {
        let admins = self.args.site().open_store()?.read(administrators)?;
        let names: Vec<&str> = admins.iter().map(|a| a.user.as_str()).collect();
        let text = if names.is_empty() { "no administrators".to_owned() } else { names.join("\n") };
        let rows: Vec<_> = admins.iter().map(|a| serde_json::json!({"user": a.user, "created": a.created})).collect();
        self.args.show(&serde_json::json!({"administrators": rows}), &text)
    }
}

impl Set {
    fn run(&self) -> Result<()> {
        check_user(&self.user).map_err(plain)?;
        let store = self.args.site().open_store()?;
        let password = match &self.password_file {
            Some(file) => passphrase_from(file)?,
            None => ask_new_secret("New password")?,
        };
        check_password(&password).map_err(plain)?;
        let known = match running::daemon_of(&self.args)? {
            Some(daemon) => {
                let known = store.read(|tx| tx.user(&self.user))?.is_some();
                if known {
                    running::set_password(&daemon, &self.user, &password)?;
                } else {
                    running::add_user(&daemon, &self.user, &password, Rights::Administrator)?;
                }
                known
            }
            None => self.beside(&store, &password)?,
        };
        let what = if known { "password reset; open sessions were ended" } else { "administrator created" };
        say(&format!("{}: {what}", self.user))
    }

    /// Without a daemon. True if there was such a user.
    fn beside(&self, store: &Store, password: &str) -> Result<bool> {
        let hash = hash_password(password).map_err(plain)?;
        let known = store.write(|tx| {
            let known = tx.set_password(&self.user, &hash, None)?;
            if !known {
                tx.add_admin(&self.user, &hash, now())?;
            }
            let what = if known { "password reset" } else { "administrator created" };
            let text = format!("{what}: {}", self.user);
            tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(EventKind::AdminSet, &text) })?;
            Ok::<_, StoreError>(known)
        });
        known.context("setting the password")
    }
}

impl Remove {
    fn run(&self) -> Result<()> {
        let store = self.args.site().open_store()?;
        if let Some(daemon) = running::daemon_of(&self.args)? {
            // The name is a part of an address.
            check_user(&self.user).map_err(plain)?;
            running::remove_user(&daemon, &self.user)?;
            return say(&format!("{}: administrator deleted", self.user));
        }
        let left = store.write(|tx| {
            let others = tx.other_administrators(&self.user)?;
            if others == 0 || !tx.remove_user(&self.user)? {
                return Ok((others, false));
            }
            let text = format!("administrator deleted: {}", self.user);
            tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(EventKind::AdminRemoved, &text) })?;
            Ok::<_, StoreError>((others, true))
        });
        match left.context("deleting the administrator")? {
            (_, true) => say(&format!("{}: administrator deleted", self.user)),
            (0, false) => Err(anyhow!("{:?} is the only administrator, or none exists", self.user))
                .hint("create another one first: seedd admin set NAME"),
            (_, false) => Err(anyhow!("no administrator named {:?}", self.user)).hint("`seedd admin list` lists them"),
        }
    }
}
