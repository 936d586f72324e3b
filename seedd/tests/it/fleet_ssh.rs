//! SSH to nodes by host certificates of the site: from a node's message to a real ssh that accepts a real sshd.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::converge::orders::SshHost;
use host::programs::find_program;

use crate::converge::{Node, PLAYS, site_with};
use crate::support::front::{Front, Said};
use crate::support::sites::{A, temp};

/// A node that told this host key, and the site that certified it.
fn certified(key: &str) -> (Front, String) {
    let t = temp();
    let site = site_with(&t, PLAYS);
    let front = Front::of(t, site);
    front.app.unseal_with(A, "test").unwrap();
    let mut node = Node::ready(1, &front.app);
    assert!(node.ask(&front.app).ssh.is_none(), "an agent without a key gets none");
    node.ssh = Some(SshHost { key: key.to_owned(), held: None });
    let made = node.ask(&front.app).ssh.unwrap();
    node.ssh = Some(SshHost { key: key.to_owned(), held: Some(made.held) });
    assert!(node.ask(&front.app).ssh.is_none(), "one is enough");
    (front, made.certificate)
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBUJ0W4FpUHZRoh1NgcPZRjBhKjqjWOWRHE8RTEO+vYL";

#[test]
fn one_command_writes_what_ssh_needs() {
    let (front, certificate) = certified(KEY);
    assert!(certificate.starts_with("ssh-ed25519-cert-v01@openssh.com "), "{certificate}");
    let line = front.here(&["known-hosts"]);
    assert!(line.starts_with("@cert-authority *.kubedos.lan,10.") && line.contains(" ssh-ed25519 AAAA"), "{line}");
    let dir = front.path("ssh");
    let said = front.here(&["ssh-config", "--out", dir.as_str(), "--jump", "root@seed"]);
    assert!(said.starts_with("1 nodes;") && said.ends_with(&format!("Include {dir}/config\n")), "{said}");
    assert_eq!(std::fs::read_to_string(dir.join("known_hosts")).unwrap(), line);
    let Some(ssh) = find_program("ssh") else { return kubedos_skip::skip("ssh", "it reads the configuration") };
    let config = dir.join("config").to_string();
    let shown = Command::new(ssh).args(["-G", "-F", &config, "n1"]).output().unwrap();
    let shown = Said::of(shown).out;
    for part in ["hostkeyalias n1.kubedos.lan", "user root", "proxyjump root@seed", "hostname 10."] {
        assert!(shown.lines().any(|l| l.starts_with(part)), "{part} in\n{shown}");
    }
}

/// An sshd with a certified host key, stopped at the end.
struct Sshd(Child, u16);

impl Drop for Sshd {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn sshd(dir: &Utf8Path, program: &Utf8Path) -> Sshd {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host\nHostCertificate {dir}/host-cert.pub\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\n"
    );
    std::fs::write(dir.join("sshd_config"), config).unwrap();
    let users = "root:x:0:0:root:/root:/bin/sh\nsshd:x:74:74::/run/sshd:/usr/sbin/nologin\n";
    std::fs::write(dir.join("passwd"), users).unwrap();
    // ./dev unpacks each package into a folder of its own.
    let root = program.ancestors().nth(3).unwrap();
    let libraries = root.with_file_name("libwrap0").join("usr/lib/x86_64-linux-gnu");
    let helpers = program.ancestors().nth(2).unwrap().join("lib/openssh");
    // sshd wants a user and a folder of its own; this machine gets neither. Since OpenSSH 9.8 it has two more programs.
    let script = "set -e\nmount -t tmpfs none /run\nmkdir -m 755 /run/sshd\nmount --bind \"$1/passwd\" /etc/passwd\n\
        [ ! -e \"$4/sshd-session\" ] || mount --bind \"$4\" /usr/lib/openssh\nexport LD_LIBRARY_PATH=\"$3\"\n\
        exec setpriv --pdeathsig TERM \"$2\" -D -e -f \"$1/sshd_config\"";
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let child = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", dir.as_str(), program.as_str(), libraries.as_str(), helpers.as_str()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let sshd = Sshd(child, port);
    for _ in 0..3_000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return sshd;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("sshd did not start: {}", std::fs::read_to_string(dir.join("log")).unwrap())
}

#[test]
fn ssh_accepts_a_host_that_the_site_has_certified_and_no_other() {
    let installed = || Some(Utf8PathBuf::from("/usr/sbin/sshd")).filter(|p| p.is_file());
    let Some(server) = find_program("sshd").or_else(installed) else {
        return kubedos_skip::skip("sshd", "is not installed; ./dev test unpacks it");
    };
    let Some(ssh) = find_program("ssh") else { return kubedos_skip::skip("ssh", "is not installed") };
    let namespace = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !namespace.is_ok_and(|s| s.success()) {
        return kubedos_skip::skip("mount-namespace", "unshare -m is not allowed here");
    }
    let t = temp();
    let host = t.path.join("host");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", host.as_str()]).status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(host.with_extension("pub")).unwrap();
    let key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let (front, certificate) = certified(&key);
    std::fs::write(t.path.join("host-cert.pub"), format!("{certificate}\n")).unwrap();
    std::fs::write(t.path.join("known_hosts"), front.here(&["known-hosts"])).unwrap();
    let running = sshd(&t.path, &server);
    let login = |alias: &str| {
        let known = format!("UserKnownHostsFile={}", t.path.join("known_hosts"));
        let alias = format!("HostKeyAlias={alias}");
        let fixed = ["-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"];
        let mut command = Command::new(&ssh);
        command.args(fixed).args(["-o", &known, "-o", &alias, "-p", &running.1.to_string(), "nobody@127.0.0.1", "true"]);
        Said::of(command.stdin(Stdio::null()).output().unwrap()).err
    };
    let log = || std::fs::read_to_string(t.path.join("log")).unwrap_or_default();
    let said = login("n1.kubedos.lan");
    // The host is believed; the login itself fails, for nobody has a key there.
    assert!(said.contains("Permission denied"), "{said}\n{}", log());
    let said = login("n2.kubedos.lan");
    assert!(said.contains("Host key verification failed"), "{said}\n{}", log());
}
