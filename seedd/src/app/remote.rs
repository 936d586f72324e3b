//! Requests of the command line to the running site.

use anyhow::{Result, anyhow};
use appliance::control::answer::{
    Answer, DaemonFacts, Event, EventPage, GrubPassword, LogSigned, Metrics, Nothing, Packets, PowerDone,
};
use appliance::control::{EventQuery, RotateKeys, SetController, SiteRequest};
use cluster_seed::ids::Mac;
use host::clock::now_ms;
use site::hint;
use site::rotate::Choice;
use site::store::events::EventRow;
use web::api::{Actor, ApiError, SetPower};
use zeroize::Zeroizing;

use super::{App, socket};

/// The actor in the event log.
pub(super) const WHO: &str = "command line";
/// Most events in one answer; the client asks for the next ones.
const MAX_EVENTS: u32 = 500;
/// Rows read at a time while the log is searched backwards, and most rows searched in all.
const WINDOW: i64 = 5_000;
const MAX_SEARCHED: i64 = 500_000;
/// Longest drill, in seconds.
const MAX_REHEARSAL: u64 = 3_600;

/// An error of a use case with its hint.
pub(crate) fn hinted(e: ApiError) -> anyhow::Error {
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
            SiteRequest::Session => Answer::Session(self.local_session()?),
            SiteRequest::Metrics => Answer::Metrics(Metrics { text: self.metrics().map_err(hinted)? }),
            SiteRequest::Revoke { hostname, reason } => {
                let node = self.store.read(|tx| tx.live_node(&hostname))?;
                let node = node.ok_or_else(|| anyhow!("there is no node named {hostname}"));
                let node = node.map_err(|e| hint::with(e, "`seedd node list` lists all nodes"))?;
                self.revoke_by(&Actor::local(WHO), node.enrollment, &reason).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            SiteRequest::Forget { mac } => {
                self.forget_machine(&Actor::local(WHO), self.id_of(mac)?).map_err(hinted)?;
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
            SiteRequest::RotateKeys(which) => self.answer_rotation(which)?,
            SiteRequest::Act { mac, action } => {
                let done = self.act_power(WHO, self.id_of(mac)?, socket::action_of(action)).map_err(hinted)?;
                Answer::PowerDone(PowerDone { text: done.text })
            }
            SiteRequest::SignLog => {
                let signed = self.checkpoint_by(WHO).map_err(hinted)?;
                Answer::LogSigned(LogSigned { event: signed.event, hash: signed.hash })
            }
            SiteRequest::Rehearsal { seconds } => {
                self.flight.rehearse_until(now_ms() + seconds.min(MAX_REHEARSAL) * 1_000);
                Answer::Nothing(Nothing {})
            }
            SiteRequest::Change { ask } => self.carry_out(ask)?,
            SiteRequest::Doctor => Answer::Doctor(DaemonFacts {
                iface: self.flight.iface().to_owned(),
                listen: self.http,
                active: self.mode().map_err(hinted)? == site::mode::Mode::Active,
                sealed: self.is_sealed(),
                pid: std::process::id(),
            }),
        })
    }

    fn answer_rotation(&self, which: RotateKeys) -> Result<Answer> {
        let RotateKeys { passphrase, planes, vault, release } = which;
        let passphrase = Zeroizing::new(passphrase);
        let choice = Choice { planes: planes.into_iter().collect(), vault, release };
        let said = &mut |step: &str| {
            tracing::debug!(step, "changing keys");
            Ok(())
        };
        Ok(Answer::KeysRotated(self.rotate_keys(WHO, &passphrase, &choice, said)?.into()))
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
        let after = match *after {
            Some(after) => after.max(0),
            None => self.before_the_last(*back, &fits)?,
        };
        let rows = self.store.read(|tx| tx.events_after(after, limit))?;
        let events: Vec<EventRow> = rows.iter().filter(|e| fits(e)).cloned().collect();
        let (next, more) = (rows.last().map_or(after, |e| e.id), rows.len() == limit as usize);
        let macs = self.store.read(|tx| tx.macs_of(events.iter().filter_map(|e| e.machine)))?;
        let event = |e: EventRow| {
            let mac = e.machine.and_then(|m| macs.get(&m)).copied();
            Event::of(e, mac)
        };
        Ok(EventPage { events: events.into_iter().map(event).collect(), next, more })
    }
    /// The number of the event before the last `back` events that fit, however many answers it takes to list them.
    fn before_the_last(&self, back: u32, fits: &dyn Fn(&EventRow) -> bool) -> Result<i64> {
        let newest = self.store.read(|tx| tx.last_event())?;
        let (mut end, mut left) = (newest, back);
        while left > 0 && end > 0 && newest - end < MAX_SEARCHED {
            let start = (end - WINDOW).max(0);
            let rows = self.store.read(|tx| tx.events_after(start, (end - start) as u32))?;
            for row in rows.iter().rev().filter(|e| e.id <= end && fits(e)) {
                left -= 1;
                if left == 0 {
                    return Ok(row.id - 1);
                }
            }
            end = start;
        }
        Ok(end)
    }
}
