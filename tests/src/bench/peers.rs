//! The peers: aptly, reprepro and apt-ftparchive on the same packages, and apt on the same index.

use anyhow::Result;
use camino::Utf8Path;

use super::{Cost, measure};
use crate::tool;

fn shell(script: &str, log: &Utf8Path) -> Result<Cost> {
    measure(&tool::words(&["sh", "-ec", script]), log.as_std_path())
}

/// apt-ftparchive over a folder of packages: an index with SHA-256 alone, nothing packed and nothing signed.
pub fn ftparchive(debs: &Utf8Path, work: &Utf8Path, all_hashes: bool) -> Result<Cost> {
    let off = if all_hashes {
        ""
    } else {
        "-o APT::FTPArchive::MD5=false -o APT::FTPArchive::SHA1=false -o APT::FTPArchive::SHA512=false"
    };
    shell(&format!("cd {debs} && apt-ftparchive {off} packages . > {work}/Packages"), &work.join("ftparchive.log"))
}

/// reprepro: an archive from nothing, unsigned.
pub fn reprepro(debs: &Utf8Path, work: &Utf8Path) -> Result<Cost> {
    let base = work.join("reprepro");
    let _ = std::fs::remove_dir_all(&base);
    std::fs::create_dir_all(base.join("conf"))?;
    std::fs::write(base.join("conf/distributions"), "Codename: bench\nArchitectures: amd64\nComponents: main\n")?;
    let script = format!("reprepro -S misc -P optional -b {base} includedeb bench {debs}/*.deb");
    shell(&script, &work.join("reprepro.log"))
}

/// aptly: repo add and publish, unsigned, without Contents.
pub fn aptly(debs: &Utf8Path, work: &Utf8Path) -> Result<Cost> {
    let root = work.join("aptly");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root)?;
    let config = root.join("aptly.conf");
    let text = format!(
        "{{\"rootDir\": \"{root}\", \"gpgDisableSign\": true, \"skipContentsPublishing\": true, \"architectures\": [\"amd64\"]}}"
    );
    std::fs::write(&config, text)?;
    let aptly = format!("aptly -config={config}");
    let script = format!(
        "{aptly} repo create bench && {aptly} repo add bench {debs} && \
         {aptly} publish repo -distribution=bench -skip-signing -architectures=amd64 bench"
    );
    shell(&script, &work.join("aptly.log"))
}

/// apt's simulated install over the same index, its lists read already.
pub fn apt_closure(options: &[String], roots: &[&str], work: &Utf8Path) -> Result<Cost> {
    let mut argv = tool::words(&["apt-get"]);
    argv.extend_from_slice(options);
    argv.extend(tool::words(&["-s", "-q", "--no-install-recommends", "install"]));
    argv.extend(tool::words(roots));
    measure(&argv, work.join("apt.log").as_std_path())
}

/// openssl's SHA-256 of every file below a folder, as many at a time as there are cores.
pub fn openssl(dir: &Utf8Path, work: &Utf8Path, cores: usize) -> Result<Cost> {
    let script = format!("find -L {dir} -type f -print0 | xargs -0 -n 32 -P {cores} openssl dgst -sha256 >{work}/sums");
    shell(&script, &work.join("openssl.log"))
}

/// xz -6 of a text, on one core.
pub fn xz(text: &Utf8Path, work: &Utf8Path) -> Result<Cost> {
    shell(&format!("xz -6 -T1 -c {text} >{work}/packed.xz"), &work.join("xz.log"))
}
