//! The files served by TFTP: a name is a key in a table and never reaches a file system.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// Names and contents, held in memory and shared by all transfers.
#[derive(Debug, Default)]
pub struct FileTable(RwLock<Files>);

#[derive(Debug, Default)]
struct Files {
    named: BTreeMap<String, Arc<[u8]>>,
    /// The same by [`plain`] name.
    plain: HashMap<String, Arc<[u8]>>,
}

impl Files {
    fn new(files: impl IntoIterator<Item = (String, Arc<[u8]>)>) -> Self {
        let named: BTreeMap<_, _> = files.into_iter().collect();
        let mut by_plain = HashMap::new();
        for (name, file) in &named {
            if let Some(name) = plain(name) {
                // Of two names that differ in nothing else, the first in alphabetical order.
                by_plain.entry(name).or_insert_with(|| file.clone());
            }
        }
        Files { named, plain: by_plain }
    }

    fn get(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.named.get(name).or_else(|| self.named.get(name.strip_prefix('/')?))
    }
}

impl FileTable {
    pub fn new(files: impl IntoIterator<Item = (String, Arc<[u8]>)>) -> Self {
        FileTable(RwLock::new(Files::new(files)))
    }

    /// Replaces all files at once. Running transfers keep the file they started with.
    pub fn replace(&self, files: impl IntoIterator<Item = (String, Arc<[u8]>)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Files::new(files);
    }

    /// The file with this name; a leading `/`, which some firmware adds, is ignored.
    pub fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The file that a client means by this name. Firmware and loaders join folder and name with one slash too many, write `\`
    /// for `/`, and know no lower case; it stays a look-up in the table.
    pub fn find(&self, name: &str) -> Option<Arc<[u8]>> {
        let files = self.0.read().unwrap_or_else(PoisonError::into_inner);
        files.get(name).or_else(|| files.plain.get(&plain(name)?)).cloned()
    }

    /// Whether a file with this name is served.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// The name in lower case, with `/` for `\`, and without empty parts and `.`; `None` for one with `..`, or of a folder.
fn plain(name: &str) -> Option<String> {
    let name = name.replace('\\', "/").to_ascii_lowercase();
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let folder = name.ends_with('/') || name.ends_with("/.");
    (!parts.is_empty() && !folder && !parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_however_it_is_written_and_only_in_the_table() {
        let file = |name: &str| (name.to_owned(), Arc::from(name.as_bytes()));
        let table = FileTable::new(["shimx64.efi", "grub/grub.cfg", "GRUB.EFI"].map(file));
        let found = |name: &str| table.find(name).map(|f| String::from_utf8(f.to_vec()).unwrap());
        // Beside dnsmasq 2.90 with --tftp-root: it finds the first eight, and not the capitals.
        for prefix in ["", "/", "//", "./", "/./", "\\", ".\\", "/.//\\"] {
            for name in ["shimx64.efi", "SHIMX64.EFI", "ShimX64.efi"] {
                assert_eq!(found(&format!("{prefix}{name}")).as_deref(), Some("shimx64.efi"), "{prefix}{name}");
            }
            for name in ["grub/grub.cfg", "grub//grub.cfg", "grub/./grub.cfg", "grub\\grub.cfg", "GRUB\\GRUB.CFG"] {
                assert_eq!(found(&format!("{prefix}{name}")).as_deref(), Some("grub/grub.cfg"), "{prefix}{name}");
            }
            for name in ["grub.efi", "GRUB.EFI"] {
                assert_eq!(found(&format!("{prefix}{name}")).as_deref(), Some("GRUB.EFI"), "{prefix}{name}");
            }
            for none in ["", ".", "..", "../shimx64.efi", "grub/../shimx64.efi", "grub", "grub/", "shimx64.efi/", "shimx64.efi/."]
            {
                assert_eq!(found(&format!("{prefix}{none}")), None, "{prefix}{none}");
            }
            for none in ["%73himx64.efi", "shimx64.efi ", " shimx64.efi", "shimx64.efi?", "tftp/shimx64.efi", "etc/passwd"] {
                assert_eq!(found(&format!("{prefix}{none}")), None, "{prefix}{none}");
            }
        }
        let twice = FileTable::new([("a".to_owned(), Arc::from(&b"a"[..])), ("A".to_owned(), Arc::from(&b"A"[..]))]);
        for (name, want) in [("a", b"a"), ("A", b"A"), ("./a", b"A"), ("./A", b"A")] {
            assert_eq!(twice.find(name).as_deref(), Some(&want[..]), "{name}");
        }
    }
}
