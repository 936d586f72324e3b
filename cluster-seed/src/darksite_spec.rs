//! The `darksite:` section of cluster.yaml: contents of the snapshot, and package sources of nodes.

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::extras::has_login;
use crate::repo::{ARCHITECTURES, RepoMode, RepoProfile};
use crate::spec_error::{SpecError, is_package_name, whole};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DarksiteSpec {
    /// Debian release, for example `trixie`.
    pub suite: String,
    #[serde(default = "default_components")]
    pub components: Vec<String>,
    /// Architecture of the seed.
    #[serde(default = "default_arch")]
    pub architecture: String,
    /// Further architectures whose packages are in the snapshot.
    #[serde(default)]
    pub more_architectures: Vec<String>,
    /// Base URL or directory of a Debian mirror; without it, the one this machine's apt uses.
    #[serde(default)]
    pub mirror: Option<String>,
    /// Additional packages that nodes may install later.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Older form of `profile: base+updates`.
    #[serde(default)]
    pub updates: bool,
    /// How much of upstream: base, base+updates, full.
    #[serde(default)]
    pub profile: Option<RepoProfile>,
    /// Where nodes get packages from: connected, darksite, both.
    #[serde(default)]
    pub mode: RepoMode,
    /// Base URL or directory of the security archive, or `none`; without it, apt's or the mirror's neighbour.
    #[serde(default)]
    pub security_mirror: Option<String>,
    /// Follow Recommends of the roles' packages too.
    #[serde(default)]
    pub recommends: bool,
    /// Also the Debian installer's packages (udebs) and its netboot images.
    #[serde(default)]
    pub installer: bool,
    /// Also `Contents`, which `apt-file` reads.
    #[serde(default)]
    pub contents: bool,
}

impl DarksiteSpec {
    pub fn profile(&self) -> RepoProfile {
        let older = if self.updates { RepoProfile::BaseUpdates } else { RepoProfile::Base };
        self.profile.unwrap_or(older)
    }

    /// All architectures of the snapshot, that of the seed first; `nodes` are those of the nodes.
    pub fn architectures(&self, nodes: &[Arch]) -> Vec<String> {
        let mut all = vec![self.architecture.clone()];
        for arch in self.more_architectures.iter().cloned().chain(nodes.iter().map(Arch::to_string)) {
            if !all.contains(&arch) {
                all.push(arch);
            }
        }
        all
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        let names = "Debian names: a-z 0-9 + - . (policy 5.6.1)";
        if let Some(bad) = self.packages.iter().find(|p| !is_package_name(p)) {
            return Err(whole(format!("darksite.packages: {bad:?} is not a package name"), names));
        }
        if self.architecture != "amd64" {
            return Err(whole(format!("architecture {:?}", self.architecture), "this version builds amd64"));
        }
        if let Some(bad) = self.more_architectures.iter().find(|a| !ARCHITECTURES.contains(&a.as_str())) {
            return Err(whole(format!("darksite.moreArchitectures: {bad:?}"), "a snapshot can contain amd64 and arm64"));
        }
        if !is_package_name(&self.suite) {
            return Err(whole(format!("suite {:?} is not a suite name", self.suite), "for example trixie"));
        }
        let component = |c: &str| c.len() <= 64 && is_package_name(c);
        if self.components.is_empty() || self.components.iter().any(|c| !component(c)) {
            let hint = "for example [main, contrib, non-free, non-free-firmware]";
            return Err(whole("darksite.components is empty or contains an invalid name".to_owned(), hint));
        }
        if self.mirror.iter().chain(&self.security_mirror).any(|url| has_login(url)) {
            let hint = "write it into a netrc file (machine HOST login NAME password WORD), and use --netrc FILE";
            return Err(whole("darksite: the mirror's address contains a user name or a password".to_owned(), hint));
        }
        Ok(())
    }
}

fn default_components() -> Vec<String> {
    vec!["main".to_owned()]
}

fn default_arch() -> String {
    "amd64".to_owned()
}

#[cfg(test)]
mod tests {
    use crate::arch::Arch;
    use crate::cluster::ClusterSpec;
    use crate::repo::{RepoMode, RepoProfile};

    const YAML: &str = "\
apiVersion: kubedos/v1alpha1
kind: Cluster
metadata: {name: site-a}
spec:
  networking:
    domain: kubedos.lan
    underlay: {subnet: 10.44.0.0/24, seed: 10.44.0.1, pool: {first: 10.44.0.100, last: 10.44.0.199}}
    planes:
      wg1: {cidr: 10.78.0.0/16, port: 51821}
  roles: {base: {}}
  darksite:
    suite: trixie
";

    fn parse(darksite: &str) -> Result<ClusterSpec, String> {
        ClusterSpec::parse(&format!("{YAML}{darksite}")).map_err(|e| e.to_string())
    }

    #[test]
    fn profile_mode_and_architectures() {
        let spec = parse("").unwrap().spec.darksite;
        assert_eq!((spec.profile(), spec.mode), (RepoProfile::Base, RepoMode::Darksite));
        assert_eq!(spec.architectures(&[Arch::Amd64]), ["amd64"]);
        assert_eq!(spec.architectures(&[Arch::Arm64, Arch::Amd64]), ["amd64", "arm64"]);
        let spec = parse("    profile: full\n    mode: both\n    moreArchitectures: [amd64, arm64]\n").unwrap().spec.darksite;
        assert_eq!((spec.profile(), spec.mode), (RepoProfile::Full, RepoMode::Both));
        assert_eq!(spec.architectures(&[Arch::Amd64]), ["amd64", "arm64"]);
        assert_eq!(parse("    updates: true\n").unwrap().spec.darksite.profile(), RepoProfile::BaseUpdates);
        for (bad, words) in [
            ("    profile: some\n", "profile"),
            ("    mode: offline\n", "mode"),
            ("    mirror: http://u:p@h/debian\n", "a user name or a password"),
            ("    securityMirror: https://u@h/debian-security\n", "a user name or a password"),
            ("    moreArchitectures: [sparc]\n", "sparc"),
            ("    components: []\n", "components"),
            ("    components: [\"../x\"]\n", "components"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(words) || error.contains("variant"), "{bad}: {error}");
        }
    }
}
