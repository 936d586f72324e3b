//! Rows, packets and diagnosis of the flight recorder.

use std::net::IpAddr;

use ::flight::diagnosis::{Finding, diagnose};
use ::flight::recorder::{WireEvent, pcapng};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use host::clock::now_ms;
use site::store::StoreError;
use site::store::events::{EventRow, NewEvent, PacketFacts};
use web::api::ApiError;

use super::App;
use super::views::TIMELINE;

impl App {
    /// Passes one event through the gate and writes the resulting rows.
    pub fn record(&self, event: WireEvent) {
        let events = self.flight.pass(vec![event]);
        if !events.is_empty() {
            self.write_wire(&events);
        }
    }

    /// A file that a machine fetches by HTTP.
    pub fn note_fetch(&self, from: IpAddr, name: &str) {
        let IpAddr::V4(ip) = from else { return };
        let facts = PacketFacts { file: Some(name.to_owned()), ip: Some(ip), ..PacketFacts::default() };
        let text = format!("{ip} fetches {name} by HTTP");
        self.record(WireEvent { text, ip: Some(ip), facts, ..WireEvent::new(now_ms(), EventKind::HttpStarted) });
    }

    /// Writes packet events that passed the gate, in one transaction.
    pub fn write_wire(&self, events: &[WireEvent]) {
        if self.is_short_of_space() {
            return;
        }
        let done = self.write(|tx| {
            for e in events {
                let machine = match (e.mac, e.ip) {
                    _ if e.machine.is_some() => e.machine,
                    (Some(mac), ip) => tx.see_machine(mac, ip.map(Into::into), e.at / 1000)?,
                    // TFTP requests carry only an IP address.
                    (None, Some(ip)) => tx.machine_at(ip.into())?.map(|m| m.id),
                    (None, None) => None,
                };
                let facts = (e.facts != PacketFacts::default()).then_some(&e.facts);
                let row = NewEvent { machine, enrollment: e.enrollment, facts, ..NewEvent::new(e.kind, &e.text) };
                tx.event(e.at, &row)?;
            }
            Ok(())
        });
        if let Err(error) = done {
            tracing::error!(%error, events = events.len(), at = now_ms(), "writing events of the flight recorder");
        }
    }

    /// The machine's last packets as a pcapng file, with the diagnosis as its comment.
    pub fn packets_of(&self, id: i64) -> Result<Vec<u8>, ApiError> {
        let (mac, timeline) = self.store.read(|tx| Ok::<_, StoreError>((tx.machine(id)?.mac, tx.timeline(id, TIMELINE)?)))?;
        Ok(self.pcapng(mac, &self.diagnosis_of(&timeline)))
    }

    /// The same by MAC address, even if the database does not know it.
    pub fn packets_of_mac(&self, mac: Mac) -> Result<Vec<u8>, ApiError> {
        let known = self.store.read(|tx| tx.machine_by_mac(mac))?;
        match known {
            Some(machine) => self.packets_of(machine.id),
            None => Ok(self.pcapng(mac, &[])),
        }
    }

    fn pcapng(&self, mac: Mac, findings: &[Finding]) -> Vec<u8> {
        let comment: Vec<String> = findings.iter().map(|f| format!("{} {}", f.what, f.advice)).collect();
        let comment = format!("machine {mac}\n{}", comment.join("\n"));
        let program = concat!("seedd ", env!("CARGO_PKG_VERSION"));
        pcapng::write(self.flight.iface(), &comment, &self.flight.ring.of(mac), program)
    }

    /// The diagnosis of a timeline at this time.
    pub(super) fn diagnosis_of(&self, timeline: &[EventRow]) -> Vec<Finding> {
        diagnose(timeline, now_ms())
    }
}
