//! Data of the mock seed: an image of three chunks, and an identity.

use std::collections::BTreeMap;

use cluster_seed::identity::{DarksiteSource, IdentityInfo, NodeIdentity, PlaneAddress};
use cluster_seed::ids::{Digest, EnrollmentId, NodeId};
use cluster_seed::manifest::{ArtifactManifest, ArtifactSpec, CHUNK_SIZE, Chunk};
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, SigningKey, key_text};
use cluster_seed::wireguard::WgPrivateKey;

use super::MIB;

/// An image of ten MiB: three chunks, the middle one zeros, the last one short.
pub fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..10 * MIB).map(|i| (i / 7 % 251) as u8 + 1).collect();
    image[4 * MIB..8 * MIB].fill(0);
    image
}

pub fn artifact() -> (ArtifactManifest, BTreeMap<Digest, Vec<u8>>) {
    let image = image();
    let spec = ArtifactSpec {
        recipe: 1,
        role: "base".into(),
        arch: "amd64".into(),
        snapshot: Digest::of(b"s"),
        packages: vec![],
        payload: payload::assets::digest(),
    };
    let mut stored = BTreeMap::new();
    let pieces = image.chunks(CHUNK_SIZE as usize).map(|raw| {
        if raw.iter().all(|b| *b == 0) {
            return Chunk::Zero;
        }
        let bytes = zstd::bulk::compress(raw, 1).unwrap();
        let chunk = Chunk::Zstd { stored: Digest::of(&bytes), stored_size: bytes.len() as u32, raw: Digest::of(raw) };
        stored.insert(Digest::of(&bytes), bytes);
        chunk
    });
    let chunks = pieces.collect();
    let manifest = ArtifactManifest {
        id: spec.id(),
        spec,
        disk_size: image.len() as u64,
        min_disk: 12 << 20,
        raw: Digest::of(&image),
        state_offset: 9 << 20,
        state_size: 1 << 20,
        chunks,
    };
    (manifest, stored)
}

pub fn identity(site: &SigningKey, enrollment: EnrollmentId) -> NodeIdentity {
    let peers =
        PeersFile { epoch: 1, version: 1, planes: BTreeMap::new(), nodes: BTreeMap::new(), pods: None, countersign: None };
    let plane = PlaneAddress { cidr: "10.78.0.0/16".parse().unwrap(), address: "10.78.0.2".parse().unwrap(), port: 51821 };
    NodeIdentity {
        info: IdentityInfo {
            node: NodeId([1; 16]),
            enrollment,
            site: "a".into(),
            epoch: 1,
            site_key: key_text(&site.verifying_key()),
            hostname: "n1.lan".parse().unwrap(),
            role: "base".into(),
            seed_url: "http://10.44.0.1".into(),
            seed_hostname: "seed.lan".parse().unwrap(),
            planes: BTreeMap::from([("wg1".to_owned(), plane)]),
            authorized_keys: vec![],
            darksite: DarksiteSource { suite: "trixie".into(), ..DarksiteSource::default() },
            peers: Sealed::sign(&peers, site).unwrap(),
            grub: Some("grub.pbkdf2.sha512.10000.AB.CD".parse().unwrap()),
            apt: None,
            operator: None,
        },
        keys: BTreeMap::from([("wg1".to_owned(), WgPrivateKey::from_random([9; 32]))]),
    }
}
