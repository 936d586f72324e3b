//! Putting in use what was built, fetched, imported or adopted.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use cluster_seed::ids::Digest;
use cluster_seed::seal::{VerifyingKey, key_from_text, key_text};
use serde::{Deserialize, Serialize};

use crate::layout::Site;
use crate::store::{Store, StoreError, Tx};
use crate::{artifacts, extras, snapshots};

/// What a site is to have in use from now on. What it does not name stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InUse {
    /// The snapshot that nodes are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
    /// The netboot set that machines are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netboot: Option<Digest>,
    /// Artifacts by the name of their role, with its architecture if that is not amd64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Digest>,
    /// The medium that was adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Digest>,
    /// Site keys, in hex, of those who made snapshots or extras, by the ids of these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub makers: BTreeMap<Digest, String>,
}

impl InUse {
    /// Only the makers of snapshots and extras: nothing else can be verified before its maker is known.
    pub fn made_by(key: &VerifyingKey, ids: impl IntoIterator<Item = Digest>) -> Self {
        InUse { makers: ids.into_iter().map(|id| (id, key_text(key))).collect(), ..InUse::default() }
    }

    /// Checks that what it names is in the data directory and signed: snapshots and extras by their makers, the rest by this site.
    /// The files themselves are not read.
    ///
    /// # Errors
    /// If anything is missing, or not signed by the key that it should be signed with.
    pub fn check(&self, site: &Site, store: &Store) -> Result<()> {
        let own = site.keys().public()?.site_key()?;
        let mut makers = BTreeMap::new();
        for (id, text) in &self.makers {
            makers.insert(*id, key_from_text(text).with_context(|| format!("reading the key of the maker of {}", id.short()))?);
        }
        if let Some(id) = self.snapshot {
            match makers.get(&id) {
                Some(key) => {
                    snapshots::manifest(site, id, key)?;
                    site.keys().snapshot_keyring(id)?;
                }
                None => drop(snapshots::one(site, store, id)?),
            }
        }
        if let Some(id) = self.netboot {
            let found = artifacts::netboot_set(&site.join("netboot").join(id.to_string()), &own)?;
            ensure!(found.id == id, "the folder of netboot set {} has another set", id.short());
        }
        for (role, id) in &self.artifacts {
            artifacts::manifest(site, *id, &own).with_context(|| format!("checking the artifact of role {role}"))?;
        }
        if let Some(id) = self.extras {
            let key = match makers.get(&id) {
                Some(key) => *key,
                None => store.maker(id)?.unwrap_or(own),
            };
            extras::check(&site.extras_dir(id), id, &key)?;
        }
        Ok(())
    }

    /// True if it names files, and not only makers.
    pub fn has_files(&self) -> bool {
        *self != InUse { makers: self.makers.clone(), ..InUse::default() }
    }

    /// True if all that it names is in use already.
    pub fn holds(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        for (role, id) in &self.artifacts {
            if tx.artifact(role)? != Some(*id) {
                return Ok(false);
            }
        }
        for (id, text) in &self.makers {
            if tx.maker(*id)?.is_none_or(|key| key_text(&key) != *text) {
                return Ok(false);
            }
        }
        let same = |wanted: Option<Digest>, held: Option<Digest>| wanted.is_none() || wanted == held;
        Ok(same(self.snapshot, tx.snapshot()?)
            && same(self.netboot, tx.netboot()?)
            && same(self.extras, tx.extras()?)
            && same(self.medium, tx.medium()?))
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the database cannot be written, or the key of a maker is not 64 hex digits.
    pub fn set(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for (id, text) in &self.makers {
            let key = key_from_text(text).map_err(|_| StoreError::Corrupt { what: "setting.maker" })?;
            tx.set_maker(*id, &key)?;
        }
        self.snapshot.map_or(Ok(()), |id| tx.set_snapshot(id))?;
        self.netboot.map_or(Ok(()), |id| tx.set_netboot(id))?;
        for (role, id) in &self.artifacts {
            tx.set_artifact(role, *id)?;
        }
        self.extras.map_or(Ok(()), |id| tx.set_extras(id))?;
        self.medium.map_or(Ok(()), |id| tx.set_medium(id))
    }

    /// Writes it in a transaction of its own, unchecked and without an event.
    pub fn keep(&self, store: &Store) -> Result<()> {
        store.write(|tx| self.set(tx)).context("writing what is in use")
    }

    /// What it names, with short ids, for the event log; empty if it names nothing.
    pub fn text(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.snapshot.map(|id| format!("snapshot {}", id.short())));
        parts.extend(self.netboot.map(|id| format!("netboot image {}", id.short())));
        parts.extend(self.artifacts.iter().map(|(role, id)| format!("artifact {} of role {role}", id.short())));
        parts.extend(self.extras.map(|id| format!("extras {}", id.short())));
        parts.extend(self.medium.map(|id| format!("medium {}", id.short())));
        let in_use = Some(format!("in use: {}", parts.join(", "))).filter(|_| !parts.is_empty());
        let signed = self.makers.iter().map(|(id, key)| format!("{} is signed by the site key {key}", id.short()));
        in_use.into_iter().chain(signed).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::seal::SigningKey;

    use super::*;

    fn id(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn all() -> InUse {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        InUse {
            snapshot: Some(id(1)),
            netboot: Some(id(2)),
            artifacts: [("base".to_owned(), id(3))].into(),
            extras: Some(id(4)),
            medium: Some(id(5)),
            ..InUse::made_by(&key, [id(1)])
        }
    }

    #[test]
    fn what_is_named_is_in_use_afterwards_and_the_rest_stays() {
        let store = Store::in_memory().unwrap();
        let holds = |what: &InUse| store.read(|tx| what.holds(tx)).unwrap();
        assert!(holds(&InUse::default()) && !holds(&all()));
        all().keep(&store).unwrap();
        assert!(holds(&all()));
        InUse { snapshot: Some(id(9)), ..InUse::default() }.keep(&store).unwrap();
        assert!(!holds(&all()));
        assert_eq!((store.snapshot().unwrap(), store.netboot().unwrap()), (Some(id(9)), Some(id(2))));
        assert_eq!(store.maker(id(1)).unwrap(), Some(SigningKey::from_bytes(&[7; 32]).verifying_key()));
    }

    #[test]
    fn each_part_counts_when_it_differs() {
        let store = Store::in_memory().unwrap();
        all().keep(&store).unwrap();
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        for changed in [
            InUse { snapshot: Some(id(9)), ..all() },
            InUse { netboot: Some(id(9)), ..all() },
            InUse { artifacts: [("base".to_owned(), id(9))].into(), ..all() },
            InUse { artifacts: [("other".to_owned(), id(3))].into(), ..all() },
            InUse { extras: Some(id(9)), ..all() },
            InUse { medium: Some(id(9)), ..all() },
            InUse::made_by(&other, [id(1)]),
            InUse::made_by(&other, [id(9)]),
        ] {
            assert!(!store.read(|tx| changed.holds(tx)).unwrap(), "{changed:?}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_not_written() {
        let store = Store::in_memory().unwrap();
        let bad = InUse { makers: [(id(1), "none".to_owned())].into(), ..all() };
        assert!(bad.keep(&store).is_err());
        assert_eq!((store.snapshot().unwrap(), store.maker(id(1)).unwrap()), (None, None), "all or nothing");
    }

    #[test]
    fn it_is_read_as_it_was_written_and_names_everything_in_words() {
        let text = serde_json::to_string(&all()).unwrap();
        assert_eq!(serde_json::from_str::<InUse>(&text).unwrap(), all());
        assert_eq!(serde_json::to_string(&InUse::default()).unwrap(), "{}");
        let words = all().text();
        for part in ["in use: snapshot 01", "netboot image 02", "artifact 03", "of role base", "extras 04", "medium 05", "; 0101"]
        {
            assert!(words.contains(part), "no {part:?} in {words}");
        }
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let made = InUse::made_by(&key, [id(1)]).text();
        assert_eq!(made, format!("010101010101 is signed by the site key {}", key_text(&key)));
        assert_eq!(InUse::default().text(), "");
        assert!(all().has_files() && !InUse::made_by(&key, [id(1)]).has_files() && !InUse::default().has_files());
    }
}
