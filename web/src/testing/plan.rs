//! The mock's plan: one row, of a machine that nobody has seen; and a rule for the machine that waits.

use std::collections::BTreeMap;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::plan::{DiskWish, Plan, PlanRow, Problem};
use cluster_seed::policy::{Approval, WindowRule};

use super::Mock;
use super::data::{CLOCK, PENDING, pending_id};
use super::suggestion::suggestion;
use crate::api::{
    Actor, ApiError, Approve, ClaimantView, CodeLeads, EnrollmentView, PlanApi, PlanCheck, PlanHow, PlanRowView, PlanView,
    Refused, RowState, Say, SuggestionView, TypedView, UnplannedView, VerdictView, WindowView,
};

fn row(spice: &str) -> PlanRow {
    PlanRow {
        line: 2,
        serial: format!("SN1{spice}"),
        mac: Some(Mac([0x52, 0x54, 0, 0xab, 0, 77])),
        name: format!("r01u08{spice}"),
        role: format!("base{spice}"),
        disk: DiskWish::Serial(format!("S5GX{spice}")),
        place: format!("hall 2{spice}"),
        labels: BTreeMap::from([(format!("rack{spice}"), format!("1{spice}"))]),
    }
}

/// Another machine that claims the same row.
pub fn claimant(spice: &str) -> ClaimantView {
    ClaimantView {
        machine: PENDING,
        enrollment: pending_id(),
        mac: Mac([0x52, 0x54, 0, 0xab, 0, 2]),
        serial: format!("SN9{spice}"),
        model: format!("X{spice}"),
        address: [10, 44, 0, 101].into(),
        number: Some(12),
        since: CLOCK - 60,
        chosen: false,
    }
}

fn check(row: PlanRow, spice: &str, problems: Vec<Problem>) -> PlanCheck {
    let not_seen = PlanRowView {
        row,
        state: RowState::NotSeen,
        claimants: Vec::new(),
        machine: None,
        enrollment: None,
        number: None,
        suggestion: None,
        aside: false,
    };
    let second = ClaimantView { number: None, chosen: true, ..claimant(spice) };
    let conflict = PlanRowView { state: RowState::Conflict, claimants: vec![claimant(spice), second], ..not_seen.clone() };
    let differs = SuggestionView { planned: true, differs: vec![format!("another MAC address{spice}")], ..suggestion(spice) };
    let against = SuggestionView { planned: true, why: Some(format!("too small{spice}")), ..suggestion(spice) };
    let waits = |suggestion| PlanRowView {
        state: RowState::Waiting,
        machine: Some(PENDING),
        number: Some(12),
        suggestion: Some(suggestion),
        ..not_seen.clone()
    };
    let (serial, model) = (format!("SN9{spice}"), format!("X{spice}"));
    let mac = Mac([0x52, 0x54, 0, 0xab, 0, 2]);
    let other = UnplannedView {
        machine: PENDING,
        mac,
        serial,
        model,
        number: Some(12),
        suggestion: Some(suggestion(spice)),
        aside: false,
    };
    let unplanned = vec![UnplannedView { aside: true, ..other.clone() }, other];
    let set_aside = PlanRowView { aside: true, ..waits(suggestion(spice)) };
    PlanCheck { rows: vec![conflict, waits(differs), waits(against), set_aside, not_seen], unplanned, problems }
}

fn verdicts(spice: &str) -> Vec<VerdictView> {
    let denied = VerdictView {
        mac: Mac([0x52, 0x54, 0, 0xab, 0, 5]),
        denied: true,
        by: format!("ada{spice}"),
        at: CLOCK - 60,
        until: None,
        reason: format!("not ours{spice}"),
        machine: Some(5),
    };
    vec![VerdictView { denied: false, until: Some(CLOCK + 60), machine: None, ..denied.clone() }, denied]
}

impl Mock {
    fn parsed(&self, text: &str) -> Result<Plan, Vec<Problem>> {
        let plan = Plan::parse(text)?;
        let problems = plan.against(&["base", "worker"].into(), &|_| None);
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }
}

impl PlanApi for Mock {
    fn plan(&self) -> Result<PlanView, ApiError> {
        drop(self.open()?);
        let by = Some(format!("ada{}", self.spice));
        let window = WindowView { rule: WindowRule::Manual, open: true, until: Some(CLOCK + 3_600), by };
        let check = check(row(&self.spice), &self.spice, Vec::new());
        Ok(PlanView { policy: Approval::Code, window, check, verdicts: verdicts(&self.spice) })
    }

    fn check_plan(&self, text: &str) -> Result<PlanCheck, ApiError> {
        self.note("check_plan");
        Ok(match self.parsed(text) {
            Ok(plan) => check(plan.rows()[0].clone(), &self.spice, Vec::new()),
            Err(problems) => PlanCheck { problems, ..PlanCheck::default() },
        })
    }

    fn keep_plan(&self, _: &Actor, text: &str, _: PlanHow) -> Result<PlanView, ApiError> {
        self.note("keep_plan");
        self.parsed(text).map_err(|p| ApiError::bad(p[0].to_string(), &p[0].hint))?;
        self.plan()
    }

    fn drop_plan(&self, _: &Actor, name: Option<&str>) -> Result<u32, ApiError> {
        self.note("drop_plan");
        if name.is_some_and(|n| n != "half") { Err(ApiError::NotFound { what: "row of the plan" }) } else { Ok(1) }
    }

    fn lead(&self, actor: &Actor, code: &str) -> Result<CodeLeads, ApiError> {
        use crate::api::OperatorApi as _;
        let (machine, enrollment) = self.find_code(code)?;
        let found = self.machine(machine)?.waiting.into_iter().find_map(|w| w.suggestion).filter(|s| s.planned);
        let Some(s) = found else { return Ok(CodeLeads::Form { machine, enrollment, why: None }) };
        if !s.ready {
            let why = format!("its code alone does not approve this machine: {}", s.why.unwrap_or_default());
            return Ok(CodeLeads::Form { machine, enrollment, why: Some(Refused { why, hint: "use the form".into() }) });
        }
        let (role, hostname, disk) = (s.role.unwrap_or_default(), s.hostname.unwrap_or_default(), s.disk.unwrap_or_default());
        let approve = Approve { code: code.to_owned(), role, hostname, disk, replace: false };
        self.approve(actor, enrollment, &approve).map(|view| CodeLeads::Approved(Box::new(view)))
    }

    fn click(&self, _: &Actor, id: EnrollmentId) -> Result<EnrollmentView, ApiError> {
        self.note("click");
        self.enrollment(id, |e| {
            e.state = EnrollmentState::Confirming;
            Ok(())
        })
    }

    fn typed(&self, ids: &[EnrollmentId]) -> Result<Vec<TypedView>, ApiError> {
        let state = self.open()?;
        let known = state.machines.iter().filter_map(|m| Some((m.row.id, m.row.enrollment.as_ref()?)));
        let typed = |(machine, e): (i64, &EnrollmentView)| TypedView {
            enrollment: e.id,
            machine,
            hostname: e.hostname.clone().unwrap_or_default(),
            role: e.role.clone().unwrap_or_default(),
            disk: "nvme0n1".into(),
            disk_size: 500_107_862_016,
            disk_serial: format!("S5GXNX0T123456{}", self.spice),
            state: e.state,
            second: e.first_yes.is_some(),
            reason: e.reason.clone(),
        };
        Ok(known.filter(|(_, e)| ids.contains(&e.id)).map(typed).collect())
    }

    fn set_window(&self, _: &Actor, seconds: Option<u64>) -> Result<WindowView, ApiError> {
        self.note("set_window");
        Ok(WindowView { open: seconds.is_some(), ..self.plan()?.window })
    }

    fn say_of(&self, _: &Actor, machine: i64, _: Say) -> Result<(), ApiError> {
        use crate::api::OperatorApi as _;
        self.note("say_of");
        self.machine(machine).map(|_| ())
    }

    fn allow_machine(&self, _: &Actor, _: Mac) -> Result<(), ApiError> {
        self.note("allow_machine");
        Ok(())
    }
}
