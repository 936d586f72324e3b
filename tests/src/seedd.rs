//! The product's command line, every call in one place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::netns::{BRIDGE, Netns, SEED_IP};
use crate::say;
use crate::tool;

/// A build that takes longer than this is not coming back.
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// The program and the site it works on.
#[derive(Debug, Clone)]
pub struct Seedd {
    pub program: PathBuf,
    pub data: PathBuf,
    pub passphrase_file: PathBuf,
    /// The seed's own address on its segment.
    pub address: String,
}

impl Seedd {
    /// `seedd` lies beside the lab's own program.
    pub fn new(data: &Path, passphrase_file: &Path) -> Result<Self> {
        let own = std::env::current_exe().context("finding the lab's own program")?;
        let candidates = [own.with_file_name("seedd"), own.with_file_name("../seedd")];
        let Some(program) = candidates.iter().find(|p| p.is_file()) else {
            bail!("no seedd beside {} (cargo build --workspace makes it)", own.display());
        };
        Ok(Seedd {
            program: program.clone(),
            data: data.to_owned(),
            passphrase_file: passphrase_file.to_owned(),
            address: SEED_IP.to_owned(),
        })
    }

    /// The same program on another site.
    pub fn on(&self, data: &Path) -> Self {
        Seedd { data: data.to_owned(), ..self.clone() }
    }

    pub fn argv(&self, verb: &[&str]) -> Vec<String> {
        let mut argv = vec![self.program.to_string_lossy().into_owned()];
        argv.extend(tool::words(verb));
        argv.extend(["--data".to_owned(), self.data.to_string_lossy().into_owned()]);
        argv
    }

    /// The command line of a verb that needs the passphrase.
    pub fn with_passphrase(&self, verb: &[&str]) -> Vec<String> {
        let mut argv = self.argv(verb);
        argv.extend(["--passphrase-file".to_owned(), self.passphrase_file.to_string_lossy().into_owned()]);
        argv
    }

    pub fn init_argv(&self) -> Vec<String> {
        self.with_passphrase(&["init"])
    }

    pub fn init(&self) -> Result<()> {
        tool::run_owned(&self.init_argv()).map(|_| ())
    }

    pub fn cluster_check(&self) -> Result<tool::Outcome> {
        tool::outcome(&self.argv(&["cluster", "check"]))
    }

    pub fn darksite_argv(&self) -> Vec<String> {
        self.with_passphrase(&["darksite", "build"])
    }

    pub fn darksite_build(&self, log: &Path) -> Result<()> {
        tool::run_long(&self.darksite_argv(), log, BUILD_LIMIT, say::progress)
    }

    /// Runs in the namespace: an image comes from the snapshot and nothing else.
    pub fn image_build(&self, ns: &Netns, log: &Path) -> Result<()> {
        tool::run_long(&ns.argv(&self.with_passphrase(&["image", "build"])), log, BUILD_LIMIT, say::progress)
    }

    /// The same for some roles only.
    pub fn image_build_of(&self, ns: &Netns, roles: &[&str], log: &Path) -> Result<()> {
        let verb: Vec<&str> = ["image", "build"].into_iter().chain(roles.iter().flat_map(|role| ["--role", role])).collect();
        tool::run_long(&ns.argv(&self.with_passphrase(&verb)), log, BUILD_LIMIT, say::progress)
    }

    /// The medium with everything the site has.
    pub fn iso_build(&self, ns: &Netns, iso: &Path, log: &Path) -> Result<()> {
        let verb = ["image", "build", "--target", "seed-iso", "--out", &iso.to_string_lossy()];
        tool::run_long(&ns.argv(&self.with_passphrase(&verb)), log, BUILD_LIMIT, say::progress)
    }

    /// The medium that machines enroll from.
    pub fn enroll_iso_build(&self, ns: &Netns, iso: &Path, log: &Path) -> Result<()> {
        let verb = ["image", "build", "--target", "enroll-iso", "--out", &iso.to_string_lossy()];
        tool::run_long(&ns.argv(&self.with_passphrase(&verb)), log, BUILD_LIMIT, say::progress)
    }

    /// Builds an output of the role `base`, and returns what the program says of it.
    pub fn output_build(&self, ns: &Netns, target: &str, more: &[&str]) -> Result<serde_json::Value> {
        let verb: Vec<&str> =
            ["image", "build", "--target", target, "--role", "base", "--json"].into_iter().chain(more.iter().copied()).collect();
        let text = tool::run_owned(&tool::limited(&ns.argv(&self.with_passphrase(&verb)), 3600))?;
        let value: serde_json::Value = serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))?;
        Ok(value["outputs"][0].clone())
    }

    /// The daemon on the lab's bridge; its pages come by socket activation.
    pub fn serve_argv(&self) -> Vec<String> {
        let listen = format!("{}:80", self.address);
        self.argv(&["serve", "--iface", BRIDGE, "--listen", &listen])
    }

    /// The daemon on other interfaces and addresses, for what must be refused.
    pub fn serve_on(&self, iface: &str, listen: &str, pages: &str) -> Vec<String> {
        self.argv(&["serve", "--iface", iface, "--listen", listen, "--pages", pages])
    }

    /// A verb that needs the passphrase; its standard output.
    pub fn say(&self, verb: &[&str]) -> Result<String> {
        tool::run_owned(&self.with_passphrase(verb))
    }

    /// A verb that needs no passphrase.
    pub fn say_plain(&self, verb: &[&str]) -> Result<String> {
        tool::run_owned(&self.argv(verb))
    }

    /// A text of `keys/public.json`.
    pub fn public(&self, name: &str) -> Result<String> {
        let file = self.data.join("keys/public.json");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let keys: serde_json::Value = serde_json::from_str(&text).context("reading the public keys")?;
        Ok(keys[name].as_str().with_context(|| format!("no {name} in {}", file.display()))?.to_owned())
    }

    pub fn cluster_file(&self) -> PathBuf {
        self.data.join("cluster.yaml")
    }
}
