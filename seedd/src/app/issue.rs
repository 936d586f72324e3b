//! Issuing identities: keys, addresses, the sealed identity, and the signed peer list.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Result;
use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::cluster::{CONTROL_PLANE, PlaneSpec};
use cluster_seed::converge::platform::is_kubernetes;
use cluster_seed::converge::role::resolve;
use cluster_seed::countersign::state::{Composed, State};
use cluster_seed::events::EventKind;
use cluster_seed::identity::{DarksiteSource, IdentityInfo, InstallOrder, IssuedIdentity, NodeIdentity, PlaneAddress};
use cluster_seed::ids::{Hostname, NodeId};
use cluster_seed::pairing::Nonce;
use cluster_seed::peers::{PeerNode, PeerPlane, PeersFile, Pods, SEED_ROLE};
use cluster_seed::planes::{BACKEND_PLANE, Reasoned};
use cluster_seed::seal::Sealed;
use cluster_seed::wireguard::WgPrivateKey;
use host::clock::{now, now_ms};
use host::random;
use ipnet::Ipv4Net;
use site::grub::GrubPassword;
use site::keys::Unsealed;
use site::mode::Mode;
use site::setting;
use site::store::Tx;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use site::store::nodes::NodeRecord;
use web::api::ApiError;
use zeroize::Zeroizing;

use super::{App, unexpected};
use crate::upstream::upstream_sources;

/// The operator's decision.
pub struct Minted<'a> {
    pub hostname: &'a Hostname,
    pub role: &'a str,
    pub host: u32,
    pub endpoint: Option<Ipv4Addr>,
    pub order: &'a InstallOrder,
}

impl App {
    pub fn epoch(&self, tx: &Tx<'_>) -> Result<u64, ApiError> {
        Ok(tx.epoch()?)
    }

    /// Creates the node's row, its keys, and the sealed identity for its claim. The private keys exist only inside this
    /// function: it stores age ciphertext for the machine and for the vault.
    pub fn mint(&self, tx: &Tx<'_>, keys: &Unsealed, record: &EnrollmentRecord, minted: &Minted<'_>) -> Result<(), ApiError> {
        let revealed = record
            .revealed
            .as_ref()
            .ok_or_else(|| ApiError::Internal("issuing an identity requires the site's keys".to_owned()))?;
        let mut id = [0u8; 16];
        id.copy_from_slice(&random::bytes::<16>().map_err(unexpected)?);
        let mut private = BTreeMap::new();
        let mut planes = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (name, plane) in &self.spec.spec.networking.planes {
            let key = WgPrivateKey::from_random(random::bytes::<32>().map_err(unexpected)?);
            let own = address(name, plane.value.cidr, minted.host).map_err(unexpected)?;
            planes.insert(name.clone(), (own, key.public()));
            places.insert(name.clone(), PlaneAddress { cidr: plane.value.cidr, address: own, port: plane.value.port });
            private.insert(name.clone(), key);
        }
        let node = NodeRecord {
            id: NodeId(id),
            enrollment: record.id,
            hostname: minted.hostname.clone(),
            role: minted.role.to_owned(),
            host: minted.host,
            artifact: minted.order.artifact,
            endpoint: minted.endpoint,
            planes,
            revoked: false,
        };
        // Insert the node first: its identity contains the peer list, which must include it.
        tx.insert_node(&node, &[])?;
        let peers = self.sign_peers(tx, keys)?;
        let info = IdentityInfo {
            node: node.id,
            enrollment: record.id,
            site: self.spec.metadata.name.to_string(),
            epoch: self.epoch(tx)?,
            site_key: self.public.site.clone(),
            hostname: node.hostname.clone(),
            role: node.role.clone(),
            seed_url: self.seed_url(),
            seed_hostname: self.seed_name.clone(),
            planes: places,
            authorized_keys: self.spec.spec.ssh.authorized_keys.clone(),
            darksite: self.darksite_source(tx)?,
            peers,
            grub: Some(self.grub_password(tx)?.hash),
            apt: Some(self.sign_apt_keys(tx, &keys.site)?),
            operator: Some(self.public.operator.clone()),
        };
        let identity = NodeIdentity { info, keys: private };
        let for_machine = identity.seal_to(&revealed.recipient).map_err(unexpected)?;
        let for_vault = identity.seal_to(&self.public.vault).map_err(unexpected)?;
        tx.set_vault(node.id, &for_vault)?;
        let issued = IssuedIdentity::new(record.id, self.epoch(tx)?, minted.order.clone(), &for_machine);
        let sealed = Sealed::sign(&issued, &keys.site).map_err(unexpected)?;
        let challenge = Nonce::from_random(random::bytes::<32>().map_err(unexpected)?);
        Ok(tx.set_issued(record.id, challenge, &sealed)?)
    }

    /// The password of GRUB's editor on every node; drawn when the first one needs it.
    pub(super) fn grub_password(&self, tx: &Tx<'_>) -> Result<GrubPassword, ApiError> {
        if let Some(held) = tx.setting(setting::GRUB_PASSWORD)? {
            return serde_json::from_str(&held).map_err(unexpected);
        }
        let drawn = GrubPassword::draw(&self.public.vault).map_err(unexpected)?;
        tx.set(setting::GRUB_PASSWORD, &serde_json::to_string(&drawn).map_err(unexpected)?)?;
        Ok(drawn)
    }

    /// The password in clear, and that somebody has seen it in the log.
    pub fn show_grub_password(&self, who: &str) -> Result<Zeroizing<String>, ApiError> {
        self.with_keys(|keys| {
            self.write(|tx| {
                let password = self.grub_password(tx)?.open(&keys.vault).map_err(unexpected)?;
                let text = String::from_utf8(password.expose().to_vec()).map_err(unexpected)?;
                let shown = "the password of the nodes' GRUB was shown";
                tx.event(now_ms(), &NewEvent { actor: Some(who), ..NewEvent::new(EventKind::GrubPassword, shown) })?;
                Ok(Zeroizing::new(text))
            })
        })
    }

    /// The package source of the snapshot in use, and the certificate that it is signed with.
    fn darksite_source(&self, tx: &Tx<'_>) -> Result<DarksiteSource, ApiError> {
        let d = &self.spec.spec.darksite;
        let upstream = if d.mode.uses_upstream() { upstream_sources(&self.spec).map_err(unexpected)? } else { Vec::new() };
        Ok(DarksiteSource {
            mode: d.mode,
            upstream,
            url: format!("{}/darksite/current", self.seed_url()),
            suite: d.suite.clone(),
            components: d.components.clone(),
            keyring: self.node_keyring(tx)?,
        })
    }

    /// Writes and signs the next version of the peer list.
    pub(super) fn sign_peers(&self, tx: &Tx<'_>, keys: &Unsealed) -> Result<Sealed<PeersFile>, ApiError> {
        let held = self.held_peers(tx)?;
        let (file, state) = self.peers_file(tx, held.as_ref().map_or(1, |h| h.version + 1), held.as_ref())?;
        self.keep_countersigning(tx, &state)?;
        let sealed = Sealed::sign(&file, &keys.site).map_err(unexpected)?;
        let signed = self.signed_at(tx)?.then(held.as_ref(), &file, now());
        tx.set(setting::PEERS_SIGNED, &serde_json::to_string(&signed).map_err(unexpected)?)?;
        tx.set(setting::PEERS, &serde_json::to_string(&sealed).map_err(unexpected)?)?;
        Ok(sealed)
    }

    pub(super) fn held_peers(&self, tx: &Tx<'_>) -> Result<Option<PeersFile>, ApiError> {
        tx.peers()?.map(|sealed| sealed.open(&self.site_key)).transpose().map_err(unexpected)
    }

    /// Signs a new version if the nodes differ from those in the current one.
    pub fn resign_peers(&self) -> Result<()> {
        let work = self.with_keys(|keys| {
            self.write(|tx| {
                if Mode::of(tx)? != Mode::Active {
                    return Ok(false);
                }
                self.sign_epoch(tx, &keys.site)?;
                let held = self.held_peers(tx)?;
                let same = match &held {
                    Some(h) => self.peers_file(tx, h.version, Some(h))?.0 == *h,
                    None => false,
                };
                if !same {
                    self.sign_peers(tx, keys)?;
                }
                Ok(!same)
            })
        });
        match work {
            Ok(true) => {
                self.planes_changed.send_modify(|v| *v += 1);
                Ok(())
            }
            // Sealed: the list is signed at the next unseal.
            Ok(false) | Err(ApiError::Sealed) => Ok(()),
            Err(e) => Err(anyhow::anyhow!("signing the peer list: {e}")),
        }
    }

    /// The list as it should be, and the state of countersigning after it. `held` is the list in use.
    fn peers_file(&self, tx: &Tx<'_>, version: u64, held: Option<&PeersFile>) -> Result<(PeersFile, State), ApiError> {
        let spec = &self.spec.spec.networking;
        let plane = |p: &PlaneSpec| PeerPlane {
            cidr: p.cidr,
            port: p.port,
            mtu: p.mtu.as_ref().map(|mtu| mtu.value),
            cidr6: p.range6(),
            hubs: p.hub_roles(),
        };
        let planes: BTreeMap<_, _> = spec.planes.iter().map(|(n, p)| (n.clone(), plane(&p.value))).collect();
        let mut pods = self.pods();
        let mut addresses = BTreeMap::new();
        for (name, plane) in &planes {
            addresses.insert(name.clone(), address(name, plane.cidr, SEED_HOST).map_err(unexpected)?);
        }
        let seed = PeerNode {
            endpoint: Some(spec.underlay.seed.value),
            role: SEED_ROLE.to_owned(),
            keys: self.public.planes.clone(),
            addresses,
        };
        let live = tx.live_nodes()?;
        let approved = live.iter().map(|node| (node.hostname.clone(), (node.id, self.peer_of(node)))).collect();
        // Without a countersigning key, all of them.
        let Composed { mut nodes, part, state, .. } = self.compose_peers(tx, approved, held)?;
        if let Some(pods) = &mut pods {
            let listed = live.iter().filter(|node| nodes.contains_key(&node.hostname));
            pods.nodes.extend(listed.filter_map(|node| Some((node.hostname.clone(), self.range_of(node)?))));
        }
        nodes.insert(self.seed_name.clone(), seed);
        let allow = |list: Vec<Reasoned>| list.into_iter().map(|reasoned| reasoned.allow).collect();
        let policy = self.spec.allows().into_iter().map(|(plane, list)| (plane, allow(list))).collect();
        let epoch = self.epoch(tx)?;
        let mut list = PeersFile { epoch, version, planes, nodes, pods, policy, countersign: part, ..PeersFile::default() };
        self.rotating_into(tx, &mut list)?;
        Ok((list, state))
    }

    /// The networks of Kubernetes, without a node.
    fn pods(&self) -> Option<Pods> {
        let kubernetes = self.spec.kubernetes()?;
        let planes = &self.spec.spec.networking.planes;
        let plane = if planes.contains_key(BACKEND_PLANE) { BACKEND_PLANE } else { CONTROL_PLANE };
        Some(Pods {
            plane: plane.to_owned(),
            cidr: kubernetes.pods,
            services: kubernetes.services,
            domain: kubernetes.domain,
            nodes: BTreeMap::new(),
        })
    }

    /// The range of a node's pods, if its role has any.
    fn range_of(&self, node: &NodeRecord) -> Option<Ipv4Net> {
        let role = resolve(&self.spec.spec.roles, &node.role)?;
        let range = self.spec.kubernetes()?.range(node.host);
        range.filter(|_| role.plays.iter().any(|play| is_kubernetes(play)))
    }

    /// The newest signed list.
    pub fn signed_peers(&self) -> Result<Sealed<PeersFile>, ApiError> {
        let held = self.store.read(|tx| tx.peers())?;
        held.ok_or(ApiError::Unavailable { why: "the seed was never unsealed".to_owned() })
    }
}
