//! What an operator does: run again, check, pause, go on.

use std::collections::BTreeSet;

use cluster_seed::converge::stage::Paused;
use cluster_seed::events::EventKind;
use cluster_seed::ids::Hostname;
use converge::fleet::{Scene, paused};
use host::clock::{now, now_ms};
use site::setting;
use site::store::Tx;
use site::store::events::NewEvent;
use web::api::{ApiError, ConvergeAct, ConvergeWhat};

use super::super::App;

fn number(tx: &Tx<'_>, key: &str) -> Result<u64, ApiError> {
    Ok(tx.setting(key)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

impl App {
    pub fn act_on_converge(&self, who: &str, act: &ConvergeAct) -> Result<(), ApiError> {
        self.write(|tx| {
            self.may_issue(tx)?;
            let scene = self.scene(tx)?;
            if let Some(role) = act.role.as_ref().filter(|r| !scene.roles.contains_key(*r)) {
                return Err(ApiError::bad(format!("there is no role {role:?}"), "roles are in cluster.yaml"));
            }
            let (kind, text) = match act.what {
                ConvergeWhat::Run => (EventKind::ConvergeAsked, self.run_again(tx, &scene, act)?),
                ConvergeWhat::Check => (EventKind::ConvergeAsked, self.check_again(tx, &scene, act)?),
                ConvergeWhat::Pause => (EventKind::ConvergePaused, pause(tx, act, true)?),
                ConvergeWhat::Resume => (EventKind::ConvergeResumed, pause(tx, act, false)?),
            };
            tx.event(now_ms(), &NewEvent { actor: Some(who), ..NewEvent::new(kind, &text) })?;
            Ok(())
        })
    }

    /// Another attempt: of one node, of a role, or of every node.
    fn run_again(&self, tx: &Tx<'_>, scene: &Scene, act: &ConvergeAct) -> Result<String, ApiError> {
        if let Some(name) = &act.node {
            let node = find(scene, &self.full_name(name)?)?;
            let mut record = node.record.clone();
            record.extra += 1;
            record.granted = None;
            tx.set_converge(node.node.id, &record)?;
            return Ok(format!("another run of {}", node.node.hostname));
        }
        for role in roles(scene, act) {
            let key = format!("{}{role}", setting::CONVERGE_ATTEMPT);
            tx.set(&key, &(number(tx, &key)? + 1).to_string())?;
        }
        Ok(format!("another run of {}", act.role.as_ref().map_or("every role".to_owned(), |r| format!("role {r}"))))
    }

    fn check_again(&self, tx: &Tx<'_>, scene: &Scene, act: &ConvergeAct) -> Result<String, ApiError> {
        if let Some(name) = &act.node {
            let node = find(scene, &self.full_name(name)?)?;
            let mut record = node.record.clone();
            record.check_asked = now().max(record.check_attempt + 1);
            tx.set_converge(node.node.id, &record)?;
            return Ok(format!("check run of {}", node.node.hostname));
        }
        for role in roles(scene, act) {
            let key = format!("{}{role}", setting::CONVERGE_CHECK);
            tx.set(&key, &(number(tx, &key)? + 1).max(now()).to_string())?;
        }
        Ok(format!("check run of {}", act.role.as_ref().map_or("every role".to_owned(), |r| format!("role {r}"))))
    }
}

fn find<'s>(scene: &'s Scene, name: &Hostname) -> Result<&'s site::store::converge::Converging, ApiError> {
    let found = scene.nodes.iter().find(|n| n.node.hostname == *name);
    found.ok_or_else(|| ApiError::bad(format!("there is no node named {name}"), "`seedd node list` lists all nodes"))
}

fn roles<'s>(scene: &'s Scene, act: &ConvergeAct) -> BTreeSet<&'s String> {
    scene.roles.keys().filter(|name| act.role.as_ref().is_none_or(|only| only == *name)).collect()
}

fn pause(tx: &Tx<'_>, act: &ConvergeAct, stop: bool) -> Result<String, ApiError> {
    let mut held = paused(tx)?;
    match (&act.role, stop) {
        (Some(role), true) => drop(held.roles.insert(role.clone())),
        (Some(role), false) => drop(held.roles.remove(role)),
        (None, true) => held.all = true,
        (None, false) => held = Paused::default(),
    }
    let text = serde_json::to_string(&held).map_err(super::super::unexpected)?;
    tx.set(setting::CONVERGE_PAUSED, &text)?;
    let whom = act.role.as_ref().map_or("every role".to_owned(), |r| format!("role {r}"));
    Ok(format!("changes of {whom} {}", if stop { "paused" } else { "resumed" }))
}
