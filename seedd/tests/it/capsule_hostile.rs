//! Capsules that lie: signed by the right key, and hostile all the same; and a large one, flipped and cut at 2,000 places.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::capsule::{CapsuleHeader, CapsuleManifest, Entry, FRAME, Piece, Table, header_bytes, seal_frame};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::{Sealed, SigningKey, VerifyingKey};
use cluster_seed::secret::AgeKey;
use site::Site;
use transfer::capsule::import::Import;
use transfer::capsule::pieces::{Discard, Sink};
use transfer::capsule::read::Clear;

use crate::support::capsules::{NOW, export};
use crate::support::sites::*;

/// Flips, and as many cuts.
const PLACES: usize = 2000;

struct Bench {
    t: Temp,
    a: Site,
    b: Site,
    site_key: SigningKey,
    operator: AgeKey,
    file: Utf8PathBuf,
}

fn bench(chunks: u32, size: u32) -> Bench {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, chunks, size);
    let b = empty(&t.path.join("b"), "site-b", B);
    let file = t.path.join("a.capsule");
    export((&a, A), &b, &file, None, false).unwrap();
    let site_key = a.keys().unseal(A).unwrap().site;
    let operator = b.keys().operator(B).unwrap();
    Bench { t, a, b, site_key, operator, file }
}

impl Bench {
    fn pin(&self) -> VerifyingKey {
        self.site_key.verifying_key()
    }

    fn import(&self) -> Result<()> {
        let pin = self.pin();
        let job = Import {
            site: &self.b,
            operator: &self.operator,
            pin: &pin,
            file: &self.file,
            keep_place: true,
            now_ms: NOW,
            actor: None,
        };
        job.run(&Quiet).map(drop)
    }
}

/// Keeps every entry's content.
#[derive(Default)]
struct Keep(Vec<Vec<u8>>);

impl Sink for Keep {
    fn begin(&mut self, _: usize, _: &Piece) -> Result<()> {
        self.0.push(Vec::new());
        Ok(())
    }
    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.last_mut().unwrap().extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self, _: usize, _: &Piece) -> Result<()> {
        Ok(())
    }
}

/// Writes the capsule of `bench` again with other lines in a table, properly signed and sealed.
fn forge(bench: &Bench, good: &[u8], table: Table, change: impl Fn(&str) -> String) {
    fs::write(&bench.file, good).unwrap();
    let mut capsule = Clear::open(&bench.file).unwrap().verified(&bench.pin(), &bench.operator).unwrap();
    let mut manifest = capsule.manifest().unwrap();
    let mut header: CapsuleHeader = capsule.header.clone();
    let mut kept = Keep::default();
    capsule.content(&manifest, 0, &mut kept, &Quiet).unwrap();
    for (entry, content) in manifest.entries.iter_mut().zip(&mut kept.0) {
        let Entry::Rows { table: of, size, sha256 } = entry else { continue };
        if *of == table {
            *content = change(std::str::from_utf8(content).unwrap()).into_bytes();
            (*size, *sha256) = (content.len() as u64, Digest::of(content));
        }
    }
    seal(bench, &manifest, &mut header, &kept.0.concat());
}

fn seal(bench: &Bench, manifest: &CapsuleManifest, header: &mut CapsuleHeader, content: &[u8]) {
    let sealed = serde_json::to_vec(&Sealed::sign(manifest, &bench.site_key).unwrap()).unwrap();
    header.id = Digest::of(&sealed);
    header.bytes = content.len() as u64;
    let mut bytes = header_bytes(&Sealed::sign(header, &bench.site_key).unwrap()).unwrap();
    bytes.extend(seal_frame(&header.recipient, &header.id, 0, &sealed).unwrap());
    for (n, piece) in (1u64..).zip(content.chunks(usize::try_from(FRAME).unwrap())) {
        bytes.extend(seal_frame(&header.recipient, &header.id, n, piece).unwrap());
    }
    fs::write(&bench.file, bytes).unwrap();
}

/// Everything below `dir` that is not a site's own bookkeeping.
fn listing(dir: &Utf8Path, out: &mut Vec<Utf8PathBuf>) {
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        out.push(path.clone());
        if path.is_dir() {
            listing(&path, out);
        }
    }
}

fn one_file(lines: &str, change: impl Fn(&mut serde_json::Value)) -> String {
    let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    let mut row: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    change(&mut row);
    lines[1] = row.to_string();
    lines.join("\n") + "\n"
}

#[test]
fn hostile_rows_are_refused_and_nothing_outside_is_written() {
    let bench = bench(2, 3000);
    let good = fs::read(&bench.file).unwrap();
    let outside = bench.t.path.join("outside");
    fs::create_dir(&outside).unwrap();
    let before = |b: &Bench| {
        let mut all = Vec::new();
        for place in [&outside, &b.a.data, &b.b.join("keys"), &b.b.join("snapshots"), &b.b.join("artifacts")] {
            listing(place, &mut all);
        }
        all
    };
    let clean = before(&bench);
    let path = |text: &'static str| move |lines: &str| one_file(lines, |row| row["path"] = text.into());
    type Change = Box<dyn Fn(&str) -> String>;
    let hostile: Vec<(&str, Table, Change)> = vec![
        ("a way up", Table::File, Box::new(path("../../../outside/x"))),
        ("a way up in the middle", Table::File, Box::new(path("pool/../../../../outside/x"))),
        ("an absolute path", Table::File, Box::new(path("/tmp/kubedos-outside"))),
        ("a hidden file", Table::File, Box::new(path(".ssh"))),
        ("an empty path", Table::File, Box::new(path(""))),
        ("a NUL", Table::File, Box::new(path("pool/a\0b"))),
        ("a link", Table::File, Box::new(|l| one_file(l, |row| row["link"] = "/etc/passwd".into()))),
        ("a device", Table::File, Box::new(|l| one_file(l, |row| row["device"] = serde_json::json!([8, 0])))),
        ("a mode", Table::File, Box::new(|l| one_file(l, |row| row["mode"] = 0o4755.into()))),
        ("another tree", Table::File, Box::new(|l| one_file(l, |row| row["tree"] = "keys".into()))),
        ("a size that lies", Table::File, Box::new(|l| one_file(l, |row| row["size"] = (1u64 << 40).into()))),
        ("a size that overflows", Table::File, Box::new(|l| one_file(l, |row| row["size"] = u64::MAX.into()))),
        ("a file without content", Table::File, Box::new(|l| one_file(l, |row| row["sha256"] = "00".repeat(32).into()))),
        ("the same file twice", Table::File, Box::new(|l| format!("{l}{}\n", l.lines().nth(1).unwrap()))),
        ("no head", Table::File, Box::new(|l| l.lines().skip(1).map(|l| format!("{l}\n")).collect())),
        ("a line without an end", Table::File, Box::new(|l| l.trim_end().to_owned())),
        ("a line that never ends", Table::File, Box::new(|l| format!("{l}{}\n", "x".repeat(8 << 20)))),
        ("the operator's own key", Table::Key, Box::new(|l| l.replacen("site.age", "operator.age", 1))),
        ("a key elsewhere", Table::Key, Box::new(|l| l.replacen("site.age", "../../outside/site.age", 1))),
        ("a key twice", Table::Key, Box::new(|l| format!("{l}{}\n", l.lines().nth(1).unwrap()))),
        ("a text elsewhere", Table::Text, Box::new(|l| l.replacen("cluster.yaml", "../outside/cluster.yaml", 1))),
        ("an unknown text", Table::Text, Box::new(|l| l.replacen("release.pgp", "authorized_keys", 1))),
        (
            "no cluster.yaml",
            Table::Text,
            Box::new(|l| l.lines().filter(|l| !l.contains("cluster.yaml")).fold(String::new(), |a, l| a + l + "\n")),
        ),
        ("a row of another table", Table::Setting, Box::new(|l| l.replacen("\"setting\"", "\"admin\"", 1))),
        ("a column that is none", Table::Setting, Box::new(|l| l.replacen("\"value\"", "\"value); DROP TABLE event; --\"", 1))),
        ("an event that breaks the chain", Table::Event, Box::new(|l| l.replacen("started", "stopped", 1))),
        (
            "an administrator twice",
            Table::Admin,
            Box::new(|l| format!("{l}{}", "{\"user\":\"eve\",\"hash\":\"x\",\"created\":1}\n".repeat(2))),
        ),
    ];
    for (what, table, change) in &hostile {
        forge(&bench, &good, *table, change);
        let forged = fs::read(&bench.file).unwrap();
        let refused = bench.import().err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_ne!(forged, good, "{what}: nothing was changed");
        assert_eq!(before(&bench), clean, "{what}: {refused:#}");
        assert_eq!(bench.b.keys().public().unwrap().operator, bench.operator.recipient(), "{what}");
        assert!(!Utf8Path::new("/tmp/kubedos-outside").exists(), "{what}");
    }
    // The forger's way of writing is not what was refused.
    forge(&bench, &good, Table::File, str::to_owned);
    bench.import().unwrap();
}

#[test]
fn a_large_capsule_is_refused_at_every_one_of_two_thousand_flips_and_cuts() {
    let bench = bench(9, 1 << 20);
    let good = fs::read(&bench.file).unwrap();
    assert!(good.len() as u64 > 2 * FRAME, "{} bytes are not large", good.len());
    let read = |file: &Utf8Path| -> Result<()> {
        let mut capsule = Clear::open(file)?.verified(&bench.pin(), &bench.operator)?;
        let manifest = capsule.manifest()?;
        capsule.content(&manifest, 0, &mut Discard, &Quiet)
    };
    read(&bench.file).unwrap();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (next, good, read, bench) = (&next, &good, &read, &bench);
            scope.spawn(move || {
                let mine = bench.t.path.join(format!("damaged-{thread}"));
                fs::write(&mine, good).unwrap();
                let file = fs::File::options().write(true).open(&mine).unwrap();
                use std::os::unix::fs::FileExt as _;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= PLACES {
                        return;
                    }
                    let at = n * good.len() / PLACES;
                    file.write_all_at(&[good[at] ^ (1 << (n % 8))], at as u64).unwrap();
                    assert!(read(&mine).is_err(), "byte {at} of {} was flipped", good.len());
                    file.set_len(at as u64).unwrap();
                    assert!(read(&mine).is_err(), "cut at {at} of {}", good.len());
                    file.write_all_at(&good[at..], at as u64).unwrap();
                }
            });
        }
    });
}
