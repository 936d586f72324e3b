//! The manifest and the chunks, as the lie of the moment changes them.

use std::io::Read as _;

use cluster_seed::ids::Digest;
use cluster_seed::manifest::Chunk;
use cluster_seed::seal::{Sealed, SigningKey};

use super::{Answer, Lie, MIB, State, error};

impl State {
    pub(super) fn manifest(&mut self) -> Answer {
        let mut manifest = self.manifest.clone();
        match self.lie {
            Lie::ManifestOfOther => {
                manifest.spec.role = "other".into();
                manifest.id = manifest.spec.id();
            }
            Lie::ManifestOfOtherArch => {
                manifest.spec.arch = "arm64".into();
                manifest.id = manifest.spec.id();
            }
            Lie::ManifestContradicts => drop(manifest.chunks.pop()),
            Lie::StateInHead => manifest.state_offset = MIB as u64 - 1,
            _ => {}
        }
        let other = SigningKey::from_bytes(&[3; 32]);
        let signer = if self.lie == Lie::ManifestByOther { &other } else { &self.site };
        let mut bytes = serde_json::to_vec(&Sealed::sign(&manifest, signer).unwrap()).unwrap();
        if self.lie == Lie::ManifestUnsigned {
            let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            value["signature"] = "".into();
            bytes = value.to_string().into_bytes();
        }
        if self.lie == Lie::ManifestBitFlip {
            let at = bytes.windows(4).position(|w| w == b"base").unwrap();
            bytes[at] ^= 1;
        }
        (200, bytes)
    }

    pub(super) fn chunk(&mut self, name: &str) -> Answer {
        if let Some(disk) = &self.disk {
            let mut head = vec![0; MIB];
            std::fs::File::open(disk).unwrap().read_exact(&mut head).unwrap();
            self.head_seen |= head.iter().any(|b| *b != 0);
        }
        let digest: Digest = name.parse().unwrap();
        let named = |n: usize| matches!(self.manifest.chunks[n], Chunk::Zstd { stored, .. } if stored == digest);
        let mut bytes = self.chunks[&digest].clone();
        match self.lie {
            Lie::Chunk(n, times) if named(n) && self.tampered < times => {
                self.tampered += 1;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Lie::ChunkTooLong(n) if named(n) => bytes.push(0),
            Lie::ChunkMissing(n) if named(n) => return error(404, "no such chunk"),
            _ => {}
        }
        (200, bytes)
    }
}
