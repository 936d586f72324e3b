//! The two APIs of `web`, implemented: each call is one use case. What changes something, and what reads more than everybody may, asks
//! for the permission once more: the route has asked before.

use std::net::IpAddr;
use std::sync::Arc;

use camino::Utf8PathBuf;
use cluster_seed::agent::{
    Claim, ClaimReply, Confirm, ConfirmReply, Hello, HelloReply, Mismatch, Report, ReportReply, Reveal, RevealReply, StatusReply,
    TellCode,
};
use cluster_seed::converge::orders::{Answer, Ask};
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::held::{Held, HeldReply};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::peers::PeersFile;
use cluster_seed::people::Permission;
use cluster_seed::seal::Sealed;
use tokio::sync::watch;
use transfer::capsule::shelf::Shelf;
use web::api::{
    Actor, ApiError, Approve, BootQuery, BuildWish, ChartsView, ClockView, ConvergeAct, ConvergeView, EnrollmentView, EventPart,
    ExportWish, ImageManifest, ImportWish, JobView, Login, MachineApi, MachineDetail, MachineRow, MeshView, OperatorApi, Origin,
    OutputsView, Overview, PackagesView, PlaceView, PowerAction, PowerDone, PowerView, SetPower, Setup, SiteView, TargetGroup,
    Via, Window,
};
use web::limits::LIST_PAGE;

use super::App;
use super::boot::BOOT_FILES;
use crate::installer::{self, Medium};

/// A handle that both routers share.
#[derive(Clone)]
pub struct Seed(pub Arc<App>);

impl MachineApi for Seed {
    fn boot_script(&self, from: IpAddr, query: &BootQuery) -> Result<String, ApiError> {
        self.0.script_to(from, query)
    }

    fn boot_file(&self, from: IpAddr, name: &str) -> Option<Utf8PathBuf> {
        if let Some((_, file)) = installer::FILES.iter().find(|(n, _)| *n == name) {
            return Some(installer::folder(&self.0.site).join(file));
        }
        let name = BOOT_FILES.iter().find(|n| **n == name)?;
        let dir = self.0.netboot_dir()?;
        self.0.note_fetch(from, name);
        Some(dir.join(name))
    }

    fn preseed(&self, query: &BootQuery) -> Result<String, ApiError> {
        let bad = |e: cluster_seed::ids::IdError| ApiError::bad(e.to_string(), "");
        let mac = query.mac.as_deref().unwrap_or_default().parse().map_err(bad)?;
        installer::preseed(&self.0.site, &self.0.store, mac, None, Medium::Seed).map_err(|error| {
            tracing::warn!(error = format!("{error:#}"), "no preseed for the installer");
            ApiError::Unavailable { why: "the installer is not prepared; run seedd installer prepare".to_owned() }
        })
    }

    fn snapshot_dir(&self, id: Option<Digest>) -> Option<Utf8PathBuf> {
        let id = match id {
            Some(id) => id,
            None => self.0.store.snapshot().ok().flatten()?,
        };
        let dir = self.0.site.snapshot(id);
        (dir.is_dir() && self.0.may_serve(id)).then_some(dir)
    }

    fn proof_path(&self, snapshot: Option<Digest>) -> Option<Utf8PathBuf> {
        let id = snapshot.or_else(|| self.0.store.snapshot().ok().flatten())?;
        let path = self.0.site.proof_file(id);
        path.is_file().then_some(path)
    }

    fn extras_dir(&self) -> Option<Utf8PathBuf> {
        Some(self.0.registry()?.tree())
    }

    fn image_repositories(&self) -> Vec<String> {
        self.0.registry().map(|r| r.repositories().cloned().collect()).unwrap_or_default()
    }

    fn image_tags(&self, repository: &str) -> Option<Vec<String>> {
        self.0.registry()?.tags(repository)
    }

    fn image_manifest(&self, repository: &str, reference: &str) -> Option<ImageManifest> {
        let registry = self.0.registry()?;
        let (digest, media_type) = registry.manifest(repository, reference)?;
        Some(ImageManifest { digest, media_type, path: registry.path(digest) })
    }

    fn image_blob(&self, repository: &str, digest: Digest) -> Option<Utf8PathBuf> {
        self.0.registry()?.blob(repository, digest)
    }

    fn chunk_path(&self, stored: Digest) -> Option<Utf8PathBuf> {
        Some(self.0.site.blob(stored))
    }

    fn manifest_path(&self, artifact: Digest) -> Option<Utf8PathBuf> {
        Some(self.0.site.join("artifacts").join(artifact.to_string()).join("manifest.json"))
    }

    fn medium_path(&self, name: &str) -> Option<Utf8PathBuf> {
        self.0.path_of_medium(name)
    }

    fn hello(&self, from: IpAddr, hello: Hello) -> Result<HelloReply, ApiError> {
        self.0.say_hello(from, &hello)
    }

    fn reveal(&self, from: IpAddr, id: EnrollmentId, reveal: Reveal) -> Result<RevealReply, ApiError> {
        self.0.take_reveal(from, id, &reveal)
    }

    fn enrollment_status(&self, id: EnrollmentId) -> Result<StatusReply, ApiError> {
        self.0.status_of(id)
    }

    fn confirm(&self, id: EnrollmentId, confirm: &Sealed<Confirm>) -> Result<ConfirmReply, ApiError> {
        self.0.confirm(id, confirm)
    }

    fn mismatch(&self, id: EnrollmentId, mismatch: &Sealed<Mismatch>) -> Result<ConfirmReply, ApiError> {
        self.0.mismatch(id, mismatch)
    }

    fn tell_code(&self, id: EnrollmentId, told: &Sealed<TellCode>) -> Result<ConfirmReply, ApiError> {
        self.0.hear_code(id, told)
    }

    fn claim(&self, from: IpAddr, id: EnrollmentId, claim: &Sealed<Claim>) -> Result<ClaimReply, ApiError> {
        self.0.hand_out(from, id, claim)
    }

    fn report(&self, from: IpAddr, id: EnrollmentId, report: &Sealed<Report>) -> Result<ReportReply, ApiError> {
        self.0.take_report(from, id, report)
    }

    fn peers(&self, from: IpAddr, via: Via) -> Result<Sealed<PeersFile>, ApiError> {
        self.0.peers_for(from, via)
    }

    fn held(&self, from: IpAddr, id: EnrollmentId, held: &Sealed<Held>) -> Result<HeldReply, ApiError> {
        self.0.hear_held(from, id, held)
    }

    fn expects_list(&self, id: EnrollmentId) -> Result<(), ApiError> {
        self.0.expects_list(id)
    }

    fn take_list(&self, from: IpAddr, id: EnrollmentId, list: &Sealed<PeersFile>) -> Result<HeldReply, ApiError> {
        self.0.take_list(from, id, list)
    }

    fn epoch(&self) -> Result<Sealed<EpochProof>, ApiError> {
        self.0.epoch_proof()
    }

    fn hear_epoch(&self, from: IpAddr, proof: &Sealed<EpochProof>) -> Result<EpochReply, ApiError> {
        self.0.hear_epoch(from, proof)
    }

    fn converge(&self, from: IpAddr, id: EnrollmentId, ask: &Sealed<Ask>) -> Result<Answer, ApiError> {
        self.0.hear_converge(from, id, ask)
    }

    fn payload_path(&self, id: Digest) -> Option<Utf8PathBuf> {
        self.0.payload_file(id)
    }

    fn targets(&self, from: IpAddr) -> Result<Vec<TargetGroup>, ApiError> {
        self.0.targets_for(from)
    }

    fn node_metrics(&self, from: IpAddr) -> Result<String, ApiError> {
        self.0.metrics_on_plane(from)
    }
}

impl OperatorApi for Seed {
    fn ca_certificate(&self) -> Result<Option<String>, ApiError> {
        self.0.ca_certificate()
    }

    fn overview(&self) -> Result<Overview, ApiError> {
        self.0.view_overview()
    }

    fn packages(&self) -> Result<PackagesView, ApiError> {
        self.0.view_packages()
    }

    fn setup(&self, origin: &Origin, setup: &Setup) -> Result<String, ApiError> {
        self.0.first_administrator(origin, setup)
    }

    fn login(&self, origin: &Origin, login: &Login) -> Result<String, ApiError> {
        self.0.log_in(origin, login)
    }

    fn session(&self, token: &str, used: bool) -> Result<Option<Actor>, ApiError> {
        match self.0.local_actor(token) {
            Some(actor) => Ok(Some(actor)),
            None => self.0.session_of(token, used),
        }
    }

    fn logout(&self, _actor: &Actor, token: &str) -> Result<(), ApiError> {
        self.0.log_out(token)
    }

    fn unseal(&self, from: IpAddr, actor: &Actor, passphrase: &str) -> Result<(), ApiError> {
        self.0.unseal_by(from, &actor.must(Permission::Administer)?.user, passphrase)
    }

    fn seal(&self, actor: &Actor) -> Result<(), ApiError> {
        self.0.seal(&actor.must(Permission::Administer)?.user);
        Ok(())
    }

    fn clock(&self) -> Result<ClockView, ApiError> {
        Ok(self.0.view_clock())
    }

    fn set_clock(&self, actor: &Actor, to_ms: u64) -> Result<ClockView, ApiError> {
        self.0.set_clock(&actor.must(Permission::Administer)?.user, to_ms)
    }

    fn machines(&self) -> Result<Vec<MachineRow>, ApiError> {
        self.0.view_recent_machines(LIST_PAGE)
    }

    fn machine(&self, id: i64) -> Result<MachineDetail, ApiError> {
        self.0.view_machine(id)
    }

    fn packets(&self, actor: &Actor, id: i64) -> Result<Vec<u8>, ApiError> {
        actor.must(Permission::Read)?;
        self.0.packets_of(id)
    }

    fn medium_path(&self, name: &str) -> Option<Utf8PathBuf> {
        self.0.path_of_medium(name)
    }

    fn power(&self, id: i64) -> Result<PowerView, ApiError> {
        self.0.view_power(id)
    }

    fn set_power(&self, actor: &Actor, id: i64, set: &SetPower) -> Result<PowerView, ApiError> {
        self.0.set_controller(&actor.must(Permission::Power)?.user, id, set)
    }

    fn forget_power(&self, actor: &Actor, id: i64) -> Result<PowerView, ApiError> {
        self.0.forget_controller(&actor.must(Permission::Power)?.user, id)
    }

    fn read_certificate(&self, id: i64) -> Result<PowerView, ApiError> {
        self.0.read_certificate(id)
    }

    fn trust_certificate(&self, actor: &Actor, id: i64, fingerprint: &str) -> Result<PowerView, ApiError> {
        self.0.trust_certificate(&actor.must(Permission::Power)?.user, id, fingerprint)
    }

    fn act_power(&self, actor: &Actor, id: i64, action: PowerAction) -> Result<PowerDone, ApiError> {
        self.0.act_power(&actor.must(Permission::Power)?.user, id, action)
    }

    fn metrics(&self, from: IpAddr, token: Option<&str>) -> Result<String, ApiError> {
        self.0.metrics_for(from, token)
    }

    fn approve(&self, actor: &Actor, id: EnrollmentId, approve: &Approve) -> Result<EnrollmentView, ApiError> {
        self.0.approve_by(actor.must(Permission::Approve)?, id, approve)
    }

    fn approve_code(&self, actor: &Actor, approve: &Approve) -> Result<EnrollmentView, ApiError> {
        self.0.approve_code(actor.must(Permission::Approve)?, approve)
    }

    fn find_code(&self, code: &str) -> Result<(i64, EnrollmentId), ApiError> {
        self.0.find_by_code(code)
    }

    fn deny(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        self.0.deny_by(actor.must(Permission::Approve)?, id, reason)
    }

    fn deny_address(&self, actor: &Actor, address: IpAddr) -> Result<u32, ApiError> {
        self.0.deny_address(actor.must(Permission::Approve)?, address)
    }

    fn forget(&self, actor: &Actor, id: i64) -> Result<(), ApiError> {
        self.0.forget_machine(actor.must(Permission::Approve)?, id)
    }

    fn revoke(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        self.0.revoke_by(actor.must(Permission::Approve)?, id, reason)
    }

    fn events(&self, actor: &Actor, after: i64, limit: u32) -> Result<EventPart, ApiError> {
        actor.must(Permission::Read)?;
        let limit = limit.min(1000);
        let rows = self.0.store.read(|tx| tx.events_after(after, limit))?;
        let (read, more) = (rows.last().map_or(after, |row| row.id), rows.len() == limit as usize);
        let events = rows.into_iter().map(super::views::event).filter(|e| actor.sees(e)).collect();
        Ok(EventPart { events, read, more })
    }

    fn subscribe(&self) -> watch::Receiver<i64> {
        self.0.newest.subscribe()
    }

    fn converge_view(&self) -> Result<ConvergeView, ApiError> {
        self.0.view_converge()
    }

    fn mesh(&self) -> Result<MeshView, ApiError> {
        self.0.mesh()
    }

    fn charts(&self, window: Window) -> Result<ChartsView, ApiError> {
        self.0.charts(window)
    }

    fn act_on_converge(&self, actor: &Actor, act: &ConvergeAct) -> Result<(), ApiError> {
        self.0.act_on_converge(&actor.must(Permission::Converge)?.user, act)
    }

    fn outputs(&self) -> Result<OutputsView, ApiError> {
        self.0.view_outputs()
    }

    fn build_output(&self, actor: &Actor, wish: &BuildWish) -> Result<JobView, ApiError> {
        self.0.build_output_by(actor.must(Permission::Build)?, wish)
    }

    fn verify_output(&self, actor: &Actor, name: &str) -> Result<JobView, ApiError> {
        self.0.verify_output_by(actor.must(Permission::Build)?, name)
    }

    fn output_path(&self, actor: &Actor, name: &str) -> Result<Option<Utf8PathBuf>, ApiError> {
        actor.must(Permission::Read)?;
        Ok(self.0.path_of_output(name))
    }

    fn site(&self) -> Result<SiteView, ApiError> {
        self.0.view_site()
    }

    fn export(&self, from: IpAddr, actor: &Actor, wish: &ExportWish) -> Result<JobView, ApiError> {
        self.0.export_by(from, actor.must(Permission::Administer)?, wish)
    }

    fn import(&self, from: IpAddr, actor: &Actor, wish: &ImportWish) -> Result<JobView, ApiError> {
        self.0.import_by(from, actor.must(Permission::Administer)?, wish)
    }

    fn drill(&self, from: IpAddr, actor: &Actor, passphrase: &str) -> Result<JobView, ApiError> {
        self.0.drill_by(from, actor.must(Permission::Administer)?, passphrase)
    }

    fn promote(&self, actor: &Actor, name: &str) -> Result<u64, ApiError> {
        self.0.promote_by(actor.must(Permission::Administer)?, name)
    }

    fn set_place(&self, actor: &Actor, place: Option<&PlaceView>) -> Result<PlaceView, ApiError> {
        self.0.set_place_by(actor.must(Permission::Administer)?, place)
    }

    fn capsule_path(&self, actor: &Actor, name: &str) -> Result<Option<Utf8PathBuf>, ApiError> {
        actor.must(Permission::Administer)?;
        let path = Shelf(&self.0.site).path(name);
        Ok(path.is_file().then_some(path))
    }

    fn put_capsule(&self, actor: &Actor, name: &str, at: u64, total: u64, piece: &[u8]) -> Result<u64, ApiError> {
        actor.must(Permission::Administer)?;
        self.0.put_capsule(name, at, total, piece)
    }

    fn remove_capsule(&self, actor: &Actor, name: &str) -> Result<(), ApiError> {
        self.0.remove_capsule_by(actor.must(Permission::Administer)?, name)
    }
}
