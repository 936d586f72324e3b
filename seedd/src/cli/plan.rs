//! `seedd plan`: which machine becomes which node. Needs access to the data directory, and no session. A running daemon keeps the plan
//! itself ([`running`]).

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::arch::Arch;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::machine::HardwareFacts;
use cluster_seed::plan::{MAX_TEXT, Plan, Problem};
use host::clock::now_ms;
use serde_json::json;
use site::hint;
use site::store::events::NewEvent;
use site::store::{Store, StoreError, Tx};
use site::{Site, artifacts};
use web::api::{ClaimantView, PlanCheck, PlanRowView, RowState};

use super::args::{SiteArgs, say};
use super::running;
use crate::planning::{Planner, merged};

/// The actor in the event log.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub enum Plans {
    /// Compare a plan with this site, and keep nothing
    ///
    /// Shows which rows belong to machines that wait, which were not seen, which machines wait and are not in the plan, and every
    /// contradiction with its line: a serial number or name that is there twice, a role that does not exist, a name of a node.
    #[command(after_long_help = "\
Examples:
  seedd plan check racks.csv
  printf 'serial,name,role\\nSN065231,r01u07,core\\n' | seedd plan check -

Exit status:
  0  no contradictions
  1  contradictions")]
    Check(FromFile),
    /// Keep a plan in place of the one that is kept
    ///
    /// CSV with a header line, or YAML. Columns: serial, mac (one of them is needed), name, role, disk (only, smallest, largest,
    /// serial:NUMBER, or a name), place, labels (key=value, with spaces between).
    Set(FromFile),
    /// Add rows to the plan; a row for the same machine or name takes the place of the old one
    Add(FromFile),
    /// Show the plan that is kept, and the state of its rows
    Show(Show),
    /// Remove rows from the plan, or all of them
    Remove(Remove),
    /// Show what the form of a machine would be filled in with, by which row or rule, and why
    #[command(after_long_help = "\
Examples:
  seedd plan explain 52:54:00:ab:00:01
  seedd plan explain SN065231")]
    Explain(Explain),
}

#[derive(Args)]
pub struct FromFile {
    /// File with the plan; - for standard input
    file: Utf8PathBuf,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Remove {
    /// Names of the rows
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,
    /// Remove every row
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Explain {
    /// MAC address or serial number of the machine
    machine: String,
    #[command(flatten)]
    args: SiteArgs,
}

impl Plans {
    pub fn run(&self) -> Result<()> {
        match self {
            Plans::Check(v) => v.check(),
            Plans::Set(v) => v.keep(false),
            Plans::Add(v) => v.keep(true),
            Plans::Show(v) => v.run(),
            Plans::Remove(v) => v.run(),
            Plans::Explain(v) => v.run(),
        }
    }
}

/// What a plan is held against.
struct Bench {
    store: Store,
    spec: ClusterSpec,
    images: BTreeMap<(String, Arch), u64>,
}

impl Bench {
    fn open(site: &Site) -> Result<Self> {
        let (store, spec) = (site.open_store()?, site.spec()?);
        let key = site.keys().public()?.site_key()?;
        let mut images = BTreeMap::new();
        for role in spec.spec.roles.keys() {
            for arch in &spec.spec.architectures {
                if let Some(image) = artifacts::of_role(site, &store, &arch.artifact_name(role), &key)? {
                    images.insert((role.clone(), *arch), image.min_disk);
                }
            }
        }
        Ok(Bench { store, spec, images })
    }

    fn planner<'a>(&'a self, plan: &'a Plan) -> Planner<'a> {
        let (images, told, gone) = (self.images.clone(), BTreeSet::new(), BTreeSet::new());
        Planner { spec: &self.spec, plan, images, told, gone, claims: OnceCell::new(), asked: BTreeMap::new() }
    }

    fn check(&self, plan: &Plan) -> Result<PlanCheck> {
        let planner = self.planner(plan);
        self.store.read(|tx| planner.check(tx)).context("comparing the plan with the site")
    }

    fn kept(&self) -> Result<Plan> {
        self.store.read(site::plan::load).context("reading the plan")
    }
}

/// The text of a plan, bounded.
fn text_of(file: &Utf8PathBuf) -> Result<String> {
    let most = MAX_TEXT as u64 + 1;
    let mut text = String::new();
    if file == "-" {
        std::io::stdin().take(most).read_to_string(&mut text).context("reading standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("opening {file}"))?;
        opened.take(most).read_to_string(&mut text).with_context(|| format!("reading {file}"))?;
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Plan> {
    Plan::parse(text).map_err(|problems| refused(&problems))
}

/// One error with every problem in it, and the first one's hint.
fn refused(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let error = anyhow!("{}", lines.join("\n  "));
    match problems.first().filter(|p| !p.hint.is_empty()) {
        Some(first) => hint::with(error, &first.hint),
        None => error,
    }
}

fn line(row: &PlanRowView) -> String {
    let state = match row.state {
        _ if row.aside => "set aside",
        RowState::Conflict => "conflict",
        RowState::Waiting => "waiting",
        RowState::NotSeen => "not seen",
        RowState::Node => "node",
    };
    let machine =
        if row.row.serial.is_empty() { row.row.mac.map(|m| m.to_string()).unwrap_or_default() } else { row.row.serial.clone() };
    let s = row.suggestion.as_ref();
    let why = s.and_then(|s| s.why.as_deref()).map(|why| format!("  REFUSED: {why}")).unwrap_or_default();
    let ready = if s.is_some_and(|s| s.ready) { "  its code is enough" } else { "" };
    format!("{:<10} {:<20} {:<20} {:<12} {}{why}{ready}", state, row.row.name, machine, row.row.role, row.row.disk)
}

/// One of several machines that claim a row.
fn claimant(c: &ClaimantView) -> String {
    let serial = if c.serial.is_empty() { "no serial number" } else { &c.serial };
    let code = c.number.map(|n| format!("{n}-")).unwrap_or_default();
    format!("           claimed by {} at {}, {serial}, code {code}", c.mac, c.address)
}

fn shown(check: &PlanCheck) -> String {
    let mut lines: Vec<String> = Vec::new();
    for row in &check.rows {
        lines.push(line(row));
        if row.state == RowState::Conflict {
            lines.extend(row.claimants.iter().map(claimant));
        }
    }
    lines.extend(check.unplanned.iter().map(|u| {
        let by = u.suggestion.as_ref().map(|s| format!("  {}", s.source)).unwrap_or_default();
        format!("{:<10} {:<20} {:<20} {}{by}", if u.aside { "set aside" } else { "unplanned" }, u.mac, u.serial, u.model)
    }));
    lines.extend(
        check
            .problems
            .iter()
            .map(|p| format!("PROBLEM    {p}{}", if p.hint.is_empty() { String::new() } else { format!(" ({})", p.hint) })),
    );
    let count = |state: RowState| check.rows.iter().filter(|r| r.state == state && !r.aside).count();
    let rest: Vec<_> = check.unplanned.iter().filter(|u| !u.aside).collect();
    let aside = check.rows.iter().filter(|r| r.aside).count() + check.unplanned.len() - rest.len();
    let set_aside = if aside > 0 { format!("{aside} set aside; ") } else { String::new() };
    let conflicts = match count(RowState::Conflict) {
        0 => String::new(),
        some => format!("{some} in conflict, "),
    };
    lines.push(format!(
        "{} rows: {conflicts}{} waiting, {} not seen, {} nodes; {} machines wait and are not in the plan; {set_aside}{} contradictions",
        check.rows.len(),
        count(RowState::Waiting),
        count(RowState::NotSeen),
        count(RowState::Node),
        rest.len(),
        check.problems.len()
    ));
    lines.join("\n")
}

impl FromFile {
    fn check(&self) -> Result<()> {
        let plan = parse(&text_of(&self.file)?)?;
        let check = Bench::open(&self.args.site())?.check(&plan)?;
        self.args.show(&check, &shown(&check))?;
        if check.problems.is_empty() { Ok(()) } else { Err(anyhow!("the plan contradicts this site")) }
    }

    fn keep(&self, add: bool) -> Result<()> {
        let text = text_of(&self.file)?;
        let new = parse(&text)?;
        if let Some(daemon) = running::daemon(&self.args)? {
            running::keep_plan(&daemon, &text, add)?;
            return show_kept(&self.args);
        }
        let bench = Bench::open(&self.args.site())?;
        let old = bench.kept()?;
        let plan = if add { merged(&old, &new).map_err(|problems| refused(&problems))? } else { new };
        let check = bench.check(&plan)?;
        if !check.problems.is_empty() {
            return Err(refused(&check.problems));
        }
        let text = format!("the plan of enrollment has {} rows now", plan.rows().len());
        store(&bench.store, &old, &plan, &text)?;
        self.args.show(&check, &shown(&check))
    }
}

/// Keeps the plan, if the old one is still there.
fn store(store: &Store, old: &Plan, plan: &Plan, text: &str) -> Result<()> {
    let kept = store.write(|tx| {
        if site::plan::load(tx)? != *old {
            return Ok::<_, StoreError>(false);
        }
        site::plan::store(tx, plan)?;
        tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(EventKind::PlanChanged, text) })?;
        Ok(true)
    })?;
    if kept { Ok(()) } else { Err(hint::with(anyhow!("the plan was changed by another user"), "run the command again")) }
}

fn show_kept(args: &SiteArgs) -> Result<()> {
    let bench = Bench::open(&args.site())?;
    let check = bench.check(&bench.kept()?)?;
    args.show(&check, &shown(&check))
}

impl Show {
    fn run(&self) -> Result<()> {
        show_kept(&self.args)
    }
}

fn removed(rows: u64) -> String {
    format!("{rows} rows removed from the plan of enrollment")
}

impl Remove {
    fn run(&self) -> Result<()> {
        let database = self.args.site().open_store()?;
        let old = database.read(site::plan::load).context("reading the plan")?;
        if let Some(unknown) = self.names.iter().find(|n| !old.rows().iter().any(|r| r.name == **n)) {
            return Err(hint::with(anyhow!("the plan has no row {unknown}"), "`seedd plan show` lists its rows"));
        }
        if let Some(daemon) = running::daemon(&self.args)? {
            let gone = if old.is_empty() { 0 } else { running::remove_rows(&daemon, &self.names)? };
            let rows = database.read(site::plan::load).context("reading the plan")?.rows().len();
            return self.args.show(&json!({ "removed": gone, "rows": rows }), &removed(gone));
        }
        let kept = old.rows().iter().filter(|r| !self.all && !self.names.contains(&r.name)).cloned().collect();
        let plan = Plan::of(kept).map_err(|problems| refused(&problems))?;
        let gone = old.rows().len() - plan.rows().len();
        let text = removed(gone as u64);
        store(&database, &old, &plan, &text)?;
        self.args.show(&json!({ "removed": gone, "rows": plan.rows().len() }), &text)
    }
}

/// A machine, by what the operator named.
struct Known {
    mac: Mac,
    facts: HardwareFacts,
    enrollment: EnrollmentId,
    waits: bool,
}

fn known(tx: &Tx<'_>, wanted: &str) -> Result<Option<Known>, StoreError> {
    let mac: Option<Mac> = wanted.parse().ok();
    let found = |facts: &HardwareFacts, own: Mac| {
        let named = mac.map(|m| m == own || facts.nics.iter().any(|n| n.mac == m));
        named.unwrap_or_else(|| !facts.serial.is_empty() && facts.serial.eq_ignore_ascii_case(wanted))
    };
    // A machine that waits comes before what is known of others.
    for record in tx.enrollments_waiting()?.into_iter().rev() {
        let own = tx.machine(record.machine)?.mac;
        if let Some(revealed) = record.revealed.filter(|r| found(&r.facts, own)) {
            return Ok(Some(Known { mac: own, facts: revealed.facts, enrollment: record.id, waits: true }));
        }
    }
    let mut machines = tx.machines()?.into_iter().filter_map(|m| Some((m.mac, m.facts?)));
    let found = machines.find(|(own, facts)| found(facts, *own));
    Ok(found.map(|(mac, facts)| Known { mac, facts, enrollment: EnrollmentId([0; 16]), waits: false }))
}

impl Explain {
    fn run(&self) -> Result<()> {
        let bench = Bench::open(&self.args.site())?;
        let plan = bench.kept()?;
        let planner = bench.planner(&plan);
        let found = bench.store.read(|tx| {
            let Some(known) = known(tx, &self.machine)? else { return Ok::<_, StoreError>(None) };
            let judged = planner.suggest_to(tx, &known.facts, known.mac, known.enrollment)?;
            Ok(Some((known, judged)))
        })?;
        let Some((known, suggestion)) = found else {
            let error = anyhow!("no machine {} has reported its hardware", self.machine);
            return Err(hint::with(error, "give its MAC address or its serial number; its agent has to run first"));
        };
        let row = plan.find(&known.facts, known.mac).map(|f| f.row.line);
        let rules: Vec<_> = (1..)
            .zip(&bench.spec.spec.enrollment.rules)
            .map(|(number, rule)| json!({ "number": number, "fits": rule.matches.fits(&known.facts) }))
            .collect();
        if self.args.json {
            let value = json!({ "mac": known.mac, "waits": known.waits, "row": row, "rules": rules, "suggestion": suggestion });
            return self.args.show(&value, "");
        }
        let facts = &known.facts;
        say(&format!(
            "{}  {} {}  serial {}",
            known.mac,
            facts.vendor,
            facts.product,
            if facts.serial.is_empty() { "none" } else { &facts.serial }
        ))?;
        say(&match row {
            Some(line) => format!("plan: line {line}"),
            None => "plan: no row names it".to_owned(),
        })?;
        for (number, rule) in (1..).zip(&bench.spec.spec.enrollment.rules) {
            say(&format!("rule {number}: {}", if rule.matches.fits(facts) { "fits" } else { "does not fit" }))?;
        }
        let Some(s) = suggestion else { return say("nothing fills in its form") };
        let or_none = |v: &Option<String>| v.clone().unwrap_or_else(|| "none".to_owned());
        say(&format!(
            "{}: name {}, role {}, disk {} ({})",
            s.source,
            or_none(&s.hostname),
            or_none(&s.role),
            or_none(&s.wish),
            or_none(&s.disk)
        ))?;
        match (&s.why, s.trouble) {
            (Some(why), Some(trouble)) => say(&format!("REFUSED: {why}\n{}", trouble.hint)),
            _ if s.ready => say("its code is enough to approve it"),
            _ => say("it is approved with its form"),
        }
    }
}
