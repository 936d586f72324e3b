//! A machine that enrolls at the mock seed.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::join::token::JoinToken;
use cluster_seed::seal::VerifyingKey;
use cluster_seed::secret::AgeKey;
use host::hardware;
use payload::console::Console;
use payload::http::{Http, chain};
use payload::install::{Install, InstallError};
use payload::ram::enroll::{ATTEMPTS, EnrollError, Enroller};
use payload::ram::session::{MachineSecrets, RANDOM, Session};
use payload::ram::site::Source;
use payload::report::Reporter;
use payload::state::{NodeDir, StateFile};

use super::{MIB, Mock};

/// A machine: directories that look like /sys and /dev, and a console that is a file.
pub struct Machine {
    _dir: tempfile::TempDir,
    pub root: Utf8PathBuf,
    /// Site keys given to it.
    pub sites: Vec<(Source, VerifyingKey)>,
    /// The join token that it has.
    pub token: Option<JoinToken>,
    /// Its boot script allowed to tell the code.
    pub may_tell: bool,
}

/// Bytes of an earlier system on the disk.
pub const OLD: u8 = 0xee;

impl Machine {
    pub fn new(disk_mib: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        fs::create_dir_all(root.join("sys/block/vda")).unwrap();
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::create_dir_all(root.join("run")).unwrap();
        fs::write(root.join("sys/block/vda/size"), (disk_mib * 2048).to_string()).unwrap();
        fs::write(root.join("sys/block/vda/serial"), "disk-a").unwrap();
        fs::write(root.join("dev/vda"), vec![OLD; disk_mib * MIB]).unwrap();
        Machine { _dir: dir, root, sites: vec![], token: None, may_tell: false }
    }

    pub fn console(&self) -> Console {
        Console::to_path(&self.root.join("console")).unwrap()
    }

    pub fn printed(&self) -> String {
        fs::read_to_string(self.root.join("console")).unwrap_or_default()
    }

    pub fn disk(&self) -> Vec<u8> {
        fs::read(self.root.join("dev/vda")).unwrap()
    }

    pub fn enroll(&self, mock: &Mock) -> Result<Session, EnrollError> {
        let random: [u8; RANDOM] = std::array::from_fn(|i| i as u8);
        let secrets = MachineSecrets::new(AgeKey::generate(), &random, self.token.as_ref()).unwrap();
        let (http, console) = (Http::new(&mock.url), self.console());
        mock.state().console = Some(self.root.join("console"));
        let run = self.root.join("run");
        let (token, tries, sites, may_tell) = (self.token.as_ref(), ATTEMPTS, &self.sites[..], self.may_tell);
        let enroller = Enroller { http: &http, console: &console, wait: &|_| (), dir: &run, sites, token, tries, may_tell };
        enroller.run(secrets, &hardware::gather(&self.root, None)).map_err(|failed| failed.error)
    }

    /// Boots the machine against this seed.
    pub fn follow(&self, mock: &Mock) -> Result<(), String> {
        let session = self.enroll(mock).map_err(|e| chain(&e))?;
        self.install_with(mock, &session, &place).map_err(|e| chain(&e))
    }

    pub fn install(&self, mock: &Mock, place: payload::install::Place<'_>) -> Result<(), InstallError> {
        let session = self.enroll(mock).unwrap();
        self.install_with(mock, &session, place)
    }

    pub fn install_with(&self, mock: &Mock, session: &Session, place: payload::install::Place<'_>) -> Result<(), InstallError> {
        mock.state().disk = Some(self.root.join("dev/vda"));
        let (http, console) = (Http::new(&mock.url), self.console());
        let run = self.root.join("run");
        let (key, enrollment) = (session.node_key(), session.enrollment());
        let reporter = Reporter::new(&http, key, enrollment, NodeDir::new(&run).sequence(1), &|_| ());
        let approved = session.open().unwrap();
        let began = run.join("began");
        let install = Install {
            http: &http,
            console: &console,
            reporter: &reporter,
            approved: &approved,
            node_key: key,
            root: &self.root,
            place,
            medium: None,
            wait: &|_| (),
            network: None,
            announce: Some(&began),
        };
        install.run()
    }
}

/// Replaces the ext4 of the state partition: writes the file names at the partition's offset.
pub fn place(disk: &Utf8Path, offset: u64, files: &[StateFile]) -> Result<(), String> {
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().read(true).write(true).open(disk).map_err(|e| e.to_string())?;
    let mut head = vec![1; MIB];
    file.read_exact_at(&mut head, 0).map_err(|e| e.to_string())?;
    if head.iter().any(|b| *b != 0) {
        return Err("the first MiB was written before the identity".to_owned());
    }
    let names: Vec<_> = files.iter().map(|f| f.name).collect();
    file.write_all_at(names.join(" ").as_bytes(), offset).map_err(|e| e.to_string())
}
