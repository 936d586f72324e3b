//! The password of GRUB's editor on this site's nodes: ciphertext to the vault, with the hash that nodes are given.

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::grub::{GrubHash, password};
use cluster_seed::secret::{AgeKey, Secret, seal_to};
use host::random;
use serde::{Deserialize, Serialize};

/// As kept in the database ([`crate::setting::GRUB_PASSWORD`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrubPassword {
    /// age ciphertext, base64.
    password: String,
    pub hash: GrubHash,
}

impl GrubPassword {
    /// Draws one, for the owner of the key `vault` belongs to.
    pub fn draw(vault: &str) -> Result<Self> {
        let password = password(&random::bytes()?).ok_or_else(|| anyhow!("the kernel's random bytes are not random"))?;
        let hash = GrubHash::derive(&password, &random::bytes()?);
        let sealed = seal_to(vault, password.as_bytes()).context("sealing GRUB's password")?;
        Ok(GrubPassword { password: B64.encode(sealed), hash })
    }

    /// The password itself.
    pub fn open(&self, vault: &AgeKey) -> Result<Secret> {
        let sealed = B64.decode(&self.password).context("reading GRUB's password")?;
        vault.open(&sealed).context("opening GRUB's password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vault_opens_it_and_nothing_else_shows_it() {
        let vault = AgeKey::generate();
        let held = GrubPassword::draw(&vault.recipient()).unwrap();
        let password = String::from_utf8(held.open(&vault).unwrap().expose().to_vec()).unwrap();
        let json = serde_json::to_string(&held).unwrap();
        assert!(!json.contains(&password) && !format!("{held:?}").contains(&password));
        assert!(!json.contains(&B64.encode(&password)));
        let kept: GrubPassword = serde_json::from_str(&json).unwrap();
        assert_eq!(kept, held);
        assert!(kept.open(&AgeKey::generate()).is_err());
        assert_ne!(GrubPassword::draw(&vault.recipient()).unwrap().hash, held.hash);
    }
}
