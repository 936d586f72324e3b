//! Enrollment by plan, the join window, and what an operator says about machines.

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::plan::{PlanRow, Problem};
use cluster_seed::policy::{Approval, WindowRule};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::fleet::EnrollmentView;
use super::people::Actor;
use super::suggestion::{ClaimantView, SuggestionView, VerdictView};

/// Where a row of the plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RowState {
    /// Several machines claim to be its machine. None of them is approved with a click: an operator types the code of the right one,
    /// or denies the others.
    Conflict,
    /// Its machine waits for approval.
    Waiting,
    /// Nobody has seen its machine wait.
    NotSeen,
    /// Its machine is the node.
    Node,
}

/// HTTP shape of a row of the plan and its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlanRowView {
    #[serde(flatten)]
    #[cfg_attr(test, schemars(with = "crate::schema::PlanRow"))]
    pub row: PlanRow,
    pub state: RowState,
    /// All that claim the row; more than one is a conflict.
    pub claimants: Vec<ClaimantView>,
    /// The machine that waits, and its enrollment; `None` in a conflict.
    pub machine: Option<i64>,
    #[cfg_attr(test, schemars(with = "Option<crate::schema::EnrollmentNumber>"))]
    pub enrollment: Option<EnrollmentId>,
    /// How its code begins.
    pub number: Option<u16>,
    pub suggestion: Option<SuggestionView>,
    /// The machine was set aside: it waits, but not for an operator now.
    pub aside: bool,
}

/// HTTP shape of a machine that waits and is not in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UnplannedView {
    pub machine: i64,
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    pub mac: Mac,
    pub serial: String,
    pub model: String,
    pub number: Option<u16>,
    /// By a rule.
    pub suggestion: Option<SuggestionView>,
    /// It was set aside.
    pub aside: bool,
}

/// HTTP shape of a plan that was held against the site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlanCheck {
    /// Conflicts come first, then rows whose machine waits, then those that nobody has seen, then nodes.
    pub rows: Vec<PlanRowView>,
    pub unplanned: Vec<UnplannedView>,
    /// Contradictions, with the line of the plan.
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::PlanProblem>"))]
    pub problems: Vec<Problem>,
}

/// HTTP shape of the join window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    #[cfg_attr(test, schemars(with = "crate::schema::WindowRule"))]
    pub rule: WindowRule,
    /// Unknown machines may ask to enroll now.
    pub open: bool,
    /// Unix seconds; `None` if it does not end by itself, or is closed.
    pub until: Option<u64>,
    pub by: Option<String>,
}

/// HTTP shape of `GET /api/v1/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    #[cfg_attr(test, schemars(with = "crate::schema::Approval"))]
    pub policy: Approval,
    pub window: WindowView,
    #[serde(flatten)]
    pub check: PlanCheck,
    pub verdicts: Vec<VerdictView>,
}

/// HTTP shape of a plan as text: CSV or YAML.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlanText {
    pub text: String,
}

/// What happens with rows that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanHow {
    /// The new plan takes the place of the old one.
    Set,
    /// New rows are added; one for the same machine or name takes the place of the old one.
    Add,
}

/// Where a code leads.
#[derive(Debug, Clone)]
pub enum CodeLeads {
    /// The machine is planned, and was approved; it confirms the code within seconds.
    Approved(Box<EnrollmentView>),
    /// To the form of its machine: it is not planned, or `why` the code alone is refused.
    Form { machine: i64, enrollment: EnrollmentId, why: Option<Refused> },
}

/// Why the code of a planned machine alone is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    pub hint: String,
}

/// A machine whose code was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypedView {
    pub enrollment: EnrollmentId,
    pub machine: i64,
    pub hostname: String,
    pub role: String,
    pub disk: String,
    /// Bytes.
    pub disk_size: u64,
    pub disk_serial: String,
    pub state: EnrollmentState,
    /// A second user has to agree.
    pub second: bool,
    pub reason: Option<String>,
}

/// What an operator says about a machine that is not a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Say {
    /// Not now: it is not among those that wait, for so many seconds.
    NotNow { seconds: u64 },
    /// It may ask again, and is among those that wait.
    Allow,
}

/// The part of [`super::OperatorApi`] about plans.
pub trait PlanApi: Send + Sync {
    fn plan(&self) -> Result<PlanView, ApiError>;
    /// Holds a plan against the site without keeping it. What cannot be read is among the problems.
    fn check_plan(&self, text: &str) -> Result<PlanCheck, ApiError>;
    /// Keeps a plan. Refused if it contradicts itself or the site.
    fn keep_plan(&self, actor: &Actor, text: &str, how: PlanHow) -> Result<PlanView, ApiError>;
    /// Removes the row of a name; without one, the whole plan. Returns how many rows that were.
    fn drop_plan(&self, actor: &Actor, name: Option<&str>) -> Result<u32, ApiError>;
    /// Approves a planned machine by its code alone; for others, says which form the code leads to.
    fn lead(&self, actor: &Actor, code: &str) -> Result<CodeLeads, ApiError>;
    /// Approves a planned machine without its code, where the site's policy allows that and no other machine claims its row.
    fn click(&self, actor: &Actor, id: EnrollmentId) -> Result<EnrollmentView, ApiError>;
    /// What became of machines whose code was typed; unknown ones are left out.
    fn typed(&self, ids: &[EnrollmentId]) -> Result<Vec<TypedView>, ApiError>;
    /// Opens the join window for so many seconds; `None` closes it.
    fn set_window(&self, actor: &Actor, seconds: Option<u64>) -> Result<WindowView, ApiError>;
    fn say_of(&self, actor: &Actor, machine: i64, say: Say) -> Result<(), ApiError>;
    /// Lets a machine that was denied or set aside ask again, also one that the seed does not know any more.
    fn allow_machine(&self, actor: &Actor, mac: Mac) -> Result<(), ApiError>;
}
