//! A template for Packer (HCL2) that boots the QCOW2 image and packs it again. The requirement of plugins is in a file of its
//! own: Packer before 1.7 has the QEMU builder built in and refuses that block.

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
    let variables =
        format!("source_image  = \"{image}\"\nsource_sha256 = \"{sha256}\"\noutput_name   = \"{}-packed\"\n", job.name);
    for (name, text) in [
        (TEMPLATE, TEMPLATE_TEXT),
        ("plugins.pkr.hcl", PLUGINS),
        ("kubedos.auto.pkrvars.hcl", &variables),
        ("README.txt", README),
    ] {
        write_synced(&job.out.join(name), text.as_bytes())?;
    }
    Ok(TEMPLATE.to_owned())
}
