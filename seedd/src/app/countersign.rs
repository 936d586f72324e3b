//! Countersigning: approved nodes wait for a signature of the key that is kept off the seed, and enter the peer list with it.
//! See docs/adr/0037.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use cluster_seed::countersign::file::{Answer, FORMAT, MAX_FILE, Request};
use cluster_seed::countersign::state::{Approved, Composed, State, StateError};
use cluster_seed::countersign::statement::{NodeStatement, fingerprint};
use cluster_seed::events::EventKind;
use cluster_seed::held::Refused;
use cluster_seed::ids::{Digest, Hostname};
use cluster_seed::machine::tame;
use cluster_seed::peers::{PeerNode, PeersFile};
use cluster_seed::people::Permission;
use host::clock::now_ms;
use site::mode::Mode;
use site::setting;
use site::store::Tx;
use site::store::events::NewEvent;
use site::store::nodes::NodeRecord;
use web::api::{Actor, ApiError, CountersignApi, CountersignTaken, CountersignText, CountersignView, CountersignWaiting};

use super::lists::some_of;
use super::records::event_of;
use super::{App, Seed, unexpected};

impl CountersignApi for Seed {
    fn countersign(&self) -> Result<CountersignView, ApiError> {
        self.0.store.read(|tx| self.0.view_countersign(tx))
    }

    fn countersign_request(&self, all: bool) -> Result<CountersignText, ApiError> {
        self.0.countersign_request(all)
    }

    fn take_countersignatures(&self, actor: &Actor, text: &str) -> Result<CountersignTaken, ApiError> {
        self.0.take_countersignatures(actor.must(Permission::Approve)?, text)
    }
}

/// What an answer brought.
#[derive(Default)]
struct Brought {
    signed: Vec<Hostname>,
    outdated: Vec<Hostname>,
    change: bool,
}

impl App {
    pub(super) fn held_countersigning(&self, tx: &Tx<'_>) -> Result<State, ApiError> {
        let held = tx.setting(setting::COUNTERSIGN)?.map(|text| serde_json::from_str(&text));
        Ok(held.transpose().map_err(unexpected)?.unwrap_or_default())
    }

    /// The key of cluster.yaml.
    fn wanted_key(&self) -> Option<&str> {
        self.spec.spec.enrollment.countersign.as_ref().map(|c| c.key.value.as_str())
    }

    /// The key of cluster.yaml, once no key of a node is being replaced: such a node has two keys, and the offline key signs one.
    fn key_to_begin_with(&self, tx: &Tx<'_>) -> Result<Option<&str>, ApiError> {
        Ok(if tx.rotates()? { None } else { self.wanted_key() })
    }

    /// With the key of cluster.yaml, if the site has none in force.
    fn countersigning(&self, tx: &Tx<'_>) -> Result<State, ApiError> {
        Ok(self.held_countersigning(tx)?.with_first_key(self.key_to_begin_with(tx)?))
    }

    /// The nodes of the next list. `held` is the list in use.
    pub(super) fn compose_peers(&self, tx: &Tx<'_>, approved: Approved, held: Option<&PeersFile>) -> Result<Composed, ApiError> {
        let wanted = self.key_to_begin_with(tx)?;
        Ok(self.held_countersigning(tx)?.compose(wanted, &self.site_key, approved, held))
    }

    /// Whether the site has a countersigning key, in force or in cluster.yaml.
    pub(super) fn countersigns(&self, tx: &Tx<'_>) -> Result<bool, ApiError> {
        Ok(self.wanted_key().is_some() || self.held_countersigning(tx)?.key.is_some())
    }

    /// Kept from the first list on: a key that is taken out of cluster.yaml stays in force, since nodes ask for it.
    pub(super) fn keep_countersigning(&self, tx: &Tx<'_>, state: &State) -> Result<(), ApiError> {
        if *state == State::default() {
            return Ok(());
        }
        Ok(tx.set(setting::COUNTERSIGN, &serde_json::to_string(state).map_err(unexpected)?)?)
    }

    /// The node's entry in the peer list.
    pub(super) fn peer_of(&self, node: &NodeRecord) -> PeerNode {
        let underlay = self.spec.spec.networking.underlay.subnet;
        PeerNode {
            // A node last seen in another underlay has to contact the seed first; its report contains the new address.
            endpoint: node.endpoint.filter(|ip| underlay.contains(ip)),
            role: node.role.clone(),
            keys: node.planes.iter().map(|(n, (_, key))| (n.clone(), *key)).collect(),
            addresses: node.planes.iter().map(|(n, (ip, _))| (n.clone(), *ip)).collect(),
        }
    }

    fn approved(&self, tx: &Tx<'_>) -> Result<Approved, ApiError> {
        Ok(tx.live_nodes()?.into_iter().map(|node| (node.hostname.clone(), (node.id, self.peer_of(&node)))).collect())
    }

    /// Nodes that a key has not signed.
    fn unsigned(&self, tx: &Tx<'_>, state: &State, key: &str) -> Result<Approved, ApiError> {
        let mut all = self.approved(tx)?;
        all.retain(|name, entry| !state.has(key, &self.site_key, name, entry));
        Ok(all)
    }

    /// Whether this node is approved and not among the peers, because the countersigning key has not signed it.
    pub(super) fn is_unsigned(&self, tx: &Tx<'_>, name: &Hostname) -> Result<bool, ApiError> {
        if self.countersigning(tx)?.key.is_none() {
            return Ok(false);
        }
        Ok(self.held_peers(tx)?.is_some_and(|list| !list.nodes.contains_key(name)))
    }

    fn view_countersign(&self, tx: &Tx<'_>) -> Result<CountersignView, ApiError> {
        let state = self.countersigning(tx)?;
        let next = state.next_key(&self.site_key);
        let held = self.held_peers(tx)?;
        let waiting = match next.as_ref().or(state.key.as_ref()) {
            Some(key) => self.unsigned(tx, &state, key)?,
            None => BTreeMap::new(),
        };
        let listed = |name: &Hostname| held.as_ref().is_some_and(|list| list.nodes.contains_key(name));
        let line = |(name, (_, node)): (Hostname, (_, PeerNode))| CountersignWaiting {
            fingerprint: fingerprint(&self.public.site, &name, &node.role, &node.keys),
            role: node.role,
            listed: listed(&name),
            name,
        };
        Ok(CountersignView {
            problem: self.countersign_problem(&state),
            checked: held.as_ref().and_then(|list| list.countersign.as_ref()).is_some_and(|c| c.key.is_some()),
            key: state.key,
            serial: state.serial,
            next,
            waiting: waiting.into_iter().map(line).collect(),
        })
    }

    fn countersign_problem(&self, state: &State) -> Option<String> {
        let wanted = self.wanted_key();
        let Some(held) = state.key.as_deref() else {
            let key = wanted?;
            let may_begin = state.clone().with_first_key(Some(key)).key.is_some();
            return Some(if may_begin {
                "keys of nodes are being replaced (`seedd plane rotations`): the countersigning key of cluster.yaml takes effect afterwards"
                    .to_owned()
            } else {
                format!(
                    "cluster.yaml has the countersigning key {key}, which was ended or replaced here and does not take effect again: remove it, or make another one (`seedd countersign keygen`)"
                )
            });
        };
        let next = state.next_key(&self.site_key);
        match wanted {
            Some(key) if key == held || next.as_deref() == Some(key) => None,
            Some(_) => Some(format!(
                "cluster.yaml has another countersigning key than {held}, which stays in force: nodes take another one only by a statement that the old one signed (`seedd countersign replace`)"
            )),
            None => Some(format!(
                "cluster.yaml no longer has a countersigning key, and {held} stays in force: only its own statement ends it (`seedd countersign replace --end`)"
            )),
        }
    }

    /// For the top of every page.
    pub(super) fn countersign_warnings(&self, tx: &Tx<'_>) -> Result<Vec<String>, ApiError> {
        let held = tx.setting(setting::COUNTERSIGN)?;
        if held.is_none() && self.spec.spec.enrollment.countersign.is_none() {
            return Ok(Vec::new());
        }
        // Every page asks, and with thousands of nodes it is a lot to compare.
        let of = Digest::of(held.unwrap_or_default().as_bytes());
        let of = format!("{of} {} {:?}", tx.count_live_nodes()?, tx.setting(setting::PEERS_SIGNED)?);
        let mut said = self.countersign_said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, warnings)) = said.as_ref().filter(|(same, _)| *same == of) {
            return Ok(warnings.clone());
        }
        let warnings = self.look_for_unsigned(tx)?;
        *said = Some((of, warnings.clone()));
        Ok(warnings)
    }

    fn look_for_unsigned(&self, tx: &Tx<'_>) -> Result<Vec<String>, ApiError> {
        let state = self.countersigning(tx)?;
        let Some(key) = state.next_key(&self.site_key).or_else(|| state.key.clone()) else { return Ok(Vec::new()) };
        let mut all: Vec<String> = self.countersign_problem(&state).into_iter().collect();
        let waiting: Vec<Hostname> = self.unsigned(tx, &state, &key)?.into_keys().collect();
        if !waiting.is_empty() {
            let (n, names) = (waiting.len(), some_of(&waiting));
            all.push(format!("{n} nodes wait for their countersignature ({names}): run `seedd countersign export`"));
        }
        Ok(all)
    }

    fn countersign_request(&self, all: bool) -> Result<CountersignText, ApiError> {
        let request = self.store.read(|tx| {
            let state = self.countersigning(tx)?;
            let none = || {
                ApiError::conflict("this site has no countersigning key", "put it into cluster.yaml: enrollment.countersign.key")
            };
            let key = state.next_key(&self.site_key).or_else(|| state.key.clone()).ok_or_else(none)?;
            let nodes = if all { self.approved(tx)? } else { self.unsigned(tx, &state, &key)? };
            let number = (self.epoch(tx)?, self.held_peers(tx)?.map_or(0, |list| list.version));
            let statement =
                |(name, (_, node)): (&Hostname, &(_, PeerNode))| NodeStatement::of(&self.site_key, name, node, number);
            Ok::<_, ApiError>(Request {
                format: FORMAT,
                name: self.spec.metadata.name.clone(),
                site: self.public.site.clone(),
                key,
                serial: state.serial,
                nodes: nodes.iter().map(statement).collect(),
            })
        })?;
        let text = serde_json::to_string_pretty(&request).map_err(unexpected)?;
        Ok(CountersignText { text: format!("{text}\n") })
    }

    fn take_countersignatures(&self, actor: &Actor, text: &str) -> Result<CountersignTaken, ApiError> {
        if text.len() > MAX_FILE {
            return Err(ApiError::bad(format!("the answer has more than {MAX_FILE} bytes"), "sign fewer nodes at a time"));
        }
        let bad = |e: serde_json::Error| {
            ApiError::bad(
                format!("this is not an answer of the countersigning key: {e}"),
                "choose the file that `seedd countersign sign` wrote",
            )
        };
        let answer: Answer = serde_json::from_str(text).map_err(bad)?;
        if answer.format != FORMAT {
            return Err(ApiError::bad(
                format!("this is format {} of an answer, and this seed reads {FORMAT}", answer.format),
                "",
            ));
        }
        if answer.site != self.public.site {
            return Err(ApiError::bad("the answer is for another site", "its request was exported by another seed"));
        }
        super::mode::may_issue(self.mode()?)?;
        let brought = self.write(|tx| self.take_answer(tx, actor, &answer))?;
        self.resign_peers().map_err(unexpected)?;
        let Brought { signed, outdated, change } = brought;
        Ok(CountersignTaken { signed, outdated, change })
    }

    fn take_answer(&self, tx: &Tx<'_>, actor: &Actor, answer: &Answer) -> Result<Brought, ApiError> {
        if Mode::of(tx)? != Mode::Active {
            return Err(ApiError::conflict("this seed does not sign peer lists", "import the answer at the active seed"));
        }
        let refused = |e: StateError| {
            let hint = "`seedd countersign show` says which key is in force";
            ApiError::bad(format!("the answer was refused: {}", hinted(&e)), hint)
        };
        let mut state = self.countersigning(tx)?;
        let mut brought = Brought::default();
        let say = |kind, text: &str| tx.event(now_ms(), &NewEvent { actor: Some(&actor.user), ..NewEvent::new(kind, text) });
        if let Some(change) = &answer.change {
            state.take_change(change, &self.site_key).map_err(refused)?;
            brought.change = true;
            let text = match state.next_key(&self.site_key) {
                Some(next) => format!("the countersigning key hands over to {next}, once that has signed every node"),
                None => "the countersigning key ended countersigning by its own statement".to_owned(),
            };
            say(EventKind::CountersignKey, &text)?;
        }
        let approved = self.approved(tx)?;
        for signed in &answer.nodes {
            let (statement, signature) = (&signed.statement, &signed.signature);
            // What was signed is what the list would say now: another key, role or address is another node.
            let now = |(_, node): &&(_, PeerNode)| {
                NodeStatement::of(&self.site_key, &statement.name, node, signature.number()) == *statement
            };
            let Some((id, _)) = approved.get(&statement.name).filter(now) else {
                brought.outdated.push(statement.name.clone());
                continue;
            };
            state.take(&self.site_key, *id, statement, (&answer.key, signature)).map_err(refused)?;
            brought.signed.push(statement.name.clone());
        }
        if !brought.signed.is_empty() {
            say(EventKind::CountersignTaken, &format!("countersigned: {}", some_of(&brought.signed)))?;
        }
        self.keep_countersigning(tx, &state)?;
        Ok(brought)
    }

    /// A node refused the list or entries of it. One event for each different refusal.
    pub(super) fn note_refused(&self, tx: &Tx<'_>, node: &NodeRecord, refused: &Refused) -> Result<(), ApiError> {
        let names = some_of(&refused.names);
        let text = match refused.names.is_empty() {
            true => format!("{} refused this seed's peer list: {}", node.hostname, tame(&refused.why)),
            false => {
                format!("{} refused entries of the peer list that the countersigning key did not sign: {names}", node.hostname)
            }
        };
        let record = tx.enrollment(node.enrollment)?;
        tx.event(now_ms(), &event_of(&record, EventKind::CountersignRefused, &text, None))?;
        Ok(())
    }
}

fn hinted(error: &StateError) -> String {
    match error {
        StateError::Seal(cause) => format!("{error}: {cause}"),
        other => other.to_string(),
    }
}
