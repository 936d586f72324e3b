//! The artifact's disk in the formats of hypervisors.

use camino::{Utf8Path, Utf8PathBuf};
use formats::ovf::{Firmware, GUEST, Machine};
use formats::{Conversion, Uuid, ova, qcow2, vhd, vhdx, vmdk};
use host::files::write_synced;

use super::job::Job;
use crate::error::Error;

/// Virtual hardware of vSphere 6.7: the first with a vTPM.
const HARDWARE: u8 = 14;
/// Of a new virtual machine; its owner changes them.
const CPUS: u32 = 2;
const MEMORY_MIB: u32 = 2048;
/// Name of the option with the compression of a QCOW2 image.
pub const COMPRESSION: &str = "compression";

impl Job<'_> {
    fn convert(
        &self,
        ending: &str,
        write: impl FnOnce(&Conversion<'_>) -> Result<formats::Written, formats::Error>,
    ) -> Result<(String, u64), Error> {
        let (raw, _) = self.disk()?;
        let name = format!("{}{ending}", self.name);
        let out = self.out.join(&name);
        self.progress.begin(&format!("writing {name}"), std::fs::metadata(&raw).ok().map(|m| m.len()));
        let written = write(&Conversion { raw: &raw, out: &out, progress: self.progress })?;
        self.progress.end();
        remove(&raw)?;
        Ok((name, written.capacity))
    }

    fn uuid(&self, purpose: &str) -> Uuid {
        Uuid::from_bytes(self.names().uuid(purpose))
    }

    pub fn qcow2(&self) -> Result<String, Error> {
        let compression = match self.order.options.get(COMPRESSION).map(String::as_str) {
            Some("zlib") => qcow2::Compression::Zlib,
            _ => qcow2::Compression::Zstd,
        };
        let options = qcow2::Options { compression, virtual_size: None };
        Ok(self.convert(".qcow2", |c| qcow2::write(c, &options))?.0)
    }

    pub fn vhd(&self) -> Result<String, Error> {
        let options = vhd::Options { id: self.uuid("vhd"), created: self.index.epoch };
        Ok(self.convert(".vhd", |c| vhd::write(c, &options))?.0)
    }

    pub fn vhdx(&self) -> Result<String, Error> {
        let [disk, file_write, data_write] = ["vhdx disk", "vhdx file", "vhdx data"].map(|purpose| self.uuid(purpose));
        let options = vhdx::Options { ids: vhdx::Ids { disk, file_write, data_write }, virtual_size: None };
        Ok(self.convert(".vhdx", |c| vhdx::write(c, &options))?.0)
    }

    /// The disk, an OVF package around it, and the package as one file, which is what is deployed.
    pub fn vmdk(&self) -> Result<String, Error> {
        let disk = format!("{}-disk1.vmdk", self.name);
        // The lower 32 bits are the CID: its two reserved values are out of reach with the highest bit clear.
        let content_id = u128::from_be_bytes(self.names().uuid("vmdk content")) & !(1 << 31);
        let options = vmdk::Options { name: &disk, content_id, hardware: HARDWARE, virtual_size: None };
        let (_, capacity) = self.convert("-disk1.vmdk", |c| vmdk::write(c, &options))?;
        let spec = self.order.artifact.map(|a| a.spec.role.as_str()).unwrap_or_default();
        let machine = Machine {
            name: self.name,
            product: &format!("Kubedos node, role {spec}"),
            vendor: "Kubedos",
            version: self.order.version,
            guest: GUEST,
            hardware: HARDWARE,
            firmware: Firmware::Efi { secure_boot: true },
            cpus: CPUS,
            memory_mib: MEMORY_MIB,
            networks: &["VM Network"],
            serial: true,
            tpm: false,
            class: "kubedos",
            properties: &[],
            extra_config: &[],
        };
        self.package(&machine, &self.out.join(&disk), capacity)
    }

    fn package(&self, machine: &Machine<'_>, vmdk: &Utf8Path, capacity: u64) -> Result<String, Error> {
        let name = format!("{}.ova", self.name);
        let package = ova::Package { name: self.name, vmdk, capacity, machine, modified: self.index.epoch };
        self.progress.begin(&format!("writing {name}"), None);
        let (_, texts) = ova::write(&self.out.join(&name), &package, self.progress)?;
        write_synced(&self.out.join(format!("{}.ovf", self.name)), texts.descriptor.as_bytes())?;
        write_synced(&self.out.join(format!("{}.mf", self.name)), texts.manifest.as_bytes())?;
        self.progress.end();
        Ok(name)
    }
}

fn remove(path: &Utf8PathBuf) -> Result<(), Error> {
    Ok(std::fs::remove_file(path).map_err(host::files::failed("removing", path))?)
}
