//! Whether this seed issues identities. Exactly one seed of a site does; the others are standbys, or fenced.

use std::net::IpAddr;

use cluster_seed::epoch::{DrillProof, EpochProof, EpochReply};
use cluster_seed::events::EventKind;
use cluster_seed::seal::{Sealed, SigningKey};
use host::clock::now_ms;
use site::mode::Mode;
use site::setting;
use site::store::Tx;
use site::store::events::NewEvent;
use transfer::capsule::promote::promote;
use web::api::{ApiError, SeedMode};

use super::{App, unexpected};

/// The reason why nothing is issued, as an error for the caller.
pub fn may_issue(mode: Mode) -> Result<(), ApiError> {
    let (why, hint) = match mode {
        Mode::Active => return Ok(()),
        Mode::Standby => ("this seed is a standby", "promote it after the other seed of this site is shut down for good"),
        Mode::Fenced { .. } => ("another seed of this site was promoted", "use the web interface of that seed"),
    };
    Err(ApiError::Conflict { why: why.to_owned(), hint: Some(hint.to_owned()) })
}

fn may_promote(mode: Mode) -> Result<(), ApiError> {
    if mode == Mode::Standby {
        return Ok(());
    }
    let hint = "import a capsule of the lost site first";
    Err(ApiError::Conflict { why: "this seed is not a standby".to_owned(), hint: Some(hint.to_owned()) })
}

/// The mode as the API spells it.
pub fn shown(mode: Mode) -> SeedMode {
    match mode {
        Mode::Active => SeedMode::Active,
        Mode::Standby => SeedMode::Standby,
        Mode::Fenced { .. } => SeedMode::Fenced,
    }
}

impl App {
    pub fn mode(&self) -> Result<Mode, ApiError> {
        Ok(self.store.read(Mode::of)?)
    }

    /// Fails unless this seed is the active one.
    pub fn may_issue(&self, tx: &Tx<'_>) -> Result<(), ApiError> {
        may_issue(Mode::of(tx)?)
    }

    /// Promotes a standby: the daemon starts to serve machines. Returns the new epoch.
    pub fn promote(&self, who: &str) -> Result<u64, ApiError> {
        self.promote_as(who, false)
    }

    /// The same; in a `drill`, what this copy of the site signs fences no other seed.
    pub(super) fn promote_as(&self, who: &str, drill: bool) -> Result<u64, ApiError> {
        may_promote(self.mode()?)?;
        let epoch = promote(&self.store, now_ms(), Some(who), drill).map_err(unexpected)?;
        self.reload();
        Ok(epoch)
    }

    /// Signs the epoch, once. In a drill, the signature is not valid outside it.
    pub(super) fn sign_epoch(&self, tx: &Tx<'_>, key: &SigningKey) -> Result<(), ApiError> {
        let epoch = self.epoch(tx)?;
        if tx.setting(setting::DRILL)?.is_some() {
            let sealed = Sealed::sign(&DrillProof { epoch }, key).map_err(unexpected)?;
            return Ok(tx.set(setting::EPOCH_PROOF, &serde_json::to_string(&sealed).map_err(unexpected)?)?);
        }
        let held = tx.setting(setting::EPOCH_PROOF)?;
        let held = held.and_then(|t| serde_json::from_str::<Sealed<EpochProof>>(&t).ok()?.open(&self.site_key).ok());
        if held.is_some_and(|p| p.epoch == epoch) {
            return Ok(());
        }
        let sealed = Sealed::sign(&EpochProof { epoch }, key).map_err(unexpected)?;
        Ok(tx.set(setting::EPOCH_PROOF, &serde_json::to_string(&sealed).map_err(unexpected)?)?)
    }

    pub fn epoch_proof(&self) -> Result<Sealed<EpochProof>, ApiError> {
        let text = self.store.setting(setting::EPOCH_PROOF)?;
        let text = text.ok_or(ApiError::Unavailable { why: "the seed was never unsealed".to_owned() })?;
        serde_json::from_str(&text).map_err(unexpected)
    }

    /// Takes an epoch from anyone; only this site's signature counts.
    pub fn hear_epoch(&self, from: IpAddr, proof: &Sealed<EpochProof>) -> Result<EpochReply, ApiError> {
        let not_ours = |_| ApiError::Forbidden { why: "the epoch is not signed by this site".to_owned() };
        let heard = proof.open(&self.site_key).map_err(not_ours)?;
        self.fence(heard.epoch, &from.to_string())?;
        let (epoch, mode) = self.write(|tx| Ok((self.epoch(tx)?, Mode::of(tx)?)))?;
        Ok(EpochReply { epoch, fenced: matches!(mode, Mode::Fenced { .. }) })
    }

    /// Stops issuing: a higher epoch with this site's signature was received. True if this is new.
    pub fn fence(&self, epoch: u64, who: &str) -> Result<bool, ApiError> {
        let fenced = self.write(|tx| {
            if epoch <= self.epoch(tx)? || matches!(Mode::of(tx)?, Mode::Fenced { epoch: held } if held >= epoch) {
                return Ok(false);
            }
            Mode::Fenced { epoch }.set(tx)?;
            let text = format!("{who} presented epoch {epoch} of this site: another seed was promoted; this one is fenced");
            tx.event(now_ms(), &NewEvent::new(EventKind::SeedFenced, &text))?;
            Ok(true)
        })?;
        if fenced {
            tracing::warn!(epoch, "another seed of this site was promoted; this one is fenced");
            self.planes_changed.send_modify(|v| *v += 1);
            self.reload();
        }
        Ok(fenced)
    }
}
