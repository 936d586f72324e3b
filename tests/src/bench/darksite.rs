//! `kubedos-lab bench darksite`: publishing, planning and verifying, compared with similar tools.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SHELVES;
use darksite::shelf::Shelves;

use super::steps::STEP;
use super::{Cost, best, measure, peers};
use crate::darksite::{Bench, keys};
use crate::dirs::RunDirs;
use crate::{say, tool};

/// Roots that bring about 400 packages.
const ROOTS: [&str; 4] = ["task-xfce-desktop", "build-essential", "openssh-server", "linux-image-amd64"];
/// Nine roots for the closure over everything.
const NINE: [&str; 9] = [
    "linux-image-amd64",
    "openssh-server",
    "wireguard-tools",
    "ansible-core",
    "containerd",
    "etcd-server",
    "haproxy",
    "prometheus",
    "python3",
];
/// Runs of each; the best counts.
const TIMES: usize = 3;

struct Place {
    work: Utf8PathBuf,
    small: Utf8PathBuf,
    large: [Utf8PathBuf; 2],
    results: String,
}

/// Prepares, measures, and prints a table.
pub fn run(dirs: &RunDirs) -> Result<()> {
    for program in ["aptly", "reprepro", "apt-ftparchive", "openssl", "xz", "time"] {
        ensure!(
            tool::find(program).is_some(),
            "{program} is not installed (apt-get install aptly reprepro apt-utils openssl xz-utils time)"
        );
    }
    let bench = Bench::new(dirs)?;
    let work = bench.work.clone();
    let mut place =
        Place { small: work.join("small"), large: [work.join("large-1"), work.join("large-2")], work, results: String::new() };
    say::line("preparing: packages and indexes from this machine's mirror");
    let debs = place.prepare_small(&bench)?;
    place.prepare_large(&bench)?;
    place.publish(&debs)?;
    place.closure()?;
    place.large_publish()?;
    place.verify()?;
    say::plain(&place.results);
    Ok(())
}

fn own(args: &[&str]) -> Result<Vec<String>> {
    let exe = std::env::current_exe().context("finding the lab's own program")?;
    let exe = exe.to_str().context("a path that is not UTF-8")?;
    Ok(tool::words(&[&[exe, "step"], args].concat()))
}

/// A mirror with one suite, `bench`, signed by the lab's key.
fn mirror(dir: &Utf8Path, packages: &str) -> Result<()> {
    let dists = dir.join("dists/bench");
    let path = dists.join("main/binary-amd64/Packages");
    std::fs::create_dir_all(path.parent().context("a path")?)?;
    std::fs::write(&path, packages)?;
    let (key, _) = keys()?;
    let release = format!(
        "Suite: bench\nCodename: bench\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {} {} main/binary-amd64/Packages\n",
        Digest::of(packages.as_bytes()),
        packages.len()
    );
    std::fs::write(dists.join("InRelease"), key.sign_cleartext(&release, key.created())?)?;
    Ok(())
}

/// The seconds of a part, from what a step printed.
fn part(log: &Path, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(log)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|w| *w == name).with_context(|| format!("the step printed no time of {name}"))?;
    Ok(words.get(at + 1).context("a number")?.parse()?)
}

/// Removes the snapshot named `old`, and the shelves that no other has. The name of the one that stays.
fn forget(snapshots: &Utf8Path, old: Option<&str>) -> Result<Option<String>> {
    if let Some(old) = old {
        std::fs::remove_dir_all(snapshots.join(old))?;
    }
    let names = |dir: &Utf8Path| -> Result<Vec<String>> { dir.read_dir_utf8()?.map(|e| Ok(e?.file_name().to_owned())).collect() };
    let left = names(snapshots)?.into_iter().find(|n| n != SHELVES).context("there is no snapshot")?;
    let lock = darksite::SnapshotLock::parse(&std::fs::read_to_string(snapshots.join(&left).join("snapshot.lock"))?)?;
    let used: BTreeSet<String> = Shelves::of(&lock).shelves.iter().map(|s| s.id.to_string()).collect();
    for name in names(&snapshots.join(SHELVES))?.into_iter().filter(|n| !used.contains(n)) {
        std::fs::remove_dir_all(snapshots.join(SHELVES).join(name))?;
    }
    // What this leaves to be written is not the next run's.
    tool::run(&["sync", "-f", snapshots.as_str()])?;
    Ok(Some(left))
}

impl Place {
    fn row(&mut self, what: &str, cost: Cost) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.results, "{what:<58} {:>8.2} s {:>8.2} s CPU {:>7.0} MB", cost.wall, cost.cpu, cost.memory);
    }

    fn ratio(&mut self, what: &str, ratio: f64) {
        let _ = writeln!(self.results, "  -> {what}: {ratio:.1}");
    }

    /// About 400 real packages: a mirror of their stanzas, their blobs, and a folder of .deb files for the peers.
    fn prepare_small(&mut self, bench: &Bench) -> Result<Utf8PathBuf> {
        let plan = bench.plan(&bench.request("bench", &["main"], &ROOTS))?;
        let dir = bench.build("bench", &plan)?;
        let packages = std::fs::read_to_string(dir.join("dists/trixie/main/binary-amd64/Packages"))?;
        mirror(&self.small.join("mirror"), &packages)?;
        tool::run(&["cp", "-al", bench.paths("bench").blobs.as_str(), self.small.join("blobs").as_str()])?;
        let debs = self.work.join("debs");
        std::fs::create_dir_all(&debs)?;
        for package in &plan.lock.packages {
            let name = package.filename.rsplit('/').next().unwrap_or_default();
            std::fs::hard_link(dir.join(&package.filename), debs.join(name))?;
        }
        let _ = writeln!(self.results, "{} packages, {} MB", plan.lock.packages.len(), plan.lock.bytes() >> 20);
        Ok(debs)
    }

    /// The whole of main, twice: as it is and with one version changed. Files of the right size stand for the packages, which
    /// publishing does not read.
    fn prepare_large(&mut self, bench: &Bench) -> Result<()> {
        let mut request = bench.request("large", &["main"], &NINE);
        request.profile = cluster_seed::repo::RepoProfile::Full;
        request.sources.truncate(1);
        let plan = bench.plan(&request)?;
        let mut text = String::new();
        for stanza in plan.stanzas("main/binary-amd64/Packages") {
            text += stanza;
            text += "\n";
        }
        mirror(&self.large[0], &text)?;
        let changed = text.replacen("\nVersion: 3.7.1", "\nVersion: 3.7.2", 1);
        let changed = if changed == text { text.replacen("\nVersion: ", "\nVersion: 1", 1) } else { changed };
        mirror(&self.large[1], &changed)?;
        for package in &plan.lock.packages {
            let blob = host::blobs::blob_path(&self.work.join("large/blobs"), &package.sha256);
            std::fs::create_dir_all(blob.parent().context("a path")?)?;
            std::fs::File::create(&blob)?.set_len(package.size)?;
        }
        Ok(())
    }

    fn publish(&mut self, debs: &Utf8Path) -> Result<()> {
        let work = self.work.clone();
        let (small, mirror) = (self.small.clone(), self.small.join("mirror"));
        let log = work.join("publish.log");
        let ours = best(TIMES, || {
            for part in ["snapshots", "cache"] {
                let _ = std::fs::remove_dir_all(small.join(part));
            }
            measure(&own(&[&["publish", mirror.as_str(), small.as_str()], &ROOTS[..]].concat())?, log.as_std_path())
        })?;
        self.row("kubedos: plan, publish, sign (verified packages)", ours);
        let mut fastest = f64::MAX;
        type Peer = (&'static str, fn(&Utf8Path, &Utf8Path) -> Result<Cost>);
        let peers: [Peer; 4] = [
            ("apt-ftparchive, SHA-256 only, index alone", |d, w| peers::ftparchive(d, w, false)),
            ("apt-ftparchive, all hashes, index alone", |d, w| peers::ftparchive(d, w, true)),
            ("reprepro includedeb, unsigned", peers::reprepro),
            ("aptly repo add, publish, unsigned, no Contents", peers::aptly),
        ];
        for (name, peer) in peers {
            let cost = best(TIMES, || peer(debs, &work))?;
            self.row(name, cost);
            fastest = fastest.min(cost.wall);
        }
        self.ratio("fastest peer's time over ours", fastest / ours.wall);
        Ok(())
    }

    /// Nine roots over the whole index; both have it on their disks already.
    fn closure(&mut self) -> Result<()> {
        let work = self.work.clone();
        let (mirror, dir) = (self.large[0].clone(), work.join("large"));
        let argv = own(&[&["plan", mirror.as_str(), dir.as_str()], &NINE[..]].concat())?;
        let ours = best(TIMES + 1, || measure(&argv, work.join("plan.log").as_std_path()))?;
        self.row("kubedos: plan of nine roots over all of main", ours);
        let root = work.join("apt");
        std::fs::create_dir_all(root.join("cache/archives/partial"))?;
        std::fs::create_dir_all(root.join("lists/partial"))?;
        std::fs::write(root.join("status"), "")?;
        std::fs::write(root.join("sources.list"), format!("deb [trusted=yes] file://{mirror} bench main\n"))?;
        let options: Vec<String> = [
            format!("Dir::Etc::sourcelist={root}/sources.list"),
            "Dir::Etc::sourceparts=-".into(),
            format!("Dir::State={root}"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}/cache"),
            "APT::Architecture=amd64".into(),
            "APT::Architectures=amd64".into(),
            "APT::Sandbox::User=".into(),
        ]
        .into_iter()
        .flat_map(|o: String| ["-o".to_owned(), o])
        .collect();
        let update: Vec<String> = [tool::words(&["apt-get"]), options.clone(), tool::words(&["-q", "update"])].concat();
        tool::run_owned(&update)?;
        let cold = best(TIMES, || {
            // Its binary cache is made from the lists, as our universe is from the index.
            let _ = std::fs::remove_file(root.join("cache/pkgcache.bin"));
            let _ = std::fs::remove_file(root.join("cache/srcpkgcache.bin"));
            peers::apt_closure(&options, &NINE, &work)
        })?;
        self.row("apt-get -s install, its lists on disk", cold);
        let warm = best(TIMES, || peers::apt_closure(&options, &NINE, &work))?;
        self.row("apt-get -s install, with its binary cache", warm);
        self.ratio("apt's time over ours, both from the lists", cold.wall / ours.wall);
        self.ratio("apt's time over ours, apt with its binary cache", warm.wall / ours.wall);
        let argv = own(&[&["plan-full", mirror.as_str(), dir.as_str()], &NINE[..]].concat())?;
        let full = best(TIMES, || measure(&argv, work.join("plan-full.log").as_std_path()))?;
        self.row("kubedos: plan of profile full, all of main", full);
        Ok(())
    }

    fn large_publish(&mut self) -> Result<()> {
        let work = self.work.clone();
        let dir = work.join("large");
        let log = work.join("publish-full.log");
        let _ = std::fs::remove_dir_all(dir.join("cache/shards"));
        let first =
            measure(&own(&[&["publish-full", self.large[0].as_str(), dir.as_str()], &NINE[..]].concat())?, log.as_std_path())?;
        self.row("kubedos: first publish of all of main, plan included", first);
        let published = part(log.as_std_path(), "publish")?;
        // From the first state to the second, back, and so on: each time one package differs from what was published last.
        let mut state = 0;
        let mut last = forget(&dir.join("snapshots"), None)?;
        let again = best(2 * TIMES, || {
            state = 1 - state;
            let cost = measure(
                &own(&[&["publish-full", self.large[state].as_str(), dir.as_str()], &NINE[..]].concat())?,
                log.as_std_path(),
            )?;
            last = forget(&dir.join("snapshots"), last.as_deref())?;
            Ok(Cost { wall: part(log.as_std_path(), "publish")?, ..cost })
        })?;
        self.row("kubedos: publish after one package changed", again);
        // Whatever the steps are called.
        for (seconds, step) in std::fs::read_to_string(&log)?.lines().filter_map(|l| l.strip_prefix(STEP)?.split_once(' ')) {
            let _ = writeln!(self.results, "     of which {step:<45} {seconds:>8} s");
        }
        let xz = peers::xz(&self.large[0].join("dists/bench/main/binary-amd64/Packages"), &work)?;
        self.row("xz -6 of the same index alone", xz);
        self.ratio("first publish over the one after a change", published / again.wall);
        Ok(())
    }

    fn verify(&mut self) -> Result<()> {
        let work = self.work.clone();
        let (small, mirror) = (self.small.clone(), self.small.join("mirror"));
        let argv = own(&["verify", mirror.as_str(), small.as_str()])?;
        let ours = best(TIMES, || measure(&argv, work.join("verify.log").as_std_path()))?;
        self.row("kubedos: verify every byte", ours);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let theirs = best(TIMES, || peers::openssl(&small.join("snapshots"), &work, cores))?;
        self.row("openssl sha256 of the same tree on all cores", theirs);
        self.ratio("openssl's time over ours", theirs.wall / ours.wall);
        Ok(())
    }
}
