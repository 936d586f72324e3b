//! What an operator said about machines, as the web interface shows it.

use std::collections::BTreeMap;

use cluster_seed::ids::Mac;
use host::clock::now;
use site::store::Tx;
use site::verdicts::{self, Said, Verdict};
use web::api::{ApiError, VerdictView};

/// For a list of machines.
pub(super) fn of_all(tx: &Tx<'_>) -> Result<BTreeMap<Mac, Verdict>, ApiError> {
    Ok(verdicts::all(tx, now())?.into_iter().collect())
}

pub(super) fn view(mac: Mac, verdict: Verdict, machine: Option<i64>) -> VerdictView {
    let Verdict { said, by, at, reason, .. } = verdict;
    let (denied, until) = match said {
        Said::Denied => (true, None),
        Said::NotNow { until } => (false, Some(until)),
    };
    VerdictView { mac, denied, by, at, until, reason, machine }
}
