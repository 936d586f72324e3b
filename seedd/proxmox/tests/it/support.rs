//! Hosts of Proxmox VE for tests.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use host::programs::find_program;
use proxmox::apply::{ApplyOptions, Outcome, apply};
use proxmox::image::{Image, ImageFormat, Images};
use proxmox::plan::{Plan, Request, plan};
use proxmox::read::{Fleet, ReadError};
use proxmox::selection::Selection;
use proxmox::ssh::pins::{self, Pins};
use proxmox::ssh::{SshError, SshSettings};
use serde_json::{Value, json};

/// Programs of a host that tests/pve.py replaces or precedes.
const PROGRAMS: [&str; 8] = ["qm", "pvesh", "hostname", "df", "sha256sum", "mv", "install", "sftp-server"];
/// Bytes of the image: more than the server writes before it is cut off.
pub const IMAGE_BYTES: usize = 3 << 20;

/// Where the programs of the server are.
struct Server {
    sshd: Utf8PathBuf,
    sftp: Utf8PathBuf,
    libraries: Utf8PathBuf,
}

impl Server {
    /// None: something is missing, and the test was skipped.
    fn find() -> Option<Self> {
        let Some(sshd) = find_program("sshd").or_else(|| Some("/usr/sbin/sshd".into()).filter(|p: &Utf8PathBuf| p.is_file()))
        else {
            kubedos_skip::skip("sshd", "is not installed; ./dev test unpacks it");
            return None;
        };
        // ./dev unpacks each package into a folder of its own.
        let root = sshd.ancestors().nth(3).unwrap().to_owned();
        let beside = root.with_file_name("openssh-sftp-server").join("usr/lib/openssh/sftp-server");
        let sftp = [beside, "/usr/lib/openssh/sftp-server".into()].into_iter().find(|p| p.is_file());
        let Some(sftp) = sftp else {
            kubedos_skip::skip("sftp-server", "is not installed; ./dev test unpacks it");
            return None;
        };
        for program in ["ssh", "sftp", "ssh-keygen", "ssh-keyscan", "python3", "unshare"] {
            if find_program(program).is_none() {
                kubedos_skip::skip(program, "is not installed");
                return None;
            }
        }
        let namespace = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
        if !namespace.is_ok_and(|s| s.success()) {
            kubedos_skip::skip("mount-namespace", "unshare -m is not allowed here");
            return None;
        }
        let libraries = root.with_file_name("libwrap0").join("usr/lib/x86_64-linux-gnu");
        Some(Server { sshd, sftp, libraries })
    }
}

/// Some hosts of Proxmox VE, and a seed that may log in.
pub struct Lab {
    _dir: tempfile::TempDir,
    pub dir: Utf8PathBuf,
    hosts: BTreeMap<String, (u16, Child)>,
    pub settings: SshSettings,
    pub image: Image,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (_, child) in self.hosts.values_mut() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn keygen(file: &Utf8Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", file.as_str()]).status();
    assert!(made.unwrap().success());
}

impl Lab {
    /// None: skipped.
    pub fn start(names: &[&str]) -> Option<Self> {
        let server = Server::find()?;
        let temp = tempfile::Builder::new().prefix("pve").tempdir_in("/tmp").unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().to_owned();
        keygen(&dir.join("id"));
        let mut content = b"QFI\xfb".to_vec();
        content.extend((0..IMAGE_BYTES - 4).map(|n| (n % 251) as u8));
        let file = dir.join("image of a role.qcow2");
        std::fs::write(&file, &content).unwrap();
        let (sha256, size) = (Digest::of(&content), content.len() as u64);
        let image = Image { file, format: ImageFormat::Qcow2, sha256, size, virtual_size: 4 << 30 };
        let settings =
            SshSettings { known_hosts: dir.join("known_hosts"), identity: Some(dir.join("id")), run_dir: dir.join("run") };
        let mut lab = Lab { _dir: temp, dir, hosts: BTreeMap::new(), settings, image };
        std::fs::create_dir(lab.dir.join("hosts")).unwrap();
        std::fs::write(lab.dir.join("hosts/clustered"), "").unwrap();
        for name in names {
            let host = lab.sshd(&server, name);
            lab.hosts.insert((*name).to_owned(), host);
        }
        Some(lab)
    }

    fn sshd(&self, server: &Server, name: &str) -> (u16, Child) {
        let state = self.state(name);
        let bin = state.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let script = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pve.py");
        PROGRAMS.iter().for_each(|p| symlink(&script, bin.join(p)).unwrap());
        std::fs::write(
            state.join("storages.json"),
            json!([{"storage": "local", "content": "iso,import", "active": 1, "enabled": 1, "avail": 1u64 << 40},
                {"storage": "local-zfs", "content": "images,rootdir", "active": 1, "enabled": 1, "avail": 1u64 << 40}])
            .to_string(),
        )
        .unwrap();
        keygen(&state.join("hostkey"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {state}/hostkey\nAuthorizedKeysFile {}/id.pub\nStrictModes no\n\
             UsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             MaxStartups 100\nSetEnv PATH={bin}:/usr/bin:/bin PVE_STATE={state} PVE_NODE={name} PVE_SFTP={}\n\
             Subsystem sftp {bin}/sftp-server\n",
            self.dir, server.sftp
        );
        std::fs::write(state.join("sshd_config"), config).unwrap();
        std::fs::write(state.join("passwd"), "root:x:0:0:root:/root:/bin/sh\nsshd:x:74:74::/run/sshd:/usr/sbin/nologin\n")
            .unwrap();
        std::fs::write(state.join("shadow"), "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n").unwrap();
        // sshd wants a user and a folder of its own; this machine gets neither. Since OpenSSH 9.8 it has two more programs.
        let script = "set -e\nmount -t tmpfs none /run\nmkdir -m 755 /run/sshd\nmount --bind \"$1/passwd\" /etc/passwd\n\
            mount --bind \"$1/shadow\" /etc/shadow\n[ ! -e \"$4/sshd-session\" ] || mount --bind \"$4\" /usr/lib/openssh\n\
            export LD_LIBRARY_PATH=\"$3\"\nexec setpriv --pdeathsig TERM \"$2\" -D -e -f \"$1/sshd_config\"";
        let helpers = server.sshd.ancestors().nth(2).unwrap().join("lib/openssh");
        let log = std::fs::File::create(state.join("sshd.log")).unwrap();
        let child = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh"])
            .args([state.as_str(), server.sshd.as_str(), server.libraries.as_str(), helpers.as_str()])
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(state.join("sshd.log")).unwrap();
            assert!(began.elapsed() < Duration::from_secs(60), "sshd did not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        (port, child)
    }

    pub fn state(&self, host: &str) -> Utf8PathBuf {
        self.dir.join("hosts").join(host)
    }

    /// cluster.yaml with these hosts and the given nodes, and more lines of the substrate.
    pub fn spec(&self, nodes: &str, substrate: &str) -> ClusterSpec {
        let host = |(name, (port, _)): (&String, &(u16, Child))| format!("{{name: {name}, address: 127.0.0.1, port: {port}}}");
        let hosts: Vec<String> = self.hosts.iter().map(host).collect();
        let text = format!(
            "apiVersion: kubedos/v1alpha1\nkind: Cluster\nmetadata: {{name: site-a}}\nspec:\n  networking:\n    domain: kubedos.lan\n\
             \x20   underlay: {{subnet: 10.44.0.0/24, seed: 10.44.0.1, pool: {{first: 10.44.0.100, last: 10.44.0.199}}}}\n\
             \x20   planes: {{wg1: {{cidr: 10.78.0.0/16, port: 51821}}}}\n  darksite: {{suite: trixie}}\n  roles: {{base: {{}}}}\n\
             \x20 substrate: {{type: proxmox, storage: local-zfs, bridge: vmbr0, hosts: [{}]{substrate}}}\n  nodes: [{nodes}]\n",
            hosts.join(", ")
        );
        ClusterSpec::parse(&text).unwrap()
    }

    /// Pins what the hosts show.
    pub fn pin(&self, spec: &ClusterSpec) {
        for host in &spec.spec.substrate.as_ref().unwrap().hosts {
            let keys = pins::scan(host).unwrap();
            Pins::pin(&self.settings.known_hosts, host.name.value.as_str(), &keys).unwrap();
        }
    }

    pub fn images(&self) -> Images {
        [("base".to_owned(), self.image.clone())].into()
    }

    /// Reads and plans.
    pub fn plan(&self, spec: &ClusterSpec) -> Result<Plan, ReadError> {
        self.with_fleet(spec, |fleet| self.plan_with(spec, &self.images(), fleet))
    }

    pub fn plan_with(&self, spec: &ClusterSpec, images: &Images, fleet: &Fleet<'_>) -> Result<Plan, ReadError> {
        let present = fleet.read("site-a")?;
        let selection = Selection::default();
        Ok(plan(Request { spec, images, selection: &selection, present: &present }).unwrap())
    }

    pub fn with_fleet<T>(
        &self,
        spec: &ClusterSpec,
        work: impl FnOnce(&Fleet<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let never = || false;
        let fleet = Fleet::connect(spec, &self.settings, &never)?;
        work(&fleet)
    }

    /// One run: reads, plans, applies.
    pub fn run(&self, spec: &ClusterSpec, allow_destroy: bool) -> Result<Outcome, ReadError> {
        self.run_with(spec, ApplyOptions { allow_destroy, per_host: 2 })
    }

    pub fn run_with(&self, spec: &ClusterSpec, options: ApplyOptions) -> Result<Outcome, ReadError> {
        self.with_fleet(spec, |fleet| {
            let plan = self.plan_with(spec, &self.images(), fleet)?;
            Ok(apply(&plan, &self.images(), fleet, options, &Quiet))
        })
    }

    /// The machines of a host by number.
    pub fn vms(&self, host: &str) -> BTreeMap<String, Value> {
        let text = std::fs::read_to_string(self.state(host).join("vms.json")).unwrap_or("{}".to_owned());
        serde_json::from_str(&text).unwrap()
    }

    pub fn change_vms(&self, host: &str, change: impl FnOnce(&mut BTreeMap<String, Value>)) {
        let mut vms = self.vms(host);
        change(&mut vms);
        std::fs::write(self.state(host).join("vms.json"), serde_json::to_string(&vms).unwrap()).unwrap();
    }

    pub fn fault(&self, host: &str, words: &str, kind: &str) {
        let faults = json!([{"match": words, "kind": kind, "times": 1}]);
        std::fs::write(self.state(host).join("faults.json"), faults.to_string()).unwrap();
    }

    /// Whether the fault that was set has happened.
    pub fn fault_happened(&self, host: &str) -> bool {
        let text = std::fs::read_to_string(self.state(host).join("faults.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()[0]["times"] == 0
    }

    /// Commands that a host got and that begin with `words`.
    pub fn commands(&self, host: &str, words: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.state(host).join("log")).unwrap_or_default();
        log.lines().filter(|l| l.starts_with(words)).map(str::to_owned).collect()
    }

    /// The folder of images on a host.
    pub fn image_on(&self, host: &str) -> Utf8PathBuf {
        self.state(host).join("local/import").join(self.image.remote_name())
    }
}

/// Results by node as words: `created`, `failed create`.
pub fn results(outcome: &Outcome) -> BTreeMap<String, String> {
    let json = serde_json::to_value(&outcome.nodes).unwrap();
    let word = |n: &Value| {
        let text = |key: &str| n[key].as_str().unwrap_or("").to_owned();
        (text("node"), format!("{} {}", text("result"), text("step")).trim_end().to_owned())
    };
    json.as_array().unwrap().iter().map(word).collect()
}

pub fn ssh_error(error: ReadError) -> SshError {
    match error {
        ReadError::Ssh(error) => error,
        other => panic!("{other}"),
    }
}
