//! Which unit of systemd, or which pod, a socket belongs to: from the number of its cgroup.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};

/// Most cgroups that are looked at.
const MAX_CGROUPS: usize = 16_384;
/// Seconds between two searches for numbers that are not known.
const SEARCH: u64 = 10;
/// Sockets of the kernel itself, as NFS and WireGuard have them.
pub const KERNEL: &str = "kernel";
/// A cgroup that is gone, or could not be found.
pub const UNKNOWN: &str = "unknown";

/// The unit or pod of a cgroup's path below the mount point, `system.slice/etcd.service`.
///
/// Instances (`ssh@3-10.78.0.1.service`), sessions and containers outside units are put together, so that their number is bounded.
pub fn unit(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let Some(last) = parts.last() else { return KERNEL.to_owned() };
    if path.contains("kubepods") {
        let uid = parts.iter().find_map(|p| pod(p));
        return uid.map_or_else(|| "kubepods".to_owned(), |uid| format!("pod/{uid}"));
    }
    if let Some(service) = parts.iter().find(|p| p.ends_with(".service")) {
        return match service.split_once('@') {
            Some((name, _)) => format!("{name}@.service"),
            None => (*service).to_owned(),
        };
    }
    if path.starts_with("user.slice") {
        return "user session".to_owned();
    }
    if last.contains("libpod") || last.contains("containerd") || path.starts_with("machine.slice") {
        return "container".to_owned();
    }
    (*last).to_owned()
}

/// `kubepods-burstable-pod0a1b_2c.slice` of systemd's driver, `pod0a1b-2c` of the other.
fn pod(part: &str) -> Option<String> {
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let (before, uid) = part.rsplit_once("pod")?;
    let ours = before.is_empty() || before.starts_with("kubepods") && before.ends_with('-');
    (ours && uid.len() >= 8).then(|| uid.replace('_', "-"))
}

/// Numbers of cgroups, looked up in the hierarchy of cgroup v2.
#[derive(Debug)]
pub struct Units {
    root: Utf8PathBuf,
    names: BTreeMap<u64, String>,
    searched: Option<u64>,
}

impl Units {
    /// `root`: mount point of cgroup v2.
    pub fn new(root: &Utf8Path) -> Self {
        Units { root: root.to_owned(), names: BTreeMap::new(), searched: None }
    }

    /// Where cgroup v2 is mounted on this machine: alone, or beside v1.
    pub fn mounted() -> &'static Utf8Path {
        let unified = Utf8Path::new("/sys/fs/cgroup/unified");
        if unified.exists() { unified } else { Utf8Path::new("/sys/fs/cgroup") }
    }

    /// Searches again if one of the numbers is not known, at most every ten seconds. `now`: seconds.
    pub fn learn(&mut self, wanted: impl IntoIterator<Item = u64>, now: u64) {
        let known = wanted.into_iter().all(|id| id == 0 || self.names.contains_key(&id));
        if known || self.searched.is_some_and(|then| now < then + SEARCH) {
            return;
        }
        self.searched = Some(now);
        self.names = walk(&self.root);
    }

    /// 0 is a socket without a cgroup.
    pub fn name(&self, id: u64) -> &str {
        match id {
            0 => "",
            id => self.names.get(&id).map_or(UNKNOWN, String::as_str),
        }
    }
}

/// The number of a cgroup is the inode of its directory.
fn walk(root: &Utf8Path) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let mut todo = VecDeque::from([root.to_owned()]);
    while let Some(dir) = todo.pop_front() {
        let Ok(meta) = std::fs::metadata(&dir) else { continue };
        let path = dir.strip_prefix(root).map_or("", Utf8Path::as_str);
        found.insert(meta.ino(), unit(path));
        if found.len() + todo.len() >= MAX_CGROUPS {
            continue;
        }
        let entries = dir.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
        todo.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.into_path()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_unit_or_pod() {
        for (path, name) in [
            ("", "kernel"),
            ("init.scope", "init.scope"),
            ("system.slice/etcd.service", "etcd.service"),
            ("system.slice/web.service/libpod-payload-ab12", "web.service"),
            ("system.slice/system-ssh.slice/ssh@7-10.78.0.2:22-10.78.0.1:40122.service", "ssh@.service"),
            ("user.slice/user-0.slice/session-3.scope", "user session"),
            ("user.slice/user-0.slice/user@0.service/app.slice", "user@.service"),
            ("machine.slice/libpod-ab12.scope/container", "container"),
            (
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_4e5f.slice/cri-containerd-9.scope",
                "pod/0a1b2c3d-4e5f",
            ),
            ("kubepods/besteffort/pod0a1b2c3d-4e5f/91ab", "pod/0a1b2c3d-4e5f"),
            ("kubepods.slice/kubepods-pod0a1b2c3d_4e5f.slice", "pod/0a1b2c3d-4e5f"),
            ("kubepods.slice", "kubepods"),
            ("tests", "tests"),
        ] {
            assert_eq!(unit(path), name, "{path}");
        }
    }

    #[test]
    fn numbers_are_inodes_and_are_searched_for_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let id = |path: &str| {
            std::fs::create_dir_all(root.join(path)).unwrap();
            std::fs::metadata(root.join(path)).unwrap().ino()
        };
        let etcd = id("system.slice/etcd.service");
        let mut units = Units::new(root);
        assert_eq!(units.name(etcd), "unknown");
        units.learn([etcd], 100);
        assert_eq!((units.name(etcd), units.name(0)), ("etcd.service", ""));
        let later = id("system.slice/late.service");
        units.learn([later], 100 + SEARCH - 1);
        assert_eq!(units.name(later), "unknown");
        units.learn([later], 100 + SEARCH);
        assert_eq!(units.name(later), "late.service");
    }
}
