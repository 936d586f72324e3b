//! A node's support bundle: one file for those who help, encrypted, without secrets.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use cluster_seed::secret::seal_to;
use host::files::{PRIVATE, write_atomic};
use host::support::{Command, MACHINE, Parts};
use serde_json::json;

/// Level of zstd; the bundle is made once.
const LEVEL: i32 = 9;

/// What only a node has. Programs of roles that the node does not have are listed as left out.
const NODE: &[Command] = &[
    ("node/os-release.txt", &["cat", "/etc/os-release"]),
    ("node/cmdline.txt", &["cat", "/proc/cmdline"]),
    ("node/failed.txt", &["systemctl", "--failed", "--no-pager"]),
    ("node/timers.txt", &["systemctl", "list-timers", "--all", "--no-pager"]),
    ("node/boot.txt", &["systemd-analyze", "blame", "--no-pager"]),
    ("node/packages.txt", &["dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\n"]),
    ("node/apt.txt", &["apt-cache", "policy"]),
    ("node/rules.txt", &["ip", "rule"]),
    ("node/modules.txt", &["lsmod"]),
    ("node/sysctl.txt", &["sysctl", "-a"]),
    ("node/agent.txt", &["journalctl", "-n", "5000", "--no-pager", "-o", "short-iso", "-u", "kubedos*"]),
    ("platform/etcd.txt", &["kubedos-etcd", "health"]),
    ("platform/virtual-addresses.txt", &["journalctl", "-b", "-n", "500", "--no-pager", "-u", "keepalived", "-u", "haproxy"]),
    ("platform/containers.txt", &["crictl", "ps", "-a"]),
    ("platform/images.txt", &["crictl", "images"]),
    ("platform/podman.txt", &["podman", "ps", "-a"]),
    ("platform/kubelet.txt", &["journalctl", "-b", "-n", "2000", "--no-pager", "-u", "kubelet"]),
    (
        "platform/kubernetes.txt",
        &["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "nodes,pods", "-A", "-o", "wide"],
    ),
];

/// An encrypted bundle.
pub struct Bundle {
    pub bytes: Vec<u8>,
    /// Files in it.
    pub parts: usize,
    pub left_out: Vec<String>,
}

/// Collects everything and encrypts it to an age recipient. `own` is what the agent itself has to say.
pub fn bundle(recipient: &str, own: impl IntoIterator<Item = (&'static str, Result<String>)>, now: u64) -> Result<Bundle> {
    // Collecting takes a minute: a wrong recipient is told before.
    seal_to(recipient, &[]).context("checking the recipient")?;
    let mut parts = Parts::default();
    for (name, text) in own {
        parts.add_result(name, text.map(String::into_bytes).map_err(|e| format!("{e:#}")));
    }
    parts.add_commands(MACHINE);
    parts.add_commands(NODE);
    pack(recipient, parts, now)
}

fn pack(recipient: &str, mut parts: Parts, now: u64) -> Result<Bundle> {
    let about = json!({"program": env!("CARGO_PKG_VERSION"), "made": now, "leftOut": parts.left_out});
    parts.files.push(("about.json".to_owned(), serde_json::to_vec_pretty(&about).context("describing the bundle")?));
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in &parts.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        tar.append_data(&mut header, format!("support/{name}"), bytes.as_slice()).with_context(|| format!("packing {name}"))?;
    }
    let plain = tar.into_inner().context("packing the bundle")?;
    let packed = zstd::encode_all(plain.as_slice(), LEVEL).context("compressing the bundle")?;
    let bytes = seal_to(recipient, &packed).context("encrypting the bundle")?;
    Ok(Bundle { bytes, parts: parts.files.len(), left_out: parts.left_out })
}

/// Fails if the file exists.
pub fn must_be_new(out: &Utf8Path) -> Result<()> {
    ensure!(out == "-" || !out.exists(), "{out} already exists: choose another --out, nothing is overwritten");
    Ok(())
}

/// Writes it to a new file that only root can read, or to standard output (`-`).
pub fn write(out: &Utf8Path, bytes: &[u8]) -> Result<()> {
    if out == "-" {
        return std::io::stdout().write_all(bytes).context("writing the bundle");
    }
    must_be_new(out)?;
    write_atomic(out, bytes, PRIVATE).context("writing the bundle")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_seed::secret::AgeKey;

    #[test]
    fn the_operator_opens_the_bundle_and_finds_what_was_left_out() {
        let key = AgeKey::generate();
        let mut parts = Parts::default();
        parts.add("node/status.txt", b"node n-1");
        parts.add("node/bad.txt", format!("PrivateKey = {}=", "a".repeat(43)).as_bytes());
        let bundle = pack(&key.recipient(), parts, 1_700_000_000).unwrap();
        assert_eq!((bundle.parts, bundle.left_out.len()), (2, 1));
        let plain = key.open(&bundle.bytes).unwrap();
        let plain = zstd::decode_all(plain.expose()).unwrap();
        let mut archive = tar::Archive::new(plain.as_slice());
        let names: Vec<_> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["support/node/status.txt", "support/about.json"]);
        assert!(!plain.windows(20).any(|w| w == [b'a'; 20]));
        let asked = std::cell::Cell::new(false);
        let own = std::iter::once_with(|| {
            asked.set(true);
            ("node/status.txt", Ok(String::new()))
        });
        assert!(super::bundle("age1nobody", own, 0).is_err() && !asked.get(), "nothing is collected for nobody");
    }

    #[test]
    fn a_bundle_is_not_written_over_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("b.age");
        write(&path, b"one").unwrap();
        assert!(write(&path, b"two").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
