//! Enrollments. Every change of state is a conditional UPDATE whose row count is checked.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::identity::{InstallOrder, SealedIdentity};
use cluster_seed::ids::{Digest, EnrollmentId, Hostname};
use cluster_seed::join::token::TokenId;
use cluster_seed::machine::HardwareFacts;
use cluster_seed::pairing::{Nonce, Number};
use cluster_seed::pake::{Confirmation, PakeMessage};
use cluster_seed::trouble::Trouble;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::admission::members;
use super::{StoreError, Tx, parsed};
use crate::setting;

#[derive(Debug, Clone)]
pub struct EnrollmentRecord {
    pub id: EnrollmentId,
    pub machine: i64,
    pub state: EnrollmentState,
    /// First part of the pairing code; `None` in rows of earlier versions.
    pub number: Option<Number>,
    pub ip: IpAddr,
    /// Named by the machine: the seed then decides, not an operator.
    pub token: Option<TokenId>,
    pub revealed: Option<Revealed>,
    pub decision: Option<Decided>,
    pub wrong_codes: u32,
    pub reason: Option<String>,
    /// The cause of the failure, for code.
    pub trouble: Option<Trouble>,
    pub challenge: Option<Nonce>,
    pub claim_nonce: Option<Nonce>,
    pub last_seq: u64,
    pub written: u64,
    pub total: u64,
    pub rate: u64,
    /// Unix seconds: created, last change of state, last message from the machine.
    pub created: u64,
    pub since: u64,
    pub touched: u64,
}

/// What the machine told in its reveal.
#[derive(Debug, Clone)]
pub struct Revealed {
    pub recipient: String,
    /// ed25519 public key in hex.
    pub node_key: String,
    pub facts: HardwareFacts,
    /// `None` in rows of earlier versions.
    pub pairing: Option<PairingPart>,
}

/// The machine's part of the pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairingPart {
    /// Of the facts as the machine signed them.
    pub facts: Digest,
    pub message: PakeMessage,
}

/// What an operator decided, with the seed's part of the pairing. Nothing is made of it before the machine has confirmed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Who typed the code.
    pub actor: String,
    /// The second person who agreed, where cluster.yaml asks for two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<String>,
    pub hostname: Hostname,
    pub role: String,
    /// Revoke the node that has this name.
    pub replace: bool,
    pub order: InstallOrder,
    pub message: PakeMessage,
    /// The seed's own confirmation, and the one that the machine must send.
    pub confirmation: Confirmation,
    pub expected: Confirmation,
}

/// Enrollments whose public number is in use, as [`EnrollmentState::is_open`] says.
const OPEN: &str = "state IN ('Discovered','Pending','Confirming')";
const COLUMNS: &str = "id, machine, state, number, ip, recipient, node_key, facts, facts_digest, pake, decision, wrong_codes, \
     reason, challenge, claim_nonce, last_seq, written, total, rate, created, since, touched, token, trouble";

fn nonce(text: Option<String>, what: &'static str) -> Result<Option<Nonce>, StoreError> {
    text.map(|t| parsed(&t, what).map(Nonce)).transpose()
}

fn json<T: serde::de::DeserializeOwned>(text: Option<String>, what: &'static str) -> Result<Option<T>, StoreError> {
    text.map(|t| serde_json::from_str(&t)).transpose().map_err(|_| StoreError::Corrupt { what })
}

fn record(r: &Row<'_>) -> Result<EnrollmentRecord, StoreError> {
    let text = |i: usize| r.get::<_, Option<String>>(i);
    let need = |i: usize, what| text(i)?.ok_or(StoreError::Corrupt { what });
    let pairing = match (text(8)?, text(9)?) {
        (Some(facts), Some(message)) => {
            Some(PairingPart { facts: parsed(&facts, "enrollment.facts_digest")?, message: parsed(&message, "enrollment.pake")? })
        }
        _ => None,
    };
    let revealed = match (text(5)?, text(6)?, json(text(7)?, "enrollment.facts")?) {
        (Some(recipient), Some(node_key), Some(facts)) => Some(Revealed { recipient, node_key, facts, pairing }),
        _ => None,
    };
    let number = r.get::<_, Option<u16>>(3)?.map(Number::new).transpose();
    Ok(EnrollmentRecord {
        id: parsed(&need(0, "enrollment.id")?, "enrollment.id")?,
        machine: r.get(1)?,
        state: parsed(&need(2, "enrollment.state")?, "enrollment.state")?,
        number: number.map_err(|_| StoreError::Corrupt { what: "enrollment.number" })?,
        ip: parsed(&need(4, "enrollment.ip")?, "enrollment.ip")?,
        revealed,
        decision: json(text(10)?, "enrollment.decision")?,
        wrong_codes: r.get(11)?,
        reason: text(12)?,
        challenge: nonce(text(13)?, "enrollment.challenge")?,
        claim_nonce: nonce(text(14)?, "enrollment.claim_nonce")?,
        last_seq: r.get(15)?,
        written: r.get(16)?,
        total: r.get(17)?,
        rate: r.get(18)?,
        created: r.get(19)?,
        since: r.get(20)?,
        touched: r.get(21)?,
        token: text(22)?.map(|t| parsed(&t, "enrollment.token")).transpose()?,
        // A word of a later version, in a capsule.
        trouble: text(23)?.map(|t| t.parse().unwrap_or(Trouble::Other)),
    })
}

impl Tx<'_> {
    /// Takes the next public number that no open enrollment has; `None` if all are in use.
    pub fn take_number(&self) -> Result<Option<Number>, StoreError> {
        let last = self.setting(setting::NUMBER)?.and_then(|t| t.parse().ok()).and_then(|n| Number::new(n).ok());
        let mut q = self.tx.prepare_cached(&format!("SELECT number FROM enrollment WHERE number IS NOT NULL AND {OPEN}"))?;
        let taken = q.query_map([], |r| r.get::<_, u16>(0))?.collect::<Result<BTreeSet<_>, _>>()?;
        let number = Number::free(last, &|n| taken.contains(&n.get()));
        if let Some(number) = number {
            self.set(setting::NUMBER, &number.to_string())?;
        }
        Ok(number)
    }

    pub fn insert_enrollment(
        &self,
        id: EnrollmentId,
        machine: i64,
        number: Number,
        ip: IpAddr,
        now: u64,
    ) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT INTO enrollment (id, machine, state, number, ip, created, since, touched)
             VALUES (?1, ?2, 'Discovered', ?3, ?4, ?5, ?5, ?5)",
            params![id.to_string(), machine, number.get(), ip.to_string(), now],
        )?;
        Ok(())
    }

    /// Records that the machine named this token.
    pub fn name_token(&self, id: EnrollmentId, token: TokenId) -> Result<(), StoreError> {
        self.tx.execute("UPDATE enrollment SET token = ?2 WHERE id = ?1", params![id.to_string(), token.to_string()])?;
        Ok(())
    }

    /// How many machines were approved with a token and have not claimed their identity yet.
    pub fn unclaimed_by(&self, token: TokenId) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM enrollment WHERE token = ?1 AND state = 'Approved'";
        Ok(self.tx.query_row(sql, [token.to_string()], |r| r.get(0))?)
    }

    /// Enrollments with a token that wait for the machine's confirmation.
    pub fn confirming_by_token(&self) -> Result<Vec<EnrollmentRecord>, StoreError> {
        self.enrollments_where("token IS NOT NULL AND state = 'Confirming' AND machine > ?1", -1)
    }

    /// The open enrollment that has a public number.
    pub fn enrollment_of_number(&self, number: Number) -> Result<Option<EnrollmentRecord>, StoreError> {
        Ok(self.enrollments_where(&format!("number = ?1 AND {OPEN}"), i64::from(number.get()))?.pop())
    }

    pub fn enrollment(&self, id: EnrollmentId) -> Result<EnrollmentRecord, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM enrollment WHERE id = ?1");
        let found = self.tx.query_row(&sql, [id.to_string()], |r| Ok(record(r))).optional()?;
        found.ok_or(StoreError::NotFound("enrollment"))?
    }

    /// A machine's enrollments, newest first.
    pub fn enrollments_of(&self, machine: i64) -> Result<Vec<EnrollmentRecord>, StoreError> {
        self.enrollments_where("machine = ?1 ORDER BY created DESC, rowid DESC LIMIT 100", machine)
    }

    /// Whether one of a machine's enrollments installed a system on its disk that has not been revoked.
    pub fn holds_an_installed_node(&self, machine: i64) -> Result<bool, StoreError> {
        let states = EnrollmentState::ALL.iter().filter(|s| s.boots_from_disk()).map(|s| format!("'{}'", s.as_str()));
        let states = states.collect::<Vec<_>>().join(",");
        let sql = format!("SELECT EXISTS (SELECT 1 FROM enrollment WHERE machine = ?1 AND state IN ({states}))");
        Ok(self.tx.query_row(&sql, [machine], |row| row.get(0))?)
    }

    /// The enrollment that makes a machine a member, however many others were opened under its MAC address.
    pub fn member_of(&self, machine: i64) -> Result<Option<EnrollmentRecord>, StoreError> {
        let condition = format!("machine = ?1 AND state IN ({}) ORDER BY created DESC, rowid DESC LIMIT 1", members());
        Ok(self.enrollments_where(&condition, machine)?.pop())
    }

    /// Enrollments that wait for a person or for a machine, for the watchdog.
    pub fn enrollments_waiting(&self) -> Result<Vec<EnrollmentRecord>, StoreError> {
        self.enrollments_where(
            "state IN ('Discovered','Pending','Confirming','Approved','Issued','Installing') AND machine > ?1 ORDER BY created, rowid",
            -1,
        )
    }

    pub fn every_enrollment(&self) -> Result<Vec<EnrollmentRecord>, StoreError> {
        self.enrollments_where("machine > ?1 ORDER BY rowid", -1)
    }

    /// `limit` enrollments, newest first, without the newest `skip`; and how many there are.
    pub fn enrollments_page(&self, skip: u32, limit: u32) -> Result<(Vec<EnrollmentRecord>, u32), StoreError> {
        // The rows are wide: only their numbers are sorted.
        let newest = format!("SELECT rowid FROM enrollment ORDER BY created DESC, rowid DESC LIMIT {limit} OFFSET {skip}");
        let rows =
            self.enrollments_where(&format!("machine > ?1 AND rowid IN ({newest}) ORDER BY created DESC, rowid DESC"), -1)?;
        Ok((rows, self.tx.query_row("SELECT count(*) FROM enrollment", [], |r| r.get(0))?))
    }

    fn enrollments_where(&self, condition: &str, value: i64) -> Result<Vec<EnrollmentRecord>, StoreError> {
        let mut q = self.tx.prepare(&format!("SELECT {COLUMNS} FROM enrollment WHERE {condition}"))?;
        let mut rows = q.query([value])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(record(row)?);
        }
        Ok(all)
    }

    /// Moves to the state after `event`, if the state is still the one that was read. Returns the new state.
    pub fn advance(
        &self,
        from: &EnrollmentRecord,
        event: EnrollmentEvent,
        reason: Option<&str>,
        now: u64,
    ) -> Result<EnrollmentState, StoreError> {
        let to = from.state.after(event).map_err(|_| StoreError::Raced("enrollment"))?;
        let changed = self.tx.execute(
            "UPDATE enrollment SET state = ?3, since = ?4, touched = ?4, reason = coalesce(?5, reason)
             WHERE id = ?1 AND state = ?2",
            params![from.id.to_string(), from.state.as_str(), to.as_str(), now, reason],
        )?;
        if changed == 1 { Ok(to) } else { Err(StoreError::Raced("enrollment")) }
    }

    pub fn set_revealed(&self, id: EnrollmentId, revealed: &Revealed) -> Result<(), StoreError> {
        let facts = serde_json::to_string(&revealed.facts).map_err(|_| StoreError::Corrupt { what: "enrollment.facts" })?;
        let Revealed { recipient, node_key, pairing, .. } = revealed;
        let (digest, message) = (pairing.map(|p| p.facts.to_string()), pairing.map(|p| p.message.to_string()));
        self.tx.execute(
            "UPDATE enrollment SET recipient = ?2, node_key = ?3, facts = ?4, facts_digest = ?5, pake = ?6 WHERE id = ?1",
            params![id.to_string(), recipient, node_key, facts, digest, message],
        )?;
        Ok(())
    }

    /// Keeps the decision until the machine has confirmed it.
    pub fn set_decision(&self, id: EnrollmentId, decided: &Decided) -> Result<(), StoreError> {
        let text = serde_json::to_string(decided).map_err(|_| StoreError::Corrupt { what: "enrollment.decision" })?;
        self.tx.execute("UPDATE enrollment SET decision = ?2 WHERE id = ?1", params![id.to_string(), text])?;
        Ok(())
    }

    /// The machine spoke and proved that it is the one.
    pub fn touch_enrollment(&self, id: EnrollmentId, now: u64) -> Result<(), StoreError> {
        self.tx.execute("UPDATE enrollment SET touched = max(touched, ?2) WHERE id = ?1", params![id.to_string(), now])?;
        Ok(())
    }

    /// True if an enrollment with this node key exists.
    pub fn knows_node_key(&self, node_key: &str) -> Result<bool, StoreError> {
        Ok(self.tx.query_row("SELECT count(*) > 0 FROM enrollment WHERE node_key = ?1", [node_key], |r| r.get(0))?)
    }

    /// Counts a wrong code; returns the new count.
    pub fn add_wrong_code(&self, id: EnrollmentId) -> Result<u32, StoreError> {
        self.tx.execute("UPDATE enrollment SET wrong_codes = wrong_codes + 1 WHERE id = ?1", [id.to_string()])?;
        Ok(self.tx.query_row("SELECT wrong_codes FROM enrollment WHERE id = ?1", [id.to_string()], |r| r.get(0))?)
    }

    /// Stores the sealed identity until it is claimed and acknowledged.
    pub fn set_issued(&self, id: EnrollmentId, challenge: Nonce, issued: &SealedIdentity) -> Result<(), StoreError> {
        let text = serde_json::to_string(issued).map_err(|_| StoreError::Corrupt { what: "enrollment.issued" })?;
        self.tx.execute(
            "UPDATE enrollment SET challenge = ?2, issued = ?3 WHERE id = ?1",
            params![id.to_string(), challenge.0.to_string(), text],
        )?;
        Ok(())
    }

    pub fn set_claim_nonce(&self, id: EnrollmentId, nonce: Nonce) -> Result<(), StoreError> {
        let changed = self.tx.execute(
            "UPDATE enrollment SET claim_nonce = ?2 WHERE id = ?1 AND claim_nonce IS NULL",
            params![id.to_string(), nonce.0.to_string()],
        )?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Raced("claim")) }
    }

    pub fn issued(&self, id: EnrollmentId) -> Result<Option<SealedIdentity>, StoreError> {
        let sql = "SELECT issued FROM enrollment WHERE id = ?1";
        let text: Option<Option<String>> = self.tx.query_row(sql, [id.to_string()], |r| r.get(0)).optional()?;
        let bad = |_| StoreError::Corrupt { what: "enrollment.issued" };
        text.flatten().map(|t| serde_json::from_str(&t).map_err(bad)).transpose()
    }

    /// Deletes the sealed identity, because the machine has it; it is never delivered again.
    pub fn drop_issued(&self, id: EnrollmentId) -> Result<(), StoreError> {
        self.tx.execute("UPDATE enrollment SET issued = NULL WHERE id = ?1", [id.to_string()])?;
        Ok(())
    }

    /// True if `seq` is new; false if it or a later one was seen before.
    pub fn take_seq(&self, id: EnrollmentId, seq: u64, ip: IpAddr, now: u64) -> Result<bool, StoreError> {
        let changed = self.tx.execute(
            "UPDATE enrollment SET last_seq = ?2, touched = ?3, ip = ?4 WHERE id = ?1 AND last_seq < ?2",
            params![id.to_string(), seq, now, ip.to_string()],
        )?;
        Ok(changed == 1)
    }

    pub fn set_progress(&self, id: EnrollmentId, written: u64, total: u64, rate: u64) -> Result<(), StoreError> {
        self.tx.execute(
            "UPDATE enrollment SET written = ?2, total = ?3, rate = ?4 WHERE id = ?1",
            params![id.to_string(), written, total, rate],
        )?;
        Ok(())
    }
}
