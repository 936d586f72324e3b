//! Replacing the keys of nodes: who may ask for it, and each stage in a new version of the signed list (`cluster_seed::rotation`).

use std::collections::BTreeMap;

use cluster_seed::events::EventKind;
use cluster_seed::held::{NextKey, SILENT};
use cluster_seed::ids::{Hostname, NodeId};
use cluster_seed::peers::{PeersFile, Rotating};
use cluster_seed::people::Permission;
use cluster_seed::rotation::{Member, Stage, Step, Turn, steps};
use host::clock::{now, now_ms};
use site::store::Tx;
use site::store::events::NewEvent;
use site::store::nodes::NodeRecord;
use site::store::rotation::RotationRecord;
use web::api::{Actor, ApiError, RotateWish, RotationApi, RotationRow, RotationStage};

use super::records::event_of;
use super::{App, Seed};

impl RotationApi for Seed {
    fn rotations(&self) -> Result<Vec<RotationRow>, ApiError> {
        self.0.view_rotations()
    }

    fn rotate(&self, actor: &Actor, wish: &RotateWish) -> Result<Vec<RotationRow>, ApiError> {
        self.0.rotate_nodes(&actor.must(Permission::Approve)?.user, wish)
    }
}

fn row(r: RotationRecord) -> RotationRow {
    let stage = match r.stage {
        Stage::Queued => RotationStage::Queued,
        Stage::Asked => RotationStage::Asked,
        Stage::Announced => RotationStage::Announced,
        Stage::Switched => RotationStage::Switched,
    };
    RotationRow { node: r.hostname.to_string(), plane: r.plane, stage, since: r.since, actor: r.actor }
}

impl App {
    fn view_rotations(&self) -> Result<Vec<RotationRow>, ApiError> {
        Ok(self.store.read(|tx| tx.rotations())?.into_iter().map(row).collect())
    }

    /// Queues the keys that are meant, and begins.
    fn rotate_nodes(&self, who: &str, wish: &RotateWish) -> Result<Vec<RotationRow>, ApiError> {
        let planes = self.chosen_planes(wish)?;
        // The list cannot be signed by a sealed seed.
        self.with_keys(|_| Ok(()))?;
        self.write(|tx| {
            self.may_issue(tx)?;
            if self.countersigns(tx)? {
                let hint = "replace the node (`seedd node replace`): its new keys are countersigned like those of any new node";
                return Err(ApiError::conflict(
                    "this site has a countersigning key, which signs the keys of each node once",
                    hint,
                ));
            }
            let nodes = self.chosen_nodes(tx, wish)?;
            let mut queued = 0;
            for node in &nodes {
                let mut of_node = Vec::new();
                for plane in planes.iter().filter(|plane| node.planes.contains_key(**plane)) {
                    if tx.queue_rotation(node.id, plane, who, now())? {
                        of_node.push(*plane);
                    }
                }
                queued += of_node.len();
                if !of_node.is_empty() {
                    let text = format!("{}: its keys of {} will be replaced", node.hostname, of_node.join(", "));
                    let record = tx.enrollment(node.enrollment)?;
                    tx.event(now_ms(), &event_of(&record, EventKind::NodeKeyAsked, &text, Some(who)))?;
                }
            }
            if queued == 0 {
                return Err(ApiError::conflict(
                    "these keys are being replaced already",
                    "`seedd plane rotations` shows how far it is",
                ));
            }
            Ok(())
        })?;
        self.turn_keys()?;
        self.view_rotations()
    }

    fn chosen_planes(&self, wish: &RotateWish) -> Result<Vec<&str>, ApiError> {
        let planes = &self.spec.spec.networking.planes;
        let all = wish.node.is_none() && wish.plane.is_none();
        if all != wish.all {
            let hint = "name a node, a plane or both, or ask for all";
            return Err(ApiError::bad("it is not clear which keys are meant", hint));
        }
        match &wish.plane {
            Some(name) => {
                let found = planes.keys().find(|plane| *plane == name);
                Ok(vec![found.ok_or(ApiError::NotFound { what: "plane" })?.as_str()])
            }
            None => Ok(planes.keys().map(String::as_str).collect()),
        }
    }

    fn chosen_nodes(&self, tx: &Tx<'_>, wish: &RotateWish) -> Result<Vec<NodeRecord>, ApiError> {
        let missing = ApiError::NotFound { what: "node" };
        let Some(name) = &wish.node else {
            let all = tx.live_nodes()?;
            return if all.is_empty() { Err(missing) } else { Ok(all) };
        };
        let full = if name.contains('.') { name.clone() } else { format!("{name}.{}", self.spec.spec.networking.domain) };
        let Ok(full) = full.parse::<Hostname>() else { return Err(missing) };
        Ok(vec![tx.live_node(&full)?.ok_or(missing)?])
    }

    /// New keys that a node sent with its report. What was not asked for is ignored: it may be an answer that came twice. So is a key of
    /// the seed: with two peers of one key, WireGuard keeps the addresses of the last, and the members would lose the seed.
    pub(super) fn hear_keys(&self, node: &NodeRecord, next: &BTreeMap<String, NextKey>) -> Result<(), ApiError> {
        if next.is_empty() {
            return Ok(());
        }
        self.with_keys(|keys| {
            self.write(|tx| {
                self.may_issue(tx)?;
                let mut announced = Vec::new();
                for (plane, NextKey { serial, key }) in next {
                    let known = i64::try_from(*serial).is_ok();
                    let seeds = self.public.planes.values().any(|own| own == key);
                    if known && !seeds && tx.announce_rotation(node.id, plane, *serial, key, now())? {
                        announced.push((node.id, plane.clone()));
                    }
                }
                if announced.is_empty() {
                    return Ok(false);
                }
                self.date(tx, keys, &announced).map(|()| true)
            })
        })
        .map(|changed| {
            if changed {
                self.planes_changed.send_modify(|v| *v += 1);
            }
        })
    }

    /// Signs the next list; it brings the stage of these keys.
    fn date(&self, tx: &Tx<'_>, keys: &site::keys::Unsealed, changed: &[(NodeId, String)]) -> Result<(), ApiError> {
        self.sign_peers(tx, keys)?;
        let version = self.held_peers(tx)?.map_or(0, |list| list.version);
        Ok(tx.date_rotations(changed, version)?)
    }

    /// Takes every key one stage further, if its time has come. A sealed seed does it once it is unsealed.
    pub(super) fn turn_keys(&self) -> Result<(), ApiError> {
        if !self.store.read(|tx| tx.rotates())? {
            return Ok(());
        }
        let turned = self.with_keys(|keys| {
            self.write(|tx| {
                self.may_issue(tx)?;
                self.turn(tx, keys)
            })
        });
        match turned {
            Ok(true) => self.planes_changed.send_modify(|v| *v += 1),
            Ok(false) | Err(ApiError::Sealed) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn turn(&self, tx: &Tx<'_>, keys: &site::keys::Unsealed) -> Result<bool, ApiError> {
        let all = tx.rotations()?;
        if self.held_countersigning(tx)?.key.is_some() {
            // Of an old copy of this seed, from before countersigning. A node with a new key would leave the list until it is signed.
            all.iter().try_for_each(|r| tx.end_rotations(r.node))?;
            self.sign_peers(tx, keys)?;
            return Ok(true);
        }
        let turns: Vec<Turn> = all
            .iter()
            .map(|r| Turn { node: r.hostname.clone(), plane: r.plane.clone(), stage: r.stage, version: r.version })
            .collect();
        let epoch = self.epoch(tx)?;
        let mut changed = Vec::new();
        for (at, step) in steps(&turns, &members(tx, epoch)?) {
            let Some(r) = all.get(at) else { continue };
            match step {
                Step::Ask => tx.ask_rotation(r, now())?,
                Step::Switch => tx.switch_rotation(r, now())?,
                Step::Requeue => tx.requeue_rotation(r, now())?,
                Step::Finish => {
                    tx.finish_rotation(r)?;
                    let text = format!("{}: its key of {} was replaced", r.hostname, r.plane);
                    let event = NewEvent { actor: Some(&r.actor), ..NewEvent::new(EventKind::NodeKeyRotated, &text) };
                    tx.event(now_ms(), &event)?;
                }
            }
            changed.push((r.node, r.plane.clone()));
        }
        if changed.is_empty() {
            return Ok(false);
        }
        self.date(tx, keys, &changed).map(|()| true)
    }

    /// The keys that are being replaced, and the nodes that have replaced one, in the list.
    pub(super) fn rotating_into(&self, tx: &Tx<'_>, list: &mut PeersFile) -> Result<(), ApiError> {
        for r in tx.rotations()?.into_iter().filter(|r| r.stage != Stage::Queued) {
            let one = Rotating { serial: r.serial, other: r.other, switched: r.stage == Stage::Switched };
            list.rotating.entry(r.hostname).or_default().insert(r.plane, one);
        }
        list.rotated = tx.rotated_nodes()?.into_iter().collect();
        Ok(())
    }
}

/// Nodes that run. One that reports nothing has no say.
fn members(tx: &Tx<'_>, epoch: u64) -> Result<Vec<Member>, ApiError> {
    let now = now();
    let running = tx.holders()?.into_iter().filter(|h| h.state.boots_from_disk());
    let member = |h: site::store::held::Holder| {
        let held = h.held.filter(|held| held.epoch == epoch);
        // A clock that was set back makes nobody silent.
        let silent = h.held.is_none_or(|held| held.at.saturating_add(SILENT) < now);
        Member { node: h.hostname, held: held.map(|held| held.version), silent }
    };
    Ok(running.map(member).collect())
}
