//! Enrollment by plan: the plan itself, codes of planned machines, and clicks in place of them. Approving goes the way of every
//! approval (`app::approve`); only what the form would say comes from the plan.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_seed::agent::{ConfirmReply, TellCode};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::pairing::PairingCode;
use cluster_seed::people::Permission;
use cluster_seed::plan::{Plan, Problem};
use cluster_seed::policy::Approval;
use cluster_seed::seal::Sealed;
use host::clock::now_ms;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use web::api::{
    Actor, ApiError, Approve, CodeLeads, EnrollmentView, PlanApi, PlanCheck, PlanHow, PlanView, Refused, Say, SuggestionView,
    TypedView, WindowView,
};
use zeroize::Zeroizing;

use super::confirm::open;
use super::records::conflict;
use super::{App, Seed, unexpected, verdicts};
use crate::planning::{Planner, merged};

/// Most machines whose codes were typed that are looked up at once.
const MAX_TYPED: usize = 32;

impl PlanApi for Seed {
    fn plan(&self) -> Result<PlanView, ApiError> {
        self.0.view_plan()
    }

    fn check_plan(&self, text: &str) -> Result<PlanCheck, ApiError> {
        self.0.check_plan(text)
    }

    fn keep_plan(&self, actor: &Actor, text: &str, how: PlanHow) -> Result<PlanView, ApiError> {
        self.0.keep_plan(&actor.must(Permission::Approve)?.user, text, how)
    }

    fn drop_plan(&self, actor: &Actor, name: Option<&str>) -> Result<u32, ApiError> {
        self.0.drop_plan(&actor.must(Permission::Approve)?.user, name)
    }

    fn lead(&self, actor: &Actor, code: &str) -> Result<CodeLeads, ApiError> {
        self.0.lead(actor.must(Permission::Approve)?, code)
    }

    fn click(&self, actor: &Actor, id: EnrollmentId) -> Result<EnrollmentView, ApiError> {
        self.0.click(actor.must(Permission::Approve)?, id)
    }

    fn typed(&self, ids: &[EnrollmentId]) -> Result<Vec<TypedView>, ApiError> {
        self.0.typed(ids)
    }

    fn set_window(&self, actor: &Actor, seconds: Option<u64>) -> Result<WindowView, ApiError> {
        self.0.set_window(&actor.must(Permission::Approve)?.user, seconds)
    }

    fn say_of(&self, actor: &Actor, machine: i64, say: Say) -> Result<(), ApiError> {
        self.0.say_of(&actor.must(Permission::Approve)?.user, machine, say)
    }

    fn allow_machine(&self, actor: &Actor, mac: Mac) -> Result<(), ApiError> {
        let actor = actor.must(Permission::Approve)?;
        self.0.write(|tx| verdicts::allow(tx, &actor.user, mac))
    }
}

/// The plan, and all that machines are held against with it.
pub(super) struct Held {
    plan: Arc<Plan>,
    images: BTreeMap<(String, cluster_seed::arch::Arch), u64>,
}

impl Held {
    pub(super) fn planner<'a>(&'a self, app: &'a App) -> Planner<'a> {
        self.planner_of(app, &self.plan)
    }

    fn planner_of<'a>(&'a self, app: &'a App, plan: &'a Plan) -> Planner<'a> {
        Planner {
            spec: &app.spec,
            plan,
            images: self.images.clone(),
            told: app.told.all(),
            gone: app.gone(),
            claims: OnceCell::new(),
            asked: app.asked_about(),
        }
    }
}

fn refuse(problems: &[Problem]) -> ApiError {
    let hint = problems.first().map(|p| p.hint.clone()).unwrap_or_default();
    let more = problems.len().saturating_sub(1);
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let why = if more > 0 { format!("{first} (and {more} more problems)") } else { first };
    ApiError::bad(why, &hint)
}

impl App {
    /// Reads the plan and the images; outside of a transaction, since images are looked up in one of their own.
    pub(super) fn held_plan(&self) -> Result<Held, ApiError> {
        let plan = self.store.read(|tx| self.told.plan(tx))?;
        let mut images = BTreeMap::new();
        for role in self.spec.spec.roles.keys() {
            for arch in &self.spec.spec.architectures {
                if let Some(artifact) = self.artifact_of(role, *arch).map_err(unexpected)? {
                    images.insert((role.clone(), *arch), artifact.min_disk);
                }
            }
        }
        Ok(Held { plan, images })
    }

    fn view_plan(&self) -> Result<PlanView, ApiError> {
        let held = self.held_plan()?;
        let planner = held.planner(self);
        let check = self.store.read(|tx| planner.check(tx))?;
        let (window, verdicts) = (self.view_window()?, self.view_verdicts()?);
        Ok(PlanView { policy: self.spec.spec.enrollment.policy, window, check, verdicts })
    }

    fn check_plan(&self, text: &str) -> Result<PlanCheck, ApiError> {
        match Plan::parse(text) {
            Ok(plan) => self.check_of(&plan),
            Err(problems) => Ok(PlanCheck { problems, ..PlanCheck::default() }),
        }
    }

    fn check_of(&self, plan: &Plan) -> Result<PlanCheck, ApiError> {
        let held = self.held_plan()?;
        let planner = held.planner_of(self, plan);
        Ok(self.store.read(|tx| planner.check(tx))?)
    }

    fn keep_plan(&self, user: &str, text: &str, how: PlanHow) -> Result<PlanView, ApiError> {
        let new = Plan::parse(text).map_err(|problems| refuse(&problems))?;
        let rows = new.rows().len();
        let old = self.store.read(|tx| self.told.plan(tx))?;
        let (plan, text) = match how {
            PlanHow::Set => (new, format!("the plan of enrollment has {rows} rows now")),
            PlanHow::Add => {
                let plan = merged(&old, &new).map_err(|problems| refuse(&problems))?;
                let all = plan.rows().len();
                (plan, format!("{rows} rows added to the plan of enrollment, which has {all} now"))
            }
        };
        let problems = self.check_of(&plan)?.problems;
        if !problems.is_empty() {
            return Err(refuse(&problems));
        }
        self.write(|tx| {
            if site::plan::load(tx)? != *old {
                return Err(ApiError::conflict("the plan was changed by another user", "check it again"));
            }
            site::plan::store(tx, &plan)?;
            tx.event(now_ms(), &NewEvent { actor: Some(user), ..NewEvent::new(EventKind::PlanChanged, &text) })?;
            Ok(())
        })?;
        self.view_plan()
    }

    fn drop_plan(&self, user: &str, name: Option<&str>) -> Result<u32, ApiError> {
        self.write(|tx| {
            let plan = site::plan::load(tx)?;
            let before = plan.rows().len();
            let kept: Vec<_> = plan.into_rows().into_iter().filter(|r| name.is_some_and(|name| r.name != name)).collect();
            let gone = before - kept.len();
            if gone == 0 {
                return Err(ApiError::NotFound { what: "row of the plan" });
            }
            site::plan::store(tx, &Plan::of(kept).map_err(|problems| refuse(&problems))?)?;
            let text = format!("{gone} rows removed from the plan of enrollment");
            tx.event(now_ms(), &NewEvent { actor: Some(user), ..NewEvent::new(EventKind::PlanChanged, &text) })?;
            Ok(u32::try_from(gone).unwrap_or(u32::MAX))
        })
    }

    /// What plan or rules say about a machine that waits.
    fn suggestion_of(&self, record: &EnrollmentRecord) -> Result<Option<SuggestionView>, ApiError> {
        let held = self.held_plan()?;
        let planner = held.planner(self);
        Ok(self.store.read(|tx| planner.suggestion(tx, record, tx.machine(record.machine)?.mac))?)
    }

    fn lead(&self, actor: &Actor, code: &str) -> Result<CodeLeads, ApiError> {
        let (machine, enrollment) = self.find_by_code(code)?;
        let record = self.store.read(|tx| tx.enrollment(enrollment))?;
        let form = |why| Ok(CodeLeads::Form { machine, enrollment, why });
        let Some(suggestion) = self.suggestion_of(&record)?.filter(|s| s.planned) else { return form(None) };
        if let Some(approve) = planned(&suggestion, code) {
            let view = self.approve_by(actor, enrollment, &approve)?;
            return Ok(CodeLeads::Approved(Box::new(view)));
        }
        let hint = suggestion.trouble.map_or("", |t| t.hint).to_owned();
        form(suggestion.why.map(|why| Refused { why: format!("its code alone does not approve this machine: {why}"), hint }))
    }

    fn click(&self, actor: &Actor, id: EnrollmentId) -> Result<EnrollmentView, ApiError> {
        if self.spec.spec.enrollment.policy != Approval::PlannedClick {
            let hint = "type the code, or set enrollment.policy: planned-click in cluster.yaml";
            return Err(ApiError::conflict("this site approves planned machines by their codes", hint));
        }
        let record = self.store.read(|tx| tx.enrollment(id))?;
        if record.state != EnrollmentState::Pending {
            let why = format!("this enrollment is {}, not Pending", record.state.as_str());
            return Err(ApiError::conflict(why, "reload the page"));
        }
        let suggestion = self.suggestion_of(&record)?.filter(|s| s.planned);
        let suggestion = suggestion.ok_or_else(|| ApiError::conflict("the plan does not name this machine", "type its code"))?;
        if !suggestion.rivals.is_empty() {
            let others = suggestion.rivals.len();
            let why = format!("{} machines claim the planned name {}", others + 1, suggestion.hostname.unwrap_or_default());
            return Err(ApiError::conflict(why, "type the code of the right machine, or deny the others"));
        }
        let code = self.told.code(id).ok_or_else(|| {
            let hint = "type the code; machines that started from a medium, or before the policy was set, never send theirs";
            ApiError::conflict("this machine has not sent its code", hint)
        })?;
        let approve = planned(&suggestion, &code).ok_or_else(|| {
            let why = suggestion.why.clone().unwrap_or_else(|| "the plan does not say everything".to_owned());
            ApiError::conflict(why, suggestion.trouble.map_or("", |t| t.hint))
        })?;
        self.approve_how(actor, id, &approve, "planned, approved with a click")
    }

    /// Whether boot scripts allow agents to tell their codes.
    pub(super) fn may_ask_for_codes(&self) -> bool {
        self.spec.spec.enrollment.policy == Approval::PlannedClick
    }

    /// Whether to ask a machine for its code: the policy wants a click, and the plan names it without a contradiction.
    pub(super) fn wants_code(&self, record: &EnrollmentRecord) -> Result<bool, ApiError> {
        let waits = record.state == EnrollmentState::Pending && record.token.is_none();
        let Some(revealed) = record.revealed.as_ref().filter(|_| waits && self.may_ask_for_codes()) else { return Ok(false) };
        if self.told.has(record.id) {
            return Ok(false);
        }
        let (plan, mac) = self.store.read(|tx| Ok::<_, ApiError>((self.told.plan(tx)?, tx.machine(record.machine)?.mac)))?;
        Ok(plan.find(&revealed.facts, mac).is_some_and(|found| found.differs.is_empty()))
    }

    /// The code of a machine that was asked for it.
    pub(super) fn hear_code(&self, id: EnrollmentId, told: &Sealed<TellCode>) -> Result<ConfirmReply, ApiError> {
        let record = self.store.read(|tx| tx.enrollment(id))?;
        let told = open(&record, told, |t| t.enrollment)?;
        let text = Zeroizing::new(told.code);
        if !self.wants_code(&record)? {
            return Err(conflict("this code was not requested"));
        }
        let code: PairingCode = text.parse().map_err(|_| ApiError::bad("not a pairing code", ""))?;
        if record.number != Some(code.number) {
            return Err(ApiError::bad("the code is of another enrollment", ""));
        }
        let pending = self.store.read(|tx| tx.enrollments_waiting())?;
        self.told.retain(&pending.iter().map(|r| r.id).collect());
        if !self.told.keep(id, text) {
            return Err(ApiError::unavailable("too many machines have sent their codes"));
        }
        self.note(
            record.ip,
            EventKind::EnrollmentPending,
            "planned: the machine sent its code; a click approves it",
            Some(&record),
        );
        Ok(ConfirmReply { state: record.state })
    }

    fn typed(&self, ids: &[EnrollmentId]) -> Result<Vec<TypedView>, ApiError> {
        self.store.read(|tx| {
            let mut all = Vec::new();
            for id in ids.iter().take(MAX_TYPED) {
                let found = match tx.enrollment(*id) {
                    Ok(record) => typed_view(&record),
                    Err(site::store::StoreError::NotFound(_)) => None,
                    Err(e) => return Err(e.into()),
                };
                all.extend(found);
            }
            Ok(all)
        })
    }
}

/// The form of a planned machine as if it had been filled in; `None` if something stands against it.
fn planned(s: &SuggestionView, code: &str) -> Option<Approve> {
    let (hostname, role, disk) = (s.hostname.clone()?, s.role.clone()?, s.disk.clone()?);
    s.ready.then(|| Approve { code: code.to_owned(), role, hostname, disk, replace: false })
}

fn typed_view(record: &EnrollmentRecord) -> Option<TypedView> {
    let decided = record.decision.as_ref()?;
    Some(TypedView {
        enrollment: record.id,
        machine: record.machine,
        hostname: decided.hostname.to_string(),
        role: decided.role.clone(),
        disk: decided.order.disk.clone(),
        disk_size: decided.order.disk_size,
        disk_serial: decided.order.disk_serial.clone(),
        state: record.state,
        second: super::first_yes::first_yes(record).is_some(),
        reason: record.reason.clone(),
    })
}
