//! `seedd cluster apply`: a changed cluster.yaml takes effect while the seed runs.

use anyhow::{Context as _, Result, anyhow};
use appliance::control::Client;
use camino::Utf8PathBuf;
use clap::Args;
use converge::fleet::Scene;
use converge::plan::plan;
use host::clock::now;
use serde_json::json;
use site::hint::Hint as _;
use site::{payloads, read_spec};

use super::args::SiteArgs;
use super::prompt::confirm;
use crate::app::settings::{KEYLESS_HINT, keyless, unfit};

#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    args: SiteArgs,
    /// File that replaces the site's cluster.yaml [default: the site's own file, edited in place]
    file: Option<Utf8PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show the plan without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let own = site.cluster_file();
        let (spec, text) = site.spec_from(self.file.as_deref().unwrap_or(&own))?;
        // A file in place that is broken may be replaced by any other.
        let held = read_spec(&own).ok().map(|held| held.metadata.name).filter(|name| *name != spec.metadata.name);
        if let Some(name) = held {
            return Err(anyhow!("the file is that of site {}, and this one is {name}", spec.metadata.name))
                .hint("the name of a site does not change");
        }
        if let Some(why) = keyless(&spec, &site.keys().public()?).into_iter().next() {
            return Err(anyhow!(why)).hint(KEYLESS_HINT);
        }
        let nodes = store.read(|tx| tx.live_nodes())?;
        let unfit = unfit(&spec, &nodes);
        if let Some(first) = unfit.first() {
            let more = unfit.len().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            return Err(anyhow!("the file does not fit the nodes of the site: {first}{more}"))
                .hint("nodes keep their role and addresses until they are replaced or revoked");
        }
        let payload = payloads::current(&site, &store)?.map(|p| (p.id, p.size));
        let plan = plan(&store.read(|tx| Scene::read(tx, &spec, payload, now()))?, &spec);
        if self.dry_run {
            return self.args.show(&json!({"plan": plan, "applied": false}), &plan.text());
        }
        if !self.yes {
            confirm(&format!("{}\nNodes follow, one role after the other.", plan.text()), spec.metadata.name.as_str())?;
        }
        if self.file.is_some() {
            site.replace_cluster_text(&text)?;
        }
        let daemon = Client::new(&site.control_socket());
        let running = daemon.answers();
        if running {
            daemon.reload().context("reloading the seed").hint("restart it: the file is in place")?;
        }
        let end = if running { "the seed reads the file now" } else { "takes effect when the seed starts" };
        self.args.show(&json!({"plan": plan, "applied": true, "running": running}), &format!("{}\n{end}", plan.text()))
    }
}
