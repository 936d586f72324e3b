//! `seedd user token`: API tokens.

use anyhow::{Result, anyhow};
use appliance::control::NewApiToken;
use appliance::control::answer::ApiTokenMade;
use clap::{Args, Subcommand};
use cluster_seed::people::{ApiTokenId, MAX_TOKEN_DAYS, Permission, Permissions, TOKEN_DAYS};
use host::clock::now;
use serde_json::json;
use web::api::NewToken;

use super::words::{ACTOR, plain, refused};
use crate::app::people;
use crate::cli::args::{SiteArgs, time_of};
use crate::cli::running;

#[derive(Subcommand)]
pub enum ApiTokens {
    /// Create an API token of a user and show it, this once
    ///
    /// It can do what its scopes allow, as far as its user may, until it expires. Keep it like a password.
    #[command(after_long_help = "\
Example:
  seedd user token create --user bob --name backup --scope read --scope power --days 30")]
    Create(Create),
    /// List the API tokens, without their secrets
    List(List),
    /// Revoke an API token
    Revoke(Revoke),
}

#[derive(Args)]
pub struct Create {
    /// User whose token it is
    #[arg(long)]
    user: String,
    /// What it is for
    #[arg(long)]
    name: String,
    /// What it may do: read, audit, approve, power, converge, build or administer (repeatable)
    #[arg(long = "scope", required = true)]
    scopes: Vec<Permission>,
    /// Validity in days
    #[arg(long, default_value_t = TOKEN_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKEN_DAYS)))]
    days: u32,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Revoke {
    /// Id of the token: the eight digits after `kbd_`
    id: ApiTokenId,
    #[command(flatten)]
    args: SiteArgs,
}

impl ApiTokens {
    pub fn run(&self) -> Result<()> {
        match self {
            ApiTokens::Create(v) => v.run(),
            ApiTokens::List(v) => v.run(),
            ApiTokens::Revoke(v) => v.run(),
        }
    }
}

impl Create {
    fn run(&self) -> Result<()> {
        let ApiTokenMade { id, token, user, expires } = match running::control(&self.args.dir) {
            Some(daemon) => daemon.create_api_token(NewApiToken {
                user: self.user.clone(),
                name: self.name.clone(),
                scopes: self.scopes.clone(),
                days: self.days,
            })?,
            None => self.beside()?,
        };
        let until = time_of(expires * 1_000).map(|t| t.to_string()).unwrap_or_default();
        let scopes: Permissions = self.scopes.iter().copied().collect();
        let said = format!("API token {id} of {user}, scopes {scopes}, until {until}");
        let value = json!({ "id": id, "token": token, "user": user, "expires": expires });
        self.args.show(&value, &format!("{token}\n{said}"))
    }

    /// Without a daemon.
    fn beside(&self) -> Result<ApiTokenMade> {
        let new = NewToken { name: self.name.clone(), scopes: self.scopes.clone(), days: Some(self.days) };
        let made = self.args.site().open_store()?.write(|tx| {
            let user = people::known(tx, &self.user)?;
            people::create(tx, ACTOR, &user.user, user.rights.permissions(), &new)
        });
        let (token, text) = made.map_err(plain)?;
        Ok(ApiTokenMade { id: token.id.to_string(), token: text.to_string(), user: token.user, expires: token.expires })
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let all = self.args.site().open_store()?.read(|tx| tx.api_tokens(None))?;
        let (mut lines, mut rows) = (Vec::new(), Vec::new());
        for t in all {
            let until = time_of(t.expires * 1_000).map(|t| t.to_string()).unwrap_or_default();
            let used = t.used.and_then(|at| time_of(at * 1_000)).map_or("never used".to_owned(), |at| format!("used {at}"));
            let expired = if t.expires <= now() { "  expired" } else { "" };
            lines.push(format!("{}  {:<20} {:<24} until {until}  {used}  {}{expired}", t.id, t.user, t.name, t.scopes));
            let scopes: Vec<Permission> = t.scopes.iter().collect();
            rows.push(json!({
                "id": t.id, "user": t.user, "name": t.name, "scopes": scopes, "created": t.created, "expires": t.expires, "used": t.used,
            }));
        }
        let text = if lines.is_empty() { "no API tokens".to_owned() } else { lines.join("\n") };
        self.args.show(&json!({ "tokens": rows }), &text)
    }
}

impl Revoke {
    fn run(&self) -> Result<()> {
        let store = self.args.site().open_store()?;
        let gone = match running::daemon(&self.args)? {
            Some(daemon) => {
                let all = store.read(|tx| tx.api_tokens(None))?;
                let found = all.into_iter().find(|t| t.id == self.id).ok_or_else(|| anyhow!("no such API token"))?;
                running::revoke_api_token(&daemon, self.id).map_err(refused)?;
                found
            }
            None => store.write(|tx| people::revoke(tx, ACTOR, self.id, None)).map_err(plain)?,
        };
        self.args.show(&json!({ "revoked": gone.id }), &format!("API token {} of {} revoked", gone.id, gone.user))
    }
}
