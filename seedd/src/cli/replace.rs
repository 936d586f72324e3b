//! `seedd node replace`: a node is installed again, or another machine takes its name.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use appliance::control::answer::PowerAction;
use appliance::control::{Client, Note};
use clap::Args;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::stage::Stand;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{EnrollmentId, Hostname, Mac};
use converge::fleet::Scene;
use host::clock::{now, steady};
use serde::Serialize;
use site::hint::Hint as _;
use site::mode::Mode;
use site::store::Store;
use site::{Site, payloads};

use super::args::{SiteArgs, say};
use super::running;
use crate::app::mode::may_issue;
use crate::app::{hinted, notes, replace};
use crate::terminal::{stop_asked, watch_signals};

/// The actor in the event log.
const ACTOR: &str = "command line";
/// Pause between two looks at the database.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Args)]
pub struct Replace {
    /// Host name, with or without the site's domain
    hostname: String,
    /// Replace it although the cluster that it votes in may lose its majority
    #[arg(long)]
    force: bool,
    /// Do not use the machine's power controller
    #[arg(long)]
    no_power: bool,
    #[command(flatten)]
    args: SiteArgs,
}

/// Seconds from the beginning until each step.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    approved: u64,
    installed: u64,
    fabric_ready: u64,
    healthy: u64,
}

fn scene(site: &Site, store: &Store, spec: &ClusterSpec) -> Result<Scene> {
    let payload = payloads::current(site, store)?.map(|p| (p.id, p.size));
    Ok(store.read(|tx| Scene::read(tx, spec, payload, now()))?)
}

impl Replace {
    pub(super) fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        let (store, spec) = (site.open_store()?, site.spec()?);
        let hostname = full_name(&self.hostname, &spec)?;
        let old = store.read(|tx| tx.live_node(&hostname))?.ok_or_else(|| anyhow!("there is no node named {hostname}"));
        let old = old.hint("`seedd node list` lists all nodes")?;
        let began = steady();
        self.begin(&site, &store, &spec, &hostname)?;
        let machine = store.read(|tx| tx.machine(tx.enrollment(old.enrollment)?.machine))?;
        self.power(&site, machine.mac)?;
        self.line(&format!(
            "1. Boot the machine, or another one, from the network.\n2. Approve it under the name {} with \"replace\": its code is on its console.",
            hostname.label()
        ))?;
        let times = self.follow(&site, &store, &spec, (&hostname, old.enrollment), began)?;
        let Times { approved, installed, fabric_ready, healthy } = times;
        let note = Note::NodeReplaced { hostname, approved, installed, fabric_ready, healthy };
        let noted = running::note(&self.args.dir, &store, &note);
        self.args.show(&times, &notes::words(&note).1)?;
        noted
    }

    /// Writes that the node is about to be replaced, if its cluster keeps its majority. A running daemon does both.
    fn begin(&self, site: &Site, store: &Store, spec: &ClusterSpec, hostname: &Hostname) -> Result<()> {
        if let Some(daemon) = running::control(&self.args.dir) {
            return daemon.replace_node(hostname.clone(), self.force).map(drop);
        }
        let payload = payloads::current(site, store)?.map(|p| (p.id, p.size));
        let begun = store.write(|tx| {
            may_issue(Mode::of(tx)?)?;
            replace::begin(tx, &Scene::read(tx, spec, payload, now())?, ACTOR, hostname, self.force)
        });
        begun.map_err(hinted)
    }

    fn line(&self, text: &str) -> Result<()> {
        if self.args.json { Ok(()) } else { say(text) }
    }

    /// Restarts the machine from the network, if it has a controller. A machine that is gone has one that does not answer.
    fn power(&self, site: &Site, mac: Mac) -> Result<()> {
        if self.no_power {
            return Ok(());
        }
        let daemon = Client::new(&site.control_socket());
        let known = daemon.power(mac).is_ok_and(|power| power.controller.is_some());
        if !known {
            return Ok(());
        }
        let done = daemon.act(mac, PowerAction::NextBootPxe).and_then(|_| daemon.act(mac, PowerAction::Cycle));
        match done {
            Ok(done) => self.line(&done.text),
            Err(e) => self.line(&format!("the controller of {mac} did not restart it ({e:#}); do so by hand")),
        }
    }

    /// Waits until the name belongs to a healthy node with another enrollment.
    fn follow(
        &self,
        site: &Site,
        store: &Store,
        spec: &ClusterSpec,
        (hostname, old): (&Hostname, EnrollmentId),
        began: u64,
    ) -> Result<Times> {
        let mut times = Times::default();
        loop {
            if stop_asked() {
                bail!(
                    "stopped waiting; the replacement continues, and `seedd converge status --node {}` shows how far it is",
                    hostname.label()
                );
            }
            let passed = steady().saturating_sub(began) / 1000;
            let node = store.read(|tx| tx.live_node(hostname))?.filter(|n| n.enrollment != old);
            if let Some(node) = node {
                let state = store.read(|tx| tx.enrollment(node.enrollment))?.state;
                self.mark(&mut times.approved, passed, "approved", true)?;
                self.mark(&mut times.installed, passed, "installed", state.boots_from_disk())?;
                let ready = matches!(state, EnrollmentState::FabricReady | EnrollmentState::Converged);
                self.mark(&mut times.fabric_ready, passed, "on its planes", ready)?;
                let stand = scene(site, store, spec)?.stand(hostname);
                let healthy = state == EnrollmentState::Converged && matches!(stand, Stand::Converged | Stand::Nothing);
                if self.mark(&mut times.healthy, passed, "healthy", healthy)? {
                    return Ok(times);
                }
                if stand == Stand::Failed {
                    bail!("the plays of {hostname} failed; `seedd converge status --node {}` shows why", hostname.label());
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Notes a step once it is reached; true from then on.
    fn mark(&self, at: &mut u64, passed: u64, what: &str, reached: bool) -> Result<bool> {
        if reached && *at == 0 {
            *at = passed.max(1);
            self.line(&format!("{what} after {passed} s"))?;
        }
        Ok(*at > 0)
    }
}

/// A host name with the site's domain.
pub(super) fn full_name(typed: &str, spec: &ClusterSpec) -> Result<Hostname> {
    let typed = typed.trim().to_ascii_lowercase();
    let full = if typed.contains('.') { typed } else { format!("{typed}.{}", spec.spec.networking.domain) };
    full.parse().context("reading the host name").hint("use the label alone, such as n7")
}
