//! What the command line asks of the running site.

use anyhow::{Result, anyhow};
use appliance::control::SiteRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::ids::Mac;
use host::clock::now_ms;
use serde_json::{Value, json};
use site::hint;
use site::store::events::EventRow;
use web::api::{ApiError, SetPower};

use super::{App, views};

/// Who it is, in the log.
const WHO: &str = "command line";
/// Most events in one answer, and rows looked at for them.
const MAX_EVENTS: u32 = 500;
const WINDOW: u32 = 5_000;
/// Longest rehearsal, in seconds.
const MAX_REHEARSAL: u64 = 3_600;

/// An error of a use case with its hint.
fn hinted(e: ApiError) -> anyhow::Error {
    match e {
        ApiError::BadRequest { why, hint: Some(hint) } | ApiError::Conflict { why, hint: Some(hint) } => {
            hint::with(anyhow!(why), hint)
        }
        ApiError::Sealed => hint::with(anyhow!("the seed is sealed"), "open its keys with `seedd unseal` first"),
        other => other.into(),
    }
}

impl App {
    pub(super) fn answer(&self, ask: SiteRequest) -> Result<Value> {
        let value = match ask {
            SiteRequest::Events { after, back, limit, mac, kinds } => self.tail(after, back, limit, mac, &kinds)?,
            SiteRequest::Packets { mac } => {
                let bytes = self.packets_of_mac(mac).map_err(hinted)?;
                json!({ "packets": self.flight.ring.count(mac), "pcapng": B64.encode(bytes) })
            }
            SiteRequest::Metrics => json!({ "text": self.metrics().map_err(hinted)? }),
            SiteRequest::Power { mac } => serde_json::to_value(self.view_power(self.id_of(mac)?).map_err(hinted)?)?,
            SiteRequest::Controller { mac, kind, address, user, password } => {
                let set = SetPower { kind, address, user, password };
                serde_json::to_value(self.set_controller(WHO, self.id_of(mac)?, &set).map_err(hinted)?)?
            }
            SiteRequest::ForgetController { mac } => {
                serde_json::to_value(self.forget_controller(WHO, self.id_of(mac)?).map_err(hinted)?)?
            }
            SiteRequest::Act { mac, action } => {
                serde_json::to_value(self.act_power(WHO, self.id_of(mac)?, action).map_err(hinted)?)?
            }
            SiteRequest::Rehearsal { seconds } => {
                self.flight.rehearse_until(now_ms() + seconds.min(MAX_REHEARSAL) * 1_000);
                json!({})
            }
            SiteRequest::Doctor => json!({
                "iface": self.flight.iface(),
                "listen": self.http.to_string(),
                "active": self.mode().map_err(hinted)? == site::mode::Mode::Active,
                "sealed": self.is_sealed(),
                "pid": std::process::id(),
            }),
        };
        Ok(value)
    }

    fn id_of(&self, mac: Mac) -> Result<i64> {
        let found = self.store.read(|tx| tx.machine_by_mac(mac))?;
        let machine = found.ok_or_else(|| anyhow!("no machine with the MAC address {mac} was ever seen"));
        Ok(machine.map_err(|e| hint::with(e, "`seedd tail` shows which are heard; the page lists all"))?.id)
    }

    fn tail(&self, after: Option<i64>, back: u32, limit: u32, mac: Option<Mac>, kinds: &[String]) -> Result<Value> {
        let machine = mac.map(|m| self.id_of(m)).transpose()?;
        let fits = |e: &EventRow| {
            machine.is_none_or(|m| e.machine == Some(m)) && (kinds.is_empty() || kinds.iter().any(|k| e.kind.starts_with(k)))
        };
        let limit = limit.clamp(1, MAX_EVENTS);
        let (events, next, more) = match after {
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
                    rows.iter().rev().filter(|e| fits(e)).take(back.min(limit) as usize).cloned().collect();
                last.reverse();
                (last, rows.last().map_or(newest, |e| e.id), false)
            }
        };
        let macs = self.store.read(|tx| tx.macs_of(events.iter().filter_map(|e| e.machine)))?;
        let events = events.iter().map(|e| {
            let mut value = serde_json::to_value(views::event(e.clone()))?;
            value["mac"] = e.machine.and_then(|m| macs.get(&m)).map_or(Value::Null, |m| m.to_string().into());
            Ok::<_, anyhow::Error>(value)
        });
        Ok(json!({ "events": events.collect::<Result<Vec<_>>>()?, "next": next, "more": more }))
    }
}
