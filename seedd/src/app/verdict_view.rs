//! What an operator said about machines, as the web interface shows it.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::fleet::Stage;
use cluster_seed::ids::Mac;
use host::clock::now;
use site::store::Tx;
use site::verdicts::{self, Said, Verdict};
use web::api::{ApiError, VerdictView};

/// For a list of machines.
pub(super) fn of_all(tx: &Tx<'_>) -> Result<BTreeMap<Mac, Verdict>, ApiError> {
    Ok(verdicts::all(tx, now())?.into_iter().collect())
}

/// Machines that wait for approval, but not for an operator now: they were set aside. `enrollment.maxPending` bounds those that wait.
pub(super) fn aside(tx: &Tx<'_>) -> Result<BTreeSet<i64>, ApiError> {
    let said = of_all(tx)?;
    if said.is_empty() {
        return Ok(BTreeSet::new());
    }
    let waiting = tx.fleet_oldest(Stage::Waiting, u32::MAX)?.into_iter();
    Ok(waiting.filter(|(row, _)| said.contains_key(&row.mac)).map(|(row, _)| row.machine).collect())
}

/// `aside` as a number.
pub(super) fn number(aside: &BTreeSet<i64>) -> u32 {
    u32::try_from(aside.len()).unwrap_or(u32::MAX)
}

pub(super) fn view(mac: Mac, verdict: Verdict, machine: Option<i64>) -> VerdictView {
    let Verdict { said, by, at, reason, .. } = verdict;
    let (denied, until) = match said {
        Said::Denied => (true, None),
        Said::NotNow { until } => (false, Some(until)),
    };
    VerdictView { mac, denied, by, at, until, reason, machine }
}
