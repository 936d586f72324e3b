//! `seedd accept`: runs the checks of cluster.yaml and signs the result.

use anyhow::{Context as _, Result, bail};
use appliance::control::Client;
use appliance::control::answer::Status;
use clap::Args;
use cluster_seed::converge::CHECKS;
use converge::accept::AcceptReport;
use converge::fleet::Scene;
use host::clock::now;
use site::payloads;

use super::args::{PassphraseSource, SiteArgs};
use super::running;
use crate::app::acceptance;

/// The actor in the event log.
const ACTOR: &str = "command line";

#[derive(Args)]
pub struct Accept {
    /// Run this check only; may be repeated [default: acceptance.required of cluster.yaml]
    #[arg(long = "check", value_name = "NAME")]
    checks: Vec<String>,
    /// List the checks
    #[arg(long)]
    list: bool,
    /// Show the result without signing and recording it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    args: SiteArgs,
}

impl Accept {
    pub fn run(&self) -> Result<()> {
        if self.list {
            let text: Vec<String> = CHECKS.iter().map(|(name, about)| format!("{name:<12} {about}")).collect();
            let rows: Vec<_> = CHECKS.iter().map(|(name, about)| serde_json::json!({"name": name, "about": about})).collect();
            return self.args.show(&rows, &text.join("\n"));
        }
        acceptance::must_be_checks(&self.checks)?;
        let daemon = if self.dry_run { None } else { running::control(&self.args.dir) };
        let report = match daemon {
            Some(daemon) => self.by(&daemon)?,
            None => self.beside()?,
        };
        self.args.show(&report, &report.text())?;
        if report.passed() { Ok(()) } else { bail!("the site is not accepted") }
    }

    /// By a running daemon: its own key signs while it is unsealed.
    fn by(&self, daemon: &Client) -> Result<AcceptReport> {
        let sealed = match daemon.status()? {
            Status::Site(site) => site.sealed,
            Status::SetUp(none) => none.sealed,
        };
        let passphrase = match self.passphrase.given()? {
            None if sealed => Some(self.passphrase.get("Passphrase")?),
            given => given,
        };
        let answer = daemon.accept(&self.checks, passphrase.as_ref().map(|p| p.as_str()))?;
        serde_json::from_value(answer.report).context("reading the seed's report")
    }

    /// Without a daemon, or without writing anything.
    fn beside(&self) -> Result<AcceptReport> {
        let site = self.args.site();
        let (store, spec) = (site.open_store()?, site.spec()?);
        let keys = match self.dry_run {
            true => None,
            false => Some(site.keys().unseal(&self.passphrase.get("Passphrase")?)?),
        };
        let payload = payloads::current(&site, &store)?.map(|p| (p.id, p.size));
        let report = store.read(|tx| {
            let scene = Scene::read(tx, &spec, payload, now())?;
            acceptance::judge(tx, &scene, &spec, &self.checks)
        })?;
        if let Some(keys) = keys {
            store.write(|tx| acceptance::keep(tx, ACTOR, &report, &keys.site)).context("recording the report")?;
        }
        Ok(report)
    }
}
