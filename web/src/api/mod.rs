//! Interfaces of the two routers to the daemon, and their plain data types.
//!
//! [`MachineApi`] is all that the machines' listener can name; [`OperatorApi`] is all that needs a person. Both are
//! implemented by seedd on its store and by this crate's tests in memory. Every call may block (SQLite, scrypt), so
//! handlers run them on tokio's blocking threads (`call.rs`).
//!
//! The serialisable structs are only the shape of the HTTP API: code that stores data has its own structs and converts.

mod about;
mod audit;
mod charts;
mod clock;
mod converge;
mod countersign;
mod dhcp;
mod error;
mod fleet;
mod flight;
mod inventory;
mod jobs;
mod join_tokens;
mod lists;
mod machine;
mod machines;
mod mesh;
mod operator;
mod outputs;
mod packages;
mod people;
mod plan;
mod planes;
mod power;
mod settings;
mod setup;
mod site;
mod suggestion;
mod webhooks;

pub use about::{AboutApi, AboutView};
pub use audit::{AuditApi, AuditEvent, AuditPage, AuditQuery, AuditState, CheckpointView, ExportFormat, ExportPart};
pub use charts::{AlertView, Chart, ChartsView, Series, Unit, Window};
pub use clock::ClockView;
pub use converge::{
    AcceptView, BarrierView, ConvergeAct, ConvergeNode, ConvergeStage, ConvergeView, ConvergeWhat, NodeCheck, RunView,
};
pub use countersign::{CountersignApi, CountersignTaken, CountersignText, CountersignView, CountersignWaiting};
pub use dhcp::{DhcpApi, DhcpNetwork, DhcpView, LeaseView, OtherServer, ReservationView};
pub use error::ApiError;
pub use fleet::{Approve, EnrollmentView, FirstYes, InstallProgress, MachineDetail, MachineRow, VotersView, Waiting};
pub use flight::{EventPart, EventView, Finding, PacketFacts, Tone};
pub use inventory::{EnrollmentRow, InventoryApi, Listed, NodePlane, NodeView, SshView};
pub use jobs::{JobDetail, JobLine, JobsApi};
pub use join_tokens::{CreatedJoinToken, JoinDisk, JoinTokenApi, JoinTokenState, JoinTokenView, NewJoinToken};
pub use lists::{HeldView, ListsView, Via};
pub use machine::{BootQuery, ImageManifest, MachineApi, TargetGroup};
pub use machines::{Candidate, FleetRow, Happening, HomeView, MachinePage, MachinesApi, NamedMachine};
pub use mesh::{MeshDrop, MeshLink, MeshView, MeshViolation};
pub use operator::{Login, OperatorApi, Overview, RoleView, Setup};
pub use outputs::{BuildWish, CheckView, OutputView, OutputsView, TargetView};
pub use packages::{DamagedView, ExtraView, PackagesView, ProvenRole, SnapshotView};
pub use people::{
    Actor, ApiTokenView, ChangePassword, CreatedToken, NewToken, NewUser, Origin, PasskeyApi, PasskeyView, PeopleApi, PeopleView,
    SessionView, SetUser, UserView,
};
pub use plan::{
    CodeLeads, PlanApi, PlanCheck, PlanHow, PlanRowView, PlanText, PlanView, Refused, RowState, Say, TypedView, UnplannedView,
    WindowView,
};
pub use planes::{AllowRow, PlaneRow, RotateWish, RotationApi, RotationRow, RotationStage};
pub use power::{BmcKind, BmcView, IpmiPrivilege, OfferedView, PowerAction, PowerDone, PowerView, SetPower};
pub use settings::{DiffChange, DiffLine, SettingsApi, SettingsCheck, SettingsText, SettingsView, SpecProblem};
pub use setup::{FirstInterface, FirstSetup, FirstSite, FirstView};
pub use site::{CapsuleFile, CapsuleRecord, ExportWish, ImportWish, JobKind, JobState, JobView, PlaceView, SeedMode, SiteView};
pub use suggestion::{ClaimantView, SuggestionView, TroubleView, VerdictView};
pub use webhooks::{DeadLetterView, TestWish, WebhookApi, WebhookTest, WebhookView};
