use super::*;

const GOOD: &str = "\
apiVersion: kubedos/v1alpha1
kind: Cluster
metadata:
  name: site-a
spec:
  networking:
    domain: kubedos.lan
    underlay:
      subnet: 10.44.0.0/24
      seed: 10.44.0.1
      pool: {first: 10.44.0.100, last: 10.44.0.199}
    planes:
      wg1: {cidr: 10.78.0.0/16, port: 51821, purpose: control}
      wg2: {cidr: 10.79.0.0/16, port: 51822}
  darksite:
    suite: trixie
  roles:
    base:
      packages: [htop]
";

#[test]
fn a_good_file_with_defaults() {
    let spec = ClusterSpec::parse(GOOD).unwrap();
    assert_eq!(spec.spec.networking.underlay.lease_seconds, 3600);
    assert_eq!(spec.spec.enrollment.max_wrong_codes, 5);
    assert_eq!(spec.spec.darksite.components, ["main"]);
    assert_eq!(spec.spec.acceptance.mttr_target_minutes, 60);
}

/// One change to the good file, the line it must be reported at (0: whole file) and a word of the message.
const BAD: &[(&str, &str, u64, &str)] = &[
    ("  roles:", "  rolez: 1\n  roles:", 17, "rolez"),
    ("      subnet: 10.44.0.0/24", "      subnet: 10.44.0.0/33", 9, ""),
    ("seed: 10.44.0.1", "seed: 10.45.0.1", 10, "not a host"),
    ("seed: 10.44.0.1\n", "seed: 10.44.0.150\n", 11, "own address"),
    ("first: 10.44.0.100", "first: 10.44.0.200", 11, "pool"),
    ("wg2: {cidr: 10.79.0.0/16", "wg2: {cidr: 10.78.128.0/17", 14, "overlaps plane wg1"),
    ("wg2: {cidr: 10.79.0.0/16", "wg2: {cidr: 10.44.0.0/16", 14, "overlaps the underlay"),
    ("wg2: {cidr: 10.79.0.0/16", "wg2: {cidr: 10.79.0.1/16", 14, "host bits"),
    ("port: 51822", "port: 51821", 14, "port 51821"),
    ("wg2:", "eth2:", 14, "not a plane name"),
    ("wg1:", "wg4:", 0, "no plane wg1"),
    ("[htop]", "[\"htop; rm\"]", 0, "not a package name"),
    ("  roles:", "  acceptance: {mttrTargetMinutes: 0}\n  roles:", 0, "mttrTargetMinutes"),
    ("  roles:", "  acceptance: {mttrTargetMinutes: 10081}\n  roles:", 0, "mttrTargetMinutes"),
    ("kind: Cluster", "kind: Klub", 0, "kind"),
    ("v1alpha1", "v9", 0, "apiVersion"),
    ("name: site-a", "name: Site_A", 4, "host name"),
    ("suite: trixie", "suite: [trixie", 0, ""),
];

#[test]
fn every_mistake_is_named_with_its_place() {
    for (from, to, line, word) in BAD {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(&text, GOOD, "{from}");
        let error = ClusterSpec::parse(&text).unwrap_err();
        assert!(error.to_string().contains(word), "{to}: {error}");
        if *line > 0 {
            assert_eq!(error.line, *line, "{to}: {error}");
            assert!(error.column > 0, "{to}: {error}");
        }
    }
}

#[test]
fn a_duplicate_key_is_refused() {
    let text = GOOD.replacen("    base:", "    base: {}\n    base:", 1);
    assert!(ClusterSpec::parse(&text).is_err());
}

#[test]
fn size_limit() {
    let pad = |n: usize| format!("{GOOD}#{}\n", "x".repeat(n - GOOD.len() - 2));
    assert!(ClusterSpec::parse(&pad(MAX_SPEC)).is_ok());
    assert!(ClusterSpec::parse(&pad(MAX_SPEC + 1)).unwrap_err().message.contains("but at most"));
}
