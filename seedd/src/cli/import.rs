//! `seedd import` and `seedd promote`

use std::net::SocketAddrV4;

use anyhow::{Context as _, Result};
use appliance::control::Client;
use camino::Utf8PathBuf;
use clap::Args;
use host::clock::now_ms;
use site::Site;
use site::hint::Hint as _;
use transfer::capsule::import::Import as Job;
use transfer::capsule::promote::promote;

use super::args::{PassphraseSource, SiteArgs, pin};
use super::prompt::confirm;
use crate::app::App;
use crate::terminal::{Terminal, watch_signals};

/// Port of the seed's address for machines, as in `seedd serve`.
const HTTP_PORT: u16 = 80;

#[derive(Args)]
pub struct Import {
    /// The capsule, or its first part
    file: Utf8PathBuf,
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Site key of the seed that made it, in hex; `seedd status` there shows it
    #[arg(long, value_name = "KEY")]
    pin: String,
    /// Also import the other site's boot network (underlay) instead of keeping this one
    #[arg(long)]
    take_place: bool,
}

impl Import {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        site.open_store()?;
        let pin = pin(&self.pin)?;
        let operator = site.keys().operator(&self.passphrase.get("Passphrase of this site")?)?;
        let job = Job {
            site: &site,
            operator: &operator,
            pin: &pin,
            file: &self.file,
            keep_place: !self.take_place,
            now_ms: now_ms(),
            actor: Some("command line"),
        };
        let progress = Terminal::new();
        let done = job.run(&progress).context("importing the capsule")?;
        drop(progress);
        let daemon = Client::new(&site.control_socket());
        if daemon.answers() && !done.already {
            daemon.reload().context("reloading the daemon").hint("restart it; it still serves the previous site")?;
        }
        let value = serde_json::json!({
            "id": done.id, "site": done.site, "epoch": done.epoch, "nodes": done.nodes,
            "copied": done.copied, "held": done.held, "already": done.already,
        });
        let how = if done.already { "was already imported" } else { "imported" };
        let mut text =
            format!("site {} {how}; this seed is a standby\n  epoch     {}, {} nodes", done.site, done.epoch, done.nodes);
        if !done.already {
            text.push_str(&format!("\n  blobs     {} copied, {} already present", done.copied, done.held));
        }
        text.push_str("\n  next      `seedd promote`, once the other seed is gone for good");
        self.args.show(&value, &text)
    }
}

#[derive(Args)]
pub struct Promote {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
    /// Promote a copy of the site in a drill: what it signs fences no other seed
    #[arg(long, hide = true)]
    drill: bool,
}

impl Promote {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let name = site.spec()?.metadata.name.to_string();
        let question = "The other seed of this site must be gone for good: two active seeds would issue conflicting identities.";
        if !self.yes {
            confirm(question, &name)?;
        }
        let daemon = Client::new(&site.control_socket());
        let epoch = if daemon.answers() {
            daemon.promote(self.drill)?.epoch
        } else {
            let epoch = promote(&store, now_ms(), Some("command line"), self.drill)?;
            drop(store);
            self.sign(&site)?;
            epoch
        };
        let value = serde_json::json!({"site": name, "epoch": epoch});
        self.args.show(&value, &format!("this seed is active for site {name}, epoch {epoch}"))
    }

    /// Signs the peer list for the new epoch if a passphrase file is named; otherwise the next unseal does.
    fn sign(&self, site: &Site) -> Result<()> {
        let Some(passphrase) = self.passphrase.given()? else { return Ok(()) };
        let seed = site.spec()?.spec.networking.underlay.seed.value;
        App::open(site.clone(), SocketAddrV4::new(seed, HTTP_PORT))?.unseal_with(&passphrase, "promotion")
    }
}
