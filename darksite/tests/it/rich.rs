//! Several components and architectures in one snapshot, with what clients look for beside packages.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::common::{Archive, Site, chain, request, tree};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Quiet;
use cluster_seed::repo::RepoProfile;
use darksite::{DirFetch, Error, Plan, PlanRequest};

fn rich(archive: &Archive, site: &Site) -> PlanRequest {
    archive.add_rich();
    let mut req = request(&archive.url(), &["tool"]);
    req.sources[0].suite = "rich".into();
    req.components = vec!["main".into(), "contrib".into()];
    req.architectures = vec!["amd64".into(), "arm64".into()];
    req.roots.insert("fw".into(), vec!["firmware:amd64".into()]);
    req.paths = Some(site.paths());
    req
}

fn plan(req: &PlanRequest, archive: &Archive) -> Result<Plan, Error> {
    darksite::plan(req, &DirFetch, &archive.keyring(), &Quiet)
}

fn names(plan: &Plan) -> String {
    let all: Vec<String> = plan.lock.packages.iter().map(|p| format!("{}:{}", p.name, p.arch)).collect();
    all.join(" ")
}

fn built(mut change: impl FnMut(&mut PlanRequest)) -> (Archive, Site, Plan, BTreeMap<Utf8PathBuf, Vec<u8>>) {
    let (archive, site) = (Archive::new(), Site::new());
    let mut req = rich(&archive, &site);
    change(&mut req);
    let plan = plan(&req, &archive).unwrap_or_else(|e| panic!("{}", chain(&e)));
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    site.verify(&dir).unwrap_or_else(|e| panic!("{}", chain(&e)));
    let files = tree(&dir);
    (archive, site, plan, files)
}

fn text(files: &BTreeMap<Utf8PathBuf, Vec<u8>>, path: &str) -> String {
    String::from_utf8(files[&Utf8Path::new("dists/trixie").join(path)].clone()).unwrap()
}

#[test]
fn one_snapshot_of_two_architectures_and_components() {
    let (.., plan, files) = built(|_| {});
    assert_eq!(
        names(&plan),
        "apt:amd64 apt:arm64 base-files:amd64 base-files:arm64 doc:all firmware:amd64 tool:amd64 tool:arm64"
    );
    let arm = text(&files, "main/binary-arm64/Packages");
    assert!(arm.contains("Package: doc\n") && arm.contains("Architecture: arm64") && !arm.contains("Architecture: amd64"));
    assert!(text(&files, "contrib/binary-amd64/Packages").contains("Package: firmware"));
    assert_eq!(text(&files, "contrib/binary-arm64/Packages"), "");
    let release = text(&files, "Release");
    assert!(release.contains("Architectures: all amd64 arm64\n") && release.contains("Components: main contrib\n"));
    let long = text(&files, "main/i18n/Translation-en");
    assert!(long.contains("Package: tool\n") && !long.contains("unwanted"));
    let mut unpacked = String::new();
    let xz = &files[Utf8Path::new("dists/trixie/main/i18n/Translation-en.xz")];
    liblzma::read::XzDecoder::new(&xz[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, long);
    let why = plan.why("firmware");
    assert_eq!(why[0].1["fw (amd64)"], ["role fw (amd64)", "firmware"]);
}

#[test]
fn full_takes_every_package() {
    let (.., plan, _) = built(|req| req.profile = RepoProfile::Full);
    assert!(names(&plan).contains("unwanted:amd64"));
    assert_eq!(plan.lock.packages.len(), 9);
    assert!(plan.why("unwanted")[0].1.is_empty(), "no role needs it");
    assert!(!plan.why("doc")[0].1.is_empty());
}

#[test]
fn lists_of_contents_name_what_is_there() {
    let (.., files) = built(|req| req.contents = true);
    assert_eq!(text(&files, "main/Contents-amd64"), "usr/bin/tool utils/tool\n");
    assert_eq!(text(&files, "main/Contents-all"), "usr/share/doc/a b doc/doc\n");
    assert_eq!(text(&files, "main/Contents-arm64"), "");
}

#[test]
fn the_installer_as_far_as_the_mirror_has_it() {
    let (archive, site, plan, files) = built(|req| req.installer = true);
    assert!(names(&plan).starts_with("anna:amd64 apt:amd64 "));
    assert!(plan.notes.iter().any(|n| n.contains("1 installer packages") && n.ends_with("gone-modules")), "{:?}", plan.notes);
    assert!(plan.notes.iter().any(|n| n == "suite rich has no installer images for arm64"), "{:?}", plan.notes);
    let udebs = text(&files, "main/debian-installer/binary-amd64/Packages");
    assert!(udebs.contains("Package: anna\n") && !udebs.contains("gone-modules"));
    assert!(!text(&files, "main/binary-amd64/Packages").contains("anna"));
    let dir = Utf8Path::new("dists/trixie/main/installer-amd64/current/images");
    assert_eq!(files[&dir.join("netboot/debian-installer/amd64/linux")], b"a kernel");
    assert!(files.contains_key(&dir.join("SHA256SUMS")));
    // The reasons follow the packages that moved.
    assert_eq!(plan.why("tool")[0].1["web (amd64)"], ["role web (amd64)", "tool"]);
    // One that is required is fatal, by name; an image with other bytes too.
    let mut req = rich(&archive, &site);
    req.installer = true;
    req.required_udebs = vec!["anna".into()];
    assert!(self::plan(&req, &archive).is_ok());
    for name in ["gone-modules", "nowhere"] {
        req.required_udebs = vec![name.into()];
        let error = self::plan(&req, &archive).unwrap_err();
        assert!(matches!(&error, Error::NoUdeb { name: n } if n == name), "{}", chain(&error));
    }
    req.required_udebs.clear();
    req.paths = Some(Site::new().paths());
    let linux = archive
        .root()
        .join("dists/rich")
        .join(dir.strip_prefix("dists/trixie").unwrap())
        .join("netboot/debian-installer/amd64/linux");
    std::fs::write(&linux, "b kernel").unwrap();
    assert!(matches!(self::plan(&req, &archive), Err(Error::Digest { .. })));
}

#[test]
fn an_installer_index_that_is_not_the_signed_one_is_left_out() {
    let (archive, site) = (Archive::new(), Site::new());
    let mut req = rich(&archive, &site);
    req.installer = true;
    let dir = archive.root().join("dists/rich/main/debian-installer/binary-amd64");
    for name in ["Packages", "Packages.gz"] {
        let mut bytes = std::fs::read(dir.join(name)).unwrap();
        bytes.push(b'x');
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    let plan = self::plan(&req, &archive).unwrap();
    assert!(plan.notes.iter().any(|n| n.contains("main/debian-installer amd64 is not the signed one")), "{:?}", plan.notes);
    assert!(!names(&plan).contains("anna"));
    site.verify(&site.build(&plan, &DirFetch).unwrap().dir).unwrap();
    req.required_udebs = vec!["anna".into()];
    assert!(self::plan(&req, &archive).is_err());
}

#[test]
fn everything_comes_back_from_a_lock() {
    let (archive, site, plan, files) = built(|req| {
        req.installer = true;
        req.contents = true;
    });
    let file = site.root().join("rich.lock");
    darksite::write_lock(&plan, &file).unwrap();
    for with_folder in [true, false] {
        if !with_folder {
            std::fs::remove_dir_all(format!("{file}.d")).unwrap();
        }
        let other = Site::new();
        let (lock, companion) = darksite::read_lock(&file).unwrap();
        let sources = [darksite::Source { mirror: archive.url(), suite: "rich".into() }];
        let again = darksite::from_lock(lock, companion, &sources, &other.paths(), &DirFetch, &archive.keyring(), &Quiet);
        let again = again.unwrap_or_else(|e| panic!("{with_folder}: {}", chain(&e)));
        assert!(tree(&other.build(&again, &DirFetch).unwrap().dir) == files, "{with_folder}");
    }
}

#[test]
fn what_only_updates_lack_is_noted() {
    let (archive, site) = (Archive::new(), Site::new());
    let mut req = rich(&archive, &site);
    req.sources.push(darksite::Source { mirror: archive.url(), suite: "stable".into() });
    let plan = plan(&req, &archive).unwrap();
    assert!(plan.notes.iter().any(|n| n == "suite stable has no component contrib for amd64"), "{:?}", plan.notes);
    req.sources.reverse();
    assert!(matches!(self::plan(&req, &archive), Err(Error::NoIndex { .. })));
}
