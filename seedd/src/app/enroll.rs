//! The machine's side of enrollment: hello, reveal, status, claim.

use std::net::IpAddr;

use cluster_seed::agent::{Claim, ClaimReply, Hello, HelloReply, Offer, PROTOCOL, Reveal, RevealReply, StatusReply, knows};
use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::seal::{Sealed, key_from_text};
use host::clock::{now, now_ms};
use host::random;
use site::store::Tx;
use site::store::enrollments::{Decided, PairingPart, Revealed};
use site::store::events::NewEvent;
use web::api::ApiError;

use super::records::{conflict, node_key};
use super::{App, unexpected};

fn offer(decided: Decided) -> Offer {
    let Decided { message: pake, confirmation, order, hostname, role, .. } = decided;
    Offer { pake, confirmation, order, hostname, role }
}

impl App {
    pub fn say_hello(&self, from: IpAddr, hello: &Hello) -> Result<HelloReply, ApiError> {
        if hello.protocol != PROTOCOL {
            let why = format!("the agent uses protocol {}, but this seed uses protocol {PROTOCOL}", hello.protocol);
            return Err(ApiError::bad(why, "restart the machine from the network to load this seed's agent"));
        }
        if let Some(token) = hello.token {
            self.check_token(from, token)?;
        }
        let mac = self.knock(from, hello)?;
        let mut id = [0u8; 16];
        id.copy_from_slice(&random::bytes::<16>().map_err(unexpected)?);
        let id = EnrollmentId(id);
        let (record, number) = self.write(|tx| {
            self.may_issue(tx)?;
            let machine = self.admit(tx, mac, from)?;
            let number = tx.take_number()?.ok_or(ApiError::TooMany { seconds: 60 })?;
            tx.insert_enrollment(id, machine, number, from, now())?;
            if let Some(token) = hello.token {
                tx.name_token(id, token)?;
            }
            Ok((tx.enrollment(id)?, number))
        })?;
        self.note(from, EventKind::EnrollmentHello, "the agent runs in RAM and asks to enroll", Some(&record));
        Ok(HelloReply { enrollment: id, site_key: self.public.site.clone(), number, knows: knows::all() })
    }

    /// For a boot loader that did not send the MAC address: the machine last seen with this IP address.
    pub(super) fn mac_of(&self, tx: &Tx<'_>, from: IpAddr) -> Result<Mac, ApiError> {
        let machine = tx.machine_at(from)?;
        machine.map(|m| m.mac).ok_or_else(|| ApiError::bad("boot_mac is missing, and no machine is known at this address", ""))
    }

    pub fn take_reveal(&self, from: IpAddr, id: EnrollmentId, reveal: &Reveal) -> Result<RevealReply, ApiError> {
        let key = key_from_text(&reveal.node_key).map_err(|_| ApiError::bad("the node key is not an ed25519 public key", ""))?;
        let facts = reveal.facts.open(&key).map_err(|_| ApiError::bad("the facts are not signed by the node key", ""))?.tamed();
        if !reveal.recipient.starts_with("age1") || cluster_seed::secret::seal_to(&reveal.recipient, b"").is_err() {
            return Err(ApiError::bad("the recipient is not an age recipient", ""));
        }
        let pairing = PairingPart { facts: reveal.facts.digest(), message: reveal.pake };
        let (reply, record) = self.write(|tx| {
            let record = tx.enrollment(id)?;
            // The answer to the first reveal may have been lost: accept the same one again.
            if record.state != EnrollmentState::Discovered {
                let same = record.revealed.as_ref().is_some_and(|r| r.node_key == reveal.node_key && r.pairing == Some(pairing));
                return if same {
                    Ok((RevealReply { state: record.state }, None))
                } else {
                    Err(conflict("different keys were already sent"))
                };
            }
            if tx.knows_node_key(&reveal.node_key)? {
                return Err(conflict("this node key was used for an earlier enrollment"));
            }
            let cards: Vec<Mac> = facts.nics.iter().map(|n| n.mac).collect();
            self.not_denied(tx, &record, &reveal.node_key, &cards)?;
            let state = tx.advance(&record, EnrollmentEvent::Revealed, None, now())?;
            let (recipient, node_key) = (reveal.recipient.clone(), reveal.node_key.clone());
            let revealed = Revealed { recipient, node_key, facts, pairing: Some(pairing) };
            tx.set_revealed(id, &revealed)?;
            if tx.member_of(record.machine)?.is_none() {
                tx.set_facts(record.machine, &revealed.facts)?;
            }
            Ok((RevealReply { state }, Some(record)))
        })?;
        if let Some(record) = record {
            let number = record.number.map(|n| n.to_string()).unwrap_or_default();
            let text = match record.token {
                None => format!("waiting for approval, request from {from}; the code on its console begins with {number}"),
                Some(token) => {
                    let second = if self.token_waits(token)? { ", which waits for a second user" } else { "" };
                    format!("waiting, request from {from} with join token {token}{second}")
                }
            };
            self.note(from, EventKind::EnrollmentPending, &text, Some(&record));
            self.note_rivals(id)?;
        }
        Ok(reply)
    }

    pub fn status_of(&self, id: EnrollmentId) -> Result<StatusReply, ApiError> {
        let record = self.store.read(|tx| tx.enrollment(id))?;
        self.heard(&record);
        let record = self.serve_token(record)?;
        let tell_code = self.wants_code(&record)?;
        let challenge =
            matches!(record.state, EnrollmentState::Approved | EnrollmentState::Issued).then_some(record.challenge).flatten();
        let decision = record.decision.filter(|_| record.state == EnrollmentState::Confirming);
        Ok(StatusReply { state: record.state, offer: decision.map(offer), challenge, reason: record.reason, tell_code })
    }

    /// Issues the sealed identity: to the first claim, and to repetitions of the same claim until the machine's first report.
    /// See docs/adr/0003.
    pub fn hand_out(&self, from: IpAddr, id: EnrollmentId, claim: &Sealed<Claim>) -> Result<ClaimReply, ApiError> {
        let result = self.write(|tx| {
            self.may_issue(tx)?;
            let record = tx.enrollment(id)?;
            let refused = || ApiError::Forbidden { why: "the claim is not signed by the machine that enrolled".to_owned() };
            let claim = claim.open(&node_key(&record)?).map_err(|_| refused())?;
            if claim.enrollment != id || Some(claim.challenge) != record.challenge {
                return Err(refused());
            }
            match record.state {
                EnrollmentState::Approved => {
                    let with = match self.spend_token(tx, &record)? {
                        Ok(with) => with,
                        Err(refused) => return Ok(Err(refused)),
                    };
                    tx.advance(&record, EnrollmentEvent::Issued, None, now())?;
                    tx.set_claim_nonce(id, claim.nonce)?;
                    let text = format!("the identity was issued to {from}{with}");
                    let event = NewEvent {
                        machine: Some(record.machine),
                        enrollment: Some(id),
                        ..NewEvent::new(EventKind::EnrollmentIssued, &text)
                    };
                    tx.event(now_ms(), &event)?;
                }
                EnrollmentState::Issued if record.claim_nonce == Some(claim.nonce) => {}
                _ => return Err(conflict("the identity was already issued")),
            }
            let identity = tx.issued(id)?.ok_or_else(|| conflict("the identity was already issued"))?;
            Ok(Ok(ClaimReply { identity }))
        });
        let result = match result {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(refused)) => {
                self.resign_peers().map_err(unexpected)?;
                Err(ApiError::Forbidden { why: refused })
            }
            Err(e) => Err(e),
        };
        if let Err(error) = &result {
            // Recorded only if an identity is waiting; other claims are only counted.
            let known = self.store.read(|tx| tx.enrollment(id)).ok();
            match known.filter(|r| matches!(r.state, EnrollmentState::Approved | EnrollmentState::Issued)) {
                Some(record) => {
                    let text = format!("a claim of this identity from {from} was refused: {error}");
                    self.note(from, EventKind::EnrollmentClaimRefused, &text, Some(&record));
                }
                None => self.flight.count_refused(),
            }
        }
        result
    }
}
