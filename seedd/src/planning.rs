//! Machines held against the plan and the rules of a site: what the form of an approval is filled in with, what contradicts, and
//! whether the code of a machine is enough. For the running seed and for the command line beside it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::arch::Arch;
use cluster_seed::asked::Answer;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{EnrollmentId, Hostname, Mac};
use cluster_seed::join::pattern::NamePattern;
use cluster_seed::machine::HardwareFacts;
use cluster_seed::pairing::Number;
use cluster_seed::plan::{Plan, PlanRow, Problem, Source, Suggestion, suggest};
use cluster_seed::policy::Approval;
use cluster_seed::trouble::Trouble;
use host::clock::now;
use site::store::enrollments::EnrollmentRecord;
use site::store::{StoreError, Tx};
use site::verdicts;
use web::api::{ClaimantView, PlanCheck, PlanRowView, RowState, SuggestionView, TroubleView, UnplannedView};

use crate::claims::{self, Claim, Claims};

/// What machines are held against.
pub struct Planner<'a> {
    pub spec: &'a ClusterSpec,
    pub plan: &'a Plan,
    /// Smallest disk in bytes of each role's image, by role and architecture. A role without one has no image.
    pub images: BTreeMap<(String, Arch), u64>,
    /// Machines that have told their codes.
    pub told: BTreeSet<EnrollmentId>,
    /// Machines that wait but do not poll any more: they claim nothing.
    pub gone: BTreeSet<EnrollmentId>,
    /// Read once; a planner is made for one request.
    pub claims: OnceCell<Claims>,
    /// What the external inventory said.
    pub asked: BTreeMap<EnrollmentId, Asked>,
}

/// What the external inventory said about a machine that waits. A machine that nobody is asked about has none.
pub enum Asked {
    /// Nothing yet, and only the whole form approves the machine.
    Waits,
    Said(Answer),
}

/// A suggestion, and whether it can be carried out.
pub struct Judged {
    pub suggestion: Suggestion,
    /// Kernel name of the disk.
    pub disk: Option<String>,
    /// The first thing that stands against it.
    pub against: Option<(Trouble, String)>,
}

impl Judged {
    /// The plan names the machine, and nothing stands against what it says.
    pub fn is_ready(&self) -> bool {
        self.suggestion.is_planned() && self.against.is_none() && self.disk.is_some()
    }
}

impl Planner<'_> {
    /// What the plan or a rule says about a machine that waits.
    pub fn judge(&self, tx: &Tx<'_>, id: EnrollmentId, facts: &HardwareFacts, mac: Mac) -> Result<Option<Judged>, StoreError> {
        // Names are looked up only if a rule has to find a free one.
        let needs_names = self.plan.find(facts, mac).is_none() && !self.spec.spec.enrollment.rules.is_empty();
        let taken = if needs_names { self.taken(tx)? } else { BTreeSet::new() };
        let free = |pattern: &NamePattern| pattern.labels().find(|label| !taken.contains(label));
        let asked = self.asked.get(&id);
        let own = suggest(self.plan, &self.spec.spec.enrollment.rules, facts, mac, &free);
        let Some(suggestion) = with_inventory(own, asked) else { return Ok(None) };
        let mut disk = None;
        let by_inventory = asked.and_then(|asked| inventory_against(asked, &suggestion));
        let against = match self.against(tx, &suggestion)?.or(by_inventory) {
            Some(against) => Some(against),
            None => match self.disk(&suggestion, facts) {
                Ok(found) => {
                    disk = found;
                    None
                }
                Err(against) => Some(against),
            },
        };
        Ok(Some(Judged { suggestion, disk, against }))
    }

    /// Labels of nodes, of rows of the plan, and those that machines were offered.
    fn taken(&self, tx: &Tx<'_>) -> Result<BTreeSet<String>, StoreError> {
        let mut taken: BTreeSet<String> = self.plan.rows().iter().map(|r| r.name.clone()).collect();
        taken.extend(tx.live_nodes()?.iter().map(|n| n.hostname.label().to_owned()));
        let offered = tx.enrollments_waiting()?.into_iter().filter_map(|r| r.decision);
        taken.extend(offered.map(|d| d.hostname.label().to_owned()));
        taken.insert("seed".to_owned());
        Ok(taken)
    }

    /// What stands against a suggestion, but for its disk.
    fn against(&self, tx: &Tx<'_>, s: &Suggestion) -> Result<Option<(Trouble, String)>, StoreError> {
        if !s.differs.is_empty() {
            let why: Vec<String> = s.differs.iter().map(ToString::to_string).collect();
            return Ok(Some((Trouble::NotAsPlanned, why.join("; "))));
        }
        if let Some(role) = s.role.as_ref().filter(|r| !self.spec.spec.roles.contains_key(*r)) {
            return Ok(Some((Trouble::UnknownRole, format!("there is no role {role:?}"))));
        }
        if let Some(name) = s.name.as_deref().and_then(|label| self.full_name(label))
            && tx.live_node(&name)?.is_some()
        {
            return Ok(Some((Trouble::NameTaken, format!("a node named {name} already exists"))));
        }
        Ok(None)
    }

    /// The disk by the wish, on which the role's image has room.
    fn disk(&self, s: &Suggestion, facts: &HardwareFacts) -> Result<Option<String>, (Trouble, String)> {
        let Some(role) = &s.role else { return Ok(None) };
        let Some(need) = self.images.get(&(role.clone(), facts.arch)) else {
            let foreign = !self.spec.spec.architectures.contains(&facts.arch);
            let trouble = if foreign { Trouble::WrongArchitecture } else { Trouble::NoArtifact };
            return Err((trouble, format!("role {role} has no image for {}", facts.arch)));
        };
        let Some(wish) = &s.disk else { return Ok(None) };
        let disk = wish.choose(facts, *need).map_err(|e| (e.trouble(), e.to_string()))?;
        Ok(Some(disk.name.clone()))
    }

    fn full_name(&self, label: &str) -> Option<Hostname> {
        format!("{label}.{}", self.spec.spec.networking.domain).parse().ok()
    }

    /// Who claims the rows of the plan.
    fn claims(&self, tx: &Tx<'_>) -> Result<&Claims, StoreError> {
        if let Some(claims) = self.claims.get() {
            return Ok(claims);
        }
        let read = claims::of_all(tx, self.plan, &self.gone)?;
        Ok(self.claims.get_or_init(|| read))
    }

    /// Other requests than `id` for the row that a machine belongs to.
    fn rivals(&self, tx: &Tx<'_>, facts: &HardwareFacts, mac: Mac, id: EnrollmentId) -> Result<Vec<ClaimantView>, StoreError> {
        let Some(found) = self.plan.find(facts, mac) else { return Ok(Vec::new()) };
        let of_row = self.claims(tx)?.get(&found.row.name);
        Ok(of_row.into_iter().flatten().filter(|c| c.record.id != id).map(Claim::view).collect())
    }

    /// What the plan or a rule says about a machine, whether a click is enough, and who else claims its row.
    pub fn suggest_to(
        &self,
        tx: &Tx<'_>,
        facts: &HardwareFacts,
        mac: Mac,
        id: EnrollmentId,
    ) -> Result<Option<SuggestionView>, StoreError> {
        let Some(judged) = self.judge(tx, id, facts, mac)? else { return Ok(None) };
        Ok(Some(self.view(judged, id, self.rivals(tx, facts, mac, id)?)))
    }

    fn view(&self, judged: Judged, id: EnrollmentId, rivals: Vec<ClaimantView>) -> SuggestionView {
        let ready = judged.is_ready();
        let may_click = self.spec.spec.enrollment.policy == Approval::PlannedClick && rivals.is_empty();
        let Judged { suggestion: s, disk, against } = judged;
        let (trouble, why) = against.map_or((None, None), |(t, why)| (Some(TroubleView::from(t)), Some(why)));
        SuggestionView {
            source: s.source.to_string(),
            planned: matches!(s.source, Source::Plan { .. }),
            hostname: s.name,
            role: s.role,
            wish: s.disk.map(|d| d.to_string()),
            disk,
            place: s.place,
            labels: s.labels,
            differs: s.differs.iter().map(ToString::to_string).collect(),
            trouble,
            why,
            ready,
            click: ready && may_click && self.told.contains(&id),
            rivals,
        }
    }

    /// The view of a machine that waits.
    pub fn suggestion(&self, tx: &Tx<'_>, record: &EnrollmentRecord, mac: Mac) -> Result<Option<SuggestionView>, StoreError> {
        let waits = record.state == EnrollmentState::Pending && record.token.is_none();
        let Some(revealed) = record.revealed.as_ref().filter(|_| waits) else { return Ok(None) };
        self.suggest_to(tx, &revealed.facts, mac, record.id)
    }

    /// The plan row by row, machines that wait and are not in it, and contradictions.
    pub fn check(&self, tx: &Tx<'_>) -> Result<PlanCheck, StoreError> {
        let aside: BTreeSet<Mac> = verdicts::all(tx, now())?.into_iter().map(|(mac, _)| mac).collect();
        let (waiting, unplanned) = self.waiting(tx, &aside)?;
        let nodes = self.nodes(tx)?;
        let roles: BTreeSet<&str> = self.spec.spec.roles.keys().map(String::as_str).collect();
        let taken = |row: &PlanRow| match nodes.get(&row.name) {
            Some(Some(planned)) if *planned == row.name => None,
            Some(_) => Some("another machine is the node of this name".to_owned()),
            None => None,
        };
        let problems = self.plan.against(&roles, &taken);
        let claims = self.claims(tx)?;
        let row = |row: &PlanRow| row_view(row, waiting.get(&row.name), claims.get(&row.name), &nodes);
        let mut rows: Vec<PlanRowView> = self.plan.rows().iter().map(row).collect();
        rows.sort_by_key(|r| match r.state {
            RowState::Conflict => 0,
            RowState::Waiting => 1,
            RowState::NotSeen => 2,
            RowState::Node => 3,
        });
        Ok(PlanCheck { rows, unplanned, problems })
    }

    /// Machines that wait: by the name of their row, and those without one.
    fn waiting(&self, tx: &Tx<'_>, aside: &BTreeSet<Mac>) -> Result<(BTreeMap<String, Waits>, Vec<UnplannedView>), StoreError> {
        let (mut planned, mut others) = (BTreeMap::new(), Vec::new());
        // The newest request of a machine counts.
        for record in tx.enrollments_waiting()? {
            let waits = record.state == EnrollmentState::Pending && record.token.is_none();
            let Some(revealed) = record.revealed.as_ref().filter(|_| waits) else { continue };
            let (facts, mac) = (&revealed.facts, tx.machine(record.machine)?.mac);
            let suggestion = self.suggest_to(tx, facts, mac, record.id)?;
            let (machine, number, aside) = (record.machine, record.number.map(Number::get), aside.contains(&mac));
            match self.plan.find(facts, mac) {
                // One that does not poll any more takes nobody's place.
                Some(found) if self.gone.contains(&record.id) && planned.contains_key(&found.row.name) => {}
                Some(found) => {
                    planned.insert(found.row.name.clone(), Waits { machine, enrollment: record.id, number, suggestion, aside });
                }
                None => {
                    others.retain(|o: &UnplannedView| o.machine != machine);
                    let model = format!("{} {}", facts.vendor, facts.product).trim().to_owned();
                    others.push(UnplannedView { machine, mac, serial: facts.serial.clone(), model, number, suggestion, aside });
                }
            }
        }
        Ok((planned, others))
    }

    /// The label of each node, and the name of the row that its machine belongs to.
    fn nodes(&self, tx: &Tx<'_>) -> Result<BTreeMap<String, Option<String>>, StoreError> {
        let mut nodes = BTreeMap::new();
        if self.plan.is_empty() {
            return Ok(nodes);
        }
        for node in tx.live_nodes()? {
            let record = tx.enrollment(node.enrollment)?;
            let mac = tx.machine(record.machine)?.mac;
            let row = record.revealed.as_ref().and_then(|r| self.plan.find(&r.facts, mac)).map(|f| f.row.name.clone());
            nodes.insert(node.hostname.label().to_owned(), row);
        }
        Ok(nodes)
    }
}

/// The plan comes before the inventory, and the inventory before the rules.
fn with_inventory(own: Option<Suggestion>, asked: Option<&Asked>) -> Option<Suggestion> {
    if own.as_ref().is_some_and(|s| matches!(s.source, Source::Plan { .. })) {
        return own;
    }
    match asked {
        Some(Asked::Said(answer)) if !answer.allow || answer.fills_in() => Some(Suggestion {
            source: Source::Inventory,
            name: answer.name.clone(),
            role: answer.role.clone(),
            disk: answer.disk.clone(),
            place: String::new(),
            labels: answer.labels.clone(),
            differs: Vec::new(),
        }),
        _ => own,
    }
}

/// What the inventory has against it. The whole form approves the machine all the same.
fn inventory_against(asked: &Asked, s: &Suggestion) -> Option<(Trouble, String)> {
    let answer = match asked {
        Asked::Waits => return Some((Trouble::InventoryWaits, "the inventory has not answered yet".to_owned())),
        Asked::Said(answer) => answer,
    };
    if !answer.allow {
        let reason = if answer.reason.is_empty() { String::new() } else { format!(": {}", answer.reason) };
        return Some((Trouble::InventoryRefused, format!("the inventory refuses this machine{reason}")));
    }
    let other = |what: &str, theirs: &Option<String>, ours: &Option<String>| match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            Some(format!("the inventory gives it the {what} {theirs}, and not {ours}"))
        }
        _ => None,
    };
    let differs = other("name", &answer.name, &s.name).or_else(|| other("role", &answer.role, &s.role));
    differs.map(|why| (Trouble::NotAsPlanned, why))
}

/// A machine that waits and has a row.
struct Waits {
    machine: i64,
    enrollment: EnrollmentId,
    number: Option<u16>,
    suggestion: Option<SuggestionView>,
    aside: bool,
}

fn row_view(
    row: &PlanRow,
    waits: Option<&Waits>,
    claims: Option<&Vec<Claim>>,
    nodes: &BTreeMap<String, Option<String>>,
) -> PlanRowView {
    let is_node = nodes.get(&row.name).is_some_and(|planned| planned.as_ref() == Some(&row.name));
    let claimants: Vec<ClaimantView> = claims.into_iter().flatten().map(Claim::view).collect();
    let state = match waits {
        _ if claimants.len() > 1 => RowState::Conflict,
        Some(_) => RowState::Waiting,
        None if is_node => RowState::Node,
        None => RowState::NotSeen,
    };
    // In a conflict, nothing says which one is meant.
    let waits = waits.filter(|_| state == RowState::Waiting);
    PlanRowView {
        row: row.clone(),
        state,
        claimants,
        machine: waits.map(|w| w.machine),
        enrollment: waits.map(|w| w.enrollment),
        number: waits.and_then(|w| w.number),
        suggestion: waits.and_then(|w| w.suggestion.clone()),
        aside: waits.is_some_and(|w| w.aside),
    }
}

/// The plan with `new` rows in place of those for the same machine or name. Lines count on from the old plan's last one, so that
/// every row keeps a line of its own.
pub fn merged(old: &Plan, new: &Plan) -> Result<Plan, Vec<Problem>> {
    let last = old.rows().iter().map(|r| r.line).max().unwrap_or_default();
    let (names, serials, macs) = keys(new);
    let replaced = |row: &PlanRow| {
        names.contains(&row.name)
            || (!row.serial.is_empty() && serials.contains(&row.serial.to_ascii_uppercase()))
            || row.mac.is_some_and(|m| macs.contains(&m))
    };
    let kept = old.rows().iter().filter(|row| !replaced(row)).cloned();
    let added = new.rows().iter().map(|row| PlanRow { line: last + row.line, ..row.clone() });
    Plan::of(kept.chain(added).collect())
}

type Keys = (BTreeSet<String>, BTreeSet<String>, BTreeSet<Mac>);

fn keys(plan: &Plan) -> Keys {
    let rows = plan.rows().iter();
    (
        rows.clone().map(|r| r.name.clone()).collect(),
        rows.clone().filter(|r| !r.serial.is_empty()).map(|r| r.serial.to_ascii_uppercase()).collect(),
        rows.filter_map(|r| r.mac).collect(),
    )
}
