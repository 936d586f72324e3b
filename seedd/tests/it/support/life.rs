//! Two sites, one with snapshots, and archives between them.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::{SigningKey, VerifyingKey};
use darksite::{DirFetch, Keyring, Paths};
use site::putting::InUse;
use site::{Site, setting, snapshots};
use transfer::archive::read::{Clear, Import, Imported};
use transfer::archive::write::{Export, Exported};

use super::archive::{self, Archive, Package};
use super::sites::{A, B, Temp, empty, temp};

/// Two sites, the first with two snapshots, of which the second has one package more.
pub struct Bench {
    pub t: Temp,
    pub a: Site,
    pub b: Site,
    pub key: SigningKey,
    pub one: Digest,
    pub two: Digest,
}

pub fn paths(site: &Site) -> Paths {
    Paths {
        blobs: site.join("blobs"),
        snapshots: site.join("snapshots"),
        tmp: site.join("tmp"),
        cache: site.join("cache/darksite"),
    }
}

pub fn name(n: usize) -> &'static str {
    Box::leak(format!("filler{n:04}").into_boxed_str())
}

pub fn bench(fillers: usize) -> Bench {
    let t = temp();
    let upstream = Archive::new();
    let more: Vec<Package> = (0..fillers).map(|n| Package { name: name(n), version: "1", fields: "" }).collect();
    upstream.add_suite("more", &more, "");
    let (a, b) = (empty(&t.path.join("a"), "site-a", A), empty(&t.path.join("b"), "site-b", B));
    let keys = a.keys().unseal(A).unwrap();
    let build = |roots: &[&str]| {
        let mut req = archive::request(&upstream.url(), roots);
        req.sources.push(darksite::Source { mirror: upstream.url(), suite: "more".into() });
        let plan = darksite::plan(&req, &DirFetch, &upstream.keyring(), &Quiet).unwrap();
        darksite::build(&plan, &paths(&a), &DirFetch, &keys.release, &keys.site, &Quiet).unwrap().id
    };
    let names: Vec<&str> = (0..fillers).map(name).collect();
    let one = build(&[&["hello"], &names[..]].concat());
    let two = build(&[&["hello", "unwanted"], &names[..]].concat());
    a.open_store().unwrap().set(setting::SNAPSHOT, &one.to_string()).unwrap();
    Bench { a, b, key: keys.site, one, two, t }
}

impl Bench {
    pub fn export(&self, snapshot: Digest, since: Option<Digest>, out: &str) -> Result<(Utf8PathBuf, Exported)> {
        let out = self.t.path.join(out);
        let store = self.a.open_store()?;
        let job =
            Export { site: &self.a, store: &store, site_key: &self.key, snapshot, since, extras: false, split: None, out: &out };
        let done = job.run(&Quiet)?;
        Ok((out, done))
    }

    pub fn import(&self, file: &Utf8Path) -> Result<Imported> {
        import(&self.b, file, &self.key.verifying_key())
    }
}

pub fn import(site: &Site, file: &Utf8Path, pin: &VerifyingKey) -> Result<Imported> {
    let store = site.open_store()?;
    let archive = Clear::open(file)?.verified(pin)?;
    let keep = |named: &InUse| named.keep(&store);
    Import { site, store: &store, archive, put_in_use: false, keep: &keep }.run(&Quiet)
}

pub fn refused<T>(result: Result<T>, word: &str) {
    let text = format!("{:#}", result.err().unwrap_or_else(|| panic!("{word}: it must be refused")));
    assert!(text.contains(word), "{word}: {text}");
}

/// Whatever is listed is whole; gives the ids.
pub fn listed(site: &Site) -> Vec<Digest> {
    let store = site.open_store().unwrap();
    let (held, damaged) = snapshots::all(site, &store).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    for one in &held {
        let (keyring, key) = site.snapshot_keys(&store, one.manifest.id).unwrap();
        darksite::verify(&site.snapshot(one.manifest.id), &Keyring::from_bytes(&keyring).unwrap(), &key, &Quiet).unwrap();
    }
    held.iter().map(|h| h.manifest.id).collect()
}

pub fn same(bench: &Bench, site: &Site, id: Digest) {
    assert_eq!(archive::tree(&bench.a.snapshot(id)), archive::tree(&site.snapshot(id)));
}
