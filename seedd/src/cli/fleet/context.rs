//! `seedd context`

use anyhow::{Context as _, Result, anyhow, bail};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use site::hint::{self, Hint as _};

use super::output::{Column, ListArgs, Shape, at, column, facts, wide};
use super::reach::Home;
use crate::remote::Remote;
use crate::remote::contexts::{Contexts, Entry, LOCAL, check_name};
use crate::remote::server::Server;
use crate::remote::trust::{digest_of, fingerprint, first_of, shown};

/// Largest certificate of a CA, in bytes.
const MAX_CA: usize = 16 << 10;

#[derive(Subcommand)]
pub enum Context {
    /// Add a seed, or change it
    ///
    /// The fingerprint is that of the seed's certificate, which its console and `seedd status` show, or that of the certificate
    /// of the site's CA. The CA is stored with it, so that the context stays valid when the seed gets new certificates.
    #[command(after_long_help = "\
Examples:
  seedd context add site-a https://seed:8443 --fingerprint 5D:0A:...:7F
  seedd context add site-a https://10.44.0.1 --fingerprint 5d0a...7f --token-file ~/.config/kubedos/site-a.token")]
    Add(Add),
    /// List the contexts
    #[command(visible_alias = "ls")]
    List(List),
    /// Use a context where none is named; `local` for the seed on this machine
    Use(Use),
    /// Show one context, without its token
    Show(Show),
    /// Remove a context, with its token
    #[command(visible_alias = "rm")]
    Remove(Remove),
}

#[derive(Args)]
pub struct Add {
    /// Name of the context
    name: String,
    /// Address of the seed's web interface
    url: Server,
    /// SHA-256 fingerprint of its certificate, or of that of the site's CA
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// Read the token from this file each time, instead of logging in
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
    #[command(flatten)]
    home: Home,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    home: Home,
}

#[derive(Args)]
pub struct Use {
    /// Name of the context
    name: String,
    #[command(flatten)]
    home: Home,
}

#[derive(Args)]
pub struct Show {
    /// Name of the context
    name: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    home: Home,
}

#[derive(Args)]
pub struct Remove {
    /// Name of the context
    name: String,
    #[command(flatten)]
    home: Home,
}

const COLUMNS: &[Column] = &[
    column("CURRENT", |r| if r["current"] == true { "*".to_owned() } else { " ".to_owned() }),
    column("NAME", |r| at(r, "/name")),
    column("SERVER", |r| at(r, "/server")),
    column("USER", |r| at(r, "/user")),
    wide("FINGERPRINT", |r| at(r, "/fingerprint")),
];

impl Context {
    pub fn run(&self) -> Result<()> {
        match self {
            Context::Add(v) => v.run(),
            Context::List(v) => v.run(),
            Context::Use(v) => v.run(),
            Context::Show(v) => v.run(),
            Context::Remove(v) => v.run(),
        }
    }
}

/// What is shown of a context: never its token.
fn offered(name: &str, entry: &Entry, current: bool) -> Value {
    json!({
        "name": name,
        "server": entry.server,
        "fingerprint": entry.fingerprint,
        "ca": entry.ca.as_deref().and_then(|pem| digest_of(pem).ok()).map(|d| shown(&d)),
        "user": entry.user,
        "loggedIn": entry.token.is_some(),
        "tokenFile": entry.token_file,
        "current": current,
    })
}

impl Add {
    fn run(&self) -> Result<()> {
        check_name(&self.name)?;
        let dir = self.home.dir()?;
        let mut all = Contexts::read(&dir)?;
        let (fingerprint, ca) = if self.url.tls { self.confirmed()? } else { (None, None) };
        let held = all.contexts.remove(&self.name);
        // A session with another server is worth nothing there.
        let held = held.filter(|h| h.server == self.url);
        let (user, token) = held.map_or((None, None), |h| (h.user, h.token));
        // Later commands run in other directories.
        let token_file = self.token_file.as_ref().map(camino::absolute_utf8).transpose().context("finding the token's file")?;
        let entry = Entry { server: self.url.clone(), fingerprint, ca, user, token, token_file };
        all.contexts.insert(self.name.clone(), entry);
        let first = all.current.is_none();
        if first {
            all.current = Some(self.name.clone());
        }
        all.write(&dir)?;
        let used = if first { "; it is the current one" } else { "" };
        super::super::args::say(&format!("context {} added{used}", self.name))?;
        if self.token_file.is_none() {
            eprintln!("seedd: log in with `seedd login --context {} --user NAME`", self.name);
        }
        Ok(())
    }

    /// The fingerprint, and the site's CA if it has one, once the given fingerprint was seen.
    fn confirmed(&self) -> Result<(Option<String>, Option<String>)> {
        let remote = Remote::stranger(self.url.clone())?;
        let ca = match remote.bytes("/ca.pem") {
            Ok(bytes) if bytes.len() <= MAX_CA => String::from_utf8(bytes).ok().and_then(|pem| first_of(&pem).ok()),
            Ok(_) => None,
            // Before its first unseal a site has no CA.
            Err(error) if remote.trust().seen().is_some() => {
                tracing::debug!(error = format!("{error:#}"), "the seed has no CA");
                None
            }
            Err(error) => return Err(error),
        };
        let seen = remote.trust().seen().ok_or_else(|| anyhow!("{} showed no certificate", self.url))?;
        let Some(given) = &self.fingerprint else {
            let offered = format!("{} shows a certificate with\n  sha256 {}", self.url, shown(&seen));
            return Err(hint::with(
                anyhow!("no --fingerprint is given. {offered}"),
                "compare it with the seed's console or `seedd status` there, then give it with --fingerprint",
            ));
        };
        let given = fingerprint(given)?;
        if given == seen {
            return Ok((Some(shown(&given)), ca));
        }
        // Later requests verify that the seed's certificate is of this CA.
        match ca.filter(|pem| digest_of(pem).is_ok_and(|d| d == given)) {
            Some(pem) => Ok((None, Some(pem))),
            None => Err(anyhow!("{} shows another certificate: sha256 {}", self.url, shown(&seen)))
                .hint("it was replaced, or the connection is intercepted; compare it with the seed's console"),
        }
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let dir = self.home.dir()?;
        self.list.list("contexts", COLUMNS, &|| {
            let all = Contexts::read(&dir)?;
            let is_current = |name: &String| all.current.as_ref() == Some(name);
            Ok(all.contexts.iter().map(|(name, entry)| offered(name, entry, is_current(name))).collect())
        })
    }
}

impl Use {
    fn run(&self) -> Result<()> {
        let dir = self.home.dir()?;
        let mut all = Contexts::read(&dir)?;
        if self.name == LOCAL {
            all.current = None;
        } else {
            all.get(&self.name)?;
            all.current = Some(self.name.clone());
        }
        all.write(&dir)
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let all = Contexts::read(&self.home.dir()?)?;
        let shown = offered(&self.name, all.get(&self.name)?, all.current.as_ref() == Some(&self.name));
        let pairs = [
            ("name", at(&shown, "/name")),
            ("server", at(&shown, "/server")),
            ("fingerprint", at(&shown, "/fingerprint")),
            ("ca", at(&shown, "/ca")),
            ("user", at(&shown, "/user")),
            ("token file", at(&shown, "/tokenFile")),
            ("logged in", if shown["loggedIn"] == true { "yes".to_owned() } else { "no".to_owned() }),
        ];
        self.shape.show(&shown, &facts(&pairs))
    }
}

impl Remove {
    fn run(&self) -> Result<()> {
        let dir = self.home.dir()?;
        let mut all = Contexts::read(&dir)?;
        if all.contexts.remove(&self.name).is_none() {
            bail!("there is no context {:?}", self.name);
        }
        all.current = all.current.filter(|name| *name != self.name);
        all.write(&dir)
    }
}
