//! A virtual machine as it should be: a node of cluster.yaml with its host, its number and all defaults filled in.

use camino::Utf8Path;
use cluster_seed::ids::{Digest, Mac};
use cluster_seed::inventory::{DiskSpec, NicSpec, NodeSpec};
use cluster_seed::substrate::{HostSpec, SubstrateSpec};
use serde::Serialize;

use crate::image::Image;

/// The tag of every virtual machine that Kubedos made.
pub const MARK: &str = "kubedos";
/// The tag of one that is not finished.
pub const INCOMPLETE: &str = "kubedos-incomplete";
/// Begin of the tag that names the system disk's image.
pub const IMAGE_TAG: &str = "image-";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vm {
    pub node: String,
    pub role: String,
    pub vmid: u32,
    pub host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_domain: Option<String>,
    pub cpus: u32,
    #[serde(rename = "memoryMiB")]
    pub memory_mib: u32,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    /// Digest of the image, and its path on the host.
    pub image: Digest,
    pub image_path: String,
    /// All tags of the finished machine, sorted.
    pub tags: Vec<String>,
    /// SMBIOS serial number: `NODE.SITE`.
    pub serial: String,
    pub uuid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    #[serde(rename = "sizeGiB")]
    pub size_gib: u32,
    pub storage: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nic {
    pub mac: Mac,
    pub bridge: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::Ipv4Addr>,
}

/// Where and as what a node becomes a virtual machine.
pub struct Place<'a> {
    pub site: &'a str,
    pub substrate: &'a SubstrateSpec,
    pub host: &'a HostSpec,
    pub vmid: u32,
    /// Folder of images on the host.
    pub images: &'a Utf8Path,
}

/// What cluster.yaml does not say and has no default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Storage,
    Bridge,
}

impl Vm {
    /// Fills in the defaults: the node's own value, the host's, the substrate's.
    pub fn new(node: &NodeSpec, image: &Image, place: &Place<'_>) -> Result<Self, Missing> {
        let Place { site, substrate, host, vmid, images } = place;
        let name = node.name.value.to_string();
        let default_disk = [DiskSpec::default()];
        let disks = if node.disks.is_empty() { &default_disk[..] } else { &node.disks };
        let disk = |disk: &DiskSpec| {
            let storage = disk.storage.as_ref().or(host.storage.as_ref()).or(substrate.storage.as_ref());
            let storage = storage.ok_or(Missing::Storage)?.value.clone();
            Ok(Disk { size_gib: disk.size_gib.value, storage })
        };
        let default_nic = [NicSpec::default()];
        let nics = if node.nics.is_empty() { &default_nic[..] } else { &node.nics };
        let nic = |(n, nic): (usize, &NicSpec)| {
            let bridge = nic.bridge.as_ref().or(host.bridge.as_ref()).or(substrate.bridge.as_ref());
            Ok(Nic {
                mac: nic.mac.as_ref().map_or_else(|| derived_mac(site, &name, n), |m| m.value),
                bridge: bridge.ok_or(Missing::Bridge)?.value.clone(),
                vlan: nic.vlan.as_ref().map(|v| v.value),
                address: nic.address.as_ref().map(|a| a.value),
            })
        };
        let mut tags = vec![MARK.to_owned(), format!("site-{site}"), image_tag(&image.sha256)];
        tags.extend(substrate.tags.iter().map(|t| t.value.clone()));
        tags.sort_unstable();
        tags.dedup();
        Ok(Vm {
            role: node.role.value.clone(),
            vmid: *vmid,
            host: host.name.value.to_string(),
            failure_domain: host.failure_domain.as_ref().map(|d| d.value.to_string()),
            cpus: node.resources.cpus.value,
            memory_mib: node.resources.memory_mib.value,
            disks: disks.iter().map(disk).collect::<Result<_, _>>()?,
            nics: nics.iter().enumerate().map(nic).collect::<Result<_, _>>()?,
            image: image.sha256,
            image_path: images.join(image.remote_name()).into_string(),
            tags,
            serial: format!("{name}.{site}"),
            uuid: derived_uuid(site, &name),
            node: name,
        })
    }
}

/// The tag of an image: 16 hex digits, enough to tell images of one site apart.
pub fn image_tag(image: &Digest) -> String {
    format!("{IMAGE_TAG}{}", hex::encode(&image.0[..8]))
}

fn derived(kind: &str, site: &str, node: &str, n: usize) -> [u8; 32] {
    Digest::of(format!("kubedos {kind} v1\0{site}\0{node}\0{n}").as_bytes()).0
}

/// A locally administered address (IEEE 802: second lowest bit of the first byte). The same names give the same address, so
/// that a replaced machine keeps its DHCP lease.
fn derived_mac(site: &str, node: &str, n: usize) -> Mac {
    let [a, b, c, d, e, ..] = derived("nic", site, node, n);
    Mac([0x02, a, b, c, d, e])
}

/// A UUID of version 8 (RFC 9562, section 5.8). Not an identity: only the same machine in firmware, inventory and hypervisor.
fn derived_uuid(site: &str, node: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&derived("uuid", site, node, 0)[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let h = hex::encode(bytes);
    [&h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_values_are_stable_and_differ_by_name() {
        assert_eq!(derived_mac("site-a", "etcd-1", 0), derived_mac("site-a", "etcd-1", 0));
        let all = [("site-a", "etcd-1", 0), ("site-a", "etcd-1", 1), ("site-a", "etcd-2", 0), ("site-b", "etcd-1", 0)];
        let macs: std::collections::BTreeSet<_> = all.iter().map(|(s, n, i)| derived_mac(s, n, *i)).collect();
        assert_eq!(macs.len(), 4);
        assert!(macs.iter().all(|m| m.0[0] == 2));
        let uuid = derived_uuid("site-a", "etcd-1");
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }
}
