//! Enrollment and installation against a seed that is honest, slow, or lying.

mod mock;

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::ReportBody;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::seal::{SigningKey, key_text};
use cluster_seed::secret::AgeKey;

use host::hardware;
use mock::{ENROLLMENT, Lie, MIB, Mock, image};
use payload::console::Console;
use payload::http::Http;
use payload::install::chunks::ChunkError;
use payload::install::{Install, InstallError};
use payload::node::lists::Lists;
use payload::ram::enroll::{EnrollError, Enroller};
use payload::ram::session::{MachineSecrets, RANDOM, Session, SessionError};
use payload::report::Reporter;
use payload::state::{NodeDir, StateFile};

/// A machine: directories that look like /sys and /dev, and a console that is a file.
struct Machine {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
}

/// Bytes of another system that lay on the disk before.
const OLD: u8 = 0xee;

impl Machine {
    fn new(disk_mib: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        fs::create_dir_all(root.join("sys/block/vda")).unwrap();
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::create_dir_all(root.join("run")).unwrap();
        fs::write(root.join("sys/block/vda/size"), (disk_mib * 2048).to_string()).unwrap();
        fs::write(root.join("sys/block/vda/serial"), "disk-a").unwrap();
        fs::write(root.join("dev/vda"), vec![OLD; disk_mib * MIB]).unwrap();
        Machine { _dir: dir, root }
    }

    fn console(&self) -> Console {
        Console::to_path(&self.root.join("console")).unwrap()
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.root.join("console")).unwrap_or_default()
    }

    fn disk(&self) -> Vec<u8> {
        fs::read(self.root.join("dev/vda")).unwrap()
    }

    fn enroll(&self, mock: &Mock) -> Result<Session, EnrollError> {
        let random: [u8; RANDOM] = std::array::from_fn(|i| i as u8);
        let secrets = MachineSecrets::new(AgeKey::generate(), &random);
        let (http, console) = (Http::new(&mock.url), self.console());
        let run = self.root.join("run");
        let enroller = Enroller { http: &http, console: &console, wait: &|_| (), dir: &run };
        enroller.run(secrets, &hardware::gather(&self.root, None))
    }

    fn install(&self, mock: &Mock, place: payload::install::Place<'_>) -> Result<(), InstallError> {
        mock.state().disk = Some(self.root.join("dev/vda"));
        let (http, console) = (Http::new(&mock.url), self.console());
        let key = SigningKey::from_bytes(&[7; 32]);
        let run = self.root.join("run");
        let reporter = Reporter::new(&http, &key, ENROLLMENT, NodeDir::new(&run).sequence(1), &|_| ());
        let (identity, order) = (mock.identity(), mock.state().order.clone());
        let began = run.join("began");
        let install = Install {
            http: &http,
            console: &console,
            reporter: &reporter,
            order: &order,
            identity: &identity,
            node_key: &key,
            root: &self.root,
            place,
            wait: &|_| (),
            announce: Some(&began),
        };
        install.run()
    }
}

/// Stands in for the ext4 of the state partition: the names, written where the partition lies.
fn place(disk: &Utf8Path, offset: u64, files: &[StateFile]) -> Result<(), String> {
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().read(true).write(true).open(disk).map_err(|e| e.to_string())?;
    let mut head = vec![1; MIB];
    file.read_exact_at(&mut head, 0).map_err(|e| e.to_string())?;
    if head.iter().any(|b| *b != 0) {
        return Err("the first MiB was written before the identity".to_owned());
    }
    let names: Vec<_> = files.iter().map(|f| f.name).collect();
    file.write_all_at(names.join(" ").as_bytes(), offset).map_err(|e| e.to_string())
}

/// A lie, and whether an error fits it.
type Case<E> = (Lie, fn(&E) -> bool);

fn bodies(mock: &Mock) -> Vec<ReportBody> {
    mock.state().reports.iter().map(|r| r.body.clone()).collect()
}

#[test]
fn a_machine_is_approved_and_gets_its_identity() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    let session = machine.enroll(&mock).unwrap();
    let shown = format!("kubedos: pairing code {}", mock.state().code.unwrap());
    assert_eq!(machine.printed().lines().filter(|l| l.trim_end() == shown).count(), 1, "{}", machine.printed());
    let (order, identity) = session.open().unwrap();
    assert_eq!((order.disk.as_str(), identity.info.hostname.as_str()), ("vda", "n1.lan"));
    // What `install` reads after `enroll` ended is the same.
    let run = machine.root.join("run");
    session.save(&run).unwrap();
    let again = Session::load(&run).unwrap();
    assert_eq!(again.open().unwrap().1.info, identity.info);
    assert_eq!(key_text(&again.node_key.verifying_key()), key_text(&session.node_key.verifying_key()));
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_nonce() {
    let (mock, machine) = (Mock::start(Lie::LoseClaim), Machine::new(16));
    machine.enroll(&mock).unwrap();
    let state = mock.state();
    assert_eq!(state.claims.len(), 2);
    assert_eq!(state.claims[0].nonce, state.claims[1].nonce);
}

#[test]
fn a_seed_that_restarts_is_waited_for() {
    let (mock, machine) = (Mock::start(Lie::Restarting), Machine::new(16));
    machine.enroll(&mock).unwrap();
    assert!(machine.printed().contains("kubedos: step waiting for the seed"));
    machine.install(&Mock::start(Lie::Restarting), &place).unwrap();
}

#[test]
fn a_lying_seed_is_refused() {
    use EnrollError as E;
    let expected: &[Case<E>] = &[
        (Lie::Deny, |e| matches!(e, E::Refused { state: EnrollmentState::Denied, reason } if reason == "not ours")),
        (Lie::Stolen, |e| matches!(e, E::Taken)),
        (Lie::OtherSigner, |e| matches!(e, E::Session(SessionError::Seal(_)))),
        (Lie::OtherSiteKeyInside, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherEnrollment, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherEnrollmentInside, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherMachine, |e| matches!(e, E::Session(SessionError::Identity(_)))),
    ];
    for (lie, fits) in expected {
        let error = Machine::new(16).enroll(&Mock::start(*lie)).err().unwrap_or_else(|| panic!("{lie:?} was believed"));
        assert!(fits(&error), "{lie:?}: {error:?}");
    }
}

#[test]
fn an_honest_seed_installs_every_byte() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    machine.install(&mock, &place).unwrap();
    let disk = machine.disk();
    let names = b"node.key identity.json";
    let mut expected = image();
    expected[9 * MIB..9 * MIB + names.len()].copy_from_slice(names);
    assert!(disk[..10 * MIB] == expected[..], "the disk differs from the image");
    assert!(disk[10 * MIB..15 * MIB].iter().all(|b| *b == OLD) && disk[15 * MIB..].iter().all(|b| *b == 0));
    assert!(!mock.state().head_seen, "the first MiB was there before the end");
    let reports = bodies(&mock);
    // Zeros are no work.
    let chunks = image();
    let held: usize = chunks.chunks(4 * MIB).filter(|c| c.iter().any(|b| *b != 0)).map(<[u8]>::len).sum();
    assert!(held < 10 * MIB, "the image has no zeros to leave out");
    assert!(matches!(reports.first(), Some(ReportBody::InstallBegan { total, .. }) if *total == held as u64));
    assert!(matches!(reports.last(), Some(ReportBody::InstallDone { .. })));
    let numbers: Vec<_> = mock.state().reports.iter().map(|r| r.seq).collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]) && numbers[0] == 1, "{numbers:?}");
}

#[test]
fn a_chunk_damaged_on_the_way_is_fetched_again() {
    let (mock, machine) = (Mock::start(Lie::Chunk(0, payload::install::chunks::TAMPER_TRIES - 1)), Machine::new(16));
    machine.install(&mock, &place).unwrap();
    assert!(machine.disk()[..MIB] == image()[..MIB]);
}

#[test]
fn a_bad_chunk_leaves_a_disk_that_does_not_boot() {
    for lie in [Lie::Chunk(0, 3), Lie::Chunk(2, 99), Lie::ChunkTooLong(0), Lie::ChunkTooLong(2), Lie::ChunkMissing(2)] {
        let (mock, machine) = (Mock::start(lie), Machine::new(16));
        let error = machine.install(&mock, &place).unwrap_err();
        let missing = matches!(lie, Lie::ChunkMissing(_));
        assert!(
            matches!(&error, InstallError::Chunk(ChunkError::Tampered { .. })) != missing && error.step() == "chunks",
            "{lie:?}: {error:?}"
        );
        assert!(machine.disk()[..MIB].iter().all(|b| *b == 0), "{lie:?}: the first MiB is not zero");
        assert!(machine.disk()[15 * MIB..].iter().all(|b| *b == 0), "{lie:?}: the old backup table is there");
        assert!(!mock.state().head_seen && !bodies(&mock).iter().any(|b| matches!(b, ReportBody::InstallDone { .. })));
    }
}

#[test]
fn an_identity_that_cannot_be_placed_leaves_a_disk_that_does_not_boot() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    let error = machine.install(&mock, &|_, _, _| Err("no ext4".to_owned())).unwrap_err();
    assert!(matches!(&error, InstallError::Place(why) if why == "no ext4"));
    assert!(machine.disk()[..MIB].iter().all(|b| *b == 0));
}

#[test]
fn what_is_wrong_before_the_wipe_leaves_the_disk_alone() {
    use InstallError as E;
    let expected: &[Case<E>] = &[
        (Lie::ManifestByOther, |e| matches!(e, E::Seal(_))),
        (Lie::ManifestBitFlip, |e| matches!(e, E::Seal(_))),
        (Lie::ManifestOfOther, |e| matches!(e, E::OtherArtifact { .. })),
        (Lie::ManifestContradicts, |e| matches!(e, E::Manifest(_))),
        (Lie::StateInHead, |e| matches!(e, E::StateInHead(_))),
        (Lie::RefuseBegin, |e| matches!(e, E::Began(_))),
    ];
    for (lie, fits) in expected {
        let (mock, machine) = (Mock::start(*lie), Machine::new(16));
        let error = machine.install(&mock, &place).unwrap_err();
        assert!(fits(&error), "{lie:?}: {error:?}");
        assert!(machine.disk().iter().all(|b| *b == OLD), "{lie:?}: the disk was touched");
    }
}

/// Another program answers under the seed's address, as a rogue DHCP server would have it.
#[test]
fn hole_01_a_machine_follows_no_seed_that_cannot_sign() {
    for lie in [Lie::ManifestUnsigned, Lie::ManifestByOther, Lie::ManifestBitFlip] {
        let (rogue, machine) = (Mock::start(lie), Machine::new(16));
        let error = machine.install(&rogue, &place).unwrap_err();
        assert!(matches!(error, InstallError::Seal(_)) && error.step() == "manifest", "{lie:?}: {error:?}");
        assert!(machine.disk().iter().all(|b| *b == OLD), "{lie:?}: the disk was touched");
        assert!(rogue.state().reports.is_empty(), "{lie:?}: nothing was told to it either");
    }
    // A node that runs: the rogue's list of peers is signed too, by a key of its own.
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, rogue) = (Mock::start(Lie::None), Mock::start(Lie::None));
    let identity = seed.identity();
    let key = SigningKey::from_bytes(&[7; 32]);
    let lists = Lists { dir: &dir, identity: &identity, key: &key };
    lists.refresh(None, &Http::new(&seed.url)).unwrap();
    let before = fs::read(run.join("peers.json")).unwrap();
    rogue.state().site = SigningKey::from_bytes(&[66; 32]);
    rogue.state().version = 10;
    assert!(lists.refresh(None, &Http::new(&rogue.url)).is_err());
    assert_eq!(fs::read(run.join("peers.json")).unwrap(), before);
}

#[test]
fn only_the_approved_disk_is_written_and_only_if_it_is_large_enough() {
    let run = |disk_mib: usize, change: &dyn Fn(&mut mock::State, &Machine)| {
        let (mock, machine) = (Mock::start(Lie::None), Machine::new(disk_mib));
        mock.state().order.disk_size = (disk_mib * MIB) as u64;
        change(&mut mock.state(), &machine);
        let result = machine.install(&mock, &place);
        (result, machine.disk().iter().all(|b| *b == OLD))
    };
    // min_disk is 12 MiB.
    assert!(run(12, &|_, _| ()).0.is_ok());
    let (result, untouched) = run(11, &|_, _| ());
    assert!(matches!(&result, Err(InstallError::DiskTooSmall { size, needed, .. }) if (*size, *needed) == (11 << 20, 12 << 20)));
    assert!(untouched);
    let (result, untouched) = run(16, &|s, _| s.order.disk = "vdb".into());
    assert!(matches!(result, Err(InstallError::NoDisk(_))) && untouched);
    let (result, untouched) = run(16, &|s, _| s.order.disk_serial = "disk-b".into());
    assert!(matches!(result, Err(InstallError::OtherDisk { .. })) && untouched);
    let (result, untouched) = run(16, &|s, _| s.order.disk_size += 512);
    assert!(matches!(result, Err(InstallError::OtherDisk { .. })) && untouched);
    // The kernel's word and the device disagree.
    let (result, _) = run(16, &|_, m| fs::write(m.root.join("dev/vda"), vec![OLD; 17 * MIB]).unwrap());
    assert!(matches!(result, Err(InstallError::OtherDisk { .. })));
}

#[test]
fn a_seed_of_an_older_epoch_is_refused_and_told() {
    let machine = Machine::new(16);
    let new = Mock::start(Lie::None);
    new.state().epoch = Some(2);
    machine.enroll(&new).unwrap();
    // The older seed of the same site, and one that cannot prove any epoch: what it issues is of epoch 1.
    for proof in [Some(1), None] {
        let old = Mock::start(Lie::None);
        old.state().epoch = proof;
        let refused = machine.enroll(&old).err().unwrap();
        assert!(matches!(refused, EnrollError::OldEpoch { epoch: 1, seen: 2 }), "{refused}");
        assert_eq!(old.state().told, [2]);
    }
    assert!(new.state().told.is_empty());
}

#[test]
fn an_installed_node_follows_no_older_seed() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (new, old) = (Mock::start(Lie::None), Mock::start(Lie::None));
    let identity = new.identity();
    new.state().epoch = Some(2);
    old.state().epoch = Some(1);
    let key = SigningKey::from_bytes(&[7; 32]);
    let lists = Lists { dir: &dir, identity: &identity, key: &key };
    let refresh = |mock: &Mock| lists.refresh(None, &Http::new(&mock.url));
    assert_eq!(refresh(&old).unwrap().peers.epoch, 1);
    assert_eq!(refresh(&new).unwrap().peers.epoch, 2);
    let text = payload::http::chain(&refresh(&old).unwrap_err());
    assert!(text.contains("epoch 1") && text.contains("epoch 2"), "{text}");
    assert_eq!((old.state().told.clone(), new.state().told.len()), (vec![2], 0));
    // The proof alone is enough, also where the list itself was lost.
    fs::remove_file(run.join("peers.json")).unwrap();
    assert!(refresh(&old).is_err());
    assert_eq!(refresh(&new).unwrap().peers.epoch, 2);
}

/// M5: whoever answers in the seed's place on the boot network keeps no revocation from a node whose plane works.
#[test]
fn the_list_comes_over_the_control_plane_first() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, replayed) = (Mock::start(Lie::None), Mock::start(Lie::None));
    replayed.state().version = 3;
    let (identity, key) = (seed.identity(), SigningKey::from_bytes(&[7; 32]));
    let lists = Lists { dir: &dir, identity: &identity, key: &key };
    let refresh = |plane: Option<&str>| lists.refresh(plane.map(Http::new).as_ref(), &Http::new(&replayed.url));
    // While the plane does not work, the replay is all there is.
    let nobody = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let first = refresh(Some(&nobody)).unwrap();
    assert_eq!((first.peers.version, first.changed, first.on_plane), (3, true, false));
    replayed.state().held.clear();
    let next = refresh(Some(&seed.url)).unwrap();
    assert_eq!((next.peers.version, next.changed, next.on_plane), (9, true, true));
    assert!(replayed.state().held.is_empty(), "the boot network was not asked");
    // What it held, and at once what it holds now.
    let told: Vec<u64> = seed.state().held.iter().map(|h| h.version).collect();
    assert_eq!(told, [3, 9]);
    assert!(!refresh(Some(&seed.url)).unwrap().changed);
}

/// M6: a seed with an older list is shown the node's, and its answer above that is followed.
#[test]
fn a_seed_that_was_restored_is_shown_the_newer_list() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, key) = (Mock::start(Lie::None), SigningKey::from_bytes(&[7; 32]));
    let identity = seed.identity();
    let lists = Lists { dir: &dir, identity: &identity, key: &key };
    let refresh = || lists.refresh(None, &Http::new(&seed.url));
    assert_eq!(refresh().unwrap().peers.version, 9);
    seed.state().version = 4;
    // It does not learn from it: the node keeps what it has.
    assert!(refresh().is_err());
    assert_eq!(dir.peers(&identity).unwrap().version, 9);
    let mut above = dir.peers(&identity).unwrap();
    above.version = 10;
    seed.state().above = Some(above);
    assert_eq!(refresh().unwrap().peers.version, 10);
    let key = seed.state().site.verifying_key();
    let shown: Vec<u64> = seed.state().shown.iter().map(|s| s.open(&key).unwrap().version).collect();
    assert_eq!(shown, [9, 9]);
}

#[test]
fn the_seed_is_found_on_the_control_plane() {
    let machine = Machine::new(16);
    let seed = Mock::start(Lie::None);
    let mut identity = seed.identity();
    let peers: cluster_seed::peers::PeersFile = serde_json::from_str(
        r#"{"epoch":1,"version":1,"planes":{},"nodes":{"seed.lan":{"endpoint":null,"role":"seed","wg1":"10.78.0.1","keys":{}}}}"#,
    )
    .unwrap();
    let url = |identity: &_| payload::node::lists::plane_url(&machine.root, identity, &peers);
    assert_eq!(url(&identity), None, "there is no interface yet");
    fs::create_dir_all(machine.root.join("sys/class/net/wg1")).unwrap();
    assert_eq!(url(&identity).as_deref(), Some("http://10.78.0.1"));
    identity.info.seed_url = "http://10.44.0.1:8080".into();
    assert_eq!(url(&identity).as_deref(), Some("http://10.78.0.1:8080"));
}
