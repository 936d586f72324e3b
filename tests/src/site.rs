//! A prepared site: created once, cached, and copied for every run so that no run can damage it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cluster_seed::ids::Digest;

use crate::dirs::RunDirs;
use crate::netns::{Netns, PREFIX, SEED_IP, SUBNET};
use crate::say;
use crate::seedd::Seedd;
use crate::tool;

/// The passphrase of the lab's sites: public, as everything of the lab.
pub const PASSPHRASE: &str = "the lab has no secrets";
/// Directories of a site whose files never change once written; copies of a site share them by hard links.
const IMMUTABLE: [&str; 5] = ["blobs", "snapshots", "artifacts", "netboot", "cache"];

/// The prepared site and the key that opens its nodes.
#[derive(Debug)]
pub struct Template {
    pub seedd: Seedd,
    pub ssh_key: PathBuf,
    pub reused: bool,
}

impl Template {
    /// Makes the site, its darksite and its images, or takes what an earlier run of the same programs made.
    pub fn prepare(dirs: &RunDirs) -> Result<Template> {
        let dir = dirs.cache.join("site");
        fs::create_dir_all(&dir).context("making the cache")?;
        let passphrase = dir.join("passphrase");
        write_private(&passphrase, PASSPHRASE)?;
        let seedd = Seedd::new(&dir.join("data"), &passphrase)?;
        let ssh_key = dir.join("ssh-key");
        if !ssh_key.exists() {
            tool::run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kubedos-lab", "-f", &ssh_key.to_string_lossy()])?;
        }
        let stamp = dir.join("stamp");
        let programs = programs(&seedd)?;
        if fs::read_to_string(&stamp).is_ok_and(|text| text == programs) {
            return Ok(Template { seedd, ssh_key, reused: true });
        }
        let _ = fs::remove_file(&stamp);
        build(&seedd, &ssh_key, dirs)?;
        fs::write(&stamp, programs).context("noting what the site was made by")?;
        Ok(Template { seedd, ssh_key, reused: false })
    }

    /// The site's medium; made once, as the site is.
    pub fn seed_iso(&self, dirs: &RunDirs) -> Result<PathBuf> {
        let iso = dirs.cache.join("site/seed.iso");
        let mark = dirs.cache.join("site/seed.iso.stamp");
        let programs = programs(&self.seedd)?;
        if iso.exists() && fs::read_to_string(&mark).is_ok_and(|text| text == programs) {
            return Ok(iso);
        }
        let _ = fs::remove_file(&mark);
        say::line("seedd image build --target seed-iso");
        let ns = Netns::lab(&format!("{PREFIX}{}-iso", std::process::id()), &dirs.work)?;
        self.seedd.iso_build(&ns, &iso, &dirs.logs.join("iso-build.log"))?;
        ns.must_be_quiet()?;
        let size = fs::metadata(&iso).context("measuring the medium")?.len();
        say::line(&format!("the medium is {}", say::megabytes(size)));
        fs::write(&mark, programs).context("noting what the medium was made by")?;
        Ok(iso)
    }

    /// A site of the run's own, with the same keys, packages and images.
    pub fn copy(&self, to: &Path) -> Result<Seedd> {
        copy_site(&self.seedd.data, to)?;
        Ok(self.seedd.on(to))
    }
}

/// Digests of the programs that make a site: another program, another site.
fn programs(seedd: &Seedd) -> Result<String> {
    let agent = seedd.program.with_file_name("../x86_64-unknown-linux-gnu/agent/kubedos-node");
    let mut text = String::new();
    for program in [&seedd.program, &agent] {
        // The agent may also lie elsewhere or inside seedd; then seedd's own digest covers it or the build says so.
        let digest = fs::read(program).map_or_else(|_| "absent".to_owned(), |bytes| Digest::of(&bytes).to_string());
        text.push_str(&format!("{digest} {}\n", program.file_name().unwrap_or_default().to_string_lossy()));
    }
    Ok(text)
}

/// Creates the site, or updates the one of an older build: files named by their digest are built once.
fn build(seedd: &Seedd, ssh_key: &Path, dirs: &RunDirs) -> Result<()> {
    say::line("step 2: seedd init");
    let fresh = seedd.on(&dirs.work.join("fresh-site"));
    fresh.init().context("step seedd init")?;
    let public = fs::read_to_string(ssh_key.with_extension("pub")).context("reading the lab's public key")?;
    let text = fs::read_to_string(fresh.cluster_file()).context("reading cluster.yaml")?;
    let text = for_the_lab(&text, public.trim())?;
    let known = fs::read_to_string(seedd.cluster_file()).is_ok_and(|old| old == text) && seedd.data.join("seed.db").exists();
    if known {
        say::line("found a site of an older build; building what changed");
        if images(seedd, dirs).is_ok() {
            return Ok(());
        }
        crate::stop::check()?;
        say::line("the older site cannot be used; building a new one");
    }
    if seedd.data.exists() {
        fs::remove_dir_all(&seedd.data).context("removing the site of an older program")?;
    }
    tool::run(&["mv", &fresh.data.to_string_lossy(), &seedd.data.to_string_lossy()])?;
    fs::write(seedd.cluster_file(), text).context("writing cluster.yaml")?;
    images(seedd, dirs)
}

fn images(seedd: &Seedd, dirs: &RunDirs) -> Result<()> {
    let check = seedd.cluster_check()?;
    if check.code != 0 {
        bail!("step seedd cluster check: {}", check.stderr);
    }
    say::line("step 3: seedd darksite build (real Debian packages from this machine's mirror)");
    seedd.darksite_build(&dirs.logs.join("darksite-build.log")).context("step seedd darksite build")?;
    say::line("step 4: seedd image build (in a network namespace without a way out)");
    let ns = Netns::lab(&format!("{PREFIX}{}-build", std::process::id()), &dirs.work)?;
    seedd.image_build(&ns, &dirs.logs.join("image-build.log")).context("step seedd image build")?;
    ns.must_be_quiet().context("step seedd image build")
}

/// The cluster.yaml that `init` wrote, with the lab's key and with ping for its checks. The rest is the product's own
/// default, which has the lab's subnet; an expected line that is not there is an error.
pub fn for_the_lab(text: &str, public_key: &str) -> Result<String> {
    let mut out = text.to_owned();
    let key = format!("authorizedKeys: [\"{public_key}\"]");
    for (old, new) in [("authorizedKeys: []", key.as_str()), ("packages: []", "packages: [iputils-ping]")] {
        if !out.contains(old) {
            bail!("cluster.yaml has no line {old:?} to change for the lab");
        }
        out = out.replacen(old, new, 1);
    }
    for want in [format!("subnet: {SUBNET}"), format!("seed: {SEED_IP}")] {
        if !out.contains(&want) {
            bail!("cluster.yaml has no {want:?}, which the lab requires");
        }
    }
    Ok(out)
}

pub fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(|| format!("protecting {}", path.display()))
}

/// Copies a site: immutable directories by hard links, the rest by bytes.
pub fn copy_site(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry.context("reading a site")?;
        let name = entry.file_name();
        let shared = IMMUTABLE.iter().any(|d| name == *d);
        let mode = if shared { "-al" } else { "-a" };
        tool::run(&["cp", mode, &entry.path().to_string_lossy(), &to.join(&name).to_string_lossy()])?;
    }
    fs::set_permissions(to, fs::metadata(from).context("reading a site's mode")?.permissions()).context("protecting the copy")
}

/// Changes one byte in the middle of a file, in a copy of its own: hard links to the old bytes keep them.
pub fn flip_byte(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let middle = bytes.len() / 2;
    let Some(byte) = bytes.get_mut(middle) else { bail!("{} is empty", path.display()) };
    *byte ^= 1;
    let temporary = path.with_extension("flipped");
    fs::write(&temporary, bytes).context("writing the changed copy")?;
    fs::rename(&temporary, path).context("putting the changed copy in place")
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "underlay:\n  subnet: 10.44.0.0/24\n  seed: 10.44.0.1\nroles: {packages: []}\nssh: {authorizedKeys: []}\n";

    #[test]
    fn the_lab_sets_its_key_and_ping() {
        let text = for_the_lab(YAML, "ssh-ed25519 AAAA lab").unwrap();
        assert!(
            text.contains("authorizedKeys: [\"ssh-ed25519 AAAA lab\"]") && text.contains("packages: [iputils-ping]"),
            "{text}"
        );
        for missing in ["authorizedKeys: []", "packages: []", "subnet: 10.44.0.0/24", "seed: 10.44.0.1"] {
            assert!(for_the_lab(&YAML.replace(missing, ""), "k").is_err(), "{missing}");
        }
    }

    #[test]
    fn a_flipped_byte_stays_in_its_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(from.join("blobs")).unwrap();
        fs::write(from.join("blobs/x"), b"12345").unwrap();
        fs::write(from.join("seed.db"), b"rows").unwrap();
        copy_site(&from, &to).unwrap();
        flip_byte(&to.join("blobs/x")).unwrap();
        fs::write(to.join("seed.db"), b"other").unwrap();
        assert_eq!(fs::read(from.join("blobs/x")).unwrap(), b"12345");
        assert_eq!(fs::read(from.join("seed.db")).unwrap(), b"rows");
        assert_eq!(fs::read(to.join("blobs/x")).unwrap(), b"12245");
        fs::write(to.join("empty"), b"").unwrap();
        assert!(flip_byte(&to.join("empty")).is_err());
    }
}
