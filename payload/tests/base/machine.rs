//! A root as in the artifact, an identity, and programs that only record that they ran.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::identity::{DarksiteSource, IdentityInfo, PlaneAddress};
use cluster_seed::ids::{EnrollmentId, Hostname, NodeId};
use cluster_seed::peers::{PeerNode, PeerPlane, PeersFile};
use cluster_seed::repo::{RepoMode, UpstreamSource};
use cluster_seed::seal::{Sealed, SigningKey, key_text};
use host::tool::ToolError;
use payload::assets;
use payload::base::{Base, Change, Command, Outcome, Step};

const PLANES: [(&str, u8); 3] = [("wg1", 51), ("wg2", 52), ("wg3", 53)];
const NODES: [(&str, u8); 3] = [("seed.kubedos.lan", 1), ("alpha.kubedos.lan", 2), ("beta.kubedos.lan", 3)];

pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

pub fn peers() -> PeersFile {
    let planes = PLANES.iter().map(|(name, net)| {
        let cidr = format!("10.{net}.0.0/24").parse().unwrap();
        ((*name).to_owned(), PeerPlane { cidr, port: 51_770 + u16::from(*net) })
    });
    let nodes = NODES.iter().map(|(name, host)| {
        let addresses = PLANES.iter().map(|(plane, net)| ((*plane).to_owned(), [10, *net, 0, *host].into())).collect();
        (name.parse::<Hostname>().unwrap(), PeerNode { endpoint: None, role: "base".into(), addresses, keys: Default::default() })
    });
    PeersFile { epoch: 1, version: 1, planes: planes.collect(), nodes: nodes.collect(), pods: None, countersign: None }
}

pub fn info() -> IdentityInfo {
    let site = SigningKey::from_bytes(&[7; 32]);
    let planes = PLANES.iter().map(|(name, net)| {
        let cidr = format!("10.{net}.0.0/24").parse().unwrap();
        let place = PlaneAddress { cidr, address: [10, *net, 0, 2].into(), port: 51_770 + u16::from(*net) };
        ((*name).to_owned(), place)
    });
    IdentityInfo {
        node: NodeId([1; 16]),
        enrollment: EnrollmentId([2; 16]),
        site: "test".into(),
        epoch: 1,
        site_key: key_text(&site.verifying_key()),
        hostname: "alpha.kubedos.lan".parse().unwrap(),
        role: "base".into(),
        seed_url: "http://10.44.0.1".into(),
        seed_hostname: "seed.kubedos.lan".parse().unwrap(),
        planes: planes.collect(),
        authorized_keys: words(&[
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA operator@lan",
            "from=\"10.51.0.1\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBB",
        ]),
        darksite: DarksiteSource {
            url: "http://10.44.0.1/darksite".into(),
            suite: "trixie".into(),
            components: words(&["main", "non-free-firmware"]),
            mode: RepoMode::Darksite,
            upstream: vec![
                UpstreamSource { url: "http://deb.example.org/debian".into(), suites: words(&["trixie", "trixie-updates"]) },
                UpstreamSource { url: "http://security.example.org/debian-security".into(), suites: words(&["trixie-security"]) },
            ],
            keyring: "a2V5cmluZw==".into(),
        },
        peers: Sealed::sign(&peers(), &site).unwrap(),
        grub: None,
        apt: None,
        operator: None,
    }
}

/// A node's root as in the artifact, and the programs that ran on it.
pub struct Machine {
    dir: tempfile::TempDir,
    pub ran: RefCell<Vec<Command>>,
    /// The kernel has the rules.
    pub loaded: Cell<bool>,
    /// Programs that fail from now on.
    pub broken: Cell<bool>,
}

impl Machine {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine { dir, ran: RefCell::default(), loaded: Cell::new(false), broken: Cell::new(false) };
        for asset in assets::files() {
            machine.write(asset.path, asset.bytes);
            machine.set_mode(asset.path, asset.mode);
        }
        machine.write("/etc/hostname", b"kubedos\n");
        machine
    }

    pub fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    pub fn at(&self, path: &str) -> Utf8PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), bytes).unwrap();
    }

    pub fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.at(path)).unwrap().permissions().mode() & 0o7777
    }

    pub fn run(&self, command: &Command) -> Result<(), ToolError> {
        self.ran.borrow_mut().push(command.clone());
        let failed = Err(ToolError::Cancelled { program: "test".into() });
        match command {
            _ if self.broken.get() => return failed,
            Command::QueryFirewall(_) if !self.loaded.get() => return failed,
            Command::LoadFirewall => self.loaded.set(true),
            Command::EnableFirewall => self.write("/etc/systemd/system/sysinit.target.wants/nftables.service", b""),
            _ => {}
        }
        Ok(())
    }

    pub fn apply(&self, info: &IdentityInfo) -> Vec<Outcome> {
        let (peers, run) = (peers(), |c: &Command| self.run(c));
        self.ran.borrow_mut().clear();
        Base::new(self.root(), info, &peers, &run).apply(Step::ALL, &mut |_| ())
    }

    pub fn changed(&self, info: &IdentityInfo) -> Vec<Step> {
        let outcomes = self.apply(info);
        outcomes.iter().filter(|o| *o.result.as_ref().unwrap() == Change::Made).map(|o| o.step).collect()
    }
}
