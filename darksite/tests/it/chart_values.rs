//! What the lint reads from files: values of chart archives, good ones and others, and the packages of a snapshot.

use camino::Utf8PathBuf;
use cluster_seed::progress::Quiet;
use darksite::DirFetch;
use darksite::audit::kubernetes::of_snapshot;
use darksite::extras::charts::values;
use darksite::kubernetes::have::Have;

use crate::common::images::{Entry, tar_of};
use crate::common::{Archive, Site, chain, request, write};
use crate::extras::gz;

const YAML: Entry<'_> = ("c/Chart.yaml", b"name: c\nversion: 1.0.0\n", b'0', "");
/// As in darksite::extras::charts.
const MAX_VALUES: usize = 4 << 20;

fn read(bytes: &[u8]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = Utf8PathBuf::try_from(dir.path().join("c.tgz")).unwrap();
    write(&file, bytes);
    values(&file, "c", "1.0.0").map_err(|e| chain(&e))
}

#[test]
fn values_are_read_from_the_charts_own_folder() {
    let of = |entries: &[Entry<'_>]| read(&gz(&tar_of(entries)));
    assert_eq!(of(&[YAML, ("c/values.yaml", b"a: 1\n", b'0', "")]).as_deref(), Ok("a: 1\n"));
    assert_eq!(of(&[YAML, ("./c/values.yaml", b"a: 1\n", b'0', "")]).as_deref(), Ok("a: 1\n"));
    // Those of a subchart, of a folder above, and links are not the chart's.
    let others: [Entry<'_>; 4] = [
        ("c/charts/d/values.yaml", b"x", b'0', ""),
        ("../values.yaml", b"x", b'0', ""),
        ("/c/values.yaml", b"x", b'0', ""),
        ("c/values.yaml", b"", b'2', "/etc/passwd"),
    ];
    for other in others {
        assert_eq!(of(&[YAML, other]).as_deref(), Ok(""), "{}", other.0);
    }
}

#[test]
fn values_of_hostile_charts_are_refused() {
    let of = |entries: &[Entry<'_>]| read(&gz(&tar_of(entries)));
    let refused = |result: Result<String, String>, word: &str| {
        let error = result.expect_err(word);
        assert!(error.contains(word), "{word}: {error}");
    };
    let full = vec![b'#'; MAX_VALUES];
    assert_eq!(of(&[YAML, ("c/values.yaml", &full[..], b'0', "")]).map(|t| t.len()), Ok(MAX_VALUES));
    let more = vec![b'#'; MAX_VALUES + 1];
    refused(of(&[YAML, ("c/values.yaml", &more[..], b'0', "")]), "values.yaml is too large");
    refused(of(&[("c/values.yaml", b"a", b'0', ""), ("d/values.yaml", b"b", b'0', "")]), "more than one values.yaml");
    refused(of(&[("c/values.yaml", b"\xff", b'0', "")]), "not UTF-8");
    refused(read(b"not gzip"), "chart c 1.0.0");
    let many: Vec<Entry<'_>> = vec![YAML; 20_001];
    refused(of(&many), "more than 20000 entries");
}

#[test]
fn packages_of_a_snapshot_are_read() {
    let (archive, site) = (Archive::new(), Site::new());
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    let mut have = Have::default();
    of_snapshot(&dir, &mut have).unwrap();
    let hello = have.packages.iter().find(|p| p.name == "hello").unwrap();
    assert_eq!((hello.version.as_str(), hello.extra, hello.depends.len()), ("2.10-1", false, 0));
    assert!(have.packages.iter().any(|p| p.provides == "greeter (= 2)"));
    std::fs::remove_file(dir.join("snapshot.lock")).unwrap();
    assert!(of_snapshot(&dir, &mut have).is_err());
}
