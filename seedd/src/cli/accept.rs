//! `seedd accept`: runs the checks of cluster.yaml and signs the result.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use cluster_seed::converge::CHECKS;
use cluster_seed::events::EventKind;
use cluster_seed::seal::Sealed;
use converge::accept::{AcceptReport, verdicts};
use converge::fleet::Scene;
use host::clock::{now, now_ms};
use site::store::StoreError;
use site::store::events::NewEvent;
use site::{payloads, setting};

use super::args::{PassphraseSource, SiteArgs};

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
        if let Some(bad) = self.checks.iter().find(|c| !CHECKS.iter().any(|(name, _)| name == c)) {
            bail!("there is no check {bad:?}; `seedd accept --list` lists them");
        }
        let site = self.args.site();
        let (store, spec) = (site.open_store()?, site.spec()?);
        let required: Vec<String> = match self.checks.is_empty() {
            true => spec.spec.acceptance.required.iter().map(|c| c.value.clone()).collect(),
            false => self.checks.clone(),
        };
        let keys = match self.dry_run {
            true => None,
            false => Some(site.keys().unseal(&self.passphrase.get("Passphrase")?)?),
        };
        let payload = payloads::current(&site, &store)?.map(|p| (p.id, p.size));
        let (scene, epoch) = store.read(|tx| Ok::<_, StoreError>((Scene::read(tx, &spec, payload, now())?, tx.epoch()?)))?;
        let report = AcceptReport {
            site: spec.metadata.name.to_string(),
            at: now(),
            epoch,
            payload: payload.map(|(id, _)| id),
            nodes: scene.nodes.len(),
            verdicts: verdicts(&scene, &required, now()),
        };
        if let Some(keys) = keys {
            let sealed = serde_json::to_string(&Sealed::sign(&report, &keys.site)?)?;
            let failed: Vec<&str> = report.verdicts.iter().filter(|v| !v.ok).map(|v| v.name.as_str()).collect();
            let (kind, text) = match failed.is_empty() {
                true => {
                    (EventKind::AcceptPassed, format!("accepted: {} checks on {} nodes", report.verdicts.len(), report.nodes))
                }
                false => (EventKind::AcceptFailed, format!("not accepted: {}", failed.join(", "))),
            };
            let keep = |tx: &site::store::Tx<'_>| {
                tx.set(setting::ACCEPT_REPORT, &sealed)?;
                tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(kind, &text) })
            };
            store.write(keep).context("recording the report")?;
        }
        self.args.show(&report, &report.text())?;
        if report.passed() { Ok(()) } else { bail!("the site is not accepted") }
    }
}
