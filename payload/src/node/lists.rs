//! The node's peer list: the node reports which one its kernel has, and gets the seed's if that is a different one.
//!
//! It asks over the control plane first, where only the seed can answer. On the boot network another host can answer in its
//! place and withhold a list with a revocation; but then the seed gets no report of the new list, and shows that.

use std::collections::BTreeMap;

use camino::Utf8Path;
use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::held::{Held, HeldReply, MAX_LIST, Refused};
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{SealError, Sealed, SigningKey, key_from_text};

use crate::epoch::{self, EpochError};
use crate::http::{Http, HttpError, chain};
use crate::node::applied::ListId;
use crate::pinned::PinError;
use crate::state::{NodeDir, StateError};

/// HTTP status of a seed that does not know the node, or has revoked it.
const FORBIDDEN: u16 = 403;

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("fetching the peer list")]
    Fetch(#[from] HttpError),
    #[error("accepting the peer list")]
    State(#[from] StateError),
    #[error("signing what this node holds")]
    Seal(#[from] SealError),
    #[error("storing the epoch")]
    Epoch(#[from] EpochError),
}

/// The node's signing key, and the directory of its list.
pub struct Lists<'a> {
    pub dir: &'a NodeDir,
    pub identity: &'a NodeIdentity,
    pub key: &'a SigningKey,
    /// The list that the kernel has: the one that is reported.
    pub applied: ListId,
}

/// The list after a refresh.
#[derive(Debug, PartialEq, Eq)]
pub struct Refreshed {
    pub peers: PeersFile,
    pub id: ListId,
    /// It differs from the stored one.
    pub changed: bool,
    /// The seed answered over the control plane.
    pub on_plane: bool,
}

/// The seed's URL on the control plane, from the node's list; `None` while the plane's interface does not exist.
pub fn plane_url(root: &Utf8Path, identity: &NodeIdentity, peers: &PeersFile) -> Option<String> {
    if !root.join("sys/class/net").join(CONTROL_PLANE).exists() {
        return None;
    }
    let address = peers.nodes.get(&identity.info.seed_hostname)?.addresses.get(CONTROL_PLANE)?;
    let authority = identity.info.seed_url.strip_prefix("http://")?.split('/').next()?;
    Some(match authority.split_once(':') {
        Some((_, port)) => format!("http://{address}:{port}"),
        None => format!("http://{address}"),
    })
}

impl Lists<'_> {
    /// Asks over the control plane, and on the boot network only if there is no answer.
    ///
    /// # Errors
    /// If the seed cannot be reached, refuses this node, or offers a list that must not replace the stored one.
    pub fn refresh(&self, plane: Option<&Http>, underlay: &Http) -> Result<Refreshed, ListError> {
        if let Some(http) = plane {
            match self.exchange(http) {
                Err(ListError::Fetch(e)) => tracing::warn!(error = %chain(&e), "no peer list over the control plane"),
                other => return other.map(|refreshed| Refreshed { on_plane: true, ..refreshed }),
            }
        }
        match self.exchange(underlay) {
            Err(ListError::Fetch(e)) if e.status() == Some(FORBIDDEN) => Err(self.unknown_to(underlay, e)),
            other => other,
        }
    }

    /// The seed does not know this node. One that another took the place of before this node was installed offers it no list to
    /// refuse, and gets the proof nevertheless.
    fn unknown_to(&self, http: &Http, why: HttpError) -> ListError {
        let Ok(site) = key_from_text(&self.identity.info.site_key) else { return why.into() };
        let Some((seen, proof)) = epoch::seen(self.dir.path(), &site) else { return why.into() };
        match epoch::of_seed(http, &site) {
            Some((epoch, _)) if epoch < seen => {
                epoch::tell(http, &proof);
                StateError::OldEpoch { epoch, seen }.into()
            }
            _ => why.into(),
        }
    }

    /// Tells the seed which list the kernel has, outside of a refresh: which nodes have not received a revocation, or a new key, is
    /// shown and acted on at once. The answer is for the next refresh.
    ///
    /// # Errors
    /// If the seed cannot be reached, or refuses this node.
    pub fn report(&self, plane: Option<&Http>, underlay: &Http) -> Result<(), ListError> {
        let (mine, _) = self.dir.newest(self.identity)?;
        let refused = Refused::entries(&self.dir.refused(self.identity)?);
        if let Some(http) = plane {
            match self.tell(http, &mine, refused.clone()) {
                Err(ListError::Fetch(e)) => tracing::debug!(error = %chain(&e), "no report over the control plane"),
                other => return other.map(drop),
            }
        }
        self.tell(underlay, &mine, refused).map(drop)
    }

    fn exchange(&self, http: &Http) -> Result<Refreshed, ListError> {
        let (mine, sealed) = self.dir.newest(self.identity)?;
        let refused = Refused::entries(&self.dir.refused(self.identity)?);
        if let Some(refused) = &refused {
            tracing::error!(nodes = ?refused.names, more = refused.more, "the seed lists nodes that the offline key did not sign");
        }
        let mut reply = self.tell(http, &mine, refused)?;
        if reply.send {
            // This node may hold a newer list than a seed that was restored from an old copy.
            match http.post_json_within(&self.path("list"), &sealed, MAX_LIST as u64) {
                Ok(HeldReply { peers: Some(list), .. }) => reply.peers = Some(list),
                Ok(_) => {}
                Err(e) => tracing::warn!(error = %chain(&e), "the seed asked for this node's list but did not accept it"),
            }
        }
        let apt = reply.apt.take();
        let changed = match reply.peers {
            Some(list) => self.take(http, &list)?,
            None => false,
        };
        // Only from a seed whose list counts.
        if let Some(Err(e)) = apt.map(|keys| self.dir.accept_apt_keys(self.identity, &keys)) {
            tracing::warn!(error = %chain(&e), "the APT keys of the seed were not accepted");
        }
        let (peers, sealed) = if changed { self.dir.newest(self.identity)? } else { (mine, sealed) };
        Ok(Refreshed { id: ListId::of(&peers, &sealed), peers, changed, on_plane: false })
    }

    /// True if the list is new.
    fn take(&self, http: &Http, list: &Sealed<PeersFile>) -> Result<bool, ListError> {
        match self.accept(http, list) {
            Err(ListError::State(StateError::Countersign(why))) => {
                self.complain(http, &why);
                Err(StateError::Countersign(why).into())
            }
            other => other,
        }
    }

    /// Tells the seed why its list was refused as a whole. One that was taken over may keep that to itself: the log of the node has it.
    fn complain(&self, http: &Http, why: &PinError) {
        let why = chain(why);
        tracing::error!(error = %why, "the peer list of the seed was refused");
        let Ok((mine, _)) = self.dir.newest(self.identity) else { return };
        if let Err(e) = self.tell(http, &mine, Some(Refused::list(&why))) {
            tracing::debug!(error = %chain(&e), "the refusal was not reported");
        }
    }

    fn path(&self, what: &str) -> String {
        format!("/api/v1/agent/{}/{what}", self.identity.info.enrollment)
    }

    /// `newest` is the stored list, which may ask for keys before it is in the kernel.
    fn tell(&self, http: &Http, newest: &PeersFile, refused: Option<Refused>) -> Result<HeldReply, ListError> {
        let held = Held {
            enrollment: self.identity.info.enrollment,
            seq: self.dir.held_number()?,
            epoch: self.applied.epoch,
            version: self.applied.version,
            digest: self.applied.digest,
            // Without them, the report of the list counts all the same.
            next: self.dir.next_keys(self.identity, newest).unwrap_or_else(|e| {
                tracing::error!(error = %chain(&e), "no new key for the seed");
                BTreeMap::new()
            }),
            refused,
        };
        Ok(http.post_json_within(&self.path("held"), &Sealed::sign(&held, self.key)?, MAX_LIST as u64)?)
    }

    /// Stores the list if it may replace the stored one; true if it did.
    fn accept(&self, http: &Http, sealed: &Sealed<PeersFile>) -> Result<bool, ListError> {
        let site = key_from_text(&self.identity.info.site_key).map_err(StateError::from)?;
        let dir = self.dir.path();
        let held = epoch::seen(dir, &site);
        match self.dir.accept_peers(self.identity, sealed) {
            Ok((peers, changed)) => {
                if held.is_none_or(|(seen, _)| seen < peers.epoch)
                    && let Some((_, proof)) = epoch::of_seed(http, &site)
                {
                    epoch::keep(dir, &site, &proof)?;
                }
                Ok(changed)
            }
            Err(e @ (StateError::OldEpoch { .. } | StateError::OldPeers { .. })) => {
                // The seed decides whether this is new to it.
                if let Some((_, proof)) = held {
                    epoch::tell(http, &proof);
                }
                Err(e.into())
            }
            Err(e) => Err(e.into()),
        }
    }
}
