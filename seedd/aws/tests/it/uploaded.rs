//! An image is uploaded once, found afterwards, and what is sent is what the plan said.

use aws::{AwsError, BootMode, FaultKind, make_ami, plan_ami, scan, upload};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;

use crate::cloud::{self, Fault, refusal, rest_refusal};
use crate::support::{BLOCK, Bench, Report, client, target};

/// Six blocks, three with data, the last one of them cut short.
fn sparse() -> Bench {
    let mut bench = Bench::new(6, |n| [0, 3, 5].contains(&n));
    bench.bytes.truncate(6 * BLOCK - 1000);
    std::fs::write(&bench.image, &bench.bytes).unwrap();
    bench
}

#[test]
fn an_image_is_uploaded_registered_and_found_again() {
    let (bench, aws) = (sparse(), cloud::start());
    let mut options = bench.options();
    options.tags.insert("Team".into(), "Infra & co".into());
    let plan = plan_ami(&target(&aws.url()), &options, &Quiet).unwrap();
    assert!(aws.cloud().calls.is_empty(), "a plan sends nothing");
    assert_eq!((plan.blocks, plan.blocks_with_data, plan.bytes_to_send), (6, 3, 3 * BLOCK as u64));

    let report = Report::default();
    let made = make_ami(&client(&aws.url()), &options, &report).unwrap();
    assert_eq!((made.blocks_sent, made.blocks_resumed, made.existing), (3, 0, false));
    assert_eq!((&made.name, made.digest), (&plan.name, Digest::of(&bench.bytes)));
    assert!(report.begun.lock().unwrap().contains(&("upload blocks".into(), Some(plan.bytes_to_send))));
    for planned in &plan.calls {
        let (_, action) = planned.call.split_once(':').unwrap();
        assert!(aws.count(action) as u64 >= planned.times, "{action}");
    }
    {
        let cloud = aws.cloud();
        let snapshot = &cloud.snapshots[made.snapshot_id.as_ref().unwrap()];
        let mut disk = vec![0; 6 * BLOCK];
        for (index, block) in &snapshot.blocks {
            disk[*index as usize * BLOCK..][..BLOCK].copy_from_slice(block);
        }
        assert!(disk[..bench.bytes.len()] == bench.bytes[..] && disk[bench.bytes.len()..].iter().all(|b| *b == 0));
        assert_eq!((snapshot.blocks.len(), snapshot.gib), (3, 1));
        assert_eq!(snapshot.tags["kubedos:sha256"], made.digest.to_string());
        let image = &cloud.images[&made.image_id];
        assert_eq!((&*image.tags["Team"], &*image.tags["kubedos:sha256"]), ("Infra & co", &*made.digest.to_string()));
        for (key, value) in [
            ("BootMode", "uefi-preferred"),
            ("EnaSupport", "true"),
            ("TpmSupport", "v2.0"),
            ("ImdsSupport", "v2.0"),
            ("Architecture", "x86_64"),
            ("VirtualizationType", "hvm"),
            ("RootDeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ] {
            assert_eq!(image.form[key], value, "{key}");
        }
    }
    assert!(bench.states().is_empty(), "nothing is left to resume");

    let sent = aws.count("PutSnapshotBlock");
    let again = make_ami(&client(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((&again.image_id, &again.snapshot_id, again.existing), (&made.image_id, &made.snapshot_id, true));
    assert_eq!((aws.count("PutSnapshotBlock"), aws.count("StartSnapshot")), (sent, 1));

    // The image was deregistered: its snapshot is found by its tags.
    aws.cloud().images.clear();
    let third = make_ami(&client(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((&third.snapshot_id, third.blocks_sent, third.existing), (&made.snapshot_id, 0, false));
    assert_eq!((aws.count("PutSnapshotBlock"), aws.count("StartSnapshot")), (sent, 1));
}

#[test]
fn an_image_is_registered_with_the_boot_mode_that_was_chosen_and_a_tpm_only_with_uefi() {
    for (mode, name, tpm) in [
        (BootMode::UefiPreferred, "uefi-preferred", Some("v2.0")),
        (BootMode::Uefi, "uefi", Some("v2.0")),
        (BootMode::LegacyBios, "legacy-bios", None),
    ] {
        let (bench, aws) = (Bench::new(1, |_| true), cloud::start());
        let mut options = bench.options();
        options.boot_mode = mode;
        let plan = plan_ami(&target(&aws.url()), &options, &Quiet).unwrap();
        let told = &plan.calls.iter().find(|c| c.call == "ec2:RegisterImage").unwrap().what;
        assert_eq!((told.starts_with(&format!("{name},")), told.contains("TPM")), (true, tpm.is_some()), "{told}");
        let made = make_ami(&client(&aws.url()), &options, &Quiet).unwrap();
        let cloud = aws.cloud();
        let form = &cloud.images[&made.image_id].form;
        assert_eq!((form["BootMode"].as_str(), form.get("TpmSupport").map(String::as_str)), (name, tpm));
    }
}

#[test]
fn an_image_of_zeros_needs_no_block() {
    let (bench, aws) = (Bench::new(2, |_| false), cloud::start());
    let made = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap();
    assert_eq!((made.blocks_sent, aws.count("PutSnapshotBlock"), aws.count("CompleteSnapshot")), (0, 0, 1));
}

#[test]
fn throttled_and_broken_requests_are_repeated() {
    let (bench, aws) = (Bench::new(8, |_| true), cloud::start());
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    aws.trouble(move |action, request| {
        let n = seen.entry(format!("{action} {}", request.path)).or_default();
        *n += 1;
        match (action, *n) {
            ("PutSnapshotBlock", 1) => Some(Fault::Instead(rest_refusal(429, "RequestThrottledException"))),
            ("PutSnapshotBlock", 2) => Some(Fault::Silence),
            ("PutSnapshotBlock", 3) => Some(Fault::Instead(rest_refusal(404, "ResourceNotFoundException"))),
            ("StartSnapshot", 1) => Some(Fault::Silence),
            ("RegisterImage", 1) => Some(Fault::Silence),
            ("DescribeImages" | "DescribeSnapshots" | "CreateTags", 1 | 2) => {
                Some(Fault::Instead(refusal(503, "RequestLimitExceeded")))
            }
            _ => None,
        }
    });
    let made = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap();
    let cloud = aws.cloud();
    assert_eq!((made.blocks_sent, cloud.snapshots.len(), cloud.images.len()), (8, 1, 1), "nothing was made twice");
    assert!(cloud.snapshots["snap-0001"].blocks.iter().all(|(n, b)| b[..] == bench.bytes[*n as usize * BLOCK..][..BLOCK]));
}

#[test]
fn a_service_that_stays_busy_is_an_error_and_the_state_is_kept() {
    let (bench, aws) = (Bench::new(3, |_| true), cloud::start());
    aws.trouble(|action, request| {
        let last = action == "PutSnapshotBlock" && request.path.ends_with("/2");
        last.then(|| Fault::Instead(rest_refusal(503, "ServiceUnavailable")))
    });
    let error = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap_err();
    assert_eq!(error.fault(), Some(FaultKind::Transient), "{error}");
    assert!(error.hint().contains("resume"), "{}", error.hint());
    assert_eq!(aws.cloud().calls.iter().filter(|c| *c == "PutSnapshotBlock").count(), 2 + 4, "four attempts for one block");
    aws.no_trouble();
    let made = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap();
    assert_eq!((made.blocks_sent, made.blocks_resumed, aws.count("StartSnapshot")), (1, 2, 1));
}

#[test]
fn an_image_that_changes_meanwhile_is_not_registered() {
    let (bench, aws) = (Bench::new(3, |_| true), cloud::start());
    let found = scan(&bench.image, &Quiet).unwrap();
    let mut other = bench.bytes.clone();
    other[2 * BLOCK] ^= 1;
    std::fs::write(&bench.image, other).unwrap();
    let error = upload(&client(&aws.url()), &bench.options(), &found, &Quiet).unwrap_err();
    assert!(matches!(error, AwsError::Changed { index: 2, .. }), "{error}");
    assert_eq!(aws.count("CompleteSnapshot"), 0);
}

#[test]
fn another_file_than_the_named_one_is_refused() {
    let (bench, aws) = (Bench::new(1, |_| true), cloud::start());
    let mut options = bench.options();
    options.digest = Some(Digest::of(b"another"));
    let error = make_ami(&client(&aws.url()), &options, &Quiet).unwrap_err();
    assert!(matches!(error, AwsError::Option { option: "digest", .. }), "{error}");
    options.digest = Some(Digest::of(&bench.bytes));
    assert!(aws.cloud().calls.is_empty());
    make_ami(&client(&aws.url()), &options, &Quiet).unwrap();
}

#[test]
fn a_name_with_other_contents_is_not_taken_for_ours() {
    let (bench, aws) = (Bench::new(1, |_| true), cloud::start());
    make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap();
    aws.cloud().images.get_mut("ami-0001").unwrap().tags.insert("kubedos:sha256".into(), Digest::of(b"other").to_string());
    let error = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap_err();
    assert!(matches!(&error, AwsError::NameTaken { image, .. } if image == "ami-0001"), "{error}");
}
