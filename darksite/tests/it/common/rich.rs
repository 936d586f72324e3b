//! A larger archive: two components and architectures, long descriptions, lists of contents, the installer.

use std::fmt::Write as _;
use std::io::Write as _;

use cluster_seed::ids::Digest;

use super::{Archive, NOW, Package, at, deb, write};

pub const LONG: &str = "Multi-Arch: same\nDescription-md5: 0123456789abcdef0123456789abcdef\n";

const AMD64: &[Package] = &[
    Package { name: "base-files", version: "1", fields: "Essential: yes\n" },
    Package { name: "apt", version: "3.0", fields: "Depends: doc\n" },
    Package { name: "tool", version: "1", fields: LONG },
    Package { name: "unwanted", version: "1", fields: "Description-md5: ffffffffffffffffffffffffffffffff\n" },
];
const ARM64: &[Package] = &[
    Package { name: "base-files", version: "1", fields: "Essential: yes\n" },
    Package { name: "apt", version: "3.0", fields: "Depends: doc\n" },
    Package { name: "tool", version: "1", fields: LONG },
];
const ALL: &[Package] = &[Package { name: "doc", version: "1", fields: "" }];
const CONTRIB: &[Package] = &[Package { name: "firmware", version: "7", fields: "Depends: tool\n" }];
const UDEBS: &[Package] = &[
    Package { name: "anna", version: "1", fields: "Section: debian-installer\n" },
    Package { name: "gone-modules", version: "1", fields: "Section: debian-installer\n" },
];

/// The packages' stanzas; the files go into the pool, except those whose name begins with `gone`.
fn index(archive: &Archive, component: &str, arch: &str, ending: &str, packages: &[Package]) -> String {
    let mut text = String::new();
    for package in packages {
        let bytes = deb(package);
        let filename = format!("pool/{component}/{0}/{0}_{1}_{arch}.{ending}", package.name, package.version);
        if !package.name.starts_with("gone") {
            write(&archive.root().join(&filename), &bytes);
        }
        let Package { name, version, fields } = package;
        let (size, sha256) = (bytes.len(), Digest::of(&bytes));
        writeln!(text, "Package: {name}\nVersion: {version}\nArchitecture: {arch}\n{fields}Filename: {filename}\nSize: {size}\nSHA256: {sha256}\n")
            .unwrap();
    }
    text
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap()
}

impl Archive {
    /// Adds suite `rich`.
    pub fn add_rich(&self) {
        let all = index(self, "main", "all", "deb", ALL);
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let mut plain = |path: &str, text: String| {
            files.push((format!("{path}.gz"), gzip(&text)));
            files.push((path.to_owned(), text.into_bytes()));
        };
        plain("main/binary-amd64/Packages", index(self, "main", "amd64", "deb", AMD64) + &all);
        plain("main/binary-arm64/Packages", index(self, "main", "arm64", "deb", ARM64) + &all);
        plain("contrib/binary-amd64/Packages", index(self, "contrib", "amd64", "deb", CONTRIB));
        plain("contrib/binary-arm64/Packages", String::new());
        let udebs = index(self, "main", "amd64", "udeb", UDEBS);
        plain("main/debian-installer/binary-amd64/Packages", udebs);
        let long = "Package: tool\nDescription-md5: 0123456789abcdef0123456789abcdef\nDescription-en: a tool\n Long.\n\n\
            Package: unwanted\nDescription-md5: ffffffffffffffffffffffffffffffff\nDescription-en: no\n No.\n";
        plain("main/i18n/Translation-en", long.to_owned());
        plain("main/Contents-amd64", "usr/bin/tool   utils/tool,utils/unwanted\nusr/bin/x y\tutils/unwanted\n".to_owned());
        plain("main/Contents-all", "usr/share/doc/a b  doc/doc\n".to_owned());
        let images = [("linux", b"a kernel".to_vec()), ("initrd.gz", vec![7; 3000])];
        let dir = "main/installer-amd64/current/images";
        let mut sums = String::new();
        for (name, bytes) in images {
            let name = format!("netboot/debian-installer/amd64/{name}");
            writeln!(sums, "{}  ./{name}", Digest::of(&bytes)).unwrap();
            write(&self.root().join(format!("dists/rich/{dir}/{name}")), &bytes);
        }
        files.push((format!("{dir}/SHA256SUMS"), sums.into_bytes()));
        let date = darksite::format::date::format_date(at(NOW - 1000));
        let mut release =
            format!("Suite: rich\nCodename: rich\nDate: {date}\nArchitectures: amd64 arm64\nComponents: main contrib\nSHA256:\n");
        for (path, bytes) in &files {
            writeln!(release, " {} {} {path}", Digest::of(bytes), bytes.len()).unwrap();
            write(&self.root().join("dists/rich").join(path), bytes);
        }
        let signed = self.key.sign_cleartext(&release, at(NOW - 1000)).unwrap();
        write(&self.root().join("dists/rich/InRelease"), signed.as_bytes());
    }
}
