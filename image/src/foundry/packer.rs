//! A template for Packer (HCL2) that boots the QCOW2 image and packs it again. The requirement of plugins is in a file of its
//! own: Packer before 1.7 has the QEMU builder built in and refuses that block.

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use host::files::{digest_file, write_synced};

use super::job::Job;
use crate::error::Error;

/// The name that the template is deployed by.
const TEMPLATE: &str = "kubedos.pkr.hcl";
const TEMPLATE_TEXT: &str = include_str!("../../assets/packer/kubedos.pkr.hcl");
const PLUGINS: &str = include_str!("../../assets/packer/plugins.pkr.hcl");
const README: &str = include_str!("../../assets/packer/README.txt");

/// Makes the template and its image in `out`.
pub fn make(job: &Job) -> Result<String, Error> {
    let image = job.qcow2()?;
    let (_, sha256) = digest_file(&job.out.join(&image), job.progress)?;
    write(job.out, job.name, &image, sha256)?;
    Ok(TEMPLATE.to_owned())
}

/// Writes the files around the image `image` of the output `name`.
fn write(out: &Utf8Path, name: &str, image: &str, sha256: Digest) -> Result<(), Error> {
    let variables = format!("source_image  = \"{image}\"\nsource_sha256 = \"{sha256}\"\noutput_name   = \"{name}-packed\"\n");
    for (name, text) in [
        (TEMPLATE, TEMPLATE_TEXT),
        ("plugins.pkr.hcl", PLUGINS),
        ("kubedos.auto.pkrvars.hcl", &variables),
        ("README.txt", README),
    ] {
        write_synced(&out.join(name), text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::process::{Command, Output};

    use cluster_seed::progress::Quiet;
    use formats::{Conversion, qcow2};

    use super::*;

    fn packer(dir: &Utf8Path, args: &[&str]) -> io::Result<Output> {
        let mut command = Command::new("packer");
        command.args(args).current_dir(dir).env("CHECKPOINT_DISABLE", "1");
        command.env("PACKER_CONFIG_DIR", dir.join("config")).env("PACKER_CACHE_DIR", dir.join("cache")).output()
    }

    /// A scaffold around an empty disk, as Packer before 1.7 takes it.
    fn scaffold(dir: &Utf8Path) {
        let (raw, image) = (dir.join("disk.img"), dir.join("node.qcow2"));
        std::fs::write(&raw, vec![0; 1 << 20]).unwrap();
        let options = qcow2::Options { compression: qcow2::Compression::Zstd, virtual_size: None };
        qcow2::write(&Conversion { raw: &raw, out: &image, progress: &Quiet }, &options).unwrap();
        let (_, sha256) = digest_file(&image, &Quiet).unwrap();
        write(dir, "north-base", "node.qcow2", sha256).unwrap();
        std::fs::remove_file(dir.join("plugins.pkr.hcl")).unwrap();
    }

    #[test]
    fn packer_accepts_the_scaffold_and_notices_a_misspelt_argument() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        scaffold(dir);
        let version = match packer(dir, &["version"]) {
            Ok(version) => String::from_utf8(version.stdout).unwrap(),
            Err(e) => return kubedos_skip::skip("packer", e),
        };
        assert!(version.starts_with("Packer v1."), "another program is called packer: {version}");
        let shown = |out: &Output| format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        for args in [["validate", "."].as_slice(), &["fmt", "-check", "-diff", "."]] {
            let out = packer(dir, args).unwrap();
            assert!(out.status.success(), "{args:?}: {}", shown(&out));
        }
        let template = std::fs::read_to_string(dir.join(TEMPLATE)).unwrap();
        std::fs::write(dir.join(TEMPLATE), template.replace("disk_image ", "disk_imago ")).unwrap();
        let out = packer(dir, &["validate", "."]).unwrap();
        assert!(!out.status.success() && shown(&out).contains("disk_imago"), "{}", shown(&out));
    }
}
