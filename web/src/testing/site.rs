//! The mock's site: a standby with one capsule, an unfinished upload, and a job that runs until it is stopped.

use super::{Mock, PASSWORD, data};
use crate::api::{
    ApiError, CapsuleFile, CapsuleRecord, ExportWish, ImportWish, JobKind, JobState, JobView, PlaceView, SeedMode, SiteView,
};

/// Bytes of the upload that are here, and that it will have.
pub const HERE: u64 = 3;
pub const WHOLE: u64 = 10;

pub(super) fn job(kind: JobKind, state: JobState, spice: &str) -> JobView {
    JobView {
        id: 1,
        kind,
        state,
        step: format!("writing the capsule{spice}"),
        done: 3 << 20,
        total: Some(12 << 20),
        text: (state != JobState::Running).then(|| format!("capsule exported{spice}")),
        hint: None,
        actor: format!("ada{spice}"),
        began: data::CLOCK - 60,
    }
}

pub fn view(spice: &str) -> SiteView {
    let text = |t: &str| format!("{t}{spice}");
    let file = |name: &str, size, expected| CapsuleFile { name: text(name), size, expected, modified: data::CLOCK - 3600 };
    SiteView {
        site_key: text("aa11"),
        recipient: text("age1mock"),
        mode: SeedMode::Standby,
        epoch: 2,
        medium: Some(text("c8d9977e0988")),
        place: PlaceView {
            subnet: text("10.44.0.0/24"),
            seed: text("10.44.0.1"),
            first: text("10.44.0.100"),
            last: text("10.44.0.199"),
            router: String::new(),
        },
        overlaid: true,
        capsules: vec![file("site-a.capsule", 5 << 20, None), file("half", HERE, Some(WHOLE))],
        records: vec![CapsuleRecord { id: text("0123"), created: data::CLOCK, recipient: text("age1") }],
        free: 9 << 30,
        job: Some(job(JobKind::Export, JobState::Running, spice)),
        no_drill: Some(text("there is no lab on this machine")),
        drills: data::events(spice).into_iter().take(1).collect(),
    }
}

fn check(passphrase: &str) -> Result<(), ApiError> {
    if passphrase == PASSWORD { Ok(()) } else { Err(ApiError::Forbidden { why: "the passphrase is wrong".into() }) }
}

impl Mock {
    pub(super) fn view_site(&self) -> Result<SiteView, ApiError> {
        Ok(self.open()?.site.clone())
    }

    pub(super) fn start_export(&self, wish: &ExportWish) -> Result<JobView, ApiError> {
        check(&wish.passphrase)?;
        if !wish.recipient.starts_with("age1") {
            return Err(ApiError::BadRequest { why: "invalid recipient".into(), hint: Some("it begins with age1".into()) });
        }
        Ok(job(JobKind::Export, JobState::Running, ""))
    }

    pub(super) fn start_import(&self, wish: &ImportWish) -> Result<JobView, ApiError> {
        check(&wish.passphrase)?;
        let kind = if wish.verify_only { JobKind::Verify } else { JobKind::Import };
        Ok(job(kind, JobState::Running, ""))
    }

    pub(super) fn start_drill(&self, passphrase: &str) -> Result<JobView, ApiError> {
        check(passphrase)?;
        Err(ApiError::Conflict { why: "there is no lab on this machine".into(), hint: None })
    }

    pub(super) fn stop(&self) -> Result<JobView, ApiError> {
        let mut state = self.open()?;
        let stopped = job(JobKind::Export, JobState::Stopped, "");
        state.site.job = Some(stopped.clone());
        Ok(stopped)
    }

    pub(super) fn activate(&self, name: &str) -> Result<u64, ApiError> {
        let mut state = self.open()?;
        if name != state.overview.site {
            return Err(ApiError::BadRequest { why: "the site name does not match".into(), hint: None });
        }
        state.site.mode = SeedMode::Active;
        Ok(3)
    }

    pub(super) fn move_to(&self, place: Option<&PlaceView>) -> Result<PlaceView, ApiError> {
        let mut state = self.open()?;
        if let Some(place) = place {
            state.site.place = place.clone();
        }
        Ok(state.site.place.clone())
    }

    pub(super) fn append(&self, name: &str, at: u64, piece: &[u8]) -> Result<u64, ApiError> {
        let mut state = self.open()?;
        let half = state.site.capsules.iter_mut().find(|f| f.name == name).ok_or(ApiError::NotFound { what: "capsule" })?;
        if at != half.size {
            return Err(ApiError::Conflict { why: "the piece is not the next one".into(), hint: None });
        }
        half.size += piece.len() as u64;
        Ok(half.size)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), ApiError> {
        let mut state = self.open()?;
        let before = state.site.capsules.len();
        state.site.capsules.retain(|f| f.name != name);
        if state.site.capsules.len() == before { Err(ApiError::NotFound { what: "capsule" }) } else { Ok(()) }
    }
}
