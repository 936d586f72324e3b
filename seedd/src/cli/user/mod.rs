//! `seedd user`: users of the web interface and the API. Needs write access to the data directory, and no session. A running daemon
//! writes itself ([`running`]).

mod token;
mod words;

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::people::Rights;
use serde_json::json;
use web::api::SetUser;
use zeroize::Zeroizing;

use super::args::{DataDir, SiteArgs, say, time_of};
use super::prompt::{ask_new_secret, passphrase_from};
use super::running;
use crate::app::auth::{check_password, check_user, hash_password};
use crate::app::people;

use words::{ACTOR, plain, refused};

#[derive(Subcommand)]
pub enum Users {
    /// List the users and their rights
    List(List),
    /// Add a user
    #[command(after_long_help = "\
Examples:
  seedd user add bob --rights operator
  seedd user add bob --rights operator --password-file /run/secrets/bob")]
    Add(Add),
    /// Change a user's rights; disable or enable a user
    ///
    /// Disabling a user ends the sessions and revokes the API tokens. The last administrator stays one.
    #[command(after_long_help = "\
Examples:
  seedd user set bob --rights viewer
  seedd user set bob --disable")]
    Set(Set),
    /// Reset a user's password; open sessions of that user end
    Password(Password),
    /// Remove a user, with sessions and API tokens
    ///
    /// The last administrator cannot be removed.
    Remove(Remove),
    /// Create, list and revoke API tokens, with which programs use the API
    #[command(subcommand)]
    Token(token::ApiTokens),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Add {
    #[command(flatten)]
    args: DataDir,
    /// User name
    user: String,
    /// What the user may do: viewer, auditor, operator or administrator
    #[arg(long)]
    rights: Rights,
    /// Read the password from the first line of this file instead of prompting
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct Set {
    #[command(flatten)]
    args: DataDir,
    /// User name
    user: String,
    /// What the user may do: viewer, auditor, operator or administrator
    #[arg(long, group = "what")]
    rights: Option<Rights>,
    /// The user can no longer log in
    #[arg(long, group = "what", conflicts_with = "enable")]
    disable: bool,
    /// The user can log in again
    #[arg(long, group = "what")]
    enable: bool,
}

#[derive(Args)]
pub struct Password {
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

impl Users {
    pub fn run(&self) -> Result<()> {
        match self {
            Users::List(v) => v.run(),
            Users::Add(v) => v.run(),
            Users::Set(v) => v.run(),
            Users::Password(v) => v.run(),
            Users::Remove(v) => v.run(),
            Users::Token(v) => v.run(),
        }
    }
}

/// A new password that is good enough.
fn new_password(file: Option<&Utf8PathBuf>) -> Result<Zeroizing<String>> {
    let password = match file {
        Some(file) => passphrase_from(file)?,
        None => ask_new_secret("New password")?,
    };
    check_password(&password).map_err(plain)?;
    Ok(password)
}

impl List {
    fn run(&self) -> Result<()> {
        let users = self.args.site().open_store()?.read(|tx| tx.users())?;
        let (mut lines, mut rows) = (Vec::new(), Vec::new());
        for u in users {
            let created = time_of(u.created * 1_000).map(|t| t.to_string()).unwrap_or_default();
            let disabled = if u.disabled.is_some() { "  disabled" } else { "" };
            lines.push(format!("{:<32} {:<14} since {created}{disabled}", u.user, u.rights));
            rows.push(json!({"user": u.user, "rights": u.rights, "created": u.created, "disabled": u.disabled}));
        }
        let text = if lines.is_empty() { "no users".to_owned() } else { lines.join("\n") };
        self.args.show(&json!({ "users": rows }), &text)
    }
}

impl Add {
    fn run(&self) -> Result<()> {
        check_user(&self.user).map_err(plain)?;
        let store = self.args.site().open_store()?;
        let password = new_password(self.password_file.as_ref())?;
        match running::daemon_of(&self.args)? {
            Some(daemon) => running::add_user(&daemon, &self.user, &password, self.rights).map_err(refused)?,
            None => {
                let hash = hash_password(&password).map_err(plain)?;
                store.write(|tx| people::add(tx, ACTOR, &self.user, &hash, self.rights)).map_err(plain)?;
            }
        }
        say(&format!("{}: added, rights {}", self.user, self.rights))
    }
}

impl Set {
    fn run(&self) -> Result<()> {
        let disabled = (self.disable || self.enable).then_some(self.disable);
        let set = SetUser { rights: self.rights, disabled };
        let store = self.args.site().open_store()?;
        store.read(|tx| people::known(tx, &self.user)).map_err(plain)?;
        match running::daemon_of(&self.args)? {
            Some(daemon) => running::set_user(&daemon, &self.user, &set).map_err(refused)?,
            None => store.write(|tx| people::set(tx, ACTOR, &self.user, &set)).map(drop).map_err(plain)?,
        }
        let user = store.read(|tx| people::known(tx, &self.user)).map_err(plain)?;
        let disabled = if user.disabled.is_some() { ", disabled" } else { "" };
        say(&format!("{}: rights {}{disabled}", user.user, user.rights))
    }
}

impl Password {
    fn run(&self) -> Result<()> {
        let store = self.args.site().open_store()?;
        store.read(|tx| people::known(tx, &self.user)).map_err(plain)?;
        let password = new_password(self.password_file.as_ref())?;
        match running::daemon_of(&self.args)? {
            Some(daemon) => running::set_password(&daemon, &self.user, &password).map_err(refused)?,
            None => {
                let hash = hash_password(&password).map_err(plain)?;
                store.write(|tx| people::set_password(tx, ACTOR, &self.user, &hash, None)).map_err(plain)?;
            }
        }
        say(&format!("{}: password reset; open sessions were ended", self.user))
    }
}

impl Remove {
    fn run(&self) -> Result<()> {
        let store = self.args.site().open_store()?;
        store.read(|tx| people::known(tx, &self.user)).map_err(plain)?;
        match running::daemon_of(&self.args)? {
            Some(daemon) => running::remove_user(&daemon, &self.user).map_err(refused)?,
            None => store.write(|tx| people::remove(tx, ACTOR, &self.user)).map_err(plain)?,
        }
        say(&format!("{}: removed", self.user))
    }
}
