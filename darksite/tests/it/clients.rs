//! Stock apt, gpgv and sqv take a snapshot as it is, and refuse it with one bit flipped.

use crate::common::apt::Apt;
use crate::common::server::{Lie, Server};
use crate::common::{self, Archive, Site, crowd, request, tool};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Quiet;
use darksite::DirFetch;

/// Installs the program's path, or prints why the test is skipped and returns.
macro_rules! need {
    ($program:expr) => {
        match tool::find($program) {
            Ok(path) => path,
            Err(why) => {
                kubedos_skip::skip($program, why);
                return;
            }
        }
    };
}

fn snapshot() -> (Site, Utf8PathBuf) {
    let archive = Archive::new();
    let site = Site::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    (site, dir)
}

fn flip(path: &Utf8Path, needle: &str) -> Vec<u8> {
    let good = std::fs::read(path).unwrap();
    let at = good.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap();
    let mut bad = good.clone();
    bad[at] ^= 1;
    // The file may share its bytes with a blob: give it its own.
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bad).unwrap();
    good
}

#[test]
fn apt_takes_it_from_a_directory_and_over_http() {
    let apt_get = need!("apt-get");
    need!("gpgv");
    let (_site, dir) = snapshot();
    let server = Server::start(dir.clone(), Lie::None, "", 0);
    for url in [format!("file://{dir}"), server.url.clone()] {
        let apt = Apt::new(apt_get.clone(), &url, "trixie", &dir.join("keyring.gpg"));
        let (ok, text) = apt.update();
        assert!(ok && !text.contains("W:") && !text.contains("E:"), "{text}");
        let (ok, text) = apt.run(&["download", "hello"]);
        assert!(ok, "{text}");
        let got = std::fs::read(apt.temp.path().join("out/hello_2.10-1_amd64.deb")).unwrap();
        assert_eq!(got, std::fs::read(dir.join("pool/main/hello/hello_2.10-1_amd64.deb")).unwrap());
        let (ok, text) = apt.run(&["-s", "install", "hello"]);
        assert!(ok && text.contains("Inst polite") && text.contains("Inst hello"), "{text}");
    }
}

#[test]
fn apt_takes_packages_from_a_shelf() {
    let apt_get = need!("apt-get");
    need!("gpgv");
    let archive = Archive::new();
    archive.add_suite("stable", &crowd(300, "1"), "");
    let site = Site::new();
    let mut req = request(&archive.url(), &["hello"]);
    req.profile = cluster_seed::repo::RepoProfile::Full;
    let plan = darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    assert!(dir.join("pool/main").is_symlink());
    let apt = Apt::new(apt_get, &format!("file://{dir}"), "trixie", &dir.join("keyring.gpg"));
    let (ok, text) = apt.update();
    assert!(ok && !text.contains("W:") && !text.contains("E:"), "{text}");
    let (ok, text) = apt.run(&["download", "hello"]);
    assert!(ok, "{text}");
    let package = plan.lock.packages.iter().find(|p| p.name == "hello").unwrap();
    let name = package.filename.rsplit('/').next().unwrap();
    let got = std::fs::read(apt.temp.path().join("out").join(name)).unwrap();
    assert_eq!(cluster_seed::ids::Digest::of(&got), package.sha256);
}

/// What appstream and apt-file add to apt's configuration, so that `update` asks for their indexes too.
const MORE_TARGETS: &str = r#"
Acquire::IndexTargets::deb::DEP-11 { MetaKey "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml"; ShortDescription "dep11"; Description "dep11"; };
Acquire::IndexTargets::deb::DEP-11-icons { MetaKey "$(COMPONENT)/dep11/icons-64x64.tar"; ShortDescription "icons"; Description "icons"; };
Acquire::IndexTargets::deb::DEP-11-icons-small { MetaKey "$(COMPONENT)/dep11/icons-48x48.tar"; ShortDescription "icons"; Description "icons"; };
Acquire::IndexTargets::deb::Contents-deb { MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)"; ShortDescription "Contents"; Description "Contents"; };
"#;

#[test]
fn apt_asks_for_nothing_that_is_not_there() {
    let apt_get = need!("apt-get");
    need!("gpgv");
    let (archive, site) = (Archive::new(), Site::new());
    archive.add_rich();
    let mut req = request(&archive.url(), &["tool"]);
    req.sources[0].suite = "rich".into();
    req.components = vec!["main".into(), "contrib".into()];
    req.architectures = vec!["amd64".into(), "arm64".into()];
    req.contents = true;
    let plan = darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    let server = Server::start(dir.clone(), Lie::None, "", 0);
    let apt = Apt::new(apt_get, &server.url, "trixie", &dir.join("keyring.gpg"));
    let root = Utf8Path::from_path(apt.temp.path()).unwrap();
    common::write(&root.join("more.conf"), MORE_TARGETS.as_bytes());
    let list = format!("deb [signed-by={}] {} trixie main contrib\n", dir.join("keyring.gpg"), server.url);
    common::write(&root.join("sources.list"), list.as_bytes());
    let config = root.join("more.conf");
    let more = [
        "-c",
        config.as_str(),
        "-o",
        "Acquire::Languages=en",
        "-o",
        "APT::Architectures::=amd64",
        "-o",
        "APT::Architectures::=arm64",
    ];
    let (ok, text) = apt.run(&[&more[..], &["-o", "APT::Update::Error-Mode=any", "update"]].concat());
    assert!(ok && !text.contains("W:") && !text.contains("E:"), "{text}");
    for name in ["dep11", "Contents", "Translation-en", "arm64 Packages"] {
        assert!(text.contains(name), "apt did not ask for {name}: {text}");
    }
    assert_eq!(*server.missing.lock().unwrap(), Vec::<String>::new(), "{text}");
    // One at a time: without `Multi-Arch: same` the two exclude each other.
    for (package, line) in [("tool", "Inst tool ("), ("tool:arm64", "Inst tool:arm64 (")] {
        let (ok, text) = apt.run(&[&more[..], &["-s", "install", package]].concat());
        assert!(ok && text.contains(line), "{text}");
    }
}

#[test]
fn apt_refuses_one_flipped_bit() {
    let apt_get = need!("apt-get");
    need!("gpgv");
    let (_site, dir) = snapshot();
    let dists = dir.join("dists/trixie");
    let packages = std::fs::read_to_string(dists.join("main/binary-amd64/Packages")).unwrap();
    assert!(packages.contains("Package: hello"));
    let server = Server::start(dir.clone(), Lie::None, "", 0);
    let keyring = dir.join("keyring.gpg");
    let good = flip(&dists.join("InRelease"), "Snapshot");
    let (ok, text) = Apt::new(apt_get.clone(), &server.url, "trixie", &keyring).update();
    assert!(!ok, "{text}");
    std::fs::write(dists.join("InRelease"), good).unwrap();

    // apt asks for the smallest index by its hash; whichever it takes is spoilt.
    for entry in dists.join("main/binary-amd64/by-hash/SHA256").read_dir_utf8().unwrap() {
        let path = entry.unwrap().path().to_owned();
        let mut bad = std::fs::read(&path).unwrap();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bad).unwrap();
    }
    for name in ["Packages", "Packages.gz", "Packages.xz"] {
        std::fs::remove_file(dists.join("main/binary-amd64").join(name)).unwrap();
    }
    let (ok, text) = Apt::new(apt_get.clone(), &server.url, "trixie", &keyring).update();
    assert!(!ok, "{text}");

    let (_site, dir) = snapshot();
    let server = Server::start(dir.clone(), Lie::None, "", 0);
    flip(&dir.join("pool/main/hello/hello_2.10-1_amd64.deb"), "usr/share/hello");
    let apt = Apt::new(apt_get, &server.url, "trixie", &dir.join("keyring.gpg"));
    assert!(apt.update().0);
    let (ok, text) = apt.run(&["download", "hello"]);
    assert!(!ok && !apt.temp.path().join("out/hello_2.10-1_amd64.deb").exists(), "{text}");
}

#[test]
fn apt_refuses_another_key() {
    let apt_get = need!("apt-get");
    need!("gpgv");
    let (site, dir) = snapshot();
    let other = darksite::ReleaseKey::from_seed(&[8; 32], "Other", common::at(0)).unwrap();
    let keyring = site.root().join("other.gpg");
    std::fs::write(&keyring, other.public_keyring().unwrap()).unwrap();
    let (ok, text) = Apt::new(apt_get, &format!("file://{dir}"), "trixie", &keyring).update();
    assert!(!ok, "{text}");
}

#[test]
fn gpgv_and_sqv_accept_both_signatures() {
    for (program, inline) in [("gpgv", true), ("sqv", false)] {
        let program = match tool::find(program) {
            Ok(path) => path,
            Err(why) => {
                kubedos_skip::skip(program, why);
                continue;
            }
        };
        let (_site, dir) = snapshot();
        let dists = dir.join("dists/trixie");
        let keyring = ["--keyring".to_owned(), dir.join("keyring.gpg").to_string()];
        let check = |files: &[&str]| {
            let files = files.iter().map(|f| dists.join(f).to_string());
            tool::run(&program, &keyring.iter().cloned().chain(files).collect::<Vec<_>>(), &dir)
        };
        let mut ways = vec![vec!["Release.gpg", "Release"]];
        if inline {
            ways.push(vec!["InRelease"]);
        }
        for files in ways {
            let (ok, text) = check(&files);
            assert!(ok, "{program} {files:?}: {text}");
            let last = dists.join(files[files.len() - 1]);
            let good = flip(&last, "Kubedos");
            assert!(!check(&files).0, "{program} {files:?} accepted a flipped bit");
            std::fs::write(&last, good).unwrap();
        }
    }
}
