//! Replacing a node: `seedd node replace`.

use cluster_seed::events::EventKind;
use cluster_seed::ids::Hostname;
use converge::fleet::{Scene, VOTING};
use host::clock::now_ms;
use site::store::Tx;
use site::store::events::NewEvent;
use web::api::ApiError;

/// Writes that a node is about to be replaced.
///
/// # Errors
/// If there is no such node, or, without `force`, if the cluster that it votes in would lose its majority.
pub(crate) fn begin(tx: &Tx<'_>, scene: &Scene, actor: &str, hostname: &Hostname, force: bool) -> Result<(), ApiError> {
    if tx.live_node(hostname)?.is_none() {
        return Err(ApiError::bad(format!("there is no node named {hostname}"), "`seedd node list` lists all nodes"));
    }
    if let Some(v) = scene.voters_without(hostname).filter(|v| !force && !v.majority()) {
        let (healthy, all) = (v.healthy, v.all);
        return Err(ApiError::conflict(
            format!("{healthy} of {all} members of {VOTING} would be healthy without {hostname}: fewer than a majority"),
            "bring another member back first, or restore a snapshot (docs/platform/etcd.md); --force replaces it anyway",
        ));
    }
    let text = format!("{hostname} is being replaced");
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::NodeReplacing, &text) })?;
    Ok(())
}
