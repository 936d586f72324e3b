//! The answers of Debian's installer as debconf itself reads them, and what must not be in them.

use std::process::{Command, Stdio};

use cluster_seed::ids::Digest;
use image::node_assets::NODE_PACKAGES;
use image::preseed::{From, Preseed};

fn preseed(from: From) -> String {
    let preseed = Preseed {
        hostname: "m-525400ab0001".parse().unwrap(),
        domain: "kubedos.lan".parse().unwrap(),
        suite: "trixie".into(),
        from,
        seed_url: "http://10.44.0.1".into(),
        site_key: "ab".repeat(32),
        disk: Some("vda".into()),
        packages: NODE_PACKAGES.iter().map(|p| (*p).to_owned()).collect(),
        agent: Digest::of(b"agent"),
    };
    preseed.render().unwrap()
}

#[test]
fn debconf_reads_every_line() {
    use std::io::Write as _;
    for from in [From::Cdrom, From::Seed { host: "10.44.0.1".into(), path: "/darksite/current".into() }] {
        let text = preseed(from);
        let started =
            Command::new("debconf-set-selections").arg("--checkonly").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(e) => return kubedos_skip::skip("debconf-set-selections", e),
        };
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() && !said.contains("error") && !said.contains("warning"), "{said}\n{text}");
    }
}

#[test]
fn there_is_no_password_in_it() {
    let text = preseed(From::Cdrom);
    for line in text.lines().filter(|l| l.contains("password") && !l.starts_with('#')) {
        assert!(line.ends_with(" password !"), "{line}");
    }
}
