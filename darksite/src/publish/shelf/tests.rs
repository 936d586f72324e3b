use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn lock(names: impl IntoIterator<Item = String>) -> SnapshotLock {
    let text = "Kubedos-Snapshot-Lock: 2\nSuite: trixie\nComponents: main\nArchitectures: amd64\nProfile: full\nRecommends: no\n";
    let mut lock = SnapshotLock::parse(&format!("{text}\n")).unwrap();
    lock.packages = names
        .into_iter()
        .map(|filename| LockedPackage {
            name: "a".into(),
            version: "1".into(),
            arch: "amd64".into(),
            size: 1,
            sha256: Digest::of(filename.as_bytes()),
            suite: "trixie".into(),
            component: "main".into(),
            filename,
        })
        .collect();
    lock
}

fn many(folder: &str, count: usize) -> impl Iterator<Item = String> + '_ {
    (0..count).map(move |n| format!("{folder}/s{n}/p{n}.deb"))
}

#[test]
fn a_folder_of_many_packages_is_a_shelf() {
    for (count, shelves) in [(MIN_PACKAGES - 1, 0), (MIN_PACKAGES, 1), (MIN_PACKAGES + 1, 1)] {
        let lock = lock(many("pool/main/r", count).chain(many("pool/main/s", 3)));
        let all = Shelves::of(&lock);
        assert_eq!(all.shelves.len(), shelves, "{count}");
        assert_eq!(all.rest.len(), if shelves == 0 { count + 3 } else { 3 });
    }
    let lock = lock(many("pool/main/r", MIN_PACKAGES));
    let all = Shelves::of(&lock);
    assert_eq!(all.shelves[0].folder, "pool/main/r");
    // sha256sum's own form, so that `cd SHELF; find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` is the name.
    let mut lines: Vec<(String, Digest)> =
        lock.packages.iter().map(|p| (p.filename["pool/main/r/".len()..].to_owned(), p.sha256)).collect();
    lines.sort();
    let text: String = lines.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    assert_eq!(all.shelves[0].id, Digest::of(text.as_bytes()));
    assert_eq!(all.shelves[0].target(), format!("../../../shelves/{}", Digest::of(text.as_bytes())));
}

#[test]
fn a_folder_that_holds_anything_else_is_none() {
    for other in ["pool/main/r/stray.deb", "pool/main/r/a/b/deep.deb"] {
        let lock = lock(many("pool/main/r", MIN_PACKAGES).chain([other.to_owned()]));
        assert!(Shelves::of(&lock).shelves.is_empty(), "{other}");
    }
    let inner = lock(many("pool/main", MIN_PACKAGES).chain(many("pool/main/r", MIN_PACKAGES)));
    let folders: Vec<_> = Shelves::of(&inner).shelves.iter().map(|s| s.folder).collect();
    assert_eq!(folders, ["pool/main/r"]);
    // Nothing outside of the pool, and not the pool itself.
    for folder in ["dists/trixie", "pool"] {
        assert!(Shelves::of(&lock(many(folder, MIN_PACKAGES))).shelves.is_empty(), "{folder}");
    }
}

proptest! {
    #[test]
    fn every_package_has_one_place(picks in prop::collection::vec((0..4usize, 0..40usize), 0..1200)) {
        let folder = |n: usize| ["pool/main/r", "pool/main/s", "pool/updates/main/r", "pool/main/r/x"][n];
        let names: BTreeSet<String> = picks.iter().enumerate()
            .map(|(n, (f, s))| format!("{}/s{s}/p{n}.deb", folder(*f))).collect();
        let lock = lock(names.clone());
        let all = Shelves::of(&lock);
        let mut found: Vec<&str> = all.rest.iter().map(|p| p.filename.as_str()).collect();
        for shelf in &all.shelves {
            let prefix = format!("{}/", shelf.folder);
            prop_assert!(shelf.packages.len() >= MIN_PACKAGES);
            prop_assert!(shelf.packages.iter().all(|p| p.filename.starts_with(&prefix)));
            prop_assert!(all.rest.iter().all(|p| !p.filename.starts_with(&prefix)));
            found.extend(shelf.packages.iter().map(|p| p.filename.as_str()));
        }
        found.sort_unstable();
        prop_assert_eq!(found, names.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
