//! The mock's [`MachineApi`].

use std::net::IpAddr;

use camino::Utf8PathBuf;
use cluster_seed::agent::{
    Claim, ClaimReply, Confirm, ConfirmReply, Hello, HelloReply, Mismatch, Report, ReportReply, Reveal, RevealReply, StatusReply,
    TellCode,
};
use cluster_seed::converge::orders::{Answer, Ask};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::held::{Held, HeldReply};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::pairing::Number;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, SigningKey};

use super::Mock;
use crate::api::{ApiError, BootQuery, ImageManifest, MachineApi, TargetGroup, Via};

const IMAGE: &str = "registry.k8s.io/pause";

fn bad(why: &str) -> ApiError {
    ApiError::bad(why, "check it")
}

fn existing(path: Utf8PathBuf) -> Option<Utf8PathBuf> {
    path.exists().then_some(path)
}

impl MachineApi for Mock {
    fn boot_script(&self, from: IpAddr, query: &BootQuery) -> Result<String, ApiError> {
        self.open()?.callers.push(from);
        let mac = query.mac.as_deref().ok_or_else(|| bad("the mac is missing"))?;
        let mac: cluster_seed::ids::Mac = mac.parse().map_err(|_| bad("not a MAC address"))?;
        Ok(format!("#!ipxe\n# {mac}\nboot\n"))
    }

    fn boot_file(&self, _: IpAddr, name: &str) -> Option<Utf8PathBuf> {
        ["vmlinuz", "initrd.img"].contains(&name).then(|| self.file("boot").join(name)).and_then(existing)
    }

    fn preseed(&self, query: &BootQuery) -> Result<String, ApiError> {
        let mac = query.mac.as_deref().ok_or_else(|| bad("the mac is missing"))?;
        Ok(format!("# for {mac}\n"))
    }

    fn snapshot_dir(&self, id: Option<Digest>) -> Option<Utf8PathBuf> {
        id.is_none_or(|id| Some(id) == self.state().overview.snapshot).then(|| self.dir.join("snapshot")).and_then(existing)
    }

    fn proof_path(&self, id: Option<Digest>) -> Option<Utf8PathBuf> {
        id.is_none_or(|id| Some(id) == self.state().overview.snapshot).then(|| self.dir.join("proof.json")).and_then(existing)
    }

    fn extras_dir(&self) -> Option<Utf8PathBuf> {
        existing(self.dir.join("extras"))
    }

    fn image_repositories(&self) -> Vec<String> {
        self.state().image.map(|_| IMAGE.to_owned()).into_iter().collect()
    }

    fn image_tags(&self, repository: &str) -> Option<Vec<String>> {
        (repository == IMAGE).then(|| ["latest", "3.9", "3.10"].map(str::to_owned).to_vec())
    }

    fn image_manifest(&self, repository: &str, reference: &str) -> Option<ImageManifest> {
        let digest = self.state().image.filter(|_| repository == IMAGE)?;
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let known = reference == "3.10" || reference == format!("sha256:{digest}");
        known.then(|| ImageManifest { digest, media_type, path: self.dir.join("oci").join(digest.to_string()) })
    }

    fn image_blob(&self, repository: &str, digest: Digest) -> Option<Utf8PathBuf> {
        (repository == IMAGE).then(|| self.dir.join("oci").join(digest.to_string())).and_then(existing)
    }

    fn chunk_path(&self, stored: Digest) -> Option<Utf8PathBuf> {
        existing(self.dir.join("chunks").join(stored.to_string()))
    }

    fn manifest_path(&self, _: Digest) -> Option<Utf8PathBuf> {
        existing(self.dir.join("manifest.json"))
    }

    fn medium_path(&self, name: &str) -> Option<Utf8PathBuf> {
        (name == "seed-ab.iso").then(|| self.dir.join(name)).and_then(existing)
    }

    fn hello(&self, from: IpAddr, hello: Hello) -> Result<HelloReply, ApiError> {
        self.open()?.callers.push(from);
        if hello.protocol != cluster_seed::agent::PROTOCOL {
            return Err(bad("another protocol"));
        }
        let number = Number::new(12).map_err(|e| ApiError::Internal(e.to_string()))?;
        Ok(HelloReply { enrollment: EnrollmentId([7; 16]), site_key: "00".into(), number })
    }

    fn reveal(&self, _: IpAddr, _: EnrollmentId, _: Reveal) -> Result<RevealReply, ApiError> {
        Err(ApiError::Forbidden { why: "the facts are not signed by the node key".into() })
    }

    fn enrollment_status(&self, id: EnrollmentId) -> Result<StatusReply, ApiError> {
        let state = self.open()?;
        let all = state.machines.iter().filter_map(|m| m.row.enrollment.as_ref());
        let found = all.into_iter().find(|e| e.id == id).ok_or(ApiError::NotFound { what: "enrollment" })?;
        Ok(StatusReply { state: found.state, offer: None, challenge: None, reason: found.reason.clone(), tell_code: false })
    }

    fn confirm(&self, _: EnrollmentId, _: &Sealed<Confirm>) -> Result<ConfirmReply, ApiError> {
        Err(ApiError::Sealed)
    }

    fn mismatch(&self, _: EnrollmentId, _: &Sealed<Mismatch>) -> Result<ConfirmReply, ApiError> {
        Ok(ConfirmReply { state: EnrollmentState::Denied })
    }

    fn tell_code(&self, _: EnrollmentId, _: &Sealed<TellCode>) -> Result<ConfirmReply, ApiError> {
        Ok(ConfirmReply { state: EnrollmentState::Pending })
    }

    fn claim(&self, _: IpAddr, _: EnrollmentId, _: &Sealed<Claim>) -> Result<ClaimReply, ApiError> {
        Err(ApiError::Conflict { why: "the identity was already issued".into(), hint: None })
    }

    fn report(&self, _: IpAddr, _: EnrollmentId, _: &Sealed<Report>) -> Result<ReportReply, ApiError> {
        Ok(ReportReply { state: EnrollmentState::Installing, fresh: true })
    }

    fn held(&self, from: IpAddr, _: EnrollmentId, _: &Sealed<Held>) -> Result<HeldReply, ApiError> {
        Ok(HeldReply { peers: Some(self.peers(from, Via::ControlPlane)?), send: true, apt: None })
    }

    fn expects_list(&self, id: EnrollmentId) -> Result<(), ApiError> {
        let asked = id == super::data::pending_id();
        if asked { Ok(()) } else { Err(ApiError::forbidden("not requested")) }
    }

    fn take_list(&self, from: IpAddr, _: EnrollmentId, _: &Sealed<PeersFile>) -> Result<HeldReply, ApiError> {
        Ok(HeldReply { peers: Some(self.peers(from, Via::ControlPlane)?), send: false, apt: None })
    }

    fn peers(&self, _: IpAddr, via: Via) -> Result<Sealed<PeersFile>, ApiError> {
        if via == Via::Underlay {
            return Err(ApiError::forbidden("for members only"));
        }
        let file = PeersFile {
            epoch: 1,
            version: 1,
            planes: Default::default(),
            nodes: Default::default(),
            pods: None,
            countersign: None,
        };
        Sealed::sign(&file, &SigningKey::from_bytes(&[1; 32])).map_err(|e| ApiError::Internal(e.to_string()))
    }

    fn epoch(&self) -> Result<Sealed<EpochProof>, ApiError> {
        Sealed::sign(&EpochProof { epoch: 1 }, &SigningKey::from_bytes(&[1; 32])).map_err(|e| ApiError::Internal(e.to_string()))
    }

    fn hear_epoch(&self, _: IpAddr, proof: &Sealed<EpochProof>) -> Result<EpochReply, ApiError> {
        let own = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let heard = proof.open(&own).map_err(|_| ApiError::Forbidden { why: "not signed by this site".into() })?;
        Ok(EpochReply { epoch: 1, fenced: heard.epoch > 1 })
    }

    fn converge(&self, _: IpAddr, _: EnrollmentId, ask: &Sealed<Ask>) -> Result<Answer, ApiError> {
        // Signed by a fixed key: the router's tests know it.
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        ask.open(&key).map_err(|_| ApiError::forbidden("not signed by the node"))?;
        Ok(Answer { orders: None, certificates: None, poll: 30, ssh: None })
    }

    fn payload_path(&self, id: Digest) -> Option<Utf8PathBuf> {
        existing(self.dir.join("payloads").join(id.to_string()))
    }

    fn targets(&self, _: IpAddr) -> Result<Vec<TargetGroup>, ApiError> {
        let labels = [("job".to_owned(), "node".to_owned())].into();
        Ok(vec![TargetGroup { targets: vec!["10.79.0.2:9100".to_owned()], labels }])
    }

    fn node_metrics(&self, _: IpAddr) -> Result<String, ApiError> {
        Ok("# EOF\n".to_owned())
    }
}
