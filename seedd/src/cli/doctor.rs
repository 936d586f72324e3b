//! `seedd doctor`

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;

use super::{Where, show};
use crate::doctor::checks::{self, Subject, addresses};
use crate::doctor::rehearsal::{self, Outcome};
use crate::doctor::{Check, Health, probe_fetch, render, tool};
use appliance::control::SiteRequest;
use appliance::control::{Request, ask};
use site::Site;
use site::hint::Hint as _;

/// The daemon is told that so many seconds of made-up machines follow.
const REHEARSAL: u64 = 1_000;

#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    place: Where,
    /// The netboot interface; without it the one the running daemon serves. On no other one anything is sent
    #[arg(long, value_name = "IFACE")]
    iface: Option<String>,
    /// Do not ask on the network who else answers DHCP
    #[arg(long)]
    no_probe: bool,
    /// Boot N made-up machines against the running seed (DHCP, TFTP, HTTP), all at once. On the seed itself the interface
    /// has to be a bridge; elsewhere give --iface and --seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    simulate: Option<u32>,
    /// With --simulate on another machine of that network: the seed's address
    #[arg(long, value_name = "IP", requires = "simulate", requires = "iface")]
    seed: Option<Ipv4Addr>,
    /// The machines are made up here, on the interface itself
    #[arg(long, hide = true)]
    here: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// 0 where the seed is fit to serve, or all machines booted; 1 where not.
    pub fn run(&self) -> Result<ExitCode> {
        match self.simulate {
            Some(count) => self.rehearse(count),
            None => self.look(),
        }
    }

    fn look(&self) -> Result<ExitCode> {
        let site = self.place.site();
        let subject = Subject::new(&site, self.iface.as_deref())?;
        let mut found = vec![checks::daemon(&subject), checks::interface(&subject)];
        found.extend(checks::ports(&subject));
        found.push(checks::http(&subject));
        found.push(self.others(&subject, &site));
        found.push(checks::loaders(&subject));
        found.extend(checks::snapshot(&subject));
        found.extend([checks::disk(&subject), checks::database(&subject), checks::clock(&subject)]);
        let ok = found.iter().all(|c| c.health != Health::Bad);
        show(self.json, &serde_json::json!({ "ok": ok, "checks": found }), &render(&found))?;
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Asks who else answers DHCP, on the seed's own network only.
    fn others(&self, s: &Subject<'_>, site: &Site) -> Check {
        let name = "other dhcp";
        let skipped = |why: &str| Check { name, health: Health::Skipped, text: why.to_owned(), advice: String::new() };
        let Some(iface) = s.iface.as_deref().filter(|_| !self.no_probe) else {
            return skipped(if self.no_probe { "not asked, as told" } else { "not told on which interface: give --iface" });
        };
        if !addresses(iface).contains(&(s.seed, s.prefix)) {
            return skipped(&format!(
                "not asked: {iface} does not have the seed's address, so it may be somebody else's network"
            ));
        }
        let _ = ask(&site.control_socket(), &Request::Site { ask: SiteRequest::Rehearsal { seconds: 10 } });
        let answers = match probe_fetch::ask_who_answers(iface) {
            Ok(answers) => answers,
            Err(e) => return Check { name, health: Health::Bad, text: format!("{e:#}"), advice: "run as root".to_owned() },
        };
        let mut others: Vec<String> = answers.iter().filter(|r| r.server != s.seed).map(|r| r.server.to_string()).collect();
        others.sort();
        others.dedup();
        match (others.is_empty(), s.running && answers.is_empty()) {
            (true, false) => {
                Check { name, health: Health::Ok, text: format!("nobody else answers on {iface}"), advice: String::new() }
            }
            (true, true) => {
                let advice = "its log and `seedd tail --kind dhcp.` say why".to_owned();
                Check { name, health: Health::Warn, text: format!("nobody answered on {iface}, the daemon neither"), advice }
            }
            (false, _) => {
                let advice = "stop it, or serve in proxy mode beside it: which one a machine takes is chance".to_owned();
                Check { name, health: Health::Bad, text: format!("{} answers on {iface} too", others.join(", ")), advice }
            }
        }
    }

    fn rehearse(&self, count: u32) -> Result<ExitCode> {
        let outcome = match (self.seed, self.here) {
            (Some(seed), here) => {
                let iface = self.iface.as_deref().context("--seed goes with --iface")?;
                ensure!(
                    here || !addresses(iface).iter().any(|(a, _)| *a == seed),
                    "{seed} is this machine's own: leave --seed out"
                );
                rehearsal::run(iface, seed, count)?
            }
            (None, _) => self.beside_the_seed(count)?,
        };
        self.tell(&outcome)
    }

    fn beside_the_seed(&self, count: u32) -> Result<Outcome> {
        let site = self.place.site();
        let s = Subject::new(&site, self.iface.as_deref())?;
        let iface = s.iface.clone().ok_or_else(|| anyhow!("not told on which network")).hint("give --iface")?;
        if !s.running {
            return Err(anyhow!("no daemon serves this site now")).hint("start it: `seedd serve`");
        }
        if !addresses(&iface).contains(&(s.seed, s.prefix)) {
            return Err(anyhow!("{iface} does not have the seed's address: it may be somebody else's network"))
                .hint("name the interface that the daemon serves");
        }
        if !tool::is_bridge(&iface) {
            return Err(anyhow!("{iface} is no bridge, so machines cannot be made up on this side of it")).hint(format!(
                "run it on another machine of that network: `seedd doctor --simulate {count} --iface IFACE --seed {}`",
                s.seed
            ));
        }
        ask(&site.control_socket(), &Request::Site { ask: SiteRequest::Rehearsal { seconds: REHEARSAL } })?;
        let done = rehearsal::through_bridge(&iface, s.seed, count);
        ask(&site.control_socket(), &Request::Site { ask: SiteRequest::Rehearsal { seconds: 0 } })?;
        done
    }

    fn tell(&self, outcome: &Outcome) -> Result<ExitCode> {
        show(self.json, &serde_json::to_value(outcome)?, &outcome.text())?;
        // Inside the booth the outcome itself is the answer.
        let ok = self.here || outcome.booted == outcome.machines;
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
