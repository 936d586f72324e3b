//! `kubedos-lab test --only prove`: the site's snapshot proves itself, travels on a stick through kill -9, and the extras
//! are taken by the programs that nodes take them with.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::fake_agent::random;
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::tool::{self, Background};

/// Seconds that a verb may take.
const PATIENCE: u32 = 600;
/// Imports that are killed.
const KILLS: u32 = 10;

pub struct Bench<'a> {
    pub template: &'a Template,
    pub work: PathBuf,
    pub logs: PathBuf,
}

type Case = (&'static str, fn(&Bench<'_>) -> Result<()>);

pub const CASES: [Case; 4] = [
    ("every root set installs from the snapshot alone; with one package missing it does not", proven),
    ("a snapshot is transferred on a stick in spite of kill -9, and is listed only when it is complete", travels),
    ("containerd, apt and curl get images, packages and charts from the seed", crate::extras::taken),
    ("lint finds a planted private key and a planted password hash", lint),
];

impl Bench<'_> {
    pub fn copy(&self, name: &str) -> Result<Seedd> {
        self.template.copy(&self.work.join(name))
    }
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("reading {text}"))
}

/// State of the snapshot in use, and how many are listed; a damaged one is an error.
fn listed(seedd: &Seedd) -> Result<(Option<String>, usize)> {
    let list = json(&seedd.say_plain(&["darksite", "list", "--json"])?)?;
    ensure!(list["damaged"] == serde_json::json!([]), "damaged snapshots: {list}");
    let all = list["snapshots"].as_array().context("no list of snapshots")?;
    let in_use = all.iter().find(|s| s["inUse"] == true);
    Ok((in_use.and_then(|s| s["proof"]["state"].as_str()).map(str::to_owned), all.len()))
}

fn proven(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.copy("proven")?;
    let id = json(&seedd.say_plain(&["darksite", "list", "--json"])?)?["inUse"].as_str().context("no snapshot")?.to_owned();
    // One package less, in a tree of its own: the packages are links, and the site's blobs stay.
    let gone = find(&seedd.data.join("snapshots").join(&id).join("pool"), "iputils-ping_")?;
    let kept = bench.work.join("kept.deb");
    fs::rename(&gone, &kept).context("taking a package away")?;
    let argv = seedd.with_passphrase(&["darksite", "prove", "--role", "base"]);
    let out = tool::outcome(&tool::limited(&argv, PATIENCE))?;
    ensure!(out.code == 1 && out.stdout.contains("could not be installed"), "{}{}", out.stdout, out.stderr);
    ensure!(out.stderr.contains("hint:"), "no hint: {}", out.stderr);
    ensure!(listed(&seedd)?.0.as_deref() == Some("unproven"), "a trial was recorded");
    fs::rename(&kept, &gone).context("giving the package back")?;

    let began = Instant::now();
    let argv = seedd.with_passphrase(&["darksite", "prove"]);
    let limit = Duration::from_secs(PATIENCE.into());
    tool::run_long(&argv, &bench.logs.join("prove.log"), limit, say::progress)?;
    say::line(&format!("proven in {}", say::seconds(began.elapsed())));
    ensure!(listed(&seedd)?.0.as_deref() == Some("proven"), "the snapshot is not shown as proven");
    seedd.say_plain(&["darksite", "verify"])?;
    let left = fs::read_dir(seedd.data.join("tmp")).context("looking into tmp")?.flatten();
    let left: Vec<_> = left.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with("prove-")).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The one file below `dir` whose name begins so.
fn find(dir: &Path, begin: &str) -> Result<PathBuf> {
    let said = tool::run(&["find", &dir.to_string_lossy(), "-name", &format!("{begin}*")])?;
    let path = said.lines().next().with_context(|| format!("no {begin} below {}", dir.display()))?;
    Ok(PathBuf::from(path))
}

fn travels(bench: &Bench<'_>) -> Result<()> {
    let (a, b) = (bench.copy("from")?, bench.template.seedd.on(&bench.work.join("to")));
    b.init()?;
    let file = bench.work.join("snapshot.archive").to_string_lossy().into_owned();
    a.say(&["darksite", "export", "--out", &file])?;
    let pin = a.public("site")?;
    let argv = b.argv(&["darksite", "import", &file, "--pin", &pin]);
    let log = bench.logs.join("import.log");
    let whole = {
        let site = bench.template.seedd.on(&bench.work.join("measured"));
        site.init()?;
        let began = Instant::now();
        site.say_plain(&["darksite", "import", &file, "--pin", &pin])?;
        began.elapsed()
    };
    let mut killed = 0;
    for _ in 0..KILLS {
        let mut import = Background::spawn("seedd darksite import", &argv, &log, None)?;
        let part = f64::from(random()?[0]) / f64::from(u8::MAX);
        std::thread::sleep(whole.mul_f64(part * 0.6));
        killed += u32::from(import.ended()?.is_none());
        import.kill();
        if listed(&b)?.1 > 0 {
            b.say_plain(&["darksite", "verify"])?;
        }
    }
    ensure!(killed > 2, "only {killed} imports were killed in time");
    tool::run_owned(&argv)?;
    ensure!(listed(&b)?.1 == 1, "it is not listed");
    b.say_plain(&["darksite", "verify"])?;
    let trees = [&a, &b].map(|s| s.data.join("snapshots").to_string_lossy().into_owned());
    tool::run(&["diff", "-r", &trees[0], &trees[1]]).context("comparing the trees")?;
    let waste = json(&b.say_plain(&["darksite", "gc", "--json"])?)?;
    ensure!(waste["bytes"] == 0, "an import left files behind: {waste}");
    Ok(())
}

fn lint(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.copy("lint")?;
    seedd.say_plain(&["darksite", "lint"]).context("the product's own files")?;
    let key = bench.work.join("planted-key").to_string_lossy().into_owned();
    tool::run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key])?;
    let shadow = bench.work.join("planted-shadow");
    let hash = tool::run(&["openssl", "passwd", "-6", "a password"])?;
    fs::write(&shadow, format!("root:{}:19000:0:99999:7:::\n", hash.trim())).context("planting a hash")?;
    let archive = bench.work.join("planted.tar.gz").to_string_lossy().into_owned();
    tool::run(&["tar", "-C", &bench.work.to_string_lossy(), "-czf", &archive, "planted-key", "planted-shadow"])?;
    let shadow = shadow.to_string_lossy().into_owned();
    for (file, found) in [
        (&key, &["a private key"][..]),
        (&shadow, &["a password hash"][..]),
        (&archive, &["planted-key (a private key)", "planted-shadow (a password hash)"][..]),
    ] {
        let out = tool::outcome(&seedd.argv(&["darksite", "lint", file]))?;
        ensure!(out.code == 1 && found.iter().all(|f| out.stderr.contains(f)), "{file}: {}{}", out.stdout, out.stderr);
    }
    Ok(())
}
