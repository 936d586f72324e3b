//! `seedd enrollment`: the join window, and machines that were denied or set aside. Needs access to the data directory, and no session.
//! A running daemon writes itself ([`running`]).

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use cluster_seed::policy::WindowRule;
use host::clock::{now, now_ms};
use serde_json::json;
use site::Site;
use site::hint;
use site::store::StoreError;
use site::store::events::NewEvent;
use site::verdicts::{self, MAX_ASIDE, Said, Verdict};
use site::window;

use super::args::{SiteArgs, time_of};
use super::running;
use super::token::seconds;
use crate::app;

/// The actor in the event log.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub enum Enrollment {
    /// Let unknown machines ask to enroll, for a time
    ///
    /// Needs enrollment.window: manual in cluster.yaml; without it, the enrollment is always open. No machine joins without an approval
    /// either way. Planned machines, nodes and machines with a join token need no window.
    #[command(after_long_help = "\
Example:
  seedd enrollment open --for 2h")]
    Open(Open),
    /// Close the join window
    Close(Close),
    /// Show whether the enrollment is open, and which machines were denied or set aside
    Status(Status),
    /// Allow a machine that was denied or set aside to ask again
    Allow(Allow),
    /// Do not list a machine as waiting, for a time
    NotNow(NotNow),
}

#[derive(Args)]
pub struct Open {
    /// How long: a number with m, h or d, at most 7d
    #[arg(long = "for", default_value = "2h", value_name = "TIME", value_parser = seconds)]
    time: u64,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Close {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Allow {
    /// MAC address of the machine
    mac: Mac,
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct NotNow {
    /// MAC address of the machine
    mac: Mac,
    /// How long: a number with m, h or d, at most 30d
    #[arg(long = "for", default_value = "1d", value_name = "TIME", value_parser = seconds)]
    time: u64,
    #[command(flatten)]
    args: SiteArgs,
}

impl Enrollment {
    pub fn run(&self) -> Result<()> {
        match self {
            Enrollment::Open(v) => v.run(),
            Enrollment::Close(v) => v.run(),
            Enrollment::Status(v) => v.run(),
            Enrollment::Allow(v) => v.run(),
            Enrollment::NotNow(v) => v.run(),
        }
    }
}

fn must_have_windows(rule: WindowRule) -> Result<()> {
    match rule {
        WindowRule::Manual => Ok(()),
        WindowRule::Always => {
            let error = anyhow!("the enrollment of this site is always open");
            Err(hint::with(error, "set enrollment.window: manual in cluster.yaml, and `seedd cluster apply` it, to have windows"))
        }
    }
}

fn shown_time(seconds: u64) -> String {
    time_of(seconds.saturating_mul(1_000)).map(|t| t.to_string()).unwrap_or_default()
}

impl Open {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        must_have_windows(site.spec()?.spec.enrollment.window)?;
        let until = match running::daemon(&self.args)? {
            Some(daemon) => {
                let until = running::set_window(&daemon, Some(self.time))?;
                until.ok_or_else(|| anyhow!("the seed does not say until when the enrollment is open"))?
            }
            None => self.beside(&site)?,
        };
        let text = format!("unknown machines may ask to enroll until {}", shown_time(until));
        self.args.show(&json!({ "open": true, "until": until }), &text)
    }
}

impl Open {
    /// Without a daemon.
    fn beside(&self, site: &Site) -> Result<u64> {
        let opened = site.open_store()?.write(|tx| {
            let window = window::open(tx, self.time, ACTOR, now())?;
            let text = format!("the enrollment is open for {} min", window.until.saturating_sub(window.opened).div_ceil(60));
            tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(EventKind::EnrollmentOpened, &text) })?;
            Ok::<_, StoreError>(window)
        });
        Ok(opened.context("opening the enrollment")?.until)
    }
}

impl Close {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        must_have_windows(site.spec()?.spec.enrollment.window)?;
        let text = "the enrollment is closed for unknown machines";
        if let Some(daemon) = running::daemon(&self.args)? {
            running::set_window(&daemon, None)?;
            return self.args.show(&json!({ "open": false }), text);
        }
        let closed = site.open_store()?.write(|tx| {
            window::close(tx)?;
            tx.event(now_ms(), &NewEvent { actor: Some(ACTOR), ..NewEvent::new(EventKind::EnrollmentClosed, text) })?;
            Ok::<_, StoreError>(())
        });
        closed.context("closing the enrollment")?;
        self.args.show(&json!({ "open": false }), text)
    }
}

impl Status {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let rule = site.spec()?.spec.enrollment.window;
        let read = site.open_store()?.read(|tx| Ok::<_, StoreError>((window::open_now(tx, now())?, verdicts::all(tx, now())?)));
        let (window, all) = read.context("reading the join window")?;
        let until = window.filter(|_| rule == WindowRule::Manual).map(|w| w.until);
        let mut lines = vec![match (rule, until) {
            (WindowRule::Always, _) => "always open".to_owned(),
            (_, Some(until)) => format!("open until {}", shown_time(until)),
            (_, None) => "closed for unknown machines".to_owned(),
        }];
        let mut values = Vec::new();
        for (mac, Verdict { said, by, at, reason, .. }) in all {
            let (word, ends) = match said {
                Said::Denied => ("denied".to_owned(), None),
                Said::NotNow { until } => (format!("not now, until {}", shown_time(until)), Some(until)),
            };
            lines.push(format!("{mac}  {word}  by {by} at {}  {reason}", shown_time(at)).trim_end().to_owned());
            values.push(json!({ "mac": mac, "denied": ends.is_none(), "until": ends, "by": by, "at": at, "reason": reason }));
        }
        let open = rule == WindowRule::Always || until.is_some();
        self.args.show(&json!({ "open": open, "until": until, "machines": values }), &lines.join("\n"))
    }
}

impl Allow {
    fn run(&self) -> Result<()> {
        match running::daemon(&self.args)? {
            Some(daemon) => running::allow(&daemon, self.mac)?,
            None => self.args.site().open_store()?.write(|tx| app::verdicts::allow(tx, ACTOR, self.mac))?,
        }
        self.args.show(&json!({ "allowed": self.mac }), &format!("machine {} may ask to enroll again", self.mac))
    }
}

impl NotNow {
    fn run(&self) -> Result<()> {
        let until = now().saturating_add(self.time.min(MAX_ASIDE));
        let text = format!("machine {} is not listed as waiting until {}", self.mac, shown_time(until));
        let known = self.args.site().open_store()?.read(|tx| tx.machine_by_mac(self.mac)).context("looking for the machine")?;
        if let Some(daemon) = running::daemon(&self.args)? {
            let machine = known.ok_or(StoreError::NotFound("machine")).context("setting the machine aside")?;
            running::set_aside(&daemon, machine.id, self.time)?;
            return self.args.show(&json!({ "mac": self.mac, "until": until }), &text);
        }
        let kept = self.args.site().open_store()?.write(|tx| {
            let Some(machine) = tx.machine_by_mac(self.mac)? else { return Err(StoreError::NotFound("machine")) };
            if tx.member_of(machine.id)?.is_some() {
                return Ok(Some("is a node"));
            }
            if verdicts::of(tx, self.mac, now())?.is_some_and(|v| v.is_denial()) {
                return Ok(Some("was denied; allow it first with `seedd enrollment allow`"));
            }
            let verdict =
                Verdict { said: Said::NotNow { until }, by: ACTOR.to_owned(), at: now(), reason: String::new(), key: None };
            verdicts::put(tx, self.mac, &verdict)?;
            let event =
                NewEvent { machine: Some(machine.id), actor: Some(ACTOR), ..NewEvent::new(EventKind::MachineSetAside, &text) };
            tx.event(now_ms(), &event)?;
            Ok(None)
        });
        if let Some(why) = kept.context("setting the machine aside")? {
            return Err(anyhow!("machine {} {why}", self.mac));
        }
        self.args.show(&json!({ "mac": self.mac, "until": until }), &text)
    }
}
