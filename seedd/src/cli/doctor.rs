//! `seedd doctor`

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use appliance::control::Client;
use clap::Args;
use site::Site;
use site::hint::Hint as _;

use super::args::SiteArgs;
use crate::doctor::checks::{self, Subject, addresses};
use crate::doctor::net::probe;
use crate::doctor::open_files::open_files;
use crate::doctor::programs::programs;
use crate::doctor::rehearsal::{self, Outcome};
use crate::doctor::{Check, Health, render, tool};

/// How long the daemon expects simulated machines, in seconds.
const REHEARSAL: u64 = 1_000;

#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    args: SiteArgs,
    /// Netboot interface [default: the one the running daemon serves]. Packets are sent on no other
    #[arg(long, value_name = "IFACE")]
    iface: Option<String>,
    /// Do not probe the network for other DHCP servers
    #[arg(long)]
    no_probe: bool,
    /// Boot N simulated machines against the running seed (DHCP, TFTP, HTTP), all at once. On the seed itself the
    /// interface must be a bridge; on another machine use --iface and --seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    simulate: Option<u32>,
    /// With --simulate on another machine of the network: the seed's address
    #[arg(long, value_name = "IP", requires = "simulate", requires = "iface")]
    seed: Option<Ipv4Addr>,
    /// Simulate the machines on this interface itself
    #[arg(long, hide = true)]
    here: bool,
}

impl Doctor {
    /// Exit status 0 if the seed is ready to serve, or all machines booted; else 1.
    pub fn run(&self) -> Result<ExitCode> {
        match self.simulate {
            Some(count) => self.rehearse(count),
            None => self.look(),
        }
    }

    fn look(&self) -> Result<ExitCode> {
        let site = self.args.site();
        let subject = Subject::new(&site, self.iface.as_deref())?;
        let mut found = vec![checks::daemon(&subject), checks::interface(&subject)];
        found.extend(checks::ports(&subject));
        found.push(checks::http(&subject));
        found.push(self.others(&subject, &site));
        found.push(checks::loaders(&subject));
        found.extend(checks::snapshot(&subject));
        found.extend([checks::disk(&subject), open_files(&subject), checks::database(&subject), checks::clock(&subject)]);
        found.push(programs(&subject));
        let ok = found.iter().all(|c| c.health != Health::Bad);
        self.args.show(&serde_json::json!({ "ok": ok, "checks": found }), &render(&found))?;
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Probes for other DHCP servers, on the seed's own network only.
    fn others(&self, s: &Subject<'_>, site: &Site) -> Check {
        let name = "other dhcp";
        let skipped = |why: &str| Check { name, health: Health::Skipped, text: why.to_owned(), advice: String::new() };
        let Some(iface) = s.iface.as_deref().filter(|_| !self.no_probe) else {
            return skipped(if self.no_probe { "skipped (--no-probe)" } else { "no interface known; use --iface" });
        };
        if !addresses(iface).contains(&(s.seed, s.prefix)) {
            return skipped(&format!("not probed: {iface} does not have the seed's address, so it may be another network"));
        }
        let _ = Client::new(&site.control_socket()).rehearse(10);
        let answers = match probe::ask_who_answers(iface) {
            Ok(answers) => answers,
            Err(e) => return Check { name, health: Health::Bad, text: format!("{e:#}"), advice: "run as root".to_owned() },
        };
        let mut others: Vec<String> = answers.iter().filter(|r| r.server != s.seed).map(|r| r.server.to_string()).collect();
        others.sort();
        others.dedup();
        match (others.is_empty(), s.running && answers.is_empty()) {
            (true, false) => {
                Check { name, health: Health::Ok, text: format!("no other server answers on {iface}"), advice: String::new() }
            }
            (true, true) => {
                let advice = "see the daemon's log and `seedd tail --kind dhcp.`".to_owned();
                Check { name, health: Health::Warn, text: format!("no server answered on {iface}, not even this seed"), advice }
            }
            (false, _) => {
                let advice =
                    "stop it, or set networking.underlay.dhcp.mode to proxy; a machine may follow either server".to_owned();
                Check { name, health: Health::Bad, text: format!("{} also answers on {iface}", others.join(", ")), advice }
            }
        }
    }

    fn rehearse(&self, count: u32) -> Result<ExitCode> {
        let outcome = match (self.seed, self.here) {
            (Some(seed), here) => {
                let iface = self.iface.as_deref().context("--seed requires --iface")?;
                ensure!(
                    here || !addresses(iface).iter().any(|(a, _)| *a == seed),
                    "{seed} is this machine's own address; omit --seed"
                );
                rehearsal::run(iface, seed, count)?
            }
            (None, _) => self.beside_the_seed(count)?,
        };
        self.report(&outcome)
    }

    fn beside_the_seed(&self, count: u32) -> Result<Outcome> {
        let site = self.args.site();
        let s = Subject::new(&site, self.iface.as_deref())?;
        let iface = s.iface.clone().ok_or_else(|| anyhow!("no netboot interface known")).hint("use --iface")?;
        if !s.running {
            return Err(anyhow!("the daemon is not running")).hint("start it with `seedd serve`");
        }
        if !addresses(&iface).contains(&(s.seed, s.prefix)) {
            return Err(anyhow!("{iface} does not have the seed's address; it may be another network"))
                .hint("use the interface that the daemon serves");
        }
        if !tool::is_bridge(&iface) {
            return Err(anyhow!("{iface} is not a bridge, so machines cannot be simulated on this side of it")).hint(format!(
                "run on another machine of that network: `seedd doctor --simulate {count} --iface IFACE --seed {}`",
                s.seed
            ));
        }
        let daemon = Client::new(&site.control_socket());
        daemon.rehearse(REHEARSAL)?;
        let done = rehearsal::through_bridge(&iface, s.seed, count);
        daemon.rehearse(0)?;
        done
    }

    fn report(&self, outcome: &Outcome) -> Result<ExitCode> {
        self.args.show(outcome, &outcome.text())?;
        // In the child process the outcome itself is the result.
        let ok = self.here || outcome.booted == outcome.machines;
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
