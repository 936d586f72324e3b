//! `seedd token`: join tokens. Needs write access to the data directory, and no session. A running daemon writes itself ([`running`]).

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::join::pattern::NamePattern;
use cluster_seed::join::token::TokenId;
use cluster_seed::people::Approvals;
use host::clock::now;
use serde_json::json;
use site::Site;
use site::hint::Hint as _;
use site::tokens::{self, DiskRule, Grant, Token};
use zeroize::Zeroizing;

use super::args::{SiteArgs, time_of};
use super::running;
use crate::app::join_tokens;
use crate::remote::Remote;

/// The actor in the event log.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub enum JoinTokens {
    /// Create a join token and show it, this once
    ///
    /// Machines with the token enroll by themselves while the seed is unsealed: they get the token's role and the next free name.
    /// Put it into an image, a NoCloud volume or an OEM string. With it, any machine can enroll: keep it like a password.
    #[command(after_long_help = "\
Examples:
  seedd token create --role worker --uses 20 --expires 24h --name 'web-{n}'
  seedd token create --role base --name edge --json")]
    Create(Create),
    /// List the join tokens, without their secrets
    List(List),
    /// Revoke a join token; nodes that were made with it stay
    Revoke(Revoke),
}

#[derive(Args)]
pub struct Create {
    /// Role of the machines
    #[arg(long)]
    role: String,
    /// How many machines may use it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(tokens::MAX_USES)))]
    uses: u32,
    /// Validity: a number with m, h or d
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = seconds)]
    expires: u64,
    /// Host name, or a pattern with {n} for the number
    #[arg(long, value_name = "PATTERN")]
    name: NamePattern,
    /// Disk to install on, if a machine that installs itself has several that fit
    #[arg(long, value_enum, default_value_t = Disk::Only)]
    disk: Disk,
    #[command(flatten)]
    args: SiteArgs,
}

/// Which disk is written on a machine that installs itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Disk {
    /// The only one; a machine with several is refused
    Only,
    Smallest,
    Largest,
}

impl From<Disk> for DiskRule {
    fn from(disk: Disk) -> Self {
        match disk {
            Disk::Only => DiskRule::Only,
            Disk::Smallest => DiskRule::Smallest,
            Disk::Largest => DiskRule::Largest,
        }
    }
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Revoke {
    /// Id of the token: the eight digits after `kjt-`
    id: TokenId,
    #[command(flatten)]
    args: SiteArgs,
}

/// A length of time in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let unit = match text.as_bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => return Err(format!("{text:?} has no unit; use m, h or d, for example 24h")),
    };
    let number = text.get(..text.len() - 1).filter(|n| n.bytes().all(|b| b.is_ascii_digit())).and_then(|n| n.parse::<u64>().ok());
    let seconds = number.and_then(|n| n.checked_mul(unit)).filter(|s| (1..=tokens::MAX_SECONDS).contains(s));
    seconds.ok_or_else(|| format!("{text:?} is not a time from 1m to 365d"))
}

impl JoinTokens {
    pub fn run(&self) -> Result<()> {
        match self {
            JoinTokens::Create(v) => v.run(),
            JoinTokens::List(v) => v.run(),
            JoinTokens::Revoke(v) => v.run(),
        }
    }
}

/// A token that was just created.
struct Made {
    id: TokenId,
    text: Zeroizing<String>,
    /// Unix seconds.
    expires: u64,
    /// It counts once a second user has agreed to it.
    waits: bool,
}

impl Create {
    fn run(&self) -> Result<()> {
        let made = match running::daemon(&self.args)? {
            Some(daemon) => self.by(&daemon)?,
            None => self.beside(&self.args.site())?,
        };
        let text = join_tokens::created(made.id, &self.grant(made.expires));
        let second = if made.waits {
            "\nit counts once a second user has agreed to it in the web interface, page Join tokens"
        } else {
            ""
        };
        let value = json!({ "id": made.id, "token": *made.text, "expires": made.expires, "waits": made.waits });
        self.args.show(&value, &format!("{}\n{text}{second}", *made.text))
    }

    /// `expires`: Unix seconds.
    fn grant(&self, expires: u64) -> Grant {
        let (role, name) = (self.role.clone(), self.name.clone());
        Grant { role, name, uses: self.uses, expires, disk: self.disk.into() }
    }

    /// By a running daemon.
    fn by(&self, daemon: &Remote) -> Result<Made> {
        let disk = DiskRule::from(self.disk);
        let wish = json!({ "role": self.role, "name": self.name, "uses": self.uses, "seconds": self.expires, "disk": disk });
        let answer = daemon.post("/api/v1/join-tokens", &wish)?;
        let text = |name: &str| answer[name].as_str().ok_or_else(|| anyhow!("the seed answers without the {name} of the token"));
        let expires = answer["expires"].as_u64().ok_or_else(|| anyhow!("the seed does not say when the token expires"))?;
        let (id, waits): (TokenId, bool) = (text("id")?.parse()?, text("state")? == "waiting");
        Ok(Made { id, text: Zeroizing::new(text("token")?.to_owned()), expires, waits })
    }

    /// Without a daemon.
    fn beside(&self, site: &Site) -> Result<Made> {
        let (store, spec) = (site.open_store()?, site.spec()?);
        if !spec.spec.roles.contains_key(&self.role) {
            return Err(anyhow!("there is no role {:?}", self.role)).hint("roles are in cluster.yaml");
        }
        let vault = site.keys().public()?.vault;
        let (token, secret) = Token::draw(self.grant(now() + self.expires), ACTOR, now(), &vault)?;
        store.write(|tx| join_tokens::add(tx, ACTOR, secret.id, &token))?;
        let (id, text, expires) = (secret.id, secret.to_text(), token.grant.expires);
        Ok(Made { id, text, expires, waits: waits(&spec, &token) })
    }
}

/// Two users have to approve machines of its role, and no second one has agreed to the token.
fn waits(spec: &ClusterSpec, token: &Token) -> bool {
    token.agreed.is_none() && spec.approvals_of(&token.grant.role) == Approvals::Two
}

/// State of a token in one word.
fn state(spec: &ClusterSpec, token: &Token, now: u64) -> String {
    match token.may_serve(0, now) {
        Err(why) => why.to_string(),
        Ok(()) if waits(spec, token) => "waits for a second user".to_owned(),
        Ok(()) => "valid".to_owned(),
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let (all, spec) = (site.open_store()?.read(tokens::all)?, site.spec()?);
        let (mut text, mut values) = (Vec::new(), Vec::new());
        for (id, token) in all {
            let Token { grant, created, used, refused, image, .. } = &token;
            let Grant { role, name, uses, expires, disk } = grant;
            let (state, until) =
                (state(&spec, &token, now()), time_of(expires * 1_000).map(|t| t.to_string()).unwrap_or_default());
            let place = image.as_ref().map(|image| format!("  in image {image}")).unwrap_or_default();
            text.push(format!(
                "{id}  {role:<12} {:<20} {used}/{uses} used  {refused} refused  until {until}  {state}{place}",
                name.to_string()
            ));
            values.push(json!({
                "id": id, "role": role, "name": name, "uses": uses, "used": used, "refused": refused, "created": created,
                "expires": expires, "disk": disk, "state": state, "image": image,
            }));
        }
        let text = if text.is_empty() { "no join tokens".to_owned() } else { text.join("\n") };
        self.args.show(&json!({ "tokens": values }), &text)
    }
}

impl Revoke {
    fn run(&self) -> Result<()> {
        match running::daemon(&self.args)? {
            Some(daemon) => daemon.delete(&format!("/api/v1/join-tokens/{}", self.id)).map(drop)?,
            None => self.args.site().open_store()?.write(|tx| join_tokens::revoke(tx, ACTOR, self.id))?,
        }
        self.args.show(&json!({ "revoked": self.id }), &format!("join token {} revoked", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_limits() {
        for (text, expected) in [("1m", 60), ("24h", 86_400), ("365d", tokens::MAX_SECONDS)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for bad in ["", "24", "h", "0h", "-1h", "+1h", "1.5h", "366d", "1w", "99999999999999999999d", "1ä"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
