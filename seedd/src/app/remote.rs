//! Requests of the command line to the running site.

use anyhow::{Result, anyhow};
use appliance::control::answer::{Answer, DaemonFacts, Event, EventPage, GrubPassword, Metrics, Nothing, Packets, PowerDone};
use appliance::control::{EventQuery, SetController, SiteRequest};
use cluster_seed::ids::Mac;
use host::clock::now_ms;
use site::hint;
use site::store::events::EventRow;
use web::api::{Actor, ApiError, SetPower};

use super::{App, socket};

/// The actor in the event log.
const WHO: &str = "command line";
/// Most events in one answer, and most rows searched for them.
const MAX_EVENTS: u32 = 500;
const WINDOW: u32 = 5_000;
/// Longest drill, in seconds.
const MAX_REHEARSAL: u64 = 3_600;

/// An error of a use case with its hint.
pub(super) fn hinted(e: ApiError) -> anyhow::Error {
    match e {
        ApiError::BadRequest { why, hint: Some(hint) } | ApiError::Conflict { why, hint: Some(hint) } => {
            hint::with(anyhow!(why), hint)
        }
        ApiError::Sealed => hint::with(anyhow!("the seed is sealed"), "unseal it first: `seedd unseal`"),
        other => other.into(),
    }
}

impl App {
    pub(super) fn answer(&self, ask: SiteRequest) -> Result<Answer> {
        Ok(match ask {
            SiteRequest::Events(query) => Answer::Events(self.tail(&query)?),
            SiteRequest::Packets { mac } => {
                let pcapng = self.packets_of_mac(mac).map_err(hinted)?;
                Answer::Packets(Packets { packets: self.flight.ring.count(mac), pcapng })
            }
            SiteRequest::Metrics => Answer::Metrics(Metrics { text: self.metrics().map_err(hinted)? }),
            SiteRequest::Revoke { hostname, reason } => {
                let node = self.store.read(|tx| tx.live_node(&hostname))?;
                let node = node.ok_or_else(|| anyhow!("there is no node named {hostname}"));
                let node = node.map_err(|e| hint::with(e, "`seedd node list` lists all nodes"))?;
                self.revoke_by(&Actor { user: WHO.to_owned() }, node.enrollment, &reason).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            SiteRequest::Forget { mac } => {
                self.forget_machine(&Actor { user: WHO.to_owned() }, self.id_of(mac)?).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            SiteRequest::Power { mac } => Answer::Power(socket::power(self.view_power(self.id_of(mac)?).map_err(hinted)?)),
            SiteRequest::Controller(SetController { mac, kind, address, user, password, cipher_suite, privilege }) => {
                let (kind, privilege) = (socket::kind_of(kind), privilege.map(socket::privilege_of));
                let set = SetPower { kind, address, user, password, cipher_suite, privilege };
                Answer::Power(socket::power(self.set_controller(WHO, self.id_of(mac)?, &set).map_err(hinted)?))
            }
            SiteRequest::ForgetController { mac } => {
                Answer::Power(socket::power(self.forget_controller(WHO, self.id_of(mac)?).map_err(hinted)?))
            }
            SiteRequest::Certificate { mac } => {
                Answer::Power(socket::power(self.read_certificate(self.id_of(mac)?).map_err(hinted)?))
            }
            SiteRequest::Trust { mac, fingerprint } => {
                let trusted = self.trust_certificate(WHO, self.id_of(mac)?, &fingerprint);
                Answer::Power(socket::power(trusted.map_err(hinted)?))
            }
            SiteRequest::GrubPassword => {
                let password = self.show_grub_password(WHO).map_err(hinted)?.to_string();
                Answer::GrubPassword(GrubPassword { user: cluster_seed::grub::USER.to_owned(), password })
            }
            SiteRequest::Act { mac, action } => {
                let done = self.act_power(WHO, self.id_of(mac)?, socket::action_of(action)).map_err(hinted)?;
                Answer::PowerDone(PowerDone { text: done.text })
            }
            SiteRequest::Rehearsal { seconds } => {
                self.flight.rehearse_until(now_ms() + seconds.min(MAX_REHEARSAL) * 1_000);
                Answer::Nothing(Nothing {})
            }
            SiteRequest::Doctor => Answer::Doctor(DaemonFacts {
                iface: self.flight.iface().to_owned(),
                listen: self.http,
                active: self.mode().map_err(hinted)? == site::mode::Mode::Active,
                sealed: self.is_sealed(),
                pid: std::process::id(),
            }),
        })
    }

    fn id_of(&self, mac: Mac) -> Result<i64> {
        let found = self.store.read(|tx| tx.machine_by_mac(mac))?;
        let machine = found.ok_or_else(|| anyhow!("no machine with the MAC address {mac} has been seen"));
        Ok(machine
            .map_err(|e| hint::with(e, "the web interface lists all machines; `seedd tail` shows events as they happen"))?
            .id)
    }

    fn tail(&self, query: &EventQuery) -> Result<EventPage> {
        let EventQuery { after, back, limit, mac, kinds } = query;
        let machine = mac.map(|m| self.id_of(m)).transpose()?;
        let fits = |e: &EventRow| {
            machine.is_none_or(|m| e.machine == Some(m)) && (kinds.is_empty() || kinds.iter().any(|k| e.kind.starts_with(k)))
        };
        let limit = (*limit).clamp(1, MAX_EVENTS);
        let (events, next, more) = match *after {
            Some(after) => {
                let rows = self.store.read(|tx| tx.events_after(after.max(0), limit))?;
                (
                    rows.iter().filter(|e| fits(e)).cloned().collect::<Vec<_>>(),
                    rows.last().map_or(after, |e| e.id),
                    rows.len() == limit as usize,
                )
            }
            None => {
                let newest = self.store.read(|tx| tx.last_event())?;
                let rows = self.store.read(|tx| tx.events_after((newest - i64::from(WINDOW)).max(0), WINDOW))?;
                let mut last: Vec<EventRow> =
                    rows.iter().rev().filter(|e| fits(e)).take((*back).min(limit) as usize).cloned().collect();
                last.reverse();
                (last, rows.last().map_or(newest, |e| e.id), false)
            }
        };
        let macs = self.store.read(|tx| tx.macs_of(events.iter().filter_map(|e| e.machine)))?;
        let event = |e: EventRow| {
            let mac = e.machine.and_then(|m| macs.get(&m)).copied();
            Event::of(e, mac)
        };
        Ok(EventPage { events: events.into_iter().map(event).collect(), next, more })
    }
}
