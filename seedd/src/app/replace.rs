//! Replacing a node: `seedd node replace`.

use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Hostname};
use converge::fleet::{Scene, VOTING};
use host::clock::{now, now_ms};
use site::setting;
use site::store::events::NewEvent;
use site::store::{StoreError, Tx};
use web::api::ApiError;

/// Seconds after the beginning of a replacement during which the node's machine boots the agent instead of its disk.
const BOOTS_AGENT: u64 = 3600;

fn key(enrollment: EnrollmentId) -> String {
    format!("{}{enrollment}", setting::REPLACING)
}

/// Whether the machine is a node whose replacement began within the last hour. The node that takes its place has an enrollment of its
/// own, so it boots its disk as soon as it is installed. `now` in Unix seconds.
///
/// # Errors
/// If the database cannot be read.
pub(super) fn boots_agent(tx: &Tx<'_>, machine: i64, now: u64) -> Result<bool, StoreError> {
    let Some(member) = tx.member_of(machine)? else { return Ok(false) };
    let began: Option<u64> = tx.setting(&key(member.id))?.and_then(|text| text.parse().ok());
    Ok(began.is_some_and(|at| now.saturating_sub(at) <= BOOTS_AGENT))
}

/// Writes that a node is about to be replaced. For an hour its machine may be installed again: started from the network, it boots
/// the agent.
///
/// # Errors
/// If there is no such node, or, without `force`, if the cluster that it votes in would lose its majority.
pub(crate) fn begin(tx: &Tx<'_>, scene: &Scene, actor: &str, hostname: &Hostname, force: bool) -> Result<(), ApiError> {
    let Some(old) = tx.live_node(hostname)? else {
        return Err(ApiError::bad(format!("there is no node named {hostname}"), "`seedd node list` lists all nodes"));
    };
    if let Some(v) = scene.voters_without(hostname).filter(|v| !force && !v.majority()) {
        let (healthy, all) = (v.healthy, v.all);
        return Err(ApiError::conflict(
            format!("{healthy} of {all} members of {VOTING} would be healthy without {hostname}: fewer than a majority"),
            "bring another member back first, or restore a snapshot (docs/platform/etcd.md); --force replaces it anyway",
        ));
    }
    for (held, at) in tx.settings_under(setting::REPLACING)? {
        if !at.parse().is_ok_and(|at: u64| now().saturating_sub(at) <= BOOTS_AGENT) {
            tx.unset(&held)?;
        }
    }
    tx.set(&key(old.enrollment), &now().to_string())?;
    let text = format!("{hostname} is being replaced");
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::NodeReplacing, &text) })?;
    Ok(())
}
