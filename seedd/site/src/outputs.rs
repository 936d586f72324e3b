//! The outputs of the foundry in `outputs`, and which of them are still of use.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use cluster_seed::foundry::{OutputSpec, Target};
use cluster_seed::ids::Digest;
use cluster_seed::seal::VerifyingKey;
use image::foundry::Output;

use crate::Site;
use crate::store::Store;

/// Directory of the outputs below the data directory.
pub const OUTPUTS: &str = "outputs";

/// An output of this site. Its files are there with their sizes; their bytes were not verified.
#[derive(Debug)]
pub struct Held {
    pub output: Output,
    /// Size of all its files.
    pub bytes: u64,
    /// When it was made, in Unix seconds.
    pub made: u64,
    /// It is made from what is in use now.
    pub current: bool,
}

/// Role, node, architecture and target: of outputs that have these in common, a newer one replaces the older ones.
type Series = (Option<String>, Option<String>, String, Target);

impl Held {
    pub fn spec(&self) -> &OutputSpec {
        &self.output.manifest.spec
    }

    /// What it replaces, or is replaced by.
    fn series(&self) -> Series {
        let OutputSpec { role, node, arch, target, .. } = self.spec();
        (role.clone(), node.clone(), arch.clone(), *target)
    }
}

/// What outputs are made from today.
struct InUse {
    netboot: Option<Digest>,
    artifacts: BTreeMap<String, Digest>,
}

impl InUse {
    fn is_source_of(&self, spec: &OutputSpec) -> bool {
        let artifacts = spec.artifacts().into_iter().all(|(role, id)| self.artifacts.get(role) == Some(&id));
        artifacts && spec.netboot().is_none_or(|id| self.netboot == Some(id))
    }
}

/// All outputs, sorted by name.
pub fn list(site: &Site, store: &Store, key: &VerifyingKey) -> Result<Vec<Held>> {
    let in_use = InUse { netboot: store.netboot()?, artifacts: store.artifacts()?.into_iter().collect() };
    let held = |output: Output| {
        let meta = std::fs::metadata(&output.dir).with_context(|| format!("looking at {}", output.dir))?;
        let bytes = output.manifest.files.iter().map(|f| f.size).sum();
        let current = in_use.is_source_of(&output.manifest.spec);
        Ok(Held { output, bytes, made: u64::try_from(meta.mtime()).unwrap_or(0), current })
    };
    image::foundry::outputs(&site.join(OUTPUTS), key)?.into_iter().map(held).collect()
}

/// Those that are made from what is no longer in use, but for the newest of each role and target; and all but the newest of a node,
/// whose tokens have ended.
pub fn superseded(all: Vec<Held>) -> Vec<Held> {
    let age = |one: &Held| (one.current, one.spec().version.clone(), one.made, one.output.dir.clone());
    let mut newest: BTreeMap<Series, _> = BTreeMap::new();
    for one in &all {
        let best = newest.entry(one.series()).or_insert_with(|| age(one));
        *best = age(one).max(best.clone());
    }
    let is_newest = |one: &Held| newest.get(&one.series()) == Some(&age(one));
    all.into_iter().filter(|one| (!one.current || one.spec().node.is_some()) && !is_newest(one)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use camino::Utf8Path;
    use cluster_seed::foundry::{MANIFEST_ENDING, OutputManifest, RECIPE};
    use cluster_seed::manifest::BootFile;
    use cluster_seed::seal::{Sealed, SigningKey};

    use super::*;

    fn id(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    /// Writes an output of role `base` from this artifact, or of no role from this netboot set.
    fn put(site: &Site, target: Target, day: u32, from: &str) -> String {
        let of_role = target.of_role();
        let mut spec = OutputSpec {
            recipe: RECIPE,
            target,
            site: "north".to_owned(),
            role: of_role.then(|| "base".to_owned()),
            node: None,
            contains_secret: false,
            version: format!("202608{day:02}T000000Z"),
            arch: "amd64".to_owned(),
            artifact: of_role.then(|| id(from)),
            raw: of_role.then(|| id("raw")),
            snapshot: id("snapshot"),
            join: id("join"),
            options: BTreeMap::new(),
        };
        if !of_role {
            spec.set_netboot(id(from));
        }
        let name = spec.name();
        let dir = site.join(OUTPUTS).join(&name);
        fs::create_dir_all(&dir).unwrap();
        let file = BootFile { name: "disk.img".to_owned(), size: 4, sha256: id("disk") };
        fs::write(dir.join(&file.name), "disk").unwrap();
        let primary = file.name.clone();
        let manifest = OutputManifest { id: spec.id(), spec, files: vec![file], primary, tools: Vec::new() };
        let sealed = Sealed::sign(&manifest, &SigningKey::from_bytes(&[1; 32])).unwrap();
        fs::write(dir.join(format!("{name}{MANIFEST_ENDING}")), serde_json::to_vec(&sealed).unwrap()).unwrap();
        name
    }

    #[test]
    fn an_output_is_current_while_its_sources_are_in_use_and_the_newest_of_a_kind_is_never_superseded() {
        let guard = tempfile::tempdir().unwrap();
        let site = Site::new(Utf8Path::from_path(guard.path()).unwrap());
        let store = Store::in_memory().unwrap();
        let key = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let old = put(&site, Target::Qcow2, 1, "old");
        let middle = put(&site, Target::Qcow2, 2, "middle");
        let new = put(&site, Target::Qcow2, 3, "new");
        // Nothing newer exists of these.
        let alone = put(&site, Target::Vhd, 1, "old");
        let boot = put(&site, Target::PxeBundle, 1, "netboot");
        store
            .write(|tx| {
                tx.set_artifact("base", id("new"))?;
                tx.set_netboot(id("netboot"))
            })
            .unwrap();
        let names = |held: Vec<Held>| held.into_iter().map(|h| h.spec().name()).collect::<Vec<_>>();
        let all = || list(&site, &store, &key).unwrap();
        let current = || names(all().into_iter().filter(|h| h.current).collect());
        assert_eq!((all().len(), current()), (5, vec![boot.clone(), new.clone()]));
        assert_eq!(names(superseded(all())), [old.clone(), middle.clone()]);
        assert_eq!(all().iter().map(|h| h.bytes).sum::<u64>(), 5 * 4);
        // An older artifact is in use again: its output is kept, and the newer one is not.
        store.write(|tx| tx.set_artifact("base", id("middle"))).unwrap();
        assert_eq!(current(), [boot, middle]);
        assert_eq!(names(superseded(all())), [old, new]);
        assert!(all().iter().any(|h| h.spec().name() == alone));
        let other = SigningKey::from_bytes(&[2; 32]).verifying_key();
        assert!(list(&site, &store, &other).unwrap().is_empty(), "what another site made is not listed, and not deleted");
    }
}
