//! Interface of the machines' listener to the daemon.

use std::net::IpAddr;

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
use cluster_seed::seal::Sealed;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::lists::Via;

/// Query of `GET /boot/ipxe`. Every value comes from a machine and is untrusted.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct BootQuery {
    pub mac: Option<String>,
    pub arch: Option<String>,
    pub uuid: Option<String>,
    /// `grub` for GRUB's configuration instead of an iPXE script; `grub-first` for the configuration that requests it, which
    /// is the same for every machine.
    pub format: Option<String>,
    /// `installed`: only a machine that is a node already gets a script, the one that starts its disk. For those that another
    /// server's netboot bundle starts.
    pub only: Option<String>,
}

/// A manifest or index of a container image.
#[derive(Debug, Clone)]
pub struct ImageManifest {
    pub digest: Digest,
    pub media_type: String,
    pub path: Utf8PathBuf,
}

/// Targets of Prometheus with the same labels, as its HTTP service discovery reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetGroup {
    /// `address:port`
    pub targets: Vec<String>,
    pub labels: std::collections::BTreeMap<String, String>,
}

/// The machines' side: public, or protected by the signatures in the messages. Nothing here needs a session, and nothing
/// that needs one is here. `from` is the peer's address.
pub trait MachineApi: Send + Sync + 'static {
    fn boot_script(&self, from: IpAddr, query: &BootQuery) -> Result<String, ApiError>;
    /// Path of a netboot file. `name` is looked up in a table and never used as a path.
    fn boot_file(&self, from: IpAddr, name: &str) -> Option<Utf8PathBuf>;
    /// Preseed file of Debian's installer for the machine with this MAC address.
    fn preseed(&self, query: &BootQuery) -> Result<String, ApiError>;
    /// Root directory of a published snapshot; `None` selects the current one.
    fn snapshot_dir(&self, id: Option<Digest>) -> Option<Utf8PathBuf>;
    /// The signed proof of a snapshot; `None` selects the current one.
    fn proof_path(&self, snapshot: Option<Digest>) -> Option<Utf8PathBuf>;
    /// Root directory of the extras that are files.
    fn extras_dir(&self) -> Option<Utf8PathBuf>;
    /// Names of the images among the extras, including their registries.
    fn image_repositories(&self) -> Vec<String>;
    fn image_tags(&self, repository: &str) -> Option<Vec<String>>;
    /// Resolves a tag or a `sha256:` digest.
    fn image_manifest(&self, repository: &str, reference: &str) -> Option<ImageManifest>;
    fn image_blob(&self, repository: &str, digest: Digest) -> Option<Utf8PathBuf>;
    fn chunk_path(&self, stored: Digest) -> Option<Utf8PathBuf>;
    fn manifest_path(&self, artifact: Digest) -> Option<Utf8PathBuf>;
    /// Path of a seed medium. `name` is looked up in a list and never used as a path.
    fn medium_path(&self, name: &str) -> Option<Utf8PathBuf>;
    fn hello(&self, from: IpAddr, hello: Hello) -> Result<HelloReply, ApiError>;
    fn reveal(&self, from: IpAddr, id: EnrollmentId, reveal: Reveal) -> Result<RevealReply, ApiError>;
    fn enrollment_status(&self, id: EnrollmentId) -> Result<StatusReply, ApiError>;
    /// 423 while the seed is sealed: the machine asks again.
    fn confirm(&self, id: EnrollmentId, confirm: &Sealed<Confirm>) -> Result<ConfirmReply, ApiError>;
    fn mismatch(&self, id: EnrollmentId, mismatch: &Sealed<Mismatch>) -> Result<ConfirmReply, ApiError>;
    /// The code of a machine that the seed asked for it.
    fn tell_code(&self, id: EnrollmentId, told: &Sealed<TellCode>) -> Result<ConfirmReply, ApiError>;
    fn claim(&self, from: IpAddr, id: EnrollmentId, claim: &Sealed<Claim>) -> Result<ClaimReply, ApiError>;
    fn report(&self, from: IpAddr, id: EnrollmentId, report: &Sealed<Report>) -> Result<ReportReply, ApiError>;
    /// The peer list, for members: to a node's address on the control plane, or to a node whose agent is too old to sign.
    fn peers(&self, from: IpAddr, via: Via) -> Result<Sealed<PeersFile>, ApiError>;
    /// Takes a node's report of its list, and answers with the seed's list if that is a different one.
    fn held(&self, from: IpAddr, id: EnrollmentId, held: &Sealed<Held>) -> Result<HeldReply, ApiError>;
    /// Fails unless the seed asked this node for its list.
    fn expects_list(&self, id: EnrollmentId) -> Result<(), ApiError>;
    /// Takes the list that the seed asked a node for. Only the site's signature on it is trusted.
    fn take_list(&self, from: IpAddr, id: EnrollmentId, list: &Sealed<PeersFile>) -> Result<HeldReply, ApiError>;
    /// The site's epoch, signed with the site key.
    fn epoch(&self) -> Result<Sealed<EpochProof>, ApiError>;
    /// Takes an epoch that another seed of this site has signed, as relayed by a machine.
    fn hear_epoch(&self, from: IpAddr, proof: &Sealed<EpochProof>) -> Result<EpochReply, ApiError>;
    /// Takes a node's report about its plays, and answers with what it may run. On the control plane only.
    fn converge(&self, from: IpAddr, id: EnrollmentId, ask: &Sealed<Ask>) -> Result<Answer, ApiError>;
    /// The archive of a payload. On the control plane only.
    fn payload_path(&self, id: Digest) -> Option<Utf8PathBuf>;
    /// What Prometheus has to scrape. On the control plane only.
    fn targets(&self, from: IpAddr) -> Result<Vec<TargetGroup>, ApiError>;
    /// The seed's metrics, on the metrics plane only.
    fn node_metrics(&self, from: IpAddr) -> Result<String, ApiError>;
}
