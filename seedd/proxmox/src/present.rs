//! What hosts and virtual machines are there, from Proxmox VE's JSON. Numbers come as numbers or as text, depending on the
//! version, and keys that are not needed are ignored.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::ClusterSpec;
use serde_json::Value;

use crate::vm::MARK;

/// Most machines and containers of a cluster.
const MAX_VMS: usize = 100_000;
/// Where images are kept on a host without a storage for imports.
pub const DEFAULT_IMAGES: &str = "/var/lib/vz/import";
/// `import-from` with the fields used here (PVE 8.0, qemu-server 8.0.6).
pub const LEAST_VERSION: Version = Version { major: 8, minor: 0 };

/// Hosts and everything that runs on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    pub hosts: Vec<HostState>,
    pub vms: Vec<PresentVm>,
}

/// The state of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    pub name: String,
    /// None: it was not read, and nothing about it can be checked.
    pub facts: Option<HostFacts>,
    /// Where images are kept on it.
    pub images: Utf8PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    pub version: Version,
    /// Logical CPUs.
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
    pub storages: Vec<Storage>,
    pub bridges: BTreeSet<String>,
}

/// Version of Proxmox VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub name: String,
    /// `images`, `import`, `iso`, ….
    pub content: BTreeSet<String>,
    /// Enabled and reachable.
    pub active: bool,
    /// Bytes.
    pub available: u64,
}

/// A virtual machine or a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentVm {
    pub vmid: u32,
    /// Empty while it is being created.
    pub name: String,
    /// The host that it is on.
    pub node: String,
    pub container: bool,
    pub running: bool,
    pub tags: BTreeSet<String>,
    pub lock: Option<String>,
    pub template: bool,
    /// Read only for machines of this site.
    pub config: BTreeMap<String, String>,
}

/// Why an answer of Proxmox VE cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unexpected {what} from Proxmox VE: {why}")]
pub struct Unexpected {
    pub what: &'static str,
    pub why: String,
}

fn unexpected(what: &'static str, why: impl ToString) -> Unexpected {
    Unexpected { what, why: why.to_string().chars().take(200).collect() }
}

impl PresentVm {
    /// Whether it has the tags of this site. Only such machines are ever changed.
    pub fn is_of(&self, site: &str) -> bool {
        !self.container && !self.template && self.tags.contains(MARK) && self.tags.contains(&format!("site-{site}"))
    }
}

impl Present {
    /// Hosts as cluster.yaml names them, empty: for a plan without access to them.
    pub fn assumed(spec: &ClusterSpec) -> Self {
        let hosts = spec.spec.substrate.iter().flat_map(|s| &s.hosts);
        let state = |name: &str| HostState { name: name.to_owned(), facts: None, images: DEFAULT_IMAGES.into() };
        Present { hosts: hosts.map(|h| state(h.name.value.as_str())).collect(), vms: Vec::new() }
    }

    pub fn host(&self, name: &str) -> Option<&HostState> {
        self.hosts.iter().find(|h| h.name == name)
    }
}

fn list(what: &'static str, json: &[u8]) -> Result<Vec<Value>, Unexpected> {
    match serde_json::from_slice(json).map_err(|e| unexpected(what, e))? {
        Value::Array(all) if all.len() <= MAX_VMS => Ok(all),
        Value::Array(all) => Err(unexpected(what, format!("{} entries", all.len()))),
        _ => Err(unexpected(what, "it is not a list")),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or("").to_owned()
}

/// A number, also as text and with a fraction.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(s) => s.trim().parse().ok(),
        Value::Number(n) => n.as_u64().or_else(|| n.as_f64().filter(|f| (0.0..1e18).contains(f)).map(|f| f as u64)),
        Value::Bool(b) => Some(u64::from(*b)),
        _ => None,
    }
}

fn is_on(value: &Value) -> bool {
    number(value) == Some(1)
}

/// Tags are separated by `;`, formerly also by `,` or white space (PVE::Tools, `split_list`).
pub fn tags(text: &str) -> BTreeSet<String> {
    text.split([';', ',', ' ', '\t']).filter(|t| !t.is_empty()).map(str::to_lowercase).collect()
}

/// `pvesh get /cluster/resources --type vm`
pub fn vms(json: &[u8]) -> Result<Vec<PresentVm>, Unexpected> {
    let read = |v: &Value| {
        let vmid = number(&v["vmid"]).and_then(|n| u32::try_from(n).ok());
        let vmid = vmid.ok_or_else(|| unexpected("list of machines", "an entry has no vmid"))?;
        let lock = text(v, "lock");
        Ok(PresentVm {
            vmid,
            name: text(v, "name"),
            node: text(v, "node"),
            container: v["type"] != "qemu",
            running: v["status"] == "running",
            tags: tags(&text(v, "tags")),
            lock: (!lock.is_empty()).then_some(lock),
            template: is_on(&v["template"]),
            config: BTreeMap::new(),
        })
    };
    list("list of machines", json)?.iter().map(read).collect()
}

/// `pvesh get /nodes/NODE/storage`
pub fn storages(json: &[u8]) -> Result<Vec<Storage>, Unexpected> {
    let read = |v: &Value| Storage {
        name: text(v, "storage"),
        content: text(v, "content").split(',').map(|c| c.trim().to_owned()).collect(),
        active: is_on(&v["active"]) && v.get("enabled").is_none_or(is_on),
        available: number(&v["avail"]).unwrap_or(0),
    };
    Ok(list("list of storages", json)?.iter().map(read).collect())
}

/// `pvesh get /storage`: the folder of an active storage that takes imports, where it is a file system.
pub fn import_folder(json: &[u8], active: &[Storage]) -> Result<Option<Utf8PathBuf>, Unexpected> {
    let usable = |v: &&Value| active.iter().any(|s| s.active && s.name == v["storage"] && s.content.contains("import"));
    let plain = |path: &str| path.starts_with('/') && !path.chars().any(char::is_control);
    let folder = |v: &Value| match v["path"].as_str() {
        Some(path) if plain(path) => Some(Utf8Path::new(path).join("import")),
        _ => None,
    };
    Ok(list("configuration of storages", json)?.iter().filter(usable).find_map(folder))
}

/// `pvesh get /nodes/NODE/network --type any_bridge`
pub fn bridges(json: &[u8]) -> Result<BTreeSet<String>, Unexpected> {
    Ok(list("list of bridges", json)?.iter().map(|v| text(v, "iface")).filter(|i| !i.is_empty()).collect())
}

/// `pvesh get /version`
pub fn version(json: &[u8]) -> Result<Version, Unexpected> {
    let value: Value = serde_json::from_slice(json).map_err(|e| unexpected("version", e))?;
    let found = text(&value, "version");
    let mut parts = found.split(['.', '-']).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok(Version { major, minor }),
        _ => Err(unexpected("version", format!("{found:?}"))),
    }
}

/// `pvesh get /nodes/NODE/status`: logical CPUs and bytes of memory.
pub fn capacity(json: &[u8]) -> Result<(u64, u64), Unexpected> {
    let value: Value = serde_json::from_slice(json).map_err(|e| unexpected("status", e))?;
    match (number(&value["cpuinfo"]["cpus"]), number(&value["memory"]["total"])) {
        (Some(cpus), Some(memory)) => Ok((cpus, memory)),
        _ => Err(unexpected("status", "no cpuinfo.cpus or no memory.total")),
    }
}

/// `pvesh get /nodes/NODE/qemu/ID/config --current 1`: every option as text.
pub fn config(json: &[u8]) -> Result<BTreeMap<String, String>, Unexpected> {
    match serde_json::from_slice(json).map_err(|e| unexpected("configuration", e))? {
        Value::Object(map) => {
            let as_text = |v: Value| match v {
                Value::String(s) => s,
                other => other.to_string(),
            };
            Ok(map.into_iter().map(|(k, v)| (k, as_text(v))).collect())
        }
        _ => Err(unexpected("configuration", "it is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_read_with_numbers_as_numbers_or_text() {
        let json = br#"[
            {"id":"qemu/9000","type":"qemu","vmid":9000,"name":"a","node":"pve1","status":"running","tags":"site-x;kubedos","template":0},
            {"id":"qemu/9001","type":"qemu","vmid":"9001","node":"pve1","status":"stopped","lock":"create"},
            {"id":"lxc/200","type":"lxc","vmid":200,"name":"c","node":"pve2","status":"running","tags":"kubedos;site-x"}]"#;
        let vms = vms(json).unwrap();
        assert!(vms[0].is_of("x") && !vms[0].is_of("y") && vms[0].running);
        assert_eq!((vms[1].vmid, vms[1].name.as_str(), vms[1].lock.as_deref()), (9001, "", Some("create")));
        assert!(!vms[1].is_of("x"));
        assert!(vms[2].container && !vms[2].is_of("x"), "a container is never ours");
        for bad in [&b"{}"[..], b"[{}]", b"[{\"vmid\": -1}]", b"nonsense"] {
            assert!(super::vms(bad).is_err());
        }
    }

    #[test]
    fn a_template_with_our_tags_is_not_a_node() {
        let json = br#"[{"type":"qemu","vmid":9000,"name":"a","node":"p","tags":"kubedos;site-x","template":1}]"#;
        assert!(!vms(json).unwrap()[0].is_of("x"));
    }

    #[test]
    fn storages_and_their_folder_for_imports() {
        let json = br#"[{"storage":"local","content":"iso,import","active":1,"enabled":1,"avail":1000},
            {"storage":"nfs","content":"import,images","active":0,"enabled":1,"avail":5},
            {"storage":"local-zfs","content":"images,rootdir","active":1,"avail":"77"}]"#;
        let found = storages(json).unwrap();
        assert_eq!(found.iter().map(|s| (s.active, s.available)).collect::<Vec<_>>(), [(true, 1000), (false, 5), (true, 77)]);
        let all =
            br#"[{"storage":"nfs","path":"/mnt/pve/nfs"},{"storage":"local-zfs"},{"storage":"local","path":"/var/lib/vz"}]"#;
        assert_eq!(import_folder(all, &found).unwrap().unwrap(), "/var/lib/vz/import");
        assert_eq!(import_folder(all, &found[1..]).unwrap(), None);
        let odd = br#"[{"storage":"local","path":"relative"}]"#;
        assert_eq!(import_folder(odd, &found).unwrap(), None);
    }

    #[test]
    fn versions_and_capacities() {
        assert_eq!(version(br#"{"version":"9.1.2","release":"9.1"}"#).unwrap(), Version { major: 9, minor: 1 });
        assert_eq!(version(br#"{"version":"8.0-2"}"#).unwrap(), LEAST_VERSION);
        assert!(version(br#"{"version":"7.4-1"}"#).unwrap() < LEAST_VERSION);
        assert!(version(br#"{"version":"new"}"#).is_err());
        assert_eq!(capacity(br#"{"cpuinfo":{"cpus":16},"memory":{"total":34359738368}}"#).unwrap(), (16, 32 << 30));
        assert!(capacity(b"{}").is_err());
        assert_eq!(config(br#"{"cores":2,"tags":"a"}"#).unwrap()["cores"], "2");
        assert_eq!(bridges(br#"[{"iface":"vmbr0","type":"bridge"},{"x":1}]"#).unwrap().len(), 1);
    }
}
