//! Interface of the pages and the JSON API to the daemon.

use std::net::IpAddr;

use camino::Utf8PathBuf;
use cluster_seed::converge::role::DiskHint;
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::proof::ProofState;
use serde::{Deserialize, Serialize};

use super::about::AboutApi;
use super::audit::AuditApi;
use super::charts::{ChartsView, Window};
use super::clock::ClockView;
use super::converge::{ConvergeAct, ConvergeView};
use super::countersign::CountersignApi;
use super::dhcp::DhcpApi;
use super::error::ApiError;
use super::fleet::{Approve, EnrollmentView, MachineDetail, MachineRow};
use super::flight::EventPart;
use super::inventory::InventoryApi;
use super::jobs::JobsApi;
use super::join_tokens::JoinTokenApi;
use super::lists::ListsView;
use super::machines::MachinesApi;
use super::mesh::MeshView;
use super::outputs::{BuildWish, OutputsView};
use super::packages::PackagesView;
use super::people::{Actor, Origin, PasskeyApi, PeopleApi};
use super::plan::PlanApi;
use super::planes::RotationApi;
use super::power::{PowerAction, PowerDone, PowerView, SetPower};
use super::settings::SettingsApi;
use super::site::{ExportWish, ImportWish, JobView, PlaceView, SeedMode, SiteView};
use super::webhooks::WebhookApi;

/// HTTP shape of the request that creates the first administrator. No `Debug`: it holds secrets.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The set-up code printed by the daemon.
    pub code: String,
    pub user: String,
    pub password: String,
}

/// HTTP shape of a login. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// HTTP shape of `GET /api/v1/status`; the top of every page is made from it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub site: String,
    pub version: String,
    /// There is no administrator yet.
    pub setup_needed: bool,
    pub sealed: bool,
    pub mode: SeedMode,
    pub epoch: u64,
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Sha256Hex>"))]
    pub snapshot: Option<Digest>,
    /// Result of the snapshot's proof.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::ProofState>"))]
    pub proof: Option<ProofState>,
    pub roles: Vec<RoleView>,
    /// Seconds since the epoch by the seed's clock.
    pub clock: u64,
    /// sha256 of the current TLS certificate, as upper-case hex pairs with colons.
    pub fingerprint: Option<String>,
    /// Conditions an operator should act on, as sentences.
    pub warnings: Vec<String>,
    /// The warnings that are also shown before login.
    pub lasting: Vec<String>,
    /// Which peer list the nodes hold.
    pub lists: ListsView,
    /// Machines that wait for approval, without those that were set aside.
    pub waiting: u32,
    /// Machines that would wait for approval, but were set aside.
    pub aside: u32,
}

/// HTTP shape of a role.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RoleView {
    pub name: String,
    pub description: String,
    /// The artifact built for it. A role without one cannot be approved.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Sha256Hex>"))]
    pub artifact: Option<Digest>,
    pub min_disk: Option<u64>,
    /// Which disk it asks for.
    #[cfg_attr(test, schemars(with = "crate::schema::DiskHint"))]
    pub disk: DiskHint,
}

/// The operators' side. Every call that changes something, and every one that reads more than the pages show to everybody, takes
/// the [`Actor`] who does it; `setup` and `login`, which come before there is one, take what they need to find out. `from` is the
/// peer's address.
pub trait OperatorApi:
    AboutApi
    + AuditApi
    + CountersignApi
    + DhcpApi
    + InventoryApi
    + JobsApi
    + JoinTokenApi
    + MachinesApi
    + PasskeyApi
    + PeopleApi
    + PlanApi
    + RotationApi
    + SettingsApi
    + WebhookApi
    + Send
    + Sync
    + 'static
{
    /// The CA certificate of the site in PEM, which is public; `None` before the site's first unseal.
    fn ca_certificate(&self) -> Result<Option<String>, ApiError>;
    fn overview(&self) -> Result<Overview, ApiError>;
    /// Prometheus text for a caller who may read it: from this machine, from a plane, or with the metrics token.
    fn metrics(&self, from: IpAddr, token: Option<&str>) -> Result<String, ApiError>;

    /// Creates the first administrator and logs in; returns the session token.
    fn setup(&self, origin: &Origin, setup: &Setup) -> Result<String, ApiError>;
    /// Returns the session token (128 random bits or more, hashed at rest).
    fn login(&self, origin: &Origin, login: &Login) -> Result<String, ApiError>;
    /// Who has this session or API token, while it lasts. `used`: somebody asked, so that a session is not idle.
    fn session(&self, token: &str, used: bool) -> Result<Option<Actor>, ApiError>;
    /// Ends the session with this token.
    fn logout(&self, actor: &Actor, token: &str) -> Result<(), ApiError>;
    fn unseal(&self, from: IpAddr, actor: &Actor, passphrase: &str) -> Result<(), ApiError>;
    /// Forgets the site's private keys.
    fn seal(&self, actor: &Actor) -> Result<(), ApiError>;

    /// Those that were seen last, at most [`crate::limits::LIST_PAGE`]; `MachinesApi::machine_page` has all of them.
    fn machines(&self) -> Result<Vec<MachineRow>, ApiError>;
    fn machine(&self, id: i64) -> Result<MachineDetail, ApiError>;
    /// The machine's last packets as a pcapng file.
    fn packets(&self, actor: &Actor, id: i64) -> Result<Vec<u8>, ApiError>;
    /// Events with an id above `after`, of at most `limit` rows of the log.
    fn events(&self, actor: &Actor, after: i64, limit: u32) -> Result<EventPart, ApiError>;
    /// Holds the newest event id. A receiver that falls behind calls `events` again.
    fn subscribe(&self) -> tokio::sync::watch::Receiver<i64>;
    /// Takes the code and the decision about one machine; its state is Confirming until the machine has verified the code.
    fn approve(&self, actor: &Actor, id: EnrollmentId, approve: &Approve) -> Result<EnrollmentView, ApiError>;
    /// The same for the machine that shows the code.
    fn approve_code(&self, actor: &Actor, approve: &Approve) -> Result<EnrollmentView, ApiError>;
    /// The machine, and its enrollment, that show this code; by its number, whatever the secret.
    fn find_code(&self, code: &str) -> Result<(i64, EnrollmentId), ApiError>;
    fn deny(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError>;
    /// Denies every enrollment that is waiting at an address; returns how many.
    fn deny_address(&self, actor: &Actor, address: IpAddr) -> Result<u32, ApiError>;
    /// Removes a machine that is not a node from the list, until it is seen again.
    fn forget(&self, actor: &Actor, id: i64) -> Result<(), ApiError>;
    /// Removes an approved machine from the planes; it may enroll again.
    fn revoke(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError>;

    /// Path of a seed medium. `name` is looked up in a list and never used as a path.
    fn medium_path(&self, name: &str) -> Option<Utf8PathBuf>;
    fn power(&self, id: i64) -> Result<PowerView, ApiError>;
    /// Stores a controller's address and, sealed, its credentials. Does not contact it.
    fn set_power(&self, actor: &Actor, id: i64, set: &SetPower) -> Result<PowerView, ApiError>;
    fn forget_power(&self, actor: &Actor, id: i64) -> Result<PowerView, ApiError>;
    /// Reads the controller's certificate: by a TLS handshake, and without credentials.
    fn read_certificate(&self, id: i64) -> Result<PowerView, ApiError>;
    /// Confirms the certificate with this sha256, if the controller shows it.
    fn trust_certificate(&self, actor: &Actor, id: i64, fingerprint: &str) -> Result<PowerView, ApiError>;
    fn act_power(&self, actor: &Actor, id: i64, action: PowerAction) -> Result<PowerDone, ApiError>;

    fn packages(&self) -> Result<PackagesView, ApiError>;
    fn clock(&self) -> Result<ClockView, ApiError>;
    /// Sets the seed's clock, in Unix milliseconds.
    fn set_clock(&self, actor: &Actor, to_ms: u64) -> Result<ClockView, ApiError>;

    fn converge_view(&self) -> Result<ConvergeView, ApiError>;
    /// Asks the site's Prometheus; may take some seconds.
    fn charts(&self, window: Window) -> Result<ChartsView, ApiError>;
    /// The same for the traffic between nodes.
    fn mesh(&self) -> Result<MeshView, ApiError>;
    fn act_on_converge(&self, actor: &Actor, act: &ConvergeAct) -> Result<(), ApiError>;

    fn outputs(&self) -> Result<OutputsView, ApiError>;
    /// Starts to build an output of what is in use; one that exists is not built again. It is verified at the end.
    fn build_output(&self, actor: &Actor, wish: &BuildWish) -> Result<JobView, ApiError>;
    /// Starts to verify every byte of an output.
    fn verify_output(&self, actor: &Actor, name: &str) -> Result<JobView, ApiError>;
    /// Path of the file of an output that is deployed. `name` is looked up in a list and never used as a path.
    fn output_path(&self, actor: &Actor, name: &str) -> Result<Option<Utf8PathBuf>, ApiError>;

    fn site(&self) -> Result<SiteView, ApiError>;
    fn export(&self, from: IpAddr, actor: &Actor, wish: &ExportWish) -> Result<JobView, ApiError>;
    fn import(&self, from: IpAddr, actor: &Actor, wish: &ImportWish) -> Result<JobView, ApiError>;
    fn drill(&self, from: IpAddr, actor: &Actor, passphrase: &str) -> Result<JobView, ApiError>;
    /// Promotes a standby. `name` is the site's name, typed as a confirmation. Returns the new epoch.
    fn promote(&self, actor: &Actor, name: &str) -> Result<u64, ApiError>;
    /// Sets this seed's underlay; `None` returns to that of cluster.yaml.
    fn set_place(&self, actor: &Actor, place: Option<&PlaceView>) -> Result<PlaceView, ApiError>;
    /// Path of a complete capsule, if there is one with this name.
    fn capsule_path(&self, actor: &Actor, name: &str) -> Result<Option<Utf8PathBuf>, ApiError>;
    /// Appends a piece to a capsule at offset `at` and returns the new size. The capsule is complete at `total` bytes.
    fn put_capsule(&self, actor: &Actor, name: &str, at: u64, total: u64, piece: &[u8]) -> Result<u64, ApiError>;
    fn remove_capsule(&self, actor: &Actor, name: &str) -> Result<(), ApiError>;
}
