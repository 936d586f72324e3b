//! Enrollments. Every change of state is a conditional UPDATE whose row count is checked.

use std::net::IpAddr;

use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::identity::SealedIdentity;
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::machine::HardwareFacts;
use cluster_seed::pairing::Nonce;
use rusqlite::{OptionalExtension as _, Row, params};

use super::admission::members;
use super::{StoreError, Tx, parsed};

#[derive(Debug, Clone)]
pub struct EnrollmentRecord {
    pub id: EnrollmentId,
    pub machine: i64,
    pub state: EnrollmentState,
    pub commitment: Digest,
    pub seed_nonce: Nonce,
    pub ip: IpAddr,
    pub revealed: Option<Revealed>,
    pub wrong_codes: u32,
    pub reason: Option<String>,
    pub challenge: Option<Nonce>,
    pub claim_nonce: Option<Nonce>,
    pub last_seq: u64,
    pub written: u64,
    pub total: u64,
    pub rate: u64,
    /// Unix seconds: made, last change of state, last word from the machine.
    pub created: u64,
    pub since: u64,
    pub touched: u64,
}

/// What the machine told when it opened its commitment.
#[derive(Debug, Clone)]
pub struct Revealed {
    pub recipient: String,
    /// ed25519 public key in hex.
    pub node_key: String,
    pub nonce: Nonce,
    pub facts: HardwareFacts,
}

const COLUMNS: &str = "id, machine, state, commitment, seed_nonce, ip, recipient, node_key, nonce, facts, wrong_codes, reason, \
     challenge, claim_nonce, last_seq, written, total, rate, created, since, touched";

fn nonce(text: Option<String>, what: &'static str) -> Result<Option<Nonce>, StoreError> {
    text.map(|t| parsed(&t, what).map(Nonce)).transpose()
}

fn record(r: &Row<'_>) -> Result<EnrollmentRecord, StoreError> {
    let text = |i: usize| r.get::<_, Option<String>>(i);
    let need = |i: usize, what| text(i)?.ok_or(StoreError::Corrupt { what });
    let revealed = match (text(6)?, text(7)?, nonce(text(8)?, "enrollment.nonce")?, text(9)?) {
        (Some(recipient), Some(node_key), Some(nonce), Some(facts)) => {
            let facts = serde_json::from_str(&facts).map_err(|_| StoreError::Corrupt { what: "enrollment.facts" })?;
            Some(Revealed { recipient, node_key, nonce, facts })
        }
        _ => None,
    };
    Ok(EnrollmentRecord {
        id: parsed(&need(0, "enrollment.id")?, "enrollment.id")?,
        machine: r.get(1)?,
        state: parsed(&need(2, "enrollment.state")?, "enrollment.state")?,
        commitment: parsed(&need(3, "enrollment.commitment")?, "enrollment.commitment")?,
        seed_nonce: Nonce(parsed(&need(4, "enrollment.seed_nonce")?, "enrollment.seed_nonce")?),
        ip: parsed(&need(5, "enrollment.ip")?, "enrollment.ip")?,
        revealed,
        wrong_codes: r.get(10)?,
        reason: text(11)?,
        challenge: nonce(text(12)?, "enrollment.challenge")?,
        claim_nonce: nonce(text(13)?, "enrollment.claim_nonce")?,
        last_seq: r.get(14)?,
        written: r.get(15)?,
        total: r.get(16)?,
        rate: r.get(17)?,
        created: r.get(18)?,
        since: r.get(19)?,
        touched: r.get(20)?,
    })
}

impl Tx<'_> {
    pub fn insert_enrollment(
        &self,
        id: EnrollmentId,
        machine: i64,
        commitment: Digest,
        seed_nonce: Nonce,
        ip: IpAddr,
        now: u64,
    ) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT INTO enrollment (id, machine, state, commitment, seed_nonce, ip, created, since, touched)
             VALUES (?1, ?2, 'Discovered', ?3, ?4, ?5, ?6, ?6, ?6)",
            params![id.to_string(), machine, commitment.to_string(), seed_nonce.0.to_string(), ip.to_string(), now],
        )?;
        Ok(())
    }

    pub fn enrollment(&self, id: EnrollmentId) -> Result<EnrollmentRecord, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM enrollment WHERE id = ?1");
        let found = self.tx.query_row(&sql, [id.to_string()], |r| Ok(record(r))).optional()?;
        found.ok_or(StoreError::NotFound("enrollment"))?
    }

    /// A machine's enrollments, the newest first.
    pub fn enrollments_of(&self, machine: i64) -> Result<Vec<EnrollmentRecord>, StoreError> {
        self.enrollments_where("machine = ?1 ORDER BY created DESC, rowid DESC LIMIT 100", machine)
    }

    /// Whether one of a machine's enrollments left a system on its disk that was not revoked since.
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

    /// Enrollments the watchdog looks at: those that wait for a person or for a machine.
    pub fn enrollments_waiting(&self) -> Result<Vec<EnrollmentRecord>, StoreError> {
        self.enrollments_where(
            "state IN ('Discovered','Pending','Approved','Issued','Installing') AND machine > ?1 ORDER BY created",
            -1,
        )
    }

    pub fn every_enrollment(&self) -> Result<Vec<EnrollmentRecord>, StoreError> {
        self.enrollments_where("machine > ?1 ORDER BY rowid", -1)
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

    /// Moves to the state after `event`, from exactly the state that was read. Returns the new state.
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
        let Revealed { recipient, node_key, nonce, .. } = revealed;
        self.tx.execute(
            "UPDATE enrollment SET recipient = ?2, node_key = ?3, nonce = ?4, facts = ?5 WHERE id = ?1",
            params![id.to_string(), recipient, node_key, nonce.0.to_string(), facts],
        )?;
        Ok(())
    }

    /// True if an enrollment with this node key exists.
    pub fn knows_node_key(&self, node_key: &str) -> Result<bool, StoreError> {
        Ok(self.tx.query_row("SELECT count(*) > 0 FROM enrollment WHERE node_key = ?1", [node_key], |r| r.get(0))?)
    }

    /// Counts a wrong code; returns how many there are now.
    pub fn add_wrong_code(&self, id: EnrollmentId) -> Result<u32, StoreError> {
        self.tx.execute("UPDATE enrollment SET wrong_codes = wrong_codes + 1 WHERE id = ?1", [id.to_string()])?;
        Ok(self.tx.query_row("SELECT wrong_codes FROM enrollment WHERE id = ?1", [id.to_string()], |r| r.get(0))?)
    }

    /// Keeps the sealed identity until it is claimed and acknowledged.
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

    /// The machine has it: from now on nobody gets it again.
    pub fn drop_issued(&self, id: EnrollmentId) -> Result<(), StoreError> {
        self.tx.execute("UPDATE enrollment SET issued = NULL WHERE id = ?1", [id.to_string()])?;
        Ok(())
    }

    /// True if `seq` is new; false if it or a later one was seen.
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
