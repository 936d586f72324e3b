//! Acceptance: the checks of cluster.yaml, and the report that the site key signs. `seedd accept`.

use anyhow::{Result, anyhow};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::CHECKS;
use cluster_seed::events::EventKind;
use cluster_seed::seal::{Sealed, SigningKey};
use converge::accept::{AcceptReport, verdicts};
use converge::fleet::Scene;
use host::clock::{now, now_ms};
use site::setting;
use site::store::events::NewEvent;
use site::store::{StoreError, Tx};
use web::api::ApiError;
use zeroize::Zeroizing;

use super::{App, hinted, unexpected};

/// Fails at the first name that is no check.
pub(crate) fn must_be_checks(names: &[String]) -> Result<()> {
    match names.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name)) {
        Some(bad) => Err(anyhow!("there is no check {bad:?}; `seedd accept --list` lists them")),
        None => Ok(()),
    }
}

/// Runs checks: those named, or without any those that cluster.yaml requires. Nothing is written.
pub(crate) fn judge(tx: &Tx<'_>, scene: &Scene, spec: &ClusterSpec, checks: &[String]) -> Result<AcceptReport, StoreError> {
    let required: Vec<String> = match checks.is_empty() {
        true => spec.spec.acceptance.required.iter().map(|c| c.value.clone()).collect(),
        false => checks.to_vec(),
    };
    Ok(AcceptReport {
        site: spec.metadata.name.to_string(),
        at: now(),
        epoch: tx.epoch()?,
        payload: scene.payload.map(|(id, _)| id),
        nodes: scene.nodes.len(),
        verdicts: verdicts(scene, &required, now()),
    })
}

/// Signs and keeps a report, in place of the one before.
pub(crate) fn keep(tx: &Tx<'_>, actor: &str, report: &AcceptReport, key: &SigningKey) -> Result<(), ApiError> {
    let sealed = Sealed::sign(report, key).map_err(unexpected)?;
    tx.set(setting::ACCEPT_REPORT, &serde_json::to_string(&sealed).map_err(unexpected)?)?;
    let failed: Vec<&str> = report.verdicts.iter().filter(|v| !v.ok).map(|v| v.name.as_str()).collect();
    let (kind, text) = match failed.is_empty() {
        true => (EventKind::AcceptPassed, format!("accepted: {} checks on {} nodes", report.verdicts.len(), report.nodes)),
        false => (EventKind::AcceptFailed, format!("not accepted: {}", failed.join(", "))),
    };
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(kind, &text) })?;
    Ok(())
}

impl App {
    /// Runs checks, and signs and keeps the report: with the passphrase if one is given, else with the key of the unsealed seed.
    ///
    /// # Errors
    /// If a check is unknown, the passphrase is wrong, or the seed is sealed and none is given. A site that fails a check is no error.
    pub(super) fn accept(&self, actor: &str, checks: &[String], passphrase: Option<Zeroizing<String>>) -> Result<AcceptReport> {
        must_be_checks(checks)?;
        let key = match passphrase {
            Some(passphrase) => self.site.keys().unseal(&passphrase)?.site,
            None => self.with_keys(|keys| Ok(keys.site.clone())).map_err(hinted)?,
        };
        let judged = self.write(|tx| {
            let report = judge(tx, &self.scene(tx)?, &self.spec, checks)?;
            keep(tx, actor, &report, &key)?;
            Ok(report)
        });
        judged.map_err(hinted)
    }
}
