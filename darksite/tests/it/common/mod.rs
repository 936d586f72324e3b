//! A small Debian archive, and what is needed to make a snapshot of it.

pub mod apt;
pub mod images;
pub mod registry;
pub mod rich;
pub mod server;
pub mod tool;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::repo::RepoProfile;
use cluster_seed::seal::SigningKey;
use darksite::{Clock, Error, Fetch, Keyring, Paths, Plan, PlanRequest, ReleaseKey, Snapshot, Source};
use jiff::Timestamp;

/// 2026-01-01: the time of the tests.
pub const NOW: i64 = 1_767_225_600;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    /// More control fields, each with its line end.
    pub fields: &'static str,
}

pub const PACKAGES: &[Package] = &[
    Package { name: "base-files", version: "1", fields: "Essential: yes\nPriority: required\n" },
    Package { name: "apt", version: "3.0", fields: "Priority: important\nDepends: libc6\n" },
    Package { name: "libc6", version: "2.41-1", fields: "Priority: optional\n" },
    Package {
        name: "hello",
        version: "2.10-1",
        fields: "Depends: libc6 (>= 2.40), greeter | other-greeter\nRecommends: hello-doc\n",
    },
    Package { name: "hello-doc", version: "2.10-1", fields: "" },
    Package { name: "polite", version: "1:1", fields: "Provides: greeter (= 2)\n" },
    Package { name: "unwanted", version: "1", fields: "" },
];

/// The packages above and `count` more, one of them in `version`.
pub fn crowd(count: usize, version: &'static str) -> Vec<Package> {
    let mut all: Vec<Package> = PACKAGES.iter().map(|p| Package { ..*p }).collect();
    // The names live as long as the test.
    let name = |n: usize| -> &'static str { format!("crowd-{n}").leak() };
    all.extend((0..count).map(|n| Package { name: name(n), version: if n == 7 { version } else { "1" }, fields: "" }));
    all
}

/// A .deb: an ar archive (deb(5)) of two tar archives.
pub fn deb(package: &Package) -> Vec<u8> {
    let control = format!(
        "Package: {}\nVersion: {}\nArchitecture: amd64\nMaintainer: T <t@example.org>\n{}Description: test\n",
        package.name, package.version, package.fields
    );
    packed_deb(package.name, &control)
}

/// A .deb with this control file.
pub fn packed_deb(name: &str, control: &str) -> Vec<u8> {
    let data_name = name;
    let tar = |name: &str, content: &[u8]| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1);
        builder.append_data(&mut header, name, content).unwrap();
        builder.into_inner().unwrap()
    };
    let mut out = b"!<arch>\n".to_vec();
    let data = tar(&format!("./usr/share/{data_name}"), &[7; 5000]);
    for (name, bytes) in
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar", tar("./control", control.as_bytes())), ("data.tar", data)]
    {
        writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 1, 0, 0, 100644, bytes.len()).unwrap();
        out.extend_from_slice(&bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// An upstream archive in a directory, and the key it is signed with.
pub struct Archive {
    pub temp: tempfile::TempDir,
    /// Overrides `temp`.
    at: Option<Utf8PathBuf>,
    pub key: ReleaseKey,
}

impl Archive {
    pub fn new() -> Self {
        let key = ReleaseKey::from_seed(&[9; 32], "Upstream <u@example.org>", at(NOW - 1_000_000)).unwrap();
        let archive = Archive { temp: tempfile::tempdir().unwrap(), at: None, key };
        archive.add_suite("stable", PACKAGES, "");
        archive
    }

    /// An existing archive.
    pub fn at(root: &Utf8Path) -> Self {
        Archive { at: Some(root.to_owned()), ..Archive::new() }
    }

    pub fn root(&self) -> &Utf8Path {
        self.at.as_deref().unwrap_or(Utf8Path::from_path(self.temp.path()).unwrap())
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.root())
    }

    pub fn keyring(&self) -> Keyring {
        self.key.keyring().unwrap()
    }

    /// Writes packages, index and signed Release file of a suite. `more` goes into the Release file.
    pub fn add_suite(&self, suite: &str, packages: &[Package], more: &str) {
        self.add_suite_at(suite, packages, more, NOW - 1000);
    }

    /// The same with another date.
    pub fn add_suite_at(&self, suite: &str, packages: &[Package], more: &str, date: i64) {
        let mut index = String::new();
        for package in packages {
            let bytes = deb(package);
            let version = package.version.rsplit(':').next().unwrap();
            let filename = format!("pool/main/{0}/{0}_{version}_amd64.deb", package.name);
            write(&self.root().join(&filename), &bytes);
            writeln!(
                index,
                "Package: {}\nVersion: {}\nArchitecture: amd64\n{}Description: test\nFilename: {filename}\nSize: {}\nSHA256: {}\n",
                package.name,
                package.version,
                package.fields,
                bytes.len(),
                Digest::of(&bytes)
            )
            .unwrap();
        }
        self.publish_at(suite, &index, more, date);
    }

    /// The plain index of a suite.
    pub fn index(&self, suite: &str) -> String {
        let xz = std::fs::read(self.root().join("dists").join(suite).join("main/binary-amd64/Packages.xz")).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut liblzma::read::XzDecoder::new(&xz[..]), &mut text).unwrap();
        text
    }

    fn publish_at(&self, suite: &str, index: &str, more: &str, date: i64) {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(index.as_bytes()).unwrap();
        let xz = xz.finish().unwrap();
        let dists = self.root().join("dists").join(suite);
        write(&dists.join("main/binary-amd64/Packages.xz"), &xz);
        let release = format!(
            "Suite: {suite}\nCodename: {suite}\nDate: {}\n{more}Architectures: amd64\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages\n {} {} main/binary-amd64/Packages.xz\n",
            darksite::format::date::format_date(at(date)),
            Digest::of(index.as_bytes()),
            index.len(),
            Digest::of(&xz),
            xz.len(),
        );
        write(&dists.join("InRelease"), self.key.sign_cleartext(&release, at(date)).unwrap().as_bytes());
    }
}

pub fn write(path: &Utf8Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A data directory with keys.
pub struct Site {
    pub temp: tempfile::TempDir,
    /// Overrides `temp`.
    pub at: Option<Utf8PathBuf>,
    pub release_key: ReleaseKey,
    pub site_key: SigningKey,
}

impl Site {
    pub fn new() -> Self {
        Site {
            temp: tempfile::tempdir().unwrap(),
            at: None,
            release_key: ReleaseKey::from_seed(&[3; 32], "Kubedos test", at(NOW - 5000)).unwrap(),
            site_key: SigningKey::from_bytes(&[4; 32]),
        }
    }

    pub fn root(&self) -> &Utf8Path {
        self.at.as_deref().unwrap_or(Utf8Path::from_path(self.temp.path()).unwrap())
    }

    pub fn paths(&self) -> Paths {
        let root = self.root();
        Paths { blobs: root.join("blobs"), snapshots: root.join("snapshots"), tmp: root.join("tmp"), cache: root.join("cache") }
    }

    pub fn build(&self, plan: &Plan, fetch: &dyn Fetch) -> Result<Snapshot, Error> {
        darksite::build(plan, &self.paths(), fetch, &self.release_key, &self.site_key, &Quiet)
    }

    pub fn verify(&self, dir: &Utf8Path) -> Result<darksite::Report, darksite::VerifyError> {
        darksite::verify(dir, &self.release_key.keyring().unwrap(), &self.site_key.verifying_key(), &Quiet)
    }
}

pub fn request(mirror: &str, roots: &[&str]) -> PlanRequest {
    PlanRequest {
        sources: vec![Source { mirror: mirror.to_owned(), suite: "stable".into() }],
        components: vec!["main".into()],
        architectures: vec!["amd64".into()],
        profile: RepoProfile::Base,
        roots: BTreeMap::from([("web".to_owned(), roots.iter().map(|r| (*r).to_owned()).collect())]),
        suite_name: "trixie".into(),
        clock: Clock::At(at(NOW)),
        recommends: false,
        installer: false,
        required_udebs: Vec::new(),
        contents: false,
        allow_downgrade: false,
        paths: None,
    }
}

/// An error with its causes, as a person sees it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text += &format!(": {source}");
        next = source.source();
    }
    text
}

/// All files below a directory, by relative path.
pub fn tree(root: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    fn walk(root: &Utf8Path, dir: &Utf8Path, out: &mut BTreeMap<Utf8PathBuf, Vec<u8>>) {
        for entry in dir.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            // Links to shelves are followed.
            if entry.path().is_dir() {
                walk(root, entry.path(), out);
            } else {
                out.insert(entry.path().strip_prefix(root).unwrap().to_owned(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(root, root, &mut out);
    out
}
