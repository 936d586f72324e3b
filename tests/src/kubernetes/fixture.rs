//! The programs of Kubernetes 1.20.2, built once per machine and cached by the digest of Debian's source, and the packages and
//! images that an operator would pin as extras. For tests only: nothing of it is part of the product.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_seed::ids::Digest;
use kubedos_skip as skip;
use serde_json::json;

use crate::extras::archive;
use crate::say;
use crate::tool;

pub const VERSION: &str = "1.20.2";
/// Where kubeadm 1.20 finds its images.
pub const REGISTRY: &str = "k8s.gcr.io";
/// A web server that answers with the name of its host.
pub const ECHO: &str = "registry.example.org/lab/echo";
const SCRIPT: &str = include_str!("fixture.sh");
const ECHO_SOURCE: &str = include_str!("echo.c");
/// Programs that the script calls and does not bring itself.
const NEEDED: [&str; 5] = ["apt-get", "dpkg-source", "dpkg-deb", "gcc", "make"];
/// For a build with one job on a machine that does something else.
const BUILD_LIMIT: Duration = Duration::from_secs(4 * 3600);
const PATH: &str = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As the packages of upstream have it; the play replaces the command line.
const UNIT: &str = "[Unit]\nDescription=kubelet: The Kubernetes Node Agent\nWants=network-online.target\nAfter=network-online.target\n\
                    [Service]\nExecStart=/usr/bin/kubelet\nRestart=always\nStartLimitInterval=0\nRestartSec=10\n\
                    [Install]\nWantedBy=multi-user.target\n";
/// The packages of upstream start the kubelet when they are installed.
const POSTINST: &str = "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then\n    systemctl daemon-reload\n    \
                        deb-systemd-invoke start kubelet.service || true\nfi\n";

/// The directory with the programs; `None`, with a word, if they cannot be built here.
pub fn built(cache: &Path, logs: &Path) -> Result<Option<PathBuf>> {
    for program in NEEDED {
        if tool::outcome(&tool::words(&["sh", "-c", &format!("command -v {program}")]))?.code != 0 {
            skip::skip(program, "is not installed; Kubernetes cannot be built from Debian's source");
            return Ok(None);
        }
    }
    let script = cache.join("kubernetes-fixture.sh");
    fs::create_dir_all(cache).context("making the cache")?;
    fs::write(&script, SCRIPT).context("writing the script of the fixture")?;
    say::line("Kubernetes from Debian's source: the first time takes half an hour");
    let (log, out) = (logs.join("fixture.log"), cache.join("kubernetes-fixture.out"));
    let argv = format!("sh {} {} >{}", script.display(), cache.display(), out.display());
    tool::run_long(&tool::words(&["sh", "-c", &argv]), &log, BUILD_LIMIT, say::progress)?;
    let said = fs::read_to_string(&out).context("reading where the fixture is")?;
    let dir = PathBuf::from(said.lines().last().context("the fixture's script said nothing")?);
    let version = fs::read_to_string(dir.join("version")).context("reading the fixture's version")?;
    ensure!(version.trim() == VERSION, "the fixture is {version}");
    Ok(Some(dir))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn program(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a path without a folder")?).context("making a folder")?;
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).context("setting a mode")
}

/// The extras of cluster.yaml, made below `work`.
pub fn extras(fixture: &Path, work: &Path) -> Result<String> {
    let mut images = Vec::new();
    for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        let root = root(work, name)?;
        if name == "kube-proxy" {
            tool::run(&["cp", "-a", &format!("{}/.", text(&fixture.join("proxy"))), &text(&root)])?;
        }
        program(&fixture.join("bin").join(name), &root.join("usr/local/bin").join(name))?;
        let config = json!({"Entrypoint": [format!("/usr/local/bin/{name}")], "Env": [PATH]});
        images.push(image(work, name, &format!("{REGISTRY}/{name}"), &format!("v{VERSION}"), &config)?);
    }
    program(&fixture.join("bin/pause"), &root(work, "pause")?.join("pause"))?;
    images.push(image(work, "pause", &format!("{REGISTRY}/pause"), "3.2", &json!({"Entrypoint": ["/pause"]}))?);
    let echo = root(work, "echo")?;
    fs::write(work.join("echo.c"), ECHO_SOURCE).context("writing a source")?;
    tool::run(&["gcc", "-Os", "-Wall", "-static", "-o", &text(&echo.join("echo")), &text(&work.join("echo.c"))])?;
    images.push(image(work, "echo", ECHO, "1", &json!({"Entrypoint": ["/echo"]}))?);
    let debs = ["kubelet", "kubeadm", "kubectl"].map(|name| deb(fixture, work, name)).into_iter().collect::<Result<Vec<_>>>()?;
    Ok(format!("  extras:\n    images:\n{}    debs:\n{}", images.concat(), debs.concat()))
}

/// A root for an image, with the users that programs look up.
fn root(work: &Path, name: &str) -> Result<PathBuf> {
    let root = work.join(name).join("root");
    fs::create_dir_all(root.join("etc")).context("making a root")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/sbin/nologin\n").context("writing into a root")?;
    Ok(root)
}

fn pinned(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(format!("url: {}, sha256: {}", path.display(), Digest::of(&bytes)))
}

fn image(work: &Path, name: &str, full: &str, tag: &str, config: &serde_json::Value) -> Result<String> {
    let (archive, _, _) = archive(&work.join(name), ".", config)?;
    Ok(format!("      - {{name: {full}, tag: \"{tag}\", {}}}\n", pinned(&archive)?))
}

fn deb(fixture: &Path, work: &Path, name: &str) -> Result<String> {
    let dir = work.join(format!("deb-{name}"));
    program(&fixture.join("bin").join(name), &dir.join("usr/bin").join(name))?;
    fs::create_dir_all(dir.join("DEBIAN")).context("making a package")?;
    let control = format!(
        "Package: {name}\nVersion: {VERSION}-0fixture1\nArchitecture: amd64\nMaintainer: Lab <lab@example.org>\n\
         Description: {name} for tests, built from Debian's source\n"
    );
    fs::write(dir.join("DEBIAN/control"), control).context("writing a package")?;
    if name == "kubelet" {
        let units = dir.join("usr/lib/systemd/system");
        fs::create_dir_all(units.join("multi-user.target.wants")).context("making a package")?;
        fs::write(units.join("kubelet.service"), UNIT).context("writing a package")?;
        symlink("../kubelet.service", units.join("multi-user.target.wants/kubelet.service")).context("writing a package")?;
        fs::write(dir.join("DEBIAN/postinst"), POSTINST).context("writing a package")?;
        fs::set_permissions(dir.join("DEBIAN/postinst"), fs::Permissions::from_mode(0o755)).context("writing a package")?;
    }
    let deb = work.join(format!("{name}_{VERSION}-0fixture1_amd64.deb"));
    tool::run(&["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", &text(&dir), &text(&deb)])?;
    Ok(format!("      - {{{}}}\n", pinned(&deb)?))
}
