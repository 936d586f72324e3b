//! kill -9 in the middle of an upload.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use aws::{AmiOptions, make_ami};
use cluster_seed::progress::Quiet;
use host::tool::Tool;

use crate::cloud::{self, Fault};
use crate::support::{Bench, client};

/// Tells a process that it is the one to be killed: address of the server, image and folder for the state.
const CHILD: &str = "KUBEDOS_TEST_AWS_CHILD";
/// The block whose request gets no answer. The state is saved after 32.
const HANGS_AT: usize = 40;

#[test]
fn a_killed_upload_continues() {
    if let Ok(text) = std::env::var(CHILD) {
        let parts: Vec<&str> = text.split('|').collect();
        let options = AmiOptions { parallel: 1, ..AmiOptions::new(parts[1], "kubedos-test", parts[2]) };
        make_ami(&client(parts[0]), &options, &Quiet).unwrap();
        return;
    }
    let (bench, aws) = (Bench::new(48, |_| true), cloud::start());
    let (hung, hangs) = mpsc::channel();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    aws.trouble(move |action, _| {
        let late = action == "PutSnapshotBlock" && count.fetch_add(1, Ordering::SeqCst) >= HANGS_AT;
        late.then(|| {
            let _ = hung.send(());
            Fault::Hang
        })
    });
    let test = format!("{}::a_killed_upload_continues", module_path!().split_once("::").unwrap().1);
    let log = std::fs::File::create(bench.path("log")).unwrap();
    let child = Tool::new(std::env::current_exe().unwrap()).args([test.as_str(), "--exact", "--nocapture"]);
    let mut child = child.env(CHILD, format!("{}|{}|{}", aws.url(), bench.image, bench.path("state"))).spawn(log).unwrap();
    hangs.recv_timeout(std::time::Duration::from_secs(300)).unwrap();
    child.kill();
    aws.no_trouble();
    assert_eq!(bench.states().len(), 1, "{}", std::fs::read_to_string(bench.path("log")).unwrap());

    let options = AmiOptions { parallel: 1, ..bench.options() };
    let made = make_ami(&client(&aws.url()), &options, &Quiet).unwrap();
    assert_eq!((made.blocks_sent, made.blocks_resumed), (48 - 32, 32), "what was not recorded is sent again");
    let cloud = aws.cloud();
    assert_eq!(cloud.snapshots.len(), 1);
    assert!(cloud.snapshots["snap-0001"].blocks.values().flatten().eq(bench.bytes.iter()));
}
