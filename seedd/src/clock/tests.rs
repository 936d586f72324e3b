use site::default_cluster_yaml;

use super::*;

const NOW: u64 = 1_795_377_600;
const FAR: u64 = 4_070_908_800;

fn id(n: u8) -> EnrollmentId {
    EnrollmentId([n; 16])
}

#[test]
fn silence_is_counted_by_the_steady_clock_only() {
    let mut silence = Silence::default();
    assert_eq!(silence.of(&[(id(1), 0), (id(2), FAR)], 100)[&id(1)], 0, "counted from when it was first seen");
    let later = silence.of(&[(id(1), 0), (id(2), FAR)], 160);
    assert_eq!((later[&id(1)], later[&id(2)]), (60, 60), "whatever the rows' clock said");
    // A word from the second, written after its clock was set back.
    let spoken = silence.of(&[(id(1), 0), (id(2), NOW)], 170);
    assert_eq!((spoken[&id(1)], spoken[&id(2)]), (70, 0));
    assert!(silence.of(&[], 180).is_empty() && silence.0.is_empty());
    // Another life of the daemon counts anew.
    assert_eq!(Silence::default().of(&[(id(1), 0)], NOW)[&id(1)], 0);
}

#[test]
fn deadlines_of_another_clock_are_bounded() {
    for (end, steady, bounded_to) in
        [(NOW + 50, NOW, NOW + 50), (FAR, NOW, NOW + 100), (NOW, FAR, NOW), (u64::MAX, u64::MAX, u64::MAX)]
    {
        assert_eq!(bounded(end, 100, steady), bounded_to, "{end} at {steady}");
    }
    assert!(host::clock::steady() <= host::clock::steady());
}

#[test]
fn a_clock_that_cannot_be_right_is_doubted() {
    let snapshot = 1_789_196_141;
    for (clock, snapshot, doubted) in [
        (0, None, true),
        (PROGRAM_DATE - 1, None, true),
        (PROGRAM_DATE, None, false),
        (PROGRAM_DATE, Some(snapshot), true),
        (snapshot - 1, Some(snapshot), true),
        (snapshot, Some(snapshot), false),
        (NOW, Some(snapshot), false),
        (FAR, Some(snapshot), true),
        (u64::MAX, None, true),
        // A snapshot that was made under a wrong clock says nothing.
        (PROGRAM_DATE, Some(5), false),
    ] {
        assert_eq!(doubt(clock, snapshot).is_some(), doubted, "{clock} {snapshot:?}");
    }
}

#[test]
fn the_date_of_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    assert_eq!(snapshot_date(root, "trixie"), None);
    std::fs::create_dir_all(root.join("dists/trixie")).unwrap();
    for (text, date) in
        [("Origin: Kubedos\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n", Some(1_789_199_741)), ("Date: yesterday\n", None), ("", None)]
    {
        std::fs::write(root.join("dists/trixie/Release"), text).unwrap();
        assert_eq!(snapshot_date(root, "trixie"), date, "{text}");
    }
}

#[test]
fn sources_in_words() {
    let tracking = |state| Tracking { source: "10.0.0.9".into(), stratum: 3, offset: 0.001, drift: -2.5, state };
    let none = view(None, NOW * 1000, None);
    assert_eq!((none.source.as_str(), none.synchronised, none.stratum), ("system clock, not synchronised", false, None));
    let follows = view(Some(&tracking(TimeState::Synchronised)), NOW * 1000, None);
    assert_eq!((follows.source.as_str(), follows.synchronised), ("chrony, from 10.0.0.9", true));
    assert_eq!((follows.offset, follows.drift, follows.stratum), (Some(0.001), Some(-2.5), Some(3)));
    let local = view(Some(&tracking(TimeState::Local)), NOW * 1000, None);
    assert!(!local.synchronised && local.offset.is_none() && local.drift == Some(-2.5));
    assert!(view(Some(&tracking(TimeState::Unsynchronised)), 0, None).doubt.is_some());
}

#[test]
fn chrony_serves_the_underlay_and_the_planes() {
    let spec = ClusterSpec::parse(&default_cluster_yaml("site-a")).unwrap();
    let text = chrony_config(&spec);
    for network in ["10.44.0.0/24", "10.78.0.0/16", "10.79.0.0/16", "10.80.0.0/16"] {
        assert!(text.contains(&format!("\nallow {network}\n")), "{text}");
    }
}

/// L6: the daemon's user cannot choose directives for a program that starts as root.
#[test]
fn only_a_seeds_own_configuration_reaches_chrony() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let (from, to) = (dir.join("daemon.conf"), dir.join("root/chrony.conf"));
    let text = chrony_config(&ClusterSpec::parse(&default_cluster_yaml("site-a")).unwrap());
    std::fs::write(&from, &text).unwrap();
    install_config(&from, &to).unwrap();
    for bad in [format!("{text}include /tmp/x\n"), String::new(), "x".repeat(1 << 20)] {
        std::fs::write(&from, &bad).unwrap();
        assert!(install_config(&from, &to).is_err());
        assert_eq!(std::fs::read_to_string(&to).unwrap(), text);
    }
}
