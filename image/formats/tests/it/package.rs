//! The OVF descriptor, the manifest and the OVA, by the rules of DSP0243.

use std::collections::BTreeSet;
use std::io::Read as _;

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use formats::ova::{self, Package};
use formats::ovf::{self, Disk, Firmware, Machine, Property};
use formats::{Conversion, Error, vmdk};
use roxmltree::{Document, Node};

use crate::bench::{Folder, Watch, run, sample};

const OVF: &str = "http://schemas.dmtf.org/ovf/envelope/1";
const RASD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData";
const VMW: &str = "http://www.vmware.com/schema/ovf";
const DISK: Disk<'static> = Disk { file_name: "node-disk1.vmdk", size: 123_456, capacity: 10 << 30 };

const PROPERTIES: [Property<'static>; 2] = [
    Property { key: "seed", label: "Seed", description: "Address of the <seed> & its port", default: "", password: false },
    Property { key: "token", label: "Join token", description: "For \"one\" node", default: "a'b", password: true },
];

fn machine() -> Machine<'static> {
    Machine {
        name: "kubedos-node",
        product: "Kubedos node",
        vendor: "Kubedos",
        version: "0.1.0",
        guest: ovf::GUEST,
        hardware: 19,
        firmware: Firmware::Efi { secure_boot: true },
        cpus: 2,
        memory_mib: 2048,
        networks: &["VM Network", "Storage & Backup", "VM Network"],
        serial: true,
        tpm: true,
        class: "kubedos",
        properties: &PROPERTIES,
        extra_config: &[("guestinfo.kubedos.seed", "https://10.0.0.1")],
    }
}

fn small() -> Machine<'static> {
    let plain = Machine { hardware: 13, firmware: Firmware::Bios, serial: false, tpm: false, ..machine() };
    Machine { networks: &[], class: "", properties: &[], extra_config: &[], ..plain }
}

fn all<'a, 'b>(document: &'a Document<'b>, name: &str) -> Vec<Node<'a, 'b>> {
    document.descendants().filter(|n| n.tag_name().name() == name).collect()
}

fn rasd<'a>(item: &Node<'a, '_>, name: &str) -> Option<&'a str> {
    item.children().find(|n| n.has_tag_name((RASD, name))).and_then(|n| n.text())
}

#[test]
fn every_reference_leads_to_something() {
    let text = ovf::descriptor(&machine(), &DISK).unwrap();
    let document = Document::parse(&text).unwrap();
    let [file] = all(&document, "File")[..] else { panic!("one file") };
    assert_eq!((file.attribute((OVF, "href")), file.attribute((OVF, "size"))), (Some("node-disk1.vmdk"), Some("123456")));
    let [disk] = all(&document, "Disk")[..] else { panic!("one disk") };
    assert_eq!(disk.attribute((OVF, "fileRef")), file.attribute((OVF, "id")));
    assert_eq!(
        (disk.attribute((OVF, "capacity")), disk.attribute((OVF, "capacityAllocationUnits"))),
        (Some("10737418240"), Some("byte"))
    );
    let format = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
    assert_eq!(disk.attribute((OVF, "format")), Some(format));
    let items = all(&document, "Item");
    let ids: BTreeSet<_> = items.iter().filter_map(|i| rasd(i, "InstanceID")).collect();
    assert_eq!(ids.len(), items.len(), "every instance ID is there once");
    let drive = items.iter().find(|i| rasd(i, "ResourceType") == Some("17")).unwrap();
    assert_eq!(rasd(drive, "HostResource"), disk.attribute((OVF, "diskId")).map(|id| format!("ovf:/disk/{id}")).as_deref());
    let controller = items.iter().find(|i| rasd(i, "InstanceID") == rasd(drive, "Parent")).unwrap();
    assert_eq!((rasd(controller, "ResourceType"), rasd(controller, "ResourceSubType")), (Some("6"), Some("VirtualSCSI")));
    let networks: Vec<_> = all(&document, "Network").iter().filter_map(|n| n.attribute((OVF, "name"))).collect();
    assert_eq!(networks, ["VM Network", "Storage & Backup"]);
    let cards: Vec<_> = items.iter().filter(|i| rasd(i, "ResourceSubType") == Some("VmxNet3")).collect();
    assert_eq!(cards.len(), 3);
    assert!(cards.iter().all(|c| networks.contains(&rasd(c, "Connection").unwrap())));
}

#[test]
fn parts_are_in_the_order_of_the_schema() {
    for (machine, count) in [(machine(), 10), (small(), 5)] {
        let text = ovf::descriptor(&machine, &DISK).unwrap();
        let document = Document::parse(&text).unwrap();
        let names = |node: Node<'_, '_>| -> Vec<String> {
            node.children().filter(Node::is_element).map(|n| n.tag_name().name().to_owned()).collect()
        };
        assert_eq!(names(document.root_element()), ["References", "DiskSection", "NetworkSection", "VirtualSystem"]);
        let sections = ["Info", "Name", "OperatingSystemSection", "VirtualHardwareSection", "ProductSection"];
        assert_eq!(names(all(&document, "VirtualSystem")[0]), sections);
        let items = all(&document, "Item");
        assert_eq!(items.len(), count);
        for item in items {
            let fields: Vec<_> = item.children().filter(|n| n.tag_name().namespace() == Some(RASD)).collect();
            assert!(fields.is_sorted_by_key(|n| n.tag_name().name()), "{fields:?}");
            assert!(["ElementName", "InstanceID", "ResourceType"].iter().all(|name| rasd(&item, name).is_some()));
        }
    }
}

#[test]
fn settings_of_the_machine_are_written() {
    let text = ovf::descriptor(&machine(), &DISK).unwrap();
    let document = Document::parse(&text).unwrap();
    let value = |element: &str, key: &str| {
        let found = all(&document, element).into_iter().find(|n| n.attribute((VMW, "key")) == Some(key));
        found.and_then(|n| n.attribute((VMW, "value")).map(str::to_owned))
    };
    assert_eq!(value("Config", "firmware").as_deref(), Some("efi"));
    assert_eq!(value("Config", "bootOptions.efiSecureBootEnabled").as_deref(), Some("true"));
    assert_eq!(value("ExtraConfig", "guestinfo.kubedos.seed").as_deref(), Some("https://10.0.0.1"));
    assert_eq!(all(&document, "VirtualSystemType")[0].text(), Some("vmx-19"));
    let optional: Vec<_> =
        all(&document, "Item").into_iter().filter(|i| i.attribute((OVF, "required")) == Some("false")).collect();
    let kinds: Vec<_> = optional.iter().filter_map(|i| rasd(i, "ResourceSubType")).collect();
    assert_eq!(kinds, ["vmware.serialport.device", "vmware.vtpm"]);
    assert_eq!(all(&document, "ProductSection")[0].attribute((OVF, "class")), Some("kubedos"));
    let properties = all(&document, "Property");
    assert_eq!(properties[1].attribute((OVF, "value")), Some("a'b"));
    assert_eq!(properties.iter().map(|p| p.attribute((OVF, "password"))).collect::<Vec<_>>(), [None, Some("true")]);
    assert_eq!(
        properties[0].children().find(|n| n.has_tag_name((OVF, "Description"))).unwrap().text(),
        Some(PROPERTIES[0].description)
    );
    let hardware = all(&document, "VirtualHardwareSection")[0];
    assert_eq!(hardware.attribute((OVF, "transport")), Some("com.vmware.guestInfo"));
}

#[test]
fn machines_that_vsphere_refuses_are_refused() {
    let refused = |machine: Machine<'_>| match ovf::descriptor(&machine, &DISK) {
        Err(Error::Value { value, .. }) => value,
        other => panic!("{other:?}"),
    };
    let keys = ["", "a.b", "a b"].map(|key| [Property { key, ..PROPERTIES[0] }]);
    assert_eq!(refused(Machine { hardware: 12, ..small() }), "vmx-12");
    assert_eq!(refused(Machine { hardware: 13, ..machine() }), "vmx-13");
    assert_eq!(refused(Machine { firmware: Firmware::Bios, ..machine() }), "bios");
    assert_eq!(refused(Machine { cpus: 0, ..small() }), "0 CPUs and 2048 MiB");
    assert_eq!(refused(Machine { memory_mib: 2049, ..small() }), "2 CPUs and 2049 MiB");
    for properties in &keys {
        assert_eq!(refused(Machine { properties, ..small() }), properties[0].key);
    }
    assert_eq!(refused(Machine { vendor: "a\nb", ..small() }), "a\nb");
    assert_eq!(refused(Machine { name: "a/b", ..small() }), "a/b");
    assert!(ovf::descriptor(&machine(), &Disk { file_name: "a/b.vmdk", ..DISK }).is_err());
    assert!(ovf::descriptor(&small(), &DISK).is_ok());
}

fn package<'a>(vmdk: &'a Utf8Path, machine: &'a Machine<'a>, capacity: u64) -> Package<'a> {
    Package { name: "node", vmdk, capacity, machine, modified: 1_700_000_000 }
}

#[test]
fn the_ova_has_descriptor_manifest_and_disk_in_this_order() {
    let folder = Folder::new();
    let (raw, disk, out) = (folder.raw("disk.raw", &sample()), folder.path("disk.vmdk"), folder.path("node.ova"));
    let options = vmdk::Options { name: "node-disk1.vmdk", content_id: 7, hardware: 19, virtual_size: None };
    let written = vmdk::write(&Conversion { raw: &raw, out: &disk, progress: &Quiet }, &options).unwrap();
    let machine = machine();
    let package = package(&disk, &machine, written.capacity);
    let watch = Watch::default();
    let (ova, texts) = ova::write(&out, &package, &watch).unwrap();
    assert_eq!(watch.total.into_inner(), watch.advanced.into_inner());
    let first = std::fs::read(&out).unwrap();
    assert_eq!((first.len() as u64, ova.size % 10240), (ova.size, 0));
    ova::write(&out, &package, &Quiet).unwrap();
    assert!(first == std::fs::read(&out).unwrap(), "two runs differ");

    let mut archive = tar::Archive::new(&first[..]);
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(&header.as_bytes()[257..265], b"ustar\x0000");
        let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap(), header.mtime().unwrap());
        assert_eq!(owner, (0, 0, 0o644, 1_700_000_000));
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.push((name, bytes));
    }
    let names: Vec<&str> = files.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(names, ["node.ovf", "node.mf", "node-disk1.vmdk"]);
    assert_eq!((&files[0].1[..], &files[1].1[..]), (texts.descriptor.as_bytes(), texts.manifest.as_bytes()));
    let digest = |n: usize| Digest::of(&files[n].1);
    let manifest = format!("SHA256(node.ovf)= {}\nSHA256(node-disk1.vmdk)= {}\n", digest(0), digest(2));
    assert_eq!(String::from_utf8_lossy(&files[1].1), manifest);
    assert!(files[2].1 == std::fs::read(&disk).unwrap());
    let size = format!("ovf:size=\"{}\"", files[2].1.len());
    assert!(String::from_utf8_lossy(&files[0].1).contains(&size));
    // Without a path in front, so that tar(1) lists the same names.
    if let Some((good, list)) = run("tar", &["-tf", out.as_str()]) {
        assert_eq!((good, list.as_str()), (true, "node.ovf\nnode.mf\nnode-disk1.vmdk\n"));
    }
}

#[test]
fn a_disk_too_large_for_tar_is_refused() {
    let folder = Folder::new();
    let machine = small();
    let disk = folder.path("disk.vmdk");
    let file = std::fs::File::create(&disk).unwrap();
    let out = folder.path("node.ova");
    file.set_len(8 << 30).unwrap();
    let watch = Watch { stop_at: Some(1), ..Watch::default() };
    // The size is judged before anything of the disk is read.
    let result = ova::write(&out, &package(&disk, &machine, 8 << 30), &watch);
    assert!(matches!(result, Err(Error::TooLarge { limit, .. }) if limit == (8 << 30) - 1), "{result:?}");
    assert_eq!(folder.names(), ["disk.vmdk"]);
}

#[test]
fn a_cancelled_ova_leaves_nothing() {
    let folder = Folder::new();
    let machine = small();
    let disk = folder.path("disk.vmdk");
    std::fs::write(&disk, vec![1; 5 << 20]).unwrap();
    for stop_at in [0, 5, 22, 24] {
        let watch = Watch { stop_at: Some(stop_at), ..Watch::default() };
        let result = ova::write(&folder.path("node.ova"), &package(&disk, &machine, 5 << 20), &watch);
        assert!(matches!(result, Err(Error::Cancelled)), "{stop_at}: {result:?}");
        assert_eq!(folder.names(), ["disk.vmdk"]);
    }
}

/// The schema and those it imports are not part of this tree: DMTF's dsp8023_1.1.1.xsd, with the other ones beside it.
const SCHEMA: &str = "KUBEDOS_OVF_XSD";

#[test]
fn the_descriptor_is_valid_by_the_schema() {
    let Some(schema) = std::env::var_os(SCHEMA) else {
        return kubedos_skip::skip("ovf-schema", format!("{SCHEMA} does not name DMTF's dsp8023_1.1.1.xsd"));
    };
    let folder = Folder::new();
    for (name, machine) in [("full.ovf", machine()), ("small.ovf", small())] {
        let path = folder.path(name);
        std::fs::write(&path, ovf::descriptor(&machine, &DISK).unwrap()).unwrap();
        let args = ["--noout", "--nonet", "--schema", schema.to_str().unwrap(), path.as_str()];
        match run("xmllint", &args) {
            Some((good, text)) => assert!(good, "{text}"),
            None => kubedos_skip::skip("xmllint", "is not installed (libxml2-utils)"),
        }
    }
}
