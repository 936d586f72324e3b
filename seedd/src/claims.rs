//! Which machines claim a row of the plan. A serial number and a MAC address are claims that any host can make: with a second
//! claimant, nobody knows which one is the planned machine, and an operator has to choose.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::pairing::Number;
use cluster_seed::plan::Plan;
use site::store::enrollments::EnrollmentRecord;
use site::store::{StoreError, Tx};
use web::api::ClaimantView;

/// The claimants of each row, oldest request first, by the name of the row.
pub type Claims = BTreeMap<String, Vec<Claim>>;

/// A request for a row of the plan.
#[derive(Debug, Clone)]
pub struct Claim {
    pub record: EnrollmentRecord,
    pub mac: Mac,
}

impl Claim {
    /// Its code was typed, and the machine checks it.
    fn is_chosen(&self) -> bool {
        self.record.state == EnrollmentState::Confirming
    }

    pub fn view(&self) -> ClaimantView {
        let facts = self.record.revealed.as_ref().map(|r| &r.facts);
        ClaimantView {
            machine: self.record.machine,
            enrollment: self.record.id,
            mac: self.mac,
            serial: facts.map(|f| f.serial.clone()).unwrap_or_default(),
            model: facts.map(|f| format!("{} {}", f.vendor, f.product).trim().to_owned()).unwrap_or_default(),
            address: self.record.ip,
            number: self.record.number.map(Number::get),
            since: self.record.created,
            chosen: self.is_chosen(),
        }
    }
}

/// Every request that waits for an operator, or for the machine to confirm the code that was typed, by the row that it claims.
/// Those in `gone` do not poll any more: a machine that was restarted asks again, with other keys.
pub fn of_all(tx: &Tx<'_>, plan: &Plan, gone: &BTreeSet<EnrollmentId>) -> Result<Claims, StoreError> {
    let mut claims = Claims::new();
    if plan.is_empty() {
        return Ok(claims);
    }
    for record in tx.enrollments_waiting()? {
        let claims_now = match record.state {
            EnrollmentState::Pending => !gone.contains(&record.id),
            EnrollmentState::Confirming => true,
            _ => false,
        };
        if !claims_now || record.token.is_some() {
            continue;
        }
        let Some(revealed) = record.revealed.as_ref() else { continue };
        let mac = tx.machine(record.machine)?.mac;
        let Some(found) = plan.find(&revealed.facts, mac) else { continue };
        let name = found.row.name.clone();
        claims.entry(name).or_default().push(Claim { record, mac });
    }
    Ok(claims)
}
