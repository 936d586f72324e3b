//! Searches files for unencrypted secrets.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;

const PIECE: usize = 4 << 20;
/// Where a node's identity lists its keys, and how many bytes behind it they can stand.
const KEYS: &[u8] = b"\"keys\":{\"";
const KEYS_LEN: usize = 1024;

/// Hands a file of any size over in windows that overlap by `overlap` bytes.
fn windows(path: &Path, overlap: usize, mut look: impl FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut window: Vec<u8> = Vec::new();
    loop {
        let keep = window.len().saturating_sub(overlap);
        window.drain(..keep);
        let before = window.len();
        (&mut file).take(PIECE as u64).read_to_end(&mut window).with_context(|| format!("reading {}", path.display()))?;
        if window.len() == before {
            return Ok(());
        }
        look(&window);
    }
}

/// Indexes of the needles that occur in a file of any size.
pub fn search(path: &Path, needles: &[&[u8]]) -> Result<Vec<usize>> {
    let longest = needles.iter().map(|n| n.len()).max().unwrap_or(0);
    let mut found = vec![false; needles.len()];
    windows(path, longest.saturating_sub(1), |window| {
        for (found, needle) in found.iter_mut().zip(needles).filter(|(found, _)| !**found) {
            *found = memchr::memmem::find(window, needle).is_some();
        }
    })?;
    Ok((0..needles.len()).filter(|i| found[*i]).collect())
}

/// The WireGuard private keys in the identities on a node's disk: each as base64 and as bytes.
pub fn wireguard_keys(disk: &Path) -> Result<Vec<Vec<u8>>> {
    let mut keys = std::collections::BTreeSet::new();
    windows(disk, KEYS_LEN + KEYS.len(), |window| {
        for at in memchr::memmem::find_iter(window, KEYS) {
            let end = window.len().min(at + KEYS_LEN);
            let list = window[at..end].split(|b| *b == b'}').next().unwrap_or_default();
            for word in list.split(|b| *b == b'"').filter(|w| w.len() == 44) {
                if let Ok(raw) = base64::engine::general_purpose::STANDARD.decode(word) {
                    keys.insert(word.to_vec());
                    keys.insert(raw);
                }
            }
        }
    })?;
    Ok(keys.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::end_of;

    #[test]
    fn needles_are_found_at_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hay");
        let mut hay = vec![0u8; 9 << 20];
        let at = (4 << 20) - 3;
        hay[at..at + 6].copy_from_slice(b"needle");
        hay[..5].copy_from_slice(b"first");
        let end = hay.len() - 4;
        hay[end..].copy_from_slice(b"last");
        std::fs::write(&file, hay).unwrap();
        assert_eq!(search(&file, &[b"needle", b"nothing", b"first", b"last"]).unwrap(), [0, 2, 3]);
        assert_eq!(end_of(&file, 4).unwrap(), b"last");
    }

    #[test]
    fn keys_of_an_identity_are_read_from_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        let key = base64::engine::general_purpose::STANDARD.encode([7u8; 32]);
        let mut bytes = vec![0u8; PIECE - 20];
        bytes.extend_from_slice(format!("{{\"info\":{{}},\"keys\":{{\"wg1\":\"{key}\"}}}}").as_bytes());
        bytes.extend_from_slice(&[0; 5000]);
        std::fs::write(&disk, bytes).unwrap();
        let found = wireguard_keys(&disk).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.contains(&vec![7u8; 32]) && found.contains(&key.into_bytes()));
    }
}
