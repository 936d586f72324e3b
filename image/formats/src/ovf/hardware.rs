//! `VirtualHardwareSection` (section 8): resources as items of CIM_ResourceAllocationSettingData, whose fields are in
//! alphabetical order. Names of devices are those of VMware's exports.

use std::io;

use super::machine::{Firmware, Machine};
use super::xml::{Xml, empty, info, inside, leaf};

/// A device or resource.
struct Item {
    /// The machine can be deployed without it.
    optional: bool,
    /// Names without their prefix, with values.
    fields: Vec<(&'static str, String)>,
    config: &'static [(&'static str, &'static str)],
}

/// Items that others refer to.
const CONTROLLER: usize = 3;

fn item(fields: &[(&'static str, &str)]) -> Item {
    Item { optional: false, fields: fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), config: &[] }
}

fn optional(config: &'static [(&'static str, &'static str)], fields: &[(&'static str, &str)]) -> Item {
    Item { optional: true, config, ..item(&[&[("AutomaticAllocation", "false")], fields].concat()) }
}

/// All items; the first has instance 1.
fn items(machine: &Machine<'_>) -> Vec<Item> {
    let (cpus, memory) = (machine.cpus.to_string(), machine.memory_mib.to_string());
    let mut items = vec![
        item(&[
            ("AllocationUnits", "hertz * 10^6"),
            ("Description", "Number of virtual CPUs"),
            ("ElementName", &format!("{cpus} virtual CPU(s)")),
            ("ResourceType", "3"),
            ("VirtualQuantity", &cpus),
        ]),
        item(&[
            ("AllocationUnits", "byte * 2^20"),
            ("Description", "Memory size"),
            ("ElementName", &format!("{memory} MB of memory")),
            ("ResourceType", "4"),
            ("VirtualQuantity", &memory),
        ]),
        item(&[
            ("Address", "0"),
            ("Description", "SCSI controller"),
            ("ElementName", "SCSI controller 0"),
            ("ResourceSubType", "VirtualSCSI"),
            ("ResourceType", "6"),
        ]),
        item(&[
            ("AddressOnParent", "0"),
            ("ElementName", "Hard disk 1"),
            ("HostResource", "ovf:/disk/vmdisk1"),
            ("Parent", &CONTROLLER.to_string()),
            ("ResourceType", "17"),
        ]),
    ];
    for (n, network) in (1..).zip(machine.networks) {
        items.push(item(&[
            ("AddressOnParent", &(6 + n).to_string()),
            ("AutomaticAllocation", "true"),
            ("Connection", network),
            ("Description", "VmxNet3 ethernet adapter"),
            ("ElementName", &format!("Network adapter {n}")),
            ("ResourceSubType", "VmxNet3"),
            ("ResourceType", "10"),
        ]));
    }
    const VIDEO: &[(&str, &str)] = &[("useAutoDetect", "false"), ("videoRamSizeInKB", "8192")];
    items.push(optional(VIDEO, &[("ElementName", "Video card"), ("ResourceType", "24")]));
    if machine.serial {
        let kind = ("ResourceSubType", "vmware.serialport.device");
        items.push(optional(&[("yieldOnPoll", "true")], &[("ElementName", "Serial port 1"), kind, ("ResourceType", "21")]));
    }
    if machine.tpm {
        let kind = ("ResourceSubType", "vmware.vtpm");
        items.push(optional(&[], &[("ElementName", "Virtual TPM"), kind, ("ResourceType", "1")]));
    }
    items
}

fn config(xml: &mut Xml, element: &str, key: &str, value: &str) -> io::Result<()> {
    empty(xml, element, &[("ovf:required", "false"), ("vmw:key", key), ("vmw:value", value)])
}

fn write_item(xml: &mut Xml, instance: usize, item: &Item) -> io::Result<()> {
    let attributes: &[_] = if item.optional { &[("ovf:required", "false")] } else { &[] };
    let id = ("InstanceID", instance.to_string());
    let mut fields: Vec<_> = item.fields.iter().chain([&id]).collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    inside(xml, "Item", attributes, |xml| {
        fields.iter().try_for_each(|(name, value)| leaf(xml, &format!("rasd:{name}"), value))?;
        item.config.iter().try_for_each(|(key, value)| config(xml, "vmw:Config", key, value))
    })
}

/// The content of the section.
pub(super) fn section(xml: &mut Xml, machine: &Machine<'_>) -> io::Result<()> {
    info(xml, "Virtual hardware requirements")?;
    inside(xml, "System", &[], |xml| {
        leaf(xml, "vssd:ElementName", "Virtual Hardware Family")?;
        leaf(xml, "vssd:InstanceID", "0")?;
        leaf(xml, "vssd:VirtualSystemIdentifier", machine.name)?;
        leaf(xml, "vssd:VirtualSystemType", &format!("vmx-{}", machine.hardware))
    })?;
    let items = items(machine);
    (1..).zip(&items).try_for_each(|(instance, item)| write_item(xml, instance, item))?;
    match machine.firmware {
        Firmware::Bios => config(xml, "vmw:Config", "firmware", "bios")?,
        Firmware::Efi { secure_boot } => {
            config(xml, "vmw:Config", "firmware", "efi")?;
            config(xml, "vmw:Config", "bootOptions.efiSecureBootEnabled", &secure_boot.to_string())?;
        }
    }
    // open-vm-tools of the distribution: not to be replaced.
    config(xml, "vmw:Config", "tools.toolsUpgradePolicy", "manual")?;
    machine.extra_config.iter().try_for_each(|(key, value)| config(xml, "vmw:ExtraConfig", key, value))
}
