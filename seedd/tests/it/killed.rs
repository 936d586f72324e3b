//! kill -9 of the real program in the middle of an export and of an import: what it left goes on to the same end.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::capsule::Table;
use cluster_seed::ids::Digest;
use site::Site;
use site::store::StoreError;

use crate::support::sites::*;

const CHUNKS: u32 = 12;
const CHUNK: u32 = 4 << 20;
const CONTENT: u64 = CHUNKS as u64 * CHUNK as u64;
const PAUSE: Duration = Duration::from_millis(1);

struct Bench {
    t: Temp,
    a: Site,
    file: Utf8PathBuf,
}

fn bench() -> Bench {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, CHUNKS, CHUNK);
    Machine::new(1).install(&unsealed(&a, A), "n1", false);
    for (name, passphrase) in [("pa", A), ("pb", B)] {
        std::fs::write(t.path.join(name), passphrase).unwrap();
    }
    Bench { file: t.path.join("a.capsule"), a, t }
}

impl Bench {
    fn start(&self, argv: &[&str], site: &Site, passphrase: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_seedd"))
            .args(argv)
            .args(["--json", "--data", site.data.as_str(), "--passphrase-file", self.t.path.join(passphrase).as_str()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn export(&self, b: &Site) -> Child {
        let recipient = b.keys().public().unwrap().operator;
        self.start(&["export", "--recipient", &recipient, "--out", self.file.as_str()], &self.a, "pa")
    }

    fn import(&self, b: &Site) -> Child {
        let pin = self.a.keys().public().unwrap().site;
        self.start(&["import", self.file.as_str(), "--pin", &pin], b, "pb")
    }
}

/// Kills as soon as `moment` has come. True if it was in time.
fn kill_at(mut child: Child, moment: impl Fn() -> bool) -> bool {
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if moment() {
            child.kill().unwrap();
            return child.wait().unwrap().code().is_none();
        }
        std::thread::sleep(PAUSE);
    }
}

fn finish(child: Child) -> serde_json::Value {
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Bytes of plain files below; what goes away meanwhile does not count.
fn size(dir: &Utf8Path) -> u64 {
    let Ok(entries) = dir.read_dir_utf8() else { return 0 };
    let of = |path: &Utf8Path| match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => size(path),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(|e| of(e.path())).sum()
}

/// Everything a site is, but for the time it was imported and ciphertext.
fn state(site: &Site) -> (Vec<String>, Vec<(Utf8PathBuf, Digest)>) {
    let mut rows = Vec::new();
    let read: Result<(), StoreError> = site.open_store().unwrap().read(|tx| {
        for table in Table::ALL {
            tx.dump(table, |line| {
                rows.push(line.to_owned());
                Ok::<_, StoreError>(())
            })?;
        }
        assert_eq!(tx.broken_event()?, None);
        Ok(())
    });
    read.unwrap();
    rows.retain(|r| !r.contains("site.imported"));
    let mut files = Vec::new();
    for dir in ["artifacts", "blobs", "netboot", "snapshots", "cluster.yaml"] {
        list(&site.data, &site.join(dir), &mut files);
    }
    files.sort();
    (rows, files)
}

fn list(base: &Utf8Path, path: &Utf8Path, out: &mut Vec<(Utf8PathBuf, Digest)>) {
    if path.is_dir() {
        for entry in path.read_dir_utf8().unwrap() {
            list(base, entry.unwrap().path(), out);
        }
    } else {
        out.push((path.strip_prefix(base).unwrap().to_owned(), Digest::of(&std::fs::read(path).unwrap())));
    }
}

#[test]
fn killed_at_ten_moments_of_export_and_import_the_end_is_the_same() {
    let bench = bench();
    let b = empty(&bench.t.path.join("b"), "site-b", B);
    let c = empty(&bench.t.path.join("c"), "site-c", B);
    // One operator for both, so that one capsule is for both.
    for name in ["operator.age", "public.json"] {
        std::fs::copy(b.join("keys").join(name), c.join("keys").join(name)).unwrap();
    }
    let part = Utf8PathBuf::from(format!("{}.part", bench.file));
    let mut killed = 0;
    for tenth in 0..10 {
        let moment = || std::fs::metadata(&part).is_ok_and(|m| m.len() >= CONTENT * tenth / 10);
        killed += u32::from(kill_at(bench.export(&b), moment));
        assert!(!bench.file.exists(), "nothing looks like a capsule before its end");
    }
    assert!(killed > 5, "only {killed} runs were killed in time");
    let done = finish(bench.export(&b));
    assert_eq!(done["resumed"], true, "{done}");
    let file = bench.file.as_str();
    let checked = finish(bench.start(&["capsule", "verify", file], &b, "pb"));
    assert_eq!(checked["content"], "good");
    assert!(!part.exists() && bench.a.join("tmp").read_dir_utf8().unwrap().next().is_none(), "nothing is left over");

    let ready = b.join("import.ready");
    let bytes = |n: u64| size(&b.join("blobs")) + size(&b.join("tmp")) >= CONTENT * n / 7;
    let mut killed = 0;
    for moment in 0..10 {
        let come = || match moment {
            0..7 => bytes(moment),
            7 => ready.exists(),
            8 => ready.join("id").exists(),
            _ => ready.join("replaced").exists(),
        };
        killed += u32::from(kill_at(bench.import(&b), come));
    }
    assert!(killed > 4, "only {killed} runs were killed in time");
    finish(bench.import(&b));
    finish(bench.import(&c));
    let (rows, files) = state(&b);
    let (expected_rows, expected_files) = state(&c);
    assert_eq!(rows, expected_rows);
    assert_eq!(files, expected_files);
    for site in [&b, &c] {
        assert!(site.keys().unseal(B).is_ok());
        assert_eq!(site.keys().public().unwrap().site, bench.a.keys().public().unwrap().site);
        assert!(!site.join("import.ready").exists());
    }
}
