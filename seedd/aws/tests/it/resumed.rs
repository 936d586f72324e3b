//! An interrupted upload continues, and what AWS lost is started over.

use aws::{AwsError, FaultKind, Limits, make_ami, plan_ami};
use cluster_seed::progress::Quiet;

use crate::cloud::{self, Fault, rest_refusal};
use crate::support::{BLOCK, Bench, Report, client, client_with, limits, target};

#[test]
fn a_stopped_upload_continues_where_it_was() {
    let (bench, aws) = (Bench::new(20, |n| n != 7), cloud::start());
    let options = aws::AmiOptions { parallel: 1, ..bench.options() };
    let report = Report::stopping_after(5);
    let error = make_ami(&client(&aws.url()), &options, &report).unwrap_err();
    assert!(matches!(error, AwsError::Cancelled), "{error}");
    assert_eq!(aws.count("PutSnapshotBlock"), 5);
    assert_eq!((bench.states().len(), aws.count("CompleteSnapshot")), (1, 0));
    assert!(!bench.states()[0].contains("secret"));

    let plan = plan_ami(&target(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((plan.blocks_with_data, plan.blocks_done, plan.bytes_to_send), (19, 5, 14 * BLOCK as u64));
    assert_eq!(plan.resumes.as_deref(), Some("snap-0001"));
    assert!(plan.calls.iter().all(|c| c.call != "ebs:StartSnapshot"));

    let report = Report::default();
    let made = make_ami(&client(&aws.url()), &options, &report).unwrap();
    assert_eq!((made.blocks_sent, made.blocks_resumed), (14, 5));
    assert!(report.said("continuing snapshot snap-0001: 5 of 19 blocks are there"));
    assert_eq!((aws.count("PutSnapshotBlock"), aws.count("StartSnapshot")), (19, 1), "no block twice");
    assert!(bench.states().is_empty());
}

#[test]
fn a_crash_before_the_state_was_saved_leaves_one_snapshot() {
    let (bench, aws) = (Bench::new(2, |_| true), cloud::start());
    let report = Report::stopping_after(1);
    make_ami(&client(&aws.url()), &bench.options(), &report).unwrap_err();
    std::fs::remove_dir_all(bench.path("state")).unwrap();
    make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap();
    assert_eq!((aws.count("StartSnapshot"), aws.cloud().snapshots.len()), (2, 1));
}

#[test]
fn a_completion_without_an_answer_is_not_repeated_in_vain() {
    let (bench, aws) = (Bench::new(2, |_| true), cloud::start());
    aws.trouble(|action, _| (action == "CompleteSnapshot").then_some(Fault::Silence));
    let once = Limits { tries: 1, ..limits() };
    let error = make_ami(&client_with(&aws.url(), "A", "s", once), &bench.options(), &Quiet).unwrap_err();
    assert!(matches!(error, AwsError::Transport { action: "CompleteSnapshot", .. }), "{error}");
    aws.no_trouble();
    // AWS answers the second request with a conflict, for the snapshot is being completed.
    let made = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap();
    assert_eq!((made.blocks_sent, made.blocks_resumed, aws.cloud().snapshots.len()), (0, 2, 1));
}

#[test]
fn a_completion_that_was_repeated_is_not_an_error() {
    let (bench, aws) = (Bench::new(2, |_| true), cloud::start());
    let mut first = true;
    aws.trouble(move |action, _| (action == "CompleteSnapshot" && std::mem::take(&mut first)).then_some(Fault::Silence));
    make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap();
    assert_eq!((aws.count("CompleteSnapshot"), aws.cloud().images.len()), (2, 1));
}

#[test]
fn a_snapshot_that_aws_lost_is_started_over() {
    for lose in ["error", "gone"] {
        let (bench, aws) = (Bench::new(4, |_| true), cloud::start());
        let report = Report::stopping_after(2);
        make_ami(&client(&aws.url()), &bench.options(), &report).unwrap_err();
        match lose {
            "error" => aws.cloud().snapshots.get_mut("snap-0001").unwrap().state = "error".into(),
            _ => {
                let old = aws.cloud().snapshots.remove("snap-0001").unwrap();
                aws.cloud().snapshots.insert("snap-0000".into(), old);
            }
        }
        let report = Report::default();
        let made = make_ami(&client(&aws.url()), &bench.options(), &report).unwrap();
        assert!(report.said("snap-0001 is no longer in this account; starting over"), "{lose}");
        assert_eq!((made.blocks_sent, made.blocks_resumed), (4, 0), "{lose}");
        assert_ne!(made.snapshot_id.as_deref(), Some("snap-0001"));
        let cloud = aws.cloud();
        let tokens: Vec<&String> = cloud.snapshots.values().map(|s| &s.token).collect();
        assert!(tokens.len() == 2 && tokens[0] != tokens[1], "the old token would bring the lost one back");
    }
}

#[test]
fn a_snapshot_that_is_lost_during_the_upload_is_not_used_again() {
    let (bench, aws) = (Bench::new(4, |_| true), cloud::start());
    let options = aws::AmiOptions { parallel: 1, ..bench.options() };
    aws.trouble(|action, request| {
        let late = action == "PutSnapshotBlock" && !request.path.ends_with("/0");
        late.then(|| Fault::Instead(rest_refusal(404, "ResourceNotFoundException")))
    });
    let error = make_ami(&client(&aws.url()), &options, &Quiet).unwrap_err();
    assert_eq!(error.fault(), Some(FaultKind::Missing), "{error}");
    aws.no_trouble();
    let made = make_ami(&client(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((made.snapshot_id.as_deref(), made.blocks_sent), (Some("snap-0002"), 4));
}

#[test]
fn other_tags_do_not_stop_an_upload_whose_token_is_known() {
    let (bench, aws) = (Bench::new(2, |_| true), cloud::start());
    let report = Report::stopping_after(1);
    make_ami(&client(&aws.url()), &bench.options(), &report).unwrap_err();
    std::fs::remove_dir_all(bench.path("state")).unwrap();
    let mut options = bench.options();
    options.description = "another description".into();
    let made = make_ami(&client(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((made.snapshot_id.as_deref(), aws.cloud().snapshots.len()), (Some("snap-0002"), 2));
}

#[test]
fn a_damaged_state_file_is_named() {
    let (bench, aws) = (Bench::new(2, |_| true), cloud::start());
    let report = Report::stopping_after(1);
    make_ami(&client(&aws.url()), &bench.options(), &report).unwrap_err();
    let entry = std::fs::read_dir(bench.path("state")).unwrap().next().unwrap().unwrap();
    std::fs::write(entry.path(), "{").unwrap();
    let error = make_ami(&client(&aws.url()), &bench.options(), &Quiet).unwrap_err();
    assert!(matches!(&error, AwsError::State { path, .. } if path.as_std_path() == entry.path()), "{error}");
    assert!(error.hint().contains("remove the file"));
}
