//! Loads the drivers of the hardware that is present, by the aliases and dependencies that depmod(8) wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// Always needed: no device's alias refers to them.
pub const ALWAYS: &[&str] =
    &["virtio_pci", "virtio_mmio", "af_packet", "sd_mod", "nvme", "crc32c_generic", "crc32c_intel", "efivarfs", "ext4", "loop"];
/// Maximum depth of the walk below /sys/devices.
const MAX_DEPTH: usize = 24;
/// Most rounds of loading drivers that reveal new devices.
const MAX_ROUNDS: usize = 8;
/// include/uapi/linux/module.h
const COMPRESSED_FILE: u32 = 4;

/// depmod's index of one kernel's modules.
#[derive(Debug, Default)]
pub struct Index {
    dir: Utf8PathBuf,
    /// Patterns and modules by the alias's text before the first `:` (or the whole alias).
    aliases: BTreeMap<String, Vec<(String, String)>>,
    /// Path and dependencies (paths), by module name.
    modules: BTreeMap<String, (String, Vec<String>)>,
}

impl Index {
    /// Reads modules.dep and modules.alias of `/lib/modules/RELEASE`.
    pub fn read(dir: &Utf8Path) -> io::Result<Self> {
        let dep = fs::read_to_string(dir.join("modules.dep"))?;
        let alias = fs::read_to_string(dir.join("modules.alias"))?;
        Ok(Index { dir: dir.to_owned(), ..Self::parse(&dep, &alias) })
    }

    pub fn parse(dep: &str, alias: &str) -> Self {
        let mut index = Index::default();
        for line in dep.lines() {
            if let Some((path, needs)) = line.split_once(':') {
                let needs = needs.split_ascii_whitespace().map(str::to_owned).collect();
                index.modules.insert(name_of(path), (path.to_owned(), needs));
            }
        }
        for line in alias.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) {
                let entry = (pattern.to_owned(), module.replace('-', "_"));
                index.aliases.entry(bus(pattern).to_owned()).or_default().push(entry);
            }
        }
        index
    }

    /// The modules that match an alias, or the one with that name.
    pub fn resolve(&self, wanted: &str) -> BTreeSet<String> {
        let claims = self.aliases.get(bus(wanted)).into_iter().flatten();
        let mut found: BTreeSet<_> =
            claims.filter(|(p, _)| glob(p.as_bytes(), wanted.as_bytes())).map(|(_, m)| m.clone()).collect();
        let plain = wanted.replace('-', "_");
        if self.modules.contains_key(&plain) {
            found.insert(plain);
        }
        found
    }

    /// Files to load for a module, its dependencies first (modules.dep lists the nearest first).
    pub fn order(&self, module: &str) -> Vec<Utf8PathBuf> {
        let Some((path, needs)) = self.modules.get(module) else { return Vec::new() };
        needs.iter().rev().chain([path]).map(|p| self.dir.join(p)).collect()
    }

    /// Loads a module and its dependencies. Succeeds if it is loaded already.
    pub fn load(&self, module: &str) -> io::Result<()> {
        self.order(module).iter().try_for_each(|path| load_file(path))
    }

    /// Loads the drivers of the devices below `root`/sys/devices, until no new devices appear. Returns the loaded modules.
    pub fn load_for_hardware(&self, root: &Utf8Path, done: &mut BTreeSet<String>) -> Vec<String> {
        let mut fresh = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let wanted: BTreeSet<_> =
                modaliases(root).iter().flat_map(|a| self.resolve(a)).filter(|m| !done.contains(m)).collect();
            if wanted.is_empty() {
                break;
            }
            for module in wanted {
                if let Err(e) = self.load(&module) {
                    tracing::debug!(%module, error = %e, "module not loaded");
                }
                done.insert(module.clone());
                fresh.push(module);
            }
        }
        fresh
    }
}

fn load_file(path: &Utf8Path) -> io::Result<()> {
    let plain = path.as_str().trim_end_matches(".xz").trim_end_matches(".zst");
    let (file, flags) = match File::open(plain) {
        Ok(file) => (file, ModuleInitFlags::empty()),
        // Decompressed by the kernel if it supports that.
        Err(_) => (File::open(path)?, ModuleInitFlags::from_bits_retain(COMPRESSED_FILE as _)),
    };
    match finit_module(&file, c"", flags) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn bus(alias: &str) -> &str {
    alias.split_once(':').map_or("", |(bus, _)| bus)
}

/// `kernel/drivers/net/virtio-net.ko.xz` is module `virtio_net`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// The aliases of the devices below `root`/sys/devices.
pub fn modaliases(root: &Utf8Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(&root.join("sys/devices"), MAX_DEPTH, &mut found);
    found
}

fn walk(dir: &Utf8Path, depth: usize, found: &mut BTreeSet<String>) {
    let Ok(entries) = dir.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        // file_type() does not follow links, and without links the device tree has no cycles.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => walk(entry.path(), depth - 1, found),
            Ok(_) if entry.file_name() == "modalias" => {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let text = text.trim();
                if !text.is_empty() {
                    found.insert(text.to_owned());
                }
            }
            _ => {}
        }
    }
}

/// fnmatch(3) with `*`, `?` and `[...]`, as modprobe matches aliases. Time is at most the product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], text[t]),
            Some(c) if *c == text[t] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(n), _) => (p, t) = (p + n, t + 1),
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Length of the class at the pattern's start if `c` is in it.
fn class(pattern: &[u8], c: u8) -> Option<usize> {
    let end = pattern.iter().position(|b| *b == b']')?;
    let inner = &pattern[1..end];
    let mut at = 0;
    while at < inner.len() {
        if at + 2 < inner.len() && inner[at + 1] == b'-' {
            if (inner[at]..=inner[at + 2]).contains(&c) {
                return Some(end + 1);
            }
            at += 3;
        } else if inner[at] == c {
            return Some(end + 1);
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net-failover.ko kernel/net/core/failover.ko\n\
                       kernel/net/core/failover.ko:\nkernel/drivers/net/net-failover.ko: kernel/net/core/failover.ko\n";
    const ALIAS: &str = "# Aliases\nalias virtio:d00000001v* virtio_net\nalias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000\n\
                         alias net-pf-17 af-packet\nalias fs-ext4 ext4\n";

    #[test]
    fn aliases_and_names_find_modules() {
        let index = Index::parse(DEP, ALIAS);
        let one = |name: &str| index.resolve(name).into_iter().collect::<Vec<_>>();
        assert_eq!(one("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(one("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00"), ["e1000"]);
        assert_eq!(one("net-pf-17"), ["af_packet"]);
        assert_eq!(one("net-failover"), ["net_failover"]);
        assert!(one("virtio:d00000002v00001AF4").is_empty() && one("").is_empty());
    }

    #[test]
    fn dependencies_come_first() {
        let index = Index::parse(DEP, ALIAS);
        let order = index.order("virtio_net");
        let names: Vec<_> = order.iter().map(|p| name_of(p.as_str())).collect();
        assert_eq!(names, ["failover", "net_failover", "virtio_net"]);
        assert!(index.order("nothing").is_empty());
    }

    #[test]
    fn patterns_match_as_modprobe_does() {
        let table: &[(&str, &str, bool)] = &[
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("d[0-9a]x", "dax", true),
            ("d[0-9]x", "dax", false),
            ("[a", "a", false),
            ("a*b*c", "a1b2b3c", true),
            ("", "a", false),
            ("usb:v*ic03*", "usb:v1d2ic03isc01", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), *expected, "{pattern} {text}");
        }
    }
}
