//! `seedd login` and `seedd logout`

use anyhow::{Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use serde_json::json;
use site::hint::Hint as _;

use super::reach::{SeedArgs, Which};
use crate::cli::args::say;
use crate::cli::prompt::{ask_secret, passphrase_from};
use crate::remote::Remote;
use crate::remote::contexts::{Contexts, Entry};

#[derive(Args)]
pub struct Login {
    /// User name [default: that of the last login]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from the first line of this file instead of prompting
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Logout {
    #[command(flatten)]
    seed: SeedArgs,
}

fn context(seed: &SeedArgs) -> Result<(String, Entry)> {
    match seed.which()? {
        Which::There(name, entry) => Ok((name, *entry)),
        Which::Here(_) => Err(anyhow!("the seed on this machine needs no login: its control socket lets you in"))
            .hint("for a seed elsewhere, add it first: `seedd context add NAME URL --fingerprint SHA256`"),
    }
}

/// Changes what is stored of a context.
fn change(seed: &SeedArgs, name: &str, change: impl FnOnce(&mut Entry)) -> Result<()> {
    let dir = seed.home.dir()?;
    let mut all = Contexts::read(&dir)?;
    change(all.contexts.get_mut(name).ok_or_else(|| anyhow!("the context {name} was removed in the meantime"))?);
    all.write(&dir)
}

impl Login {
    pub fn run(&self) -> Result<()> {
        let (name, entry) = context(&self.seed)?;
        let user = self.user.clone().or(entry.user.clone()).ok_or_else(|| anyhow!("no user is named"));
        let user = user.hint("use --user NAME")?;
        let remote = Remote::new(entry.server.clone(), &entry.believed()?, None)?;
        let password = match &self.password_file {
            Some(path) => passphrase_from(path)?,
            None => ask_secret(&format!("Password of {user} at {}", entry.server))?,
        };
        let answer = remote.post("/api/v1/login", &json!({ "user": user, "password": *password }))?;
        let token = answer["token"].as_str().ok_or_else(|| anyhow!("{} gave no token", entry.server))?;
        change(&self.seed, &name, |entry| (entry.user, entry.token) = (Some(user.clone()), Some(token.to_owned())))?;
        say(&format!("logged in to {name} as {user}"))
    }
}

impl Logout {
    pub fn run(&self) -> Result<()> {
        let (name, entry) = context(&self.seed)?;
        if entry.token.is_none() {
            return say(&format!("not logged in to {name}"));
        }
        let remote = Remote::new(entry.server.clone(), &entry.believed()?, entry.token()?)?;
        let ended = remote.post("/api/v1/logout", &json!({}));
        // A session that ended on the seed, or a seed that is gone, is forgotten here all the same.
        change(&self.seed, &name, |entry| entry.token = None)?;
        match ended {
            Ok(_) => say(&format!("logged out of {name}")),
            Err(error) => {
                eprintln!("seedd: the token was deleted here, but the seed did not end the session: {error:#}");
                Ok(())
            }
        }
    }
}
