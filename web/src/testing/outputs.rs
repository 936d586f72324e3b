//! The mock's outputs: an intact one that is current, and a stale one that is damaged.

use cluster_seed::foundry::Target;
use cluster_seed::ids::Digest;

use super::site::job;
use super::{Mock, data};
use crate::api::{ApiError, BuildWish, CheckView, JobKind, JobState, JobView, OutputView, OutputsView, TargetView};

/// The name of the current one.
pub const OUTPUT: &str = "lab-base-20260829T140545Z-qcow2-0123abcd";

fn output(name: &str, spice: &str, wrong: Option<&str>) -> OutputView {
    let text = |t: &str| format!("{t}{spice}");
    OutputView {
        name: text(name),
        id: Digest::of(name.as_bytes()),
        target: Target::Qcow2,
        role: Some(text("base")),
        node: wrong.map(|_| text("edge")),
        version: text("20260829T140545Z"),
        bytes: 700 << 20,
        file: text("node.qcow2"),
        sha256: Some(Digest::of(b"file")),
        directory: text("/var/lib/kubedos/outputs"),
        made: data::CLOCK - 7200,
        current: wrong.is_none(),
        secret: false,
        check: Some(CheckView { at: data::CLOCK - 60, wrong: wrong.map(text) }),
    }
}

impl Mock {
    pub(super) fn view_outputs(&self) -> Result<OutputsView, ApiError> {
        let (sealed, spice) = (self.open()?.overview.sealed, &self.spice);
        let target = |t: Target| TargetView { name: t, summary: t.summary().to_owned(), of_role: t.of_role() };
        Ok(OutputsView {
            targets: Target::ALL.into_iter().map(target).collect(),
            roles: vec![format!("base{spice}"), format!("db{spice}")],
            outputs: vec![output(OUTPUT, spice, None), output("old", spice, Some("node.qcow2 was changed"))],
            no_build: sealed.then(|| format!("the seed is sealed{spice}")),
            job: self.open()?.site.job.clone(),
        })
    }

    pub(super) fn start_build(&self, wish: &BuildWish) -> Result<JobView, ApiError> {
        match (&wish.role, wish.target.of_role()) {
            (None, true) => Err(ApiError::bad("this target is built for one role", "choose a role")),
            _ => Ok(job(JobKind::Build, JobState::Running, "")),
        }
    }

    pub(super) fn start_verify(&self, name: &str) -> Result<JobView, ApiError> {
        let known = [OUTPUT, "half"].contains(&name);
        let running = job(JobKind::VerifyOutput, JobState::Running, "");
        if known { Ok(running) } else { Err(ApiError::NotFound { what: "image on this seed" }) }
    }
}
