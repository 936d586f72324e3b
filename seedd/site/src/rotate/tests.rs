use std::cell::Cell;
use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::secret::{AgeKey, seal_to};
use cluster_seed::wireguard::WgPrivateKey;

use super::*;
use crate::grub::GrubPassword;
use crate::keys::PublicKeys;
use crate::mode::Mode;
use crate::store::Store;
use crate::store::vault::Resealed;
use crate::{Site, setting};

const NOW: u64 = 1_760_000_000_000;
const CONTROLLER: &str = "bmc:02:00:00:00:00:01";

struct Bench {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
    operator: AgeKey,
    old: PublicKeys,
}

/// A site with two planes, a password of GRUB, one of a controller, and a snapshot.
fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let site = Site::new(&path.join("site"));
    site.make_folders().unwrap();
    std::fs::write(site.cluster_file(), crate::default_cluster_yaml("site-a")).unwrap();
    let planes = ["wg1", "wg2"].map(str::to_owned);
    let old = site.keys().create_with(10, "correct horse", "site-a", &planes, 1_700_000_000).unwrap();
    let operator = site.keys().operator("correct horse").unwrap();
    let store = Store::open(&site.database()).unwrap();
    let grub = GrubPassword::draw(&old.vault).unwrap();
    store.set(setting::GRUB_PASSWORD, &serde_json::to_string(&grub).unwrap()).unwrap();
    let sealed = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, seal_to(&old.vault, b"calvin").unwrap());
    store.set(CONTROLLER, &serde_json::json!({"user": "root", "password": sealed, "pin": null}).to_string()).unwrap();
    snapshot(&site, 1);
    Bench { _dir: dir, path, operator, old }
}

/// A snapshot of this site, signed with its release key.
fn snapshot(site: &Site, n: u8) -> Digest {
    let id = Digest([n; 32]);
    std::fs::create_dir_all(site.snapshot(id)).unwrap();
    std::fs::write(site.snapshot(id).join("keyring.gpg"), site.keys().release_keyring().unwrap()).unwrap();
    id
}

fn everything() -> Choice {
    Choice { planes: ["wg1", "wg2"].map(str::to_owned).into(), vault: true, release: true }
}

impl Bench {
    fn site(&self) -> Site {
        Site::new(&self.path.join("site"))
    }

    /// The same site in another folder.
    fn copy(&self, name: &str) -> Site {
        let to = self.path.join(name);
        let done = std::process::Command::new("cp").args(["-a", self.site().data.as_str(), to.as_str()]).status().unwrap();
        assert!(done.success());
        Site::new(&to)
    }

    fn rotate(&self, site: &Site, choice: &Choice, after: AfterStep<'_>) -> Result<Rotated> {
        let store = site.open_store()?;
        Rotation { site, store: &store, operator: &self.operator, choice, now_ms: NOW, actor: "test" }.run(after)
    }

    /// Opens a site as the next start does; everything must fit together. True if the new keys are in force.
    fn is_new(&self, site: &Site) -> bool {
        let store = site.open_store().unwrap();
        let open = site.keys().unseal_with(&self.operator).unwrap();
        let public = site.keys().public().unwrap();
        for (what, sealed) in store.read(|tx| tx.vaulted()).unwrap() {
            assert!(open.vault.open(&sealed).is_ok(), "{what}");
        }
        let events = store.read(|tx| tx.events_after(0, 100)).unwrap();
        let new = [
            public.vault != self.old.vault,
            public.planes["wg1"] != self.old.planes["wg1"],
            public.planes["wg2"] != self.old.planes["wg2"],
            public.release.is_some(),
            events.iter().filter(|e| e.kind == "keys.rotated").count() == 4,
        ];
        assert!(new.iter().all(|n| *n == new[0]), "{new:?}");
        assert!(new[0] || events.is_empty(), "half of the events");
        let (keyring, _) = site.snapshot_keys(&store, Digest([1; 32])).unwrap();
        assert_eq!(keyring, std::fs::read(site.snapshot(Digest([1; 32])).join("keyring.gpg")).unwrap());
        assert!(!site.join("keys/rotate").exists());
        assert_eq!(committed(&store).unwrap().is_some(), new[0]);
        new[0]
    }
}

#[test]
fn a_change_that_stops_after_any_step_leaves_the_old_keys_or_the_new_ones() {
    let bench = bench();
    let (mut at, mut steps) = (None, 0);
    for stop in 0.. {
        let site = bench.copy(&format!("stop-{stop}"));
        let (count, last) = (Cell::new(0), Cell::new(String::new()));
        let done = bench.rotate(&site, &everything(), &mut |step| {
            last.set(step.to_owned());
            count.set(count.get() + 1);
            if count.get() > stop { Err(anyhow!("power cut")) } else { Ok(()) }
        });
        let last = last.take();
        if last == "transaction" && done.is_err() {
            at = Some(stop);
            assert!(place::is_committed(&place::folder(&site), &Store::open(&site.database()).unwrap()).unwrap());
        }
        assert_eq!(bench.is_new(&site), at.is_some(), "stopped after step {stop}: {last}");
        // It can be done again, from either side.
        if done.is_err() {
            bench.rotate(&site, &everything(), &mut |_| Ok(())).unwrap();
            continue;
        }
        steps = stop;
        break;
    }
    assert!(at.is_some() && steps >= 14, "{at:?} of {steps}");
}

#[test]
fn only_the_chosen_keys_change() {
    let bench = bench();
    let site = bench.site();
    let one = Choice { planes: ["wg2".to_owned()].into(), ..Choice::default() };
    let rotated = bench.rotate(&site, &one, &mut |_| Ok(())).unwrap();
    let public = site.keys().public().unwrap();
    assert_eq!(rotated.planes.keys().collect::<Vec<_>>(), ["wg2"]);
    assert_eq!(rotated.planes["wg2"], Changed { old: bench.old.planes["wg2"], new: public.planes["wg2"] });
    let same = PublicKeys { planes: public.planes.clone(), ..bench.old.clone() };
    assert_eq!(public, same);
    assert_eq!(public.planes["wg1"], bench.old.planes["wg1"]);
    assert!(rotated.vault.is_none() && rotated.release.is_none());
    let held = site.keys().unseal_with(&bench.operator).unwrap();
    assert_eq!(held.planes["wg2"].public(), public.planes["wg2"]);
}

#[test]
fn the_old_vault_key_opens_nothing_that_is_left_in_the_database() {
    let bench = bench();
    let site = bench.site();
    let old = site.keys().unseal_with(&bench.operator).unwrap().vault;
    let store = site.open_store().unwrap();
    let before = store.read(|tx| tx.vaulted()).unwrap();
    let choice = Choice { vault: true, ..Choice::default() };
    let rotated = bench.rotate(&site, &choice, &mut |_| Ok(())).unwrap();
    assert_eq!(rotated.vault.unwrap().1, Resealed { identities: 0, passwords: 2 });
    let new = site.keys().unseal_with(&bench.operator).unwrap().vault;
    let after = store.read(|tx| tx.vaulted()).unwrap();
    assert_eq!((before.len(), after.len()), (2, 2));
    for ((what, was), (_, is)) in before.iter().zip(&after) {
        assert_eq!(old.open(was).unwrap().expose(), new.open(is).unwrap().expose(), "{what}");
        assert!(old.open(is).is_err());
    }
    let kept: serde_json::Value = serde_json::from_str(&store.setting(CONTROLLER).unwrap().unwrap()).unwrap();
    assert_eq!((&kept["user"], &kept["pin"]), (&"root".into(), &serde_json::Value::Null));
    // Nor does a free page of the file have the old text.
    store.checkpoint().unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &before[1].1);
    for file in ["seed.db", "seed.db-wal"] {
        let bytes = std::fs::read(site.join(file)).unwrap_or_default();
        assert!(!bytes.windows(60).any(|w| w == &text.as_bytes()[200..260]), "{file}");
    }
}

#[test]
fn what_the_vault_cannot_open_stops_the_change_and_nothing_is_lost() {
    let bench = bench();
    let site = bench.site();
    let strange = GrubPassword::draw(&AgeKey::generate().recipient()).unwrap();
    let store = site.open_store().unwrap();
    store.set(setting::GRUB_PASSWORD, &serde_json::to_string(&strange).unwrap()).unwrap();
    let refused = bench.rotate(&site, &everything(), &mut |_| Ok(())).unwrap_err();
    assert!(format!("{refused:#}").contains("opening grub.password"), "{refused:#}");
    assert_eq!(committed(&store).unwrap(), None);
    drop(site.open_store().unwrap());
    assert_eq!(site.keys().public().unwrap(), bench.old);
    assert!(site.keys().unseal_with(&bench.operator).is_ok() && !site.join("keys/rotate").exists());
}

#[test]
fn snapshots_of_an_earlier_release_key_stay_valid_and_a_stranger_is_not_believed() {
    let bench = bench();
    let site = bench.site();
    let choice = Choice { release: true, ..Choice::default() };
    let first = site.keys().release_keyring().unwrap();
    let rotated = bench.rotate(&site, &choice, &mut |_| Ok(())).unwrap().release.unwrap();
    assert_eq!(rotated.1, [Digest([1; 32])]);
    let second = site.keys().release_keyring().unwrap();
    let new = snapshot(&site, 2);
    let store = site.open_store().unwrap();
    let keyring = |id| site.snapshot_keys(&store, id).unwrap().0;
    assert_eq!((keyring(Digest([1; 32])), keyring(new)), (first.clone(), second.clone()));
    // A third key: both snapshots keep theirs, in one signed list.
    let twice = bench.rotate(&site, &choice, &mut |_| Ok(())).unwrap().release.unwrap();
    assert_eq!(twice.1, [Digest([1; 32]), new]);
    assert_eq!((keyring(Digest([1; 32])), keyring(new)), (first, second));
    // A certificate that was never this site's counts for nothing.
    let other = bench.copy("other");
    bench.rotate(&other, &choice, &mut |_| Ok(())).unwrap();
    let strange = Digest([3; 32]);
    std::fs::create_dir_all(site.snapshot(strange)).unwrap();
    std::fs::copy(other.keys().release_keyring_path(), site.snapshot(strange).join("keyring.gpg")).unwrap();
    assert_eq!(keyring(strange), site.keys().release_keyring().unwrap());
    // Unused certificates leave the list.
    for id in [1, 2] {
        std::fs::remove_dir_all(site.snapshot(Digest([id; 32]))).unwrap();
    }
    bench.rotate(&site, &choice, &mut |_| Ok(())).unwrap();
    assert_eq!(site.keys().public().unwrap().release.unwrap().earlier, Vec::<String>::new());
    // The statement and the certificate belong together.
    std::fs::copy(other.keys().release_keyring_path(), site.keys().release_keyring_path()).unwrap();
    assert!(site.keys().unseal_with(&bench.operator).is_err());
}

#[test]
fn a_change_is_refused_before_anything_is_written() {
    let bench = bench();
    let site = bench.site();
    let why = |choice: &Choice| format!("{:#}", bench.rotate(&site, choice, &mut |_| Err(anyhow!("a step"))).unwrap_err());
    assert!(why(&Choice::default()).contains("no key was chosen"));
    let unknown = Choice { planes: ["wg9".to_owned()].into(), ..Choice::default() };
    assert!(why(&unknown).contains("no plane named \"wg9\""), "{}", why(&unknown));
    let using = site.use_blobs().unwrap();
    assert!(why(&everything()).contains("is running on this site"));
    drop(using);
    site.open_store().unwrap().write(|tx| Mode::Standby.set(tx)).unwrap();
    assert!(why(&everything()).contains("only the active seed"), "{}", why(&everything()));
    assert_eq!(site.keys().public().unwrap(), bench.old);
}

#[test]
fn a_new_plane_key_is_a_key_of_its_own() {
    let bench = bench();
    let site = bench.site();
    bench.rotate(&site, &everything(), &mut |_| Ok(())).unwrap();
    let held = site.keys().unseal_with(&bench.operator).unwrap();
    let all: BTreeSet<String> = held.planes.values().map(|key| WgPrivateKey::public(key).to_string()).collect();
    assert_eq!(all.len(), 2);
}
