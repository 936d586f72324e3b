//! Options of `qm` (pve-docs, qm(1) and qm.conf(5), PVE 8.0 to 9.1), and how an existing configuration differs from them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::present::{PresentVm, tags};
use crate::vm::{Disk, IMAGE_TAG, INCOMPLETE, Nic, Vm};

/// An option that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub option: String,
    /// Empty: not set.
    pub from: String,
    pub to: String,
    pub how: How,
}

/// What it takes to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// `qm set`; a running machine has it after its next start.
    Set,
    /// `qm disk resize`.
    Grow,
    /// A new machine in its place.
    Replace,
}

/// Disks have a firmware variable store and TPM state beside the system disk.
const BOOT: &str = "order=scsi0";
const EFI: &str = "efitype=4m,pre-enrolled-keys=1";
const TPM: &str = "version=v2.0";
/// SSDs and thin storages get freed blocks back; a thread per disk.
const DISK: &str = "discard=on,iothread=1,ssd=1";

/// Options whose value is a plain word, and what it takes to change them.
fn plain(vm: &Vm) -> [(&'static str, String, How); 13] {
    let (set, replace) = (How::Set, How::Replace);
    [
        ("ostype", "l26".into(), set),
        ("machine", "q35".into(), replace),
        ("bios", "ovmf".into(), replace),
        ("cpu", "x86-64-v2-AES".into(), set),
        ("sockets", "1".into(), set),
        ("cores", vm.cpus.to_string(), set),
        ("memory", vm.memory_mib.to_string(), set),
        ("balloon", "0".into(), set),
        ("scsihw", "virtio-scsi-single".into(), replace),
        ("serial0", "socket".into(), set),
        ("agent", "enabled=1".into(), set),
        ("rng0", "source=/dev/urandom".into(), set),
        ("onboot", "1".into(), set),
    ]
}

fn net(nic: &Nic) -> String {
    let tag = nic.vlan.map(|v| format!(",tag={v}")).unwrap_or_default();
    format!("virtio={},bridge={}{tag}", nic.mac.to_string().to_uppercase(), nic.bridge)
}

fn smbios(vm: &Vm) -> String {
    let text = |s: &str| STANDARD.encode(s);
    format!("base64=1,family={},serial={},sku={},uuid={}", text("kubedos"), text(&vm.serial), text(&vm.role), vm.uuid)
}

/// A disk that is allocated; Proxmox VE names and formats it.
fn new_disk(disk: &Disk) -> String {
    format!("{}:{},{DISK}", disk.storage, disk.size_gib)
}

/// Options of `qm create`, in the order in which they are printed. The machine gets the tag [`INCOMPLETE`], which goes when
/// everything is done.
pub fn create(vm: &Vm) -> Vec<(String, String)> {
    let mut all = vec![("name".to_owned(), vm.node.clone())];
    all.extend(plain(vm).map(|(key, value, _)| (key.to_owned(), value)));
    // Vm::new gives each machine a disk.
    let system = vm.disks.first().map_or("local", |d| d.storage.as_str());
    all.push(("efidisk0".to_owned(), format!("{system}:1,{EFI}")));
    all.push(("tpmstate0".to_owned(), format!("{system}:1,{TPM}")));
    all.push(("scsi0".to_owned(), format!("{system}:0,import-from={},{DISK}", vm.image_path)));
    all.extend(vm.disks.iter().enumerate().skip(1).map(|(n, d)| (format!("scsi{n}"), new_disk(d))));
    all.extend(vm.nics.iter().enumerate().map(|(n, nic)| (format!("net{n}"), net(nic))));
    all.push(("boot".to_owned(), BOOT.to_owned()));
    all.push(("smbios1".to_owned(), smbios(vm)));
    let marks = vm.tags.iter().map(String::as_str).chain([INCOMPLETE]);
    all.push(("tags".to_owned(), marks.collect::<Vec<_>>().join(";")));
    all
}

/// A property string, `[value,]key=value,…`; a value without key gets the option's default key.
fn properties(option: &str, text: &str) -> BTreeMap<String, String> {
    let default = match option.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "agent" => "enabled",
        "cpu" => "cputype",
        "machine" => "type",
        "memory" => "current",
        "net" => "model",
        "rng" => "source",
        "boot" => "legacy",
        _ => "file",
    };
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((default, part));
        (key.trim().to_owned(), value.trim().to_owned())
    };
    let mut map: BTreeMap<String, String> = text.split(',').filter(|p| !p.is_empty()).map(pair).collect();
    if option.starts_with("net") {
        // Two forms of the same: model=virtio,macaddr=MAC and virtio=MAC.
        if let (Some(model), Some(mac)) = (map.remove("model"), map.remove("macaddr")) {
            map.insert(model, mac);
        }
        map.values_mut().for_each(|v| *v = v.to_uppercase());
    }
    map
}

/// Bytes of a size such as `32G`, `528K` or `1.5T` (PVE::JSONSchema, `parse_size`).
fn size(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[number.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    (0.0..1e18).contains(&bytes).then_some(bytes as u64)
}

fn difference(option: &str, from: &str, to: &str, how: How) -> Difference {
    Difference { option: option.to_owned(), from: from.to_owned(), to: to.to_owned(), how }
}

/// How the existing machine differs, in the order of [`create`]. What an operator added is left alone: other options, further
/// properties of a NIC, further tags.
pub fn differences(vm: &Vm, present: &PresentVm) -> Vec<Difference> {
    let have = |option: &str| present.config.get(option).map_or("", String::as_str);
    let mut found = Vec::new();
    for (option, want, how) in plain(vm).into_iter().chain([("boot", BOOT.to_owned(), How::Set)]) {
        let is = have(option);
        // A machine that was made for a certain version, `pc-q35-9.0`, is one of these.
        let versioned = option == "machine" && properties(option, is).get("type").is_some_and(|t| t.starts_with("pc-q35"));
        let (want_map, is_map) = (properties(option, &want), properties(option, is));
        let same = want_map.iter().all(|(k, v)| is_map.get(k) == Some(v));
        let default = is.is_empty() && option == "sockets";
        if !same && !versioned && !default {
            found.push(difference(option, is, &want, how));
        }
    }
    for (option, want) in [("efidisk0", EFI), ("tpmstate0", TPM)] {
        let is = properties(option, have(option));
        if !properties("", want).iter().all(|(k, v)| is.get(k) == Some(v)) {
            found.push(difference(option, have(option), want, How::Replace));
        }
    }
    found.extend(vm.disks.iter().enumerate().filter_map(|(n, d)| disk(&format!("scsi{n}"), n == 0, d, present)));
    found.extend(vm.nics.iter().enumerate().filter_map(|(n, nic)| nic_difference(&format!("net{n}"), nic, have)));
    let (want, is) = (properties("smbios1", &smbios(vm)), properties("smbios1", have("smbios1")));
    if !want.iter().all(|(k, v)| is.get(k) == Some(v)) {
        found.push(difference("smbios1", have("smbios1"), &smbios(vm), How::Set));
    }
    found.extend(tag_differences(vm, have("tags")));
    found
}

fn disk(option: &str, system: bool, want: &Disk, present: &PresentVm) -> Option<Difference> {
    let is = present.config.get(option).map_or("", String::as_str);
    if is.is_empty() {
        // Without its system disk a machine cannot be mended.
        let how = if system { How::Replace } else { How::Set };
        return Some(difference(option, "", &new_disk(want), how));
    }
    let properties = properties(option, is);
    let storage = properties.get("file").and_then(|f| f.split_once(':')).map_or("", |(s, _)| s);
    if storage != want.storage {
        return Some(difference(option, storage, &want.storage, How::Replace));
    }
    // A disk that an operator grew stays as it is: shrinking it would take a new disk.
    let bytes = properties.get("size").and_then(|s| size(s))?;
    let to = format!("{}G", want.size_gib);
    (bytes < u64::from(want.size_gib) << 30)
        .then(|| difference(option, properties.get("size").map_or("", String::as_str), &to, How::Grow))
}

fn nic_difference<'a>(option: &str, nic: &Nic, have: impl Fn(&str) -> &'a str) -> Option<Difference> {
    let (want, mut is) = (properties(option, &net(nic)), properties(option, have(option)));
    let owned = ["virtio", "bridge", "tag"];
    if owned.iter().all(|k| want.get(*k) == is.get(*k)) {
        return None;
    }
    // Further properties of an operator, such as firewall=1, are kept; a NIC has one model.
    let further = ["firewall", "mtu", "queues", "rate", "trunks", "link_down"];
    is.retain(|k, _| further.contains(&k.as_str()));
    let kept: String = is.iter().map(|(k, v)| format!(",{k}={v}")).collect();
    Some(difference(option, have(option), &format!("{}{kept}", net(nic)), How::Set))
}

fn tag_differences(vm: &Vm, have: &str) -> Vec<Difference> {
    let is = tags(have);
    let image = |t: &&String| t.starts_with(IMAGE_TAG);
    let (old, new) = (is.iter().find(image), vm.tags.iter().find(image));
    let mut found = Vec::new();
    if let Some(new) = new.filter(|_| old != new) {
        found.push(difference("image", old.map_or("", String::as_str), new, How::Replace));
    }
    let missing = vm.tags.iter().any(|t| !t.starts_with(IMAGE_TAG) && !is.contains(t));
    if missing {
        let kept = is.iter().chain(vm.tags.iter().filter(|t| !t.starts_with(IMAGE_TAG)));
        let all: std::collections::BTreeSet<&str> = kept.map(String::as_str).collect();
        found.push(difference("tags", have, &all.into_iter().collect::<Vec<_>>().join(";"), How::Set));
    }
    found
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
