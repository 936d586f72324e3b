//! Finds the seed of a machine that was not netbooted: asks the command line, SMBIOS, QEMU's fw_cfg, a NoCloud volume, the
//! image's own file and DHCP, in this order.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::join::token::JoinToken;
use cluster_seed::join::{self, Given, JoinError, JoinSpec, lease, nocloud, smbios};
use cluster_seed::seal::{VerifyingKey, key_text};
use host::files::{FileError, read_limited};

use crate::ram::site::Source;

/// Structures of OEM strings, below `/`.
const DMI: &str = "sys/firmware/dmi/entries";
/// What QEMU's `-fw_cfg name=opt/org.kubedos/seed,string=…` shows, below `/`.
const FW_CFG: &str = "sys/firmware/qemu_fw_cfg/by_name/opt/org.kubedos";
const LEASES: &str = "run/systemd/netif/leases";
const CMDLINE: &str = "proc/cmdline";
/// Largest command line and fw_cfg value read, in bytes.
const MAX_TEXT: u64 = 64 << 10;
/// Most structures and leases read.
const MAX_FILES: usize = 64;

/// A source that cannot be read or whose values are invalid. It is an error, since it may be the one that names the site.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error("the description of the seed in {source_of_value} is invalid")]
    Invalid {
        source_of_value: Source,
        #[source]
        source: JoinError,
    },
    #[error("reading {source_of_value}")]
    Read {
        source_of_value: Source,
        #[source]
        source: FileError,
    },
}

/// Reads a file of the NoCloud volume; `None` if there is no volume or no such file.
pub type Volume<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// Where to look.
pub struct Places<'a> {
    /// `/`
    pub root: &'a Utf8Path,
    /// The node's state directory.
    pub dir: &'a Utf8Path,
    pub volume: Volume<'a>,
    /// Words of this program's own command line, in the form of the kernel's; they come before it.
    pub words: &'a [String],
}

/// Each value, and the source that it came from.
#[derive(Debug, Default)]
pub struct Found {
    pub seed: Option<(Source, String)>,
    pub site: Option<(Source, VerifyingKey)>,
    pub token: Option<(Source, JoinToken)>,
    /// What later sources say that is not used.
    pub unused: Vec<String>,
}

impl Found {
    fn add(&mut self, source: Source, given: Given) {
        let Given { seed, site, token } = given;
        let mut note = |first: Source, what: &str| self.unused.push(format!("{source} gives another {what}: {first} counts"));
        match (&self.seed, seed) {
            (None, Some(seed)) => self.seed = Some((source, seed)),
            // A lease always names a server, which is often the network's own.
            (Some((first, held)), Some(seed)) if *held != seed && source != Source::Dhcp => note(*first, "seed"),
            _ => {}
        }
        match (&self.site, site) {
            (None, Some(site)) => self.site = Some((source, site)),
            (Some((first, held)), Some(site)) if *held != site => note(*first, "site key"),
            _ => {}
        }
        match (&self.token, token) {
            (None, Some(token)) => self.token = Some((source, token)),
            (Some((first, held)), Some(token)) if held.id != token.id => note(*first, "join token"),
            _ => {}
        }
    }

    /// Lines for the console.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.unused.clone();
        if let Some((source, seed)) = &self.seed {
            lines.push(format!("seed {seed} from {source}"));
        }
        lines.push(match &self.site {
            Some((source, key)) => format!("only the site with key {} is accepted, from {source}", &key_text(key)[..16]),
            None if self.token.is_some() => "no site key is known: the join token protects this enrollment".to_owned(),
            None => "no site key is known: the pairing code protects this enrollment".to_owned(),
        });
        if let Some((source, token)) = &self.token {
            lines.push(format!("join token {} from {source}", token.id));
        }
        lines
    }
}

/// Reads every source again.
pub fn discover(places: &Places<'_>) -> Result<Found, DiscoverError> {
    let mut found = Found::default();
    let sources: [(Source, Ask); 6] = [
        (Source::CommandLine, command_line),
        (Source::Smbios, oem_strings),
        (Source::FwCfg, fw_cfg),
        (Source::NoCloud, |p| {
            Ok((p.volume)(nocloud::USER_DATA).map_or_else(|| Ok(Given::default()), |b| nocloud::user_data(&b))?)
        }),
        (Source::Image, image),
        (Source::Dhcp, |p| Ok(dhcp(p.root))),
    ];
    for (source_of_value, ask) in sources {
        let given = ask(places).map_err(|trouble| match trouble {
            Trouble::Invalid(source) => DiscoverError::Invalid { source_of_value, source },
            Trouble::Read(source) => DiscoverError::Read { source_of_value, source },
        })?;
        found.add(source_of_value, given);
    }
    Ok(found)
}

/// Reads one source.
type Ask = fn(&Places<'_>) -> Result<Given, Trouble>;

enum Trouble {
    Invalid(JoinError),
    Read(FileError),
}

impl From<JoinError> for Trouble {
    fn from(e: JoinError) -> Self {
        Trouble::Invalid(e)
    }
}

/// The file's bytes; `None` if it does not exist.
fn read(path: &Utf8Path, limit: u64) -> Result<Option<Vec<u8>>, Trouble> {
    match read_limited(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(Trouble::Read(e)),
    }
}

fn command_line(places: &Places<'_>) -> Result<Given, Trouble> {
    let text = read(&places.root.join(CMDLINE), MAX_TEXT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // The last of a repeated word counts.
    Ok(Given::of_words(text.split_ascii_whitespace().chain(places.words.iter().map(String::as_str)))?)
}

fn oem_strings(places: &Places<'_>) -> Result<Given, Trouble> {
    let dir = places.root.join(DMI);
    let mut all = Given::default();
    for name in sorted(&dir).iter().filter(|n| n.starts_with("11-")) {
        let raw = read(&dir.join(name).join("raw"), smbios::MAX_BYTES as u64)?.unwrap_or_default();
        let given = smbios::given(&raw)?;
        all = Given { seed: all.seed.or(given.seed), site: all.site.or(given.site), token: all.token.or(given.token) };
    }
    Ok(all)
}

fn fw_cfg(places: &Places<'_>) -> Result<Given, Trouble> {
    let mut words = Vec::new();
    for name in ["seed", "site", "token"] {
        if let Some(bytes) = read(&places.root.join(FW_CFG).join(name).join("raw"), MAX_TEXT)? {
            words.push(format!("kubedos.{name}={}", String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim()));
        }
    }
    Ok(Given::of_words(words.iter().map(String::as_str))?)
}

fn image(places: &Places<'_>) -> Result<Given, Trouble> {
    match read(&places.dir.join(join::FILE), join::MAX_BYTES as u64)? {
        Some(bytes) => Ok(JoinSpec::parse(&bytes)?.into_given()?),
        None => Ok(Given::default()),
    }
}

/// The first lease that names a server.
fn dhcp(root: &Utf8Path) -> Given {
    let dir = root.join(LEASES);
    let leases = sorted(&dir).into_iter().filter_map(|name| read_limited(&dir.join(name), lease::MAX_BYTES as u64).ok());
    let mut given = leases.map(|bytes| lease::given(&String::from_utf8_lossy(&bytes)));
    given.find(|g| g.seed.is_some()).unwrap_or_default()
}

fn sorted(dir: &Utf8Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).take(MAX_FILES).collect();
    names.sort();
    names
}

/// Path of the image's own file.
pub fn file(dir: &Utf8Path) -> Utf8PathBuf {
    dir.join(join::FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_seed::seal::SigningKey;

    fn key(n: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[n; 32]).verifying_key()
    }

    struct Machine {
        _dir: tempfile::TempDir,
        root: Utf8PathBuf,
        user_data: Option<String>,
    }

    impl Machine {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
            Machine { _dir: dir, root, user_data: None }
        }

        fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }

        fn look(&self, words: &[String]) -> Result<Found, DiscoverError> {
            let volume = |name: &str| self.user_data.as_ref().filter(|_| name == "user-data").map(|t| t.clone().into_bytes());
            discover(&Places { root: &self.root, dir: &self.root.join("state"), volume: &volume, words })
        }
    }

    fn oem(text: &str) -> Vec<u8> {
        [&[11, 5, 0, 11, 1], text.as_bytes(), &[0, 0]].concat()
    }

    #[test]
    fn the_first_source_of_the_order_counts_and_the_others_are_named() {
        let mut m = Machine::new();
        assert!(m.look(&[]).unwrap().seed.is_none());
        let seed = |m: &Machine, words: &[String]| m.look(words).unwrap().seed.unwrap();
        m.put("run/systemd/netif/leases/2", "SERVER_ADDRESS=10.0.0.6\n");
        assert_eq!(seed(&m, &[]), (Source::Dhcp, "http://10.0.0.6".to_owned()));
        let spec = JoinSpec { seed: Some("http://10.0.0.5".into()), site_key: key_text(&key(5)), token: None };
        m.put("state/join.json", spec.to_secret().unwrap().expose());
        assert_eq!(seed(&m, &[]), (Source::Image, "http://10.0.0.5".to_owned()));
        m.user_data = Some(format!("kubedos.seed=http://10.0.0.4\nkubedos.site={}\n", key_text(&key(4))));
        assert_eq!(seed(&m, &[]), (Source::NoCloud, "http://10.0.0.4".to_owned()));
        m.put("sys/firmware/qemu_fw_cfg/by_name/opt/org.kubedos/seed/raw", "http://10.0.0.3\0");
        assert_eq!(seed(&m, &[]), (Source::FwCfg, "http://10.0.0.3".to_owned()));
        m.put("sys/firmware/dmi/entries/11-0/raw", oem("kubedos.seed=http://10.0.0.2"));
        m.put("sys/firmware/dmi/entries/12-0/raw", oem("kubedos.seed=http://9.9.9.9"));
        assert_eq!(seed(&m, &[]), (Source::Smbios, "http://10.0.0.2".to_owned()));
        m.put("proc/cmdline", "quiet kubedos.seed=http://10.0.0.1\n");
        assert_eq!(seed(&m, &[]), (Source::CommandLine, "http://10.0.0.1".to_owned()));
        assert_eq!(seed(&m, &["kubedos.seed=http://10.0.0.9".to_owned()]).1, "http://10.0.0.9");
        // Each value has its own first source.
        let found = m.look(&[]).unwrap();
        assert_eq!(found.site.unwrap(), (Source::NoCloud, key(4)));
        let unused = found.unused.join("\n");
        for (what, count) in
            [("gives another seed: the command line counts", 4), ("another site key: the NoCloud volume (cidata)", 1)]
        {
            assert_eq!(unused.matches(what).count(), count, "{unused}");
        }
    }

    #[test]
    fn an_invalid_value_is_an_error_that_names_its_source() {
        let mut m = Machine::new();
        m.put("proc/cmdline", "kubedos.seed=http://10.0.0.1");
        let failed = |m: &Machine| match m.look(&[]).unwrap_err() {
            DiscoverError::Invalid { source_of_value, .. } | DiscoverError::Read { source_of_value, .. } => source_of_value,
        };
        m.put("state/join.json", " ".repeat(join::MAX_BYTES + 1));
        assert_eq!(failed(&m), Source::Image);
        m.put("state/join.json", "{}");
        assert_eq!(failed(&m), Source::Image);
        m.user_data = Some("kubedos.site=00".to_owned());
        assert_eq!(failed(&m), Source::NoCloud);
        m.put("sys/firmware/dmi/entries/11-3/raw", oem("kubedos.token=x"));
        assert_eq!(failed(&m), Source::Smbios);
    }

    #[test]
    fn the_console_says_what_protects_the_enrollment() {
        let mut m = Machine::new();
        m.put("proc/cmdline", "kubedos.seed=http://10.0.0.1");
        assert!(m.look(&[]).unwrap().lines().iter().any(|l| l.contains("the pairing code protects")));
        m.user_data = Some("kubedos.token=kjt-0a1b2c3d-000102030405060708090a0b0c0d0e0f".to_owned());
        let lines = m.look(&[]).unwrap().lines().join("\n");
        assert!(lines.contains("the join token protects") && lines.contains("join token 0a1b2c3d from the NoCloud"), "{lines}");
        assert!(!lines.contains("0405"), "{lines}");
        m.put("proc/cmdline", format!("kubedos.seed=http://10.0.0.1 kubedos.site={}", key_text(&key(1))));
        assert!(m.look(&[]).unwrap().lines().join("\n").contains(&key_text(&key(1))[..16]));
    }
}
