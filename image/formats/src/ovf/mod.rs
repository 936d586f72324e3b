//! OVF 1.1 (DMTF DSP0243): the descriptor of a virtual machine with one disk, and the manifest of the package.
//!
//! Devices are those that vSphere has for Linux: the controller pvscsi, vmxnet3, and optionally a serial port and a vTPM.
//! Elements of the namespace `vmw` are VMware's; other programs ignore them.

/// The virtual machine to describe.
mod machine;

/// Virtual hardware, item by item.
mod hardware;
/// Elements of XML.
mod xml;

use cluster_seed::ids::Digest;
pub use machine::{Firmware, GUEST, MIN_HARDWARE, Machine, Property};
use quick_xml::Writer;
use xml::{Xml, empty, info, inside, leaf};

use crate::Error;
use crate::names::check_name;

/// The disk of the machine, a streamOptimized VMDK.
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// Name of the file beside the descriptor.
    pub file_name: &'a str,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the virtual disk in bytes.
    pub capacity: u64,
}

/// The first version with a vTPM.
const TPM_HARDWARE: u8 = 14;
/// CIM_OperatingSystem, `OSType`: Debian, 64 bits.
const DEBIAN_64: &str = "96";
/// The only format of a disk that ESXi imports.
const STREAM_OPTIMIZED: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
const OVF: &str = "http://schemas.dmtf.org/ovf/envelope/1";
const RASD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData";
const VSSD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData";
const VMW: &str = "http://www.vmware.com/schema/ovf";
/// How the guest gets its properties: from VMware's tools (section 9.5, `ovf:transport`).
const TRANSPORT: &str = "com.vmware.guestInfo";

fn check(machine: &Machine<'_>) -> Result<(), Error> {
    check_name("the name of a machine", machine.name)?;
    let refuse = |what, value: &str, why| Err(Error::Value { what, value: value.to_owned(), why });
    let hardware = format!("vmx-{}", machine.hardware);
    let key_ok = |k: &str| !k.is_empty() && k.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if machine.hardware < MIN_HARDWARE {
        return refuse("the virtual hardware", &hardware, "13 is the first version with everything that is used");
    }
    if machine.tpm && machine.hardware < TPM_HARDWARE {
        return refuse("the virtual hardware", &hardware, "a vTPM needs version 14");
    }
    if machine.tpm && machine.firmware == Firmware::Bios {
        return refuse("the firmware", "bios", "a vTPM needs EFI");
    }
    if machine.cpus == 0 || machine.memory_mib == 0 || !machine.memory_mib.is_multiple_of(4) {
        let value = format!("{} CPUs and {} MiB", machine.cpus, machine.memory_mib);
        return refuse("the size of a machine", &value, "it needs a CPU, and memory in multiples of 4 MiB");
    }
    if let Some(property) = machine.properties.iter().find(|p| !key_ok(p.key)) {
        return refuse("the key of a property", property.key, "only letters, digits, hyphens and underscores are allowed");
    }
    let texts = [machine.product, machine.vendor, machine.version, machine.guest, machine.class];
    let networks = machine.networks.iter().copied();
    let properties = machine.properties.iter().flat_map(|p| [p.label, p.description, p.default]);
    let extra = machine.extra_config.iter().flat_map(|(key, value)| [*key, *value]);
    let mut texts = texts.into_iter().chain(networks).chain(properties).chain(extra);
    match texts.find(|text| text.chars().any(char::is_control)) {
        Some(text) => refuse("a text of the descriptor", text, "it contains control characters"),
        None => Ok(()),
    }
}

fn references(xml: &mut Xml, disk: &Disk<'_>) -> std::io::Result<()> {
    let size = disk.size.to_string();
    inside(xml, "References", &[], |xml| {
        empty(xml, "File", &[("ovf:href", disk.file_name), ("ovf:id", "file1"), ("ovf:size", &size)])
    })
}

fn disks(xml: &mut Xml, disk: &Disk<'_>) -> std::io::Result<()> {
    let capacity = disk.capacity.to_string();
    inside(xml, "DiskSection", &[], |xml| {
        info(xml, "Virtual disks")?;
        let units = ("ovf:capacityAllocationUnits", "byte");
        let ids = [("ovf:diskId", "vmdisk1"), ("ovf:fileRef", "file1"), ("ovf:format", STREAM_OPTIMIZED)];
        empty(xml, "Disk", &[&[("ovf:capacity", capacity.as_str()), units][..], &ids].concat())
    })
}

fn networks(xml: &mut Xml, names: &[&str]) -> std::io::Result<()> {
    inside(xml, "NetworkSection", &[], |xml| {
        info(xml, "Networks that the machine is connected to")?;
        // Two cards may be in the same network.
        let mut seen: Vec<&str> = Vec::new();
        for name in names {
            if !seen.contains(name) {
                seen.push(name);
                inside(xml, "Network", &[("ovf:name", name)], |xml| leaf(xml, "Description", name))?;
            }
        }
        Ok(())
    })
}

fn product(xml: &mut Xml, machine: &Machine<'_>) -> std::io::Result<()> {
    let class = [("ovf:class", machine.class)];
    inside(xml, "ProductSection", if machine.class.is_empty() { &[] } else { &class }, |xml| {
        info(xml, "The installed product")?;
        leaf(xml, "Product", machine.product)?;
        leaf(xml, "Vendor", machine.vendor)?;
        leaf(xml, "Version", machine.version)?;
        for property in machine.properties {
            let mut attributes = vec![
                ("ovf:key", property.key),
                ("ovf:type", "string"),
                ("ovf:userConfigurable", "true"),
                ("ovf:value", property.default),
            ];
            attributes.extend(property.password.then_some(("ovf:password", "true")));
            inside(xml, "Property", &attributes, |xml| {
                leaf(xml, "Label", property.label)?;
                leaf(xml, "Description", property.description)
            })?;
        }
        Ok(())
    })
}

fn system(xml: &mut Xml, machine: &Machine<'_>) -> std::io::Result<()> {
    inside(xml, "VirtualSystem", &[("ovf:id", machine.name)], |xml| {
        info(xml, "A virtual machine")?;
        leaf(xml, "Name", machine.name)?;
        let guest = [("ovf:id", DEBIAN_64), ("vmw:osType", machine.guest)];
        inside(xml, "OperatingSystemSection", &guest, |xml| {
            info(xml, "The installed guest operating system")?;
            leaf(xml, "Description", "Debian GNU/Linux (64-bit)")
        })?;
        let transport: &[_] = if machine.properties.is_empty() { &[] } else { &[("ovf:transport", TRANSPORT)] };
        inside(xml, "VirtualHardwareSection", transport, |xml| hardware::section(xml, machine))?;
        product(xml, machine)
    })
}

/// The descriptor (NAME.ovf).
///
/// # Errors
/// [`Error::Value`] if a name or setting is not possible.
pub fn descriptor(machine: &Machine<'_>, disk: &Disk<'_>) -> Result<String, Error> {
    check(machine)?;
    check_name("the name of a disk file", disk.file_name)?;
    let namespaces = [("xmlns", OVF), ("xmlns:ovf", OVF), ("xmlns:rasd", RASD), ("xmlns:vmw", VMW), ("xmlns:vssd", VSSD)];
    let mut xml = Writer::new_with_indent(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec(), b' ', 2);
    let written = inside(&mut xml, "Envelope", &namespaces, |xml| {
        references(xml, disk)?;
        disks(xml, disk)?;
        networks(xml, machine.networks)?;
        system(xml, machine)
    });
    written.map_err(Error::Xml)?;
    let mut bytes = xml.into_inner();
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(|e| Error::Xml(std::io::Error::other(e)))
}

/// The manifest (NAME.mf): the SHA-256 of each file (section 5.1).
///
/// # Errors
/// [`Error::Value`] for a name that the manifest cannot contain.
pub fn manifest(files: &[(&str, Digest)]) -> Result<String, Error> {
    let line = |(name, digest): &(&str, Digest)| Ok(format!("SHA256({})= {digest}\n", check_name("a file name", name)?));
    files.iter().map(line).collect()
}
