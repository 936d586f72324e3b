//! `seedd import` and `seedd promote`

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::SocketAddrV4;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;

use super::capsule::pin;
use super::{PassphraseSource, Where, show};
use crate::app::App;
use crate::terminal::{Terminal, watch_signals};
use appliance::control::{Request, answers, ask};
use host::clock::now_ms;
use site::Site;
use site::hint::Hint as _;
use transfer::capsule::import::Import as Job;
use transfer::capsule::promote::promote;

/// Port of the seed's address for machines, as `seedd serve` takes it.
const HTTP_PORT: u16 = 80;

#[derive(Args)]
pub struct Import {
    /// The capsule, or the first of its parts
    file: Utf8PathBuf,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Site key of the seed that made it (`seedd status` there shows it)
    #[arg(long, value_name = "KEY")]
    pin: String,
    /// Take the other site's underlay too, instead of staying on this place's
    #[arg(long)]
    take_place: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.place.site();
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
        let socket = site.control_socket();
        let served = answers(&socket);
        if served && !done.already {
            ask(&socket, &Request::Reload).context("telling the daemon").hint("restart it: it still has the site of before")?;
        }
        let value = serde_json::json!({
            "id": done.id, "site": done.site, "epoch": done.epoch, "nodes": done.nodes,
            "copied": done.copied, "held": done.held, "already": done.already,
        });
        let how = if done.already { "had been imported before" } else { "imported" };
        let mut text = format!("site {} {how}, into standby\n  epoch     {}, {} nodes", done.site, done.epoch, done.nodes);
        if !done.already {
            text.push_str(&format!("\n  blobs     {} copied, {} were here", done.copied, done.held));
        }
        text.push_str("\n  next      `seedd promote`, once the other seed is gone for good");
        show(self.json, &value, &text)
    }
}

#[derive(Args)]
pub struct Promote {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Promote {
    pub fn run(&self) -> Result<()> {
        let site = self.place.site();
        let store = site.open_store()?;
        let name = site.spec()?.metadata.name.to_string();
        let question = "The other seed of this site must be gone: two that issue would quarrel over the nodes.";
        confirm(self.yes, question, &name)?;
        let socket = site.control_socket();
        let epoch = if answers(&socket) {
            ask(&socket, &Request::Promote)?["epoch"].as_u64().ok_or_else(|| anyhow!("the daemon did not name the epoch"))?
        } else {
            let epoch = promote(&store, now_ms(), Some("command line"))?;
            drop(store);
            self.sign(&site)?;
            epoch
        };
        let value = serde_json::json!({"site": name, "epoch": epoch});
        show(self.json, &value, &format!("site {name} is served from here, epoch {epoch}"))
    }

    /// Signs the list of peers for the new epoch, if the passphrase is at hand; else the next unseal does.
    fn sign(&self, site: &Site) -> Result<()> {
        let Some(passphrase) = self.passphrase.given()? else { return Ok(()) };
        let seed = site.spec()?.spec.networking.underlay.seed.value;
        App::open(site.clone(), SocketAddrV4::new(seed, HTTP_PORT))?.unseal_with(&passphrase, "promotion")
    }
}

/// Refuses to go on without a word from the operator.
fn confirm(yes: bool, question: &str, expected: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("there is no terminal to ask on")).hint("say --yes");
    }
    eprint!("{question}\ntype {expected} to go on: ");
    std::io::stderr().flush().ok();
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("reading the answer")?;
    if line.trim() == expected { Ok(()) } else { Err(anyhow!("not confirmed")).hint("nothing was changed") }
}
