//! Invalid input: each case gives a clear message with a hint and an exit code, and leaves nothing half-written.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::liar::{Liar, Lie};
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::seedd::Seedd;
use crate::site::{Template, copy_site};
use crate::tool::{self, Outcome};

/// Seconds after which a command that must refuse has not refused.
const LIMIT: u32 = 600;

/// Context of every case.
pub struct Bench<'a> {
    pub template: &'a Template,
    pub work: PathBuf,
}

type Case = (&'static str, fn(&Bench<'_>) -> Result<()>);

/// Name and test of every case.
pub const CASES: [Case; 11] = [
    ("unknown key in cluster.yaml", unknown_key),
    ("overlapping planes", overlapping_planes),
    ("missing package", missing_package),
    ("mirror changes an index", |b| bad_mirror(b, Lie::ChangedIndex)),
    ("mirror changes a package", |b| bad_mirror(b, Lie::ChangedPackage)),
    ("mirror stops half-way", |b| bad_mirror(b, Lie::StopsHalfWay)),
    ("full disk", full_disk),
    ("interface that does not exist", no_interface),
    ("port in use", port_in_use),
    ("wrong passphrase", wrong_passphrase),
    ("init over an existing site", init_again),
];

impl Bench<'_> {
    /// A copy of the prepared site, named after the case.
    fn copy(&self, name: &str) -> Result<Seedd> {
        self.template.copy(&self.work.join(name))
    }

    /// A copy without packages and images: keys, database and cluster.yaml only.
    fn bare(&self, name: &str) -> Result<Seedd> {
        let seedd = self.copy(name)?;
        for dir in ["blobs", "snapshots", "artifacts", "netboot", "cache", "tmp"] {
            let _ = fs::remove_dir_all(seedd.data.join(dir));
        }
        Ok(seedd)
    }
}

/// The refusal: an exit code, a message, a hint; no panic.
fn refused(out: &Outcome, words: &[&str]) -> Result<()> {
    let text = out.stderr.to_lowercase();
    ensure!(out.code > 0 && out.code < 124, "ended with {}: {}{}", out.code, out.stdout, out.stderr);
    ensure!(!text.contains("panicked"), "a panic: {}", out.stderr);
    ensure!(text.contains("hint:"), "no hint: {}", out.stderr);
    for word in words {
        ensure!(text.contains(&word.to_lowercase()), "{word:?} is not in: {}", out.stderr);
    }
    Ok(())
}

/// Names of the built things of a site, and whatever lies in tmp, but for parts of downloads: those are named by the
/// digest they must have in the end, and the next build goes on where they stop.
fn built(data: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for dir in ["snapshots", "artifacts", "netboot", "tmp"] {
        for entry in fs::read_dir(data.join(dir)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !(dir == "tmp" && name.strip_suffix(".part").is_some_and(is_digest)) {
                names.push(format!("{dir}/{name}"));
            }
        }
    }
    names.sort();
    names
}

/// Runs a verb that must be refused and leave the site as it was.
fn refused_verb(seedd: &Seedd, argv: &[String], words: &[&str]) -> Result<()> {
    let before = built(&seedd.data);
    let out = tool::outcome(&tool::limited(argv, LIMIT))?;
    refused(&out, words)?;
    let after = built(&seedd.data);
    ensure!(before == after, "half-written: {before:?} became {after:?}");
    Ok(())
}

/// Changes a line of the site's cluster.yaml; the text must be there.
fn edit(seedd: &Seedd, old: &str, new: &str) -> Result<()> {
    let file = seedd.cluster_file();
    let text = fs::read_to_string(&file).context("reading cluster.yaml")?;
    if !text.contains(old) {
        bail!("cluster.yaml has no {old:?}");
    }
    fs::write(&file, text.replacen(old, new, 1)).context("writing cluster.yaml")
}

fn unknown_key(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.bare("unknown-key")?;
    edit(&seedd, "    domain: ", "    surprise: 1\n    domain: ")?;
    // Where it stands: cluster.yaml:LINE:COLUMN.
    refused_verb(&seedd, &seedd.argv(&["cluster", "check"]), &["surprise", "cluster.yaml:"])
}

fn overlapping_planes(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.bare("overlap")?;
    edit(&seedd, "10.79.0.0/16", "10.78.128.0/17")?;
    refused_verb(&seedd, &seedd.argv(&["cluster", "check"]), &["overlaps", "wg1", "wg2"])
}

fn missing_package(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.copy("missing-package")?;
    edit(&seedd, "packages: [", "packages: [no-such-package-anywhere, ")?;
    refused_verb(&seedd, &seedd.darksite_argv(), &["no-such-package-anywhere"])
}

fn bad_mirror(bench: &Bench<'_>, lie: Lie) -> Result<()> {
    let seedd = bench.bare(&format!("mirror-{lie:?}"))?;
    let liar = Liar::start(lie)?;
    edit(&seedd, "  darksite:\n", &format!("  darksite:\n    mirror: {}\n", liar.url))?;
    refused_verb(&seedd, &seedd.darksite_argv(), &[])
}

fn full_disk(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.bare("full-disk")?;
    let full = bench.work.join("full");
    fs::create_dir_all(&full).context("making a mount point")?;
    // The mount lives in a mount namespace of its own and goes with it.
    let script = "mount -t tmpfs -o size=24m tmpfs \"$0\" && cp -a \"$1\"/. \"$0\" && shift && \"$@\"; code=$?; \
                  ls \"$0/snapshots\" 2>/dev/null; exit $code";
    let mut argv = tool::words(&["unshare", "-m", "sh", "-c", script]);
    argv.extend([full.to_string_lossy().into_owned(), seedd.data.to_string_lossy().into_owned()]);
    argv.extend(seedd.on(&full).darksite_argv());
    let out = tool::outcome(&tool::limited(&argv, LIMIT))?;
    refused(&out, &["space"])?;
    ensure!(out.stdout.trim().lines().all(|l| !is_digest(l)), "a snapshot was left on a full disk: {}", out.stdout);
    Ok(())
}

fn is_digest(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

fn no_interface(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.copy("no-interface")?;
    refused_verb(&seedd, &seedd.serve_on("nosuch0", "127.0.0.1:0", "127.0.0.1:0"), &["nosuch0"])
}

fn port_in_use(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.copy("port-in-use")?;
    let ns = Netns::lab(&format!("{PREFIX}{}-port", std::process::id()), &bench.work)?;
    let listen = format!("{SEED_IP}:80");
    let taken = ns.enter(|| TcpListener::bind(&listen).context("taking the port first"))?;
    refused_verb(&seedd, &ns.argv(&seedd.serve_on("br0", &listen, "127.0.0.1:0")), &[&listen])?;
    drop(taken);
    Ok(())
}

fn wrong_passphrase(bench: &Bench<'_>) -> Result<()> {
    let mut seedd = bench.copy("passphrase")?;
    seedd.passphrase_file = bench.work.join("wrong-passphrase");
    fs::write(&seedd.passphrase_file, "not it").context("writing a wrong passphrase")?;
    refused_verb(&seedd, &seedd.darksite_argv(), &["passphrase"])
}

fn init_again(bench: &Bench<'_>) -> Result<()> {
    let seedd = bench.copy("init-again")?;
    let keys = || {
        fs::read_dir(seedd.data.join("keys"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| fs::read(e.path()).unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let before = keys();
    refused_verb(&seedd, &seedd.init_argv(), &[])?;
    ensure!(!before.is_empty() && before == keys(), "the keys of the site were touched");
    copy_site(&seedd.data, &bench.work.join("init-again-2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_an_exit_code_a_message_and_a_hint() {
        let out = |code, stderr: &str| Outcome { code, stdout: String::new(), stderr: stderr.to_owned() };
        assert!(refused(&out(1, "error: no space left\nhint: make room"), &["Space"]).is_ok());
        for bad in
            [out(0, "hint: x"), out(-1, "hint: x"), out(124, "hint: x"), out(1, "error"), out(101, "thread panicked\nhint: x")]
        {
            assert!(refused(&bad, &[]).is_err(), "{bad:?}");
        }
        assert!(refused(&out(1, "hint: x"), &["word"]).is_err());
    }
}
