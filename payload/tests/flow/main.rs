//! Enrollment and installation against a seed that is honest, slow or hostile.

mod join;
mod lists;
mod mock;

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_seed::agent::ReportBody;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::pairing::PairingCode;
use cluster_seed::seal::{SigningKey, key_text};

use mock::machine::{Machine, OLD, place};
use mock::{Lie, MIB, Mock, image};
use payload::cmdline::Cmdline;
use payload::http::Http;
use payload::install::InstallError;
use payload::install::chunks::ChunkError;
use payload::node::lists::Lists;
use payload::ram::enroll::EnrollError;
use payload::ram::session::{Session, SessionError, WrongCode};
use payload::ram::site::Source;
use payload::ram::{Drivers, Ram};
use payload::state::NodeDir;

/// A hostile behaviour, and whether an error matches it.
type Case<E> = (Lie, fn(&E) -> bool);

fn bodies(mock: &Mock) -> Vec<ReportBody> {
    mock.state().reports.iter().map(|r| r.body.clone()).collect()
}

#[test]
fn a_planned_machine_tells_its_code_if_its_boot_script_allows_it_and_only_if_it_is_asked() {
    for (asks, may_tell, told) in [(true, true, true), (true, false, false), (false, true, false)] {
        let (mock, mut machine) = (Mock::start(Lie::None), Machine::new(16));
        (mock.state().asks, machine.may_tell) = (asks, may_tell);
        machine.enroll(&mock).unwrap();
        let printed = machine.printed();
        let shown = printed.lines().find_map(|l| l.trim_end().strip_prefix("kubedos: pairing code ")).map(str::to_owned);
        assert_eq!(mock.state().told_code, shown.filter(|_| told), "{asks} {may_tell}");
        assert_eq!(printed.contains("planned"), told, "{printed}");
    }
}

#[test]
fn a_machine_is_approved_and_gets_its_identity() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    let session = machine.enroll(&mock).unwrap();
    let printed = machine.printed();
    let codes: Vec<_> = printed.lines().filter_map(|l| l.trim_end().strip_prefix("kubedos: pairing code ")).collect();
    assert!(codes.len() == 1 && codes[0].starts_with("12-") && codes[0].parse::<PairingCode>().is_ok(), "{printed}");
    // The secret is on the console but never on the wire.
    let (heard, secret) = (String::from_utf8_lossy(&mock.state().heard).into_owned(), &codes[0][3..]);
    assert!(heard.len() > 500 && !heard.contains(secret) && !heard.contains(&secret.replace('-', "")), "{secret}: {heard}");
    let approved = session.open().unwrap();
    let (order, identity) = (approved.order(), approved.identity());
    assert_eq!((order.disk.as_str(), identity.info.hostname.as_str()), ("vda", "n1.lan"));
    let state = mock.state();
    assert_eq!((state.confirms, state.mismatches), (1, 0));
    drop(state);
    // `install` later reads the same session.
    let run = machine.root.join("run");
    session.save(&run).unwrap();
    let again = Session::load(&run).unwrap();
    assert_eq!(again.open().unwrap().identity().info, identity.info);
    assert_eq!(key_text(&again.node_key().verifying_key()), key_text(&session.node_key().verifying_key()));
}

#[test]
fn a_claim_with_a_lost_answer_is_repeated_with_the_same_nonce() {
    let (mock, machine) = (Mock::start(Lie::LoseClaim), Machine::new(16));
    machine.enroll(&mock).unwrap();
    let state = mock.state();
    assert_eq!(state.claims.len(), 2);
    assert_eq!(state.claims[0].nonce, state.claims[1].nonce);
}

#[test]
fn a_machine_waits_after_a_lost_answer_and_for_a_sealed_seed() {
    // If only the answer was lost, the status shows that the seed has it.
    for (lie, confirms) in [(Lie::LoseConfirm, 1), (Lie::Sealed, 2)] {
        let (mock, machine) = (Mock::start(lie), Machine::new(16));
        machine.enroll(&mock).unwrap();
        let state = mock.state();
        assert_eq!((state.confirms, state.mismatches, state.claims.len()), (confirms, 0, 1), "{lie:?}");
    }
}

#[test]
fn a_machine_waits_for_a_restarting_seed() {
    let (mock, machine) = (Mock::start(Lie::Restarting), Machine::new(16));
    machine.enroll(&mock).unwrap();
    assert!(machine.printed().contains("kubedos: step waiting for the seed"));
    machine.install(&Mock::start(Lie::Restarting), &place).unwrap();
}

#[test]
fn a_hostile_seed_is_refused() {
    use EnrollError as E;
    let expected: &[Case<E>] = &[
        (Lie::Deny, |e| matches!(e, E::Refused { state: EnrollmentState::Denied, reason } if reason == "not ours")),
        (Lie::Stolen, |e| matches!(e, E::Taken)),
        (Lie::ApprovesAtOnce, |e| matches!(e, E::Unconfirmed { state: EnrollmentState::Approved })),
        (Lie::Guesses, |e| matches!(e, E::WrongCode(WrongCode::Confirmation))),
        (Lie::Reflects, |e| matches!(e, E::WrongCode(WrongCode::Message(_)))),
        (Lie::OfferChanged, |e| matches!(e, E::WrongCode(WrongCode::Confirmation))),
        (Lie::OtherOrder, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherName, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherRole, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherSigner, |e| matches!(e, E::Session(SessionError::Seal(_)))),
        (Lie::OtherSiteKeyInside, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherEnrollment, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherEnrollmentInside, |e| matches!(e, E::Session(SessionError::Mismatch(_)))),
        (Lie::OtherMachine, |e| matches!(e, E::Session(SessionError::Identity(_)))),
    ];
    for (lie, fits) in expected {
        let error = Machine::new(16).enroll(&Mock::start(*lie)).err().unwrap_or_else(|| panic!("{lie:?} was accepted"));
        assert!(fits(&error), "{lie:?}: {error:?}");
    }
}

#[test]
fn an_honest_seed_installs_every_byte() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    machine.install(&mock, &place).unwrap();
    let disk = machine.disk();
    let names = b"node.key identity.json grub-user.cfg";
    let mut expected = image();
    expected[9 * MIB..9 * MIB + names.len()].copy_from_slice(names);
    assert!(disk[..10 * MIB] == expected[..], "the disk differs from the image");
    assert!(disk[10 * MIB..15 * MIB].iter().all(|b| *b == OLD) && disk[15 * MIB..].iter().all(|b| *b == 0));
    assert!(!mock.state().head_seen, "the first MiB was written before the end");
    let reports = bodies(&mock);
    // Zeros are not downloaded.
    let chunks = image();
    let held: usize = chunks.chunks(4 * MIB).filter(|c| c.iter().any(|b| *b != 0)).map(<[u8]>::len).sum();
    assert!(held < 10 * MIB, "the image has no zeros to skip");
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
fn an_error_before_the_wipe_leaves_the_disk_untouched() {
    use InstallError as E;
    let expected: &[Case<E>] = &[
        (Lie::ManifestByOther, |e| matches!(e, E::Seal(_))),
        (Lie::ManifestBitFlip, |e| matches!(e, E::Seal(_))),
        (Lie::ManifestOfOther, |e| matches!(e, E::OtherArtifact { .. })),
        (Lie::ManifestOfOtherArch, |e| matches!(e, E::OtherArch(arch) if arch == "arm64")),
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

/// A rogue seed, to which a rogue DHCP server directs the machine, signs everything with its own key. It does not know the
/// code on the console.
#[test]
fn hole_01_a_machine_obeys_no_seed_that_its_operator_did_not_type_the_code_at() {
    for lie in [Lie::ApprovesAtOnce, Lie::Guesses, Lie::Reflects, Lie::OfferChanged, Lie::Stolen, Lie::OtherOrder] {
        let (rogue, machine) = (Mock::start(lie), Machine::new(16));
        rogue.state().site = SigningKey::from_bytes(&[66; 32]);
        assert!(machine.follow(&rogue).is_err(), "{lie:?}: it was obeyed");
        assert!(machine.disk().iter().all(|b| *b == OLD), "{lie:?}: the disk was touched");
        assert!(rogue.state().reports.is_empty(), "{lie:?}: it received the start of the installation");
        assert!(!Session::path(&machine.root.join("run")).exists());
    }
    // With the same key, and the code entered by the operator, the seed is accepted.
    let (seed, machine) = (Mock::start(Lie::None), Machine::new(16));
    seed.state().site = SigningKey::from_bytes(&[66; 32]);
    machine.follow(&seed).unwrap();
    assert!(machine.disk()[..MIB] == image()[..MIB]);
}

#[test]
fn nothing_is_sent_to_a_seed_of_another_site() {
    let key = |n: u8| SigningKey::from_bytes(&[n; 32]).verifying_key();
    let (mock, mut machine) = (Mock::start(Lie::None), Machine::new(16));
    machine.sites = vec![(Source::CommandLine, key(1)), (Source::Firmware, key(2))];
    let error = machine.enroll(&mock).err().unwrap();
    assert!(matches!(&error, EnrollError::OtherSite { source_of_key: Source::Firmware, .. }), "{error}");
    assert!(error.to_string().contains(&key_text(&key(2))) && error.to_string().contains(&key_text(&key(1))), "{error}");
    assert_eq!(mock.state().reveals, 0);
    let heard = String::from_utf8_lossy(&mock.state().heard).into_owned();
    assert!(!heard.contains("age1") && !heard.contains("facts"), "{heard}");
    machine.sites.pop();
    machine.enroll(&mock).unwrap();
}

/// Enrolls for a day of simulated time; `key` is whether a person presses a key when asked.
fn reveals_within_a_day(lie: Lie, key: &dyn Fn() -> bool) -> (u32, String) {
    let (mock, machine) = (Mock::start(lie), Machine::new(1));
    let seconds = AtomicU64::new(0);
    let wait = |time: Duration| {
        seconds.fetch_add(time.as_secs(), Ordering::Relaxed);
    };
    let random = |bytes: &mut [u8]| {
        anyhow::ensure!(seconds.load(Ordering::Relaxed) < 24 * 3600, "the day is over");
        bytes.iter_mut().zip(0u8..).for_each(|(b, n)| *b = n);
        Ok(())
    };
    let key = || {
        let someone = key();
        if someone {
            wait(Duration::from_secs(24 * 3600));
        }
        someone
    };
    mock.state().console = Some(machine.root.join("console"));
    let run = machine.root.join("run");
    let console = machine.console();
    let ram = Ram { root: &machine.root, run: &run, console: &console, wait: &wait, random: &random, key: &key };
    let cmdline = Cmdline::parse(&format!("kubedos.seed={}", mock.url)).unwrap();
    let over = ram.enroll(&cmdline, None, &mut Drivers::default()).err().unwrap();
    assert_eq!(over.to_string(), "the day is over");
    let reveals = mock.state().reveals;
    (reveals, machine.printed())
}

#[test]
fn a_day_of_wrong_codes_is_five_codes_and_then_a_key_press() {
    let (reveals, printed) = reveals_within_a_day(Lie::Guesses, &|| true);
    assert_eq!(reveals, 5);
    assert!(printed.contains("the code changed 5 times") && printed.contains("press a key"), "{printed}");
    // Without a console.
    let (reveals, printed) = reveals_within_a_day(Lie::Guesses, &|| false);
    assert!((95..=100).contains(&reveals), "{reveals}");
    assert!(printed.contains("next attempt in 900 s"), "{printed}");
}

#[test]
fn hole_01_a_machine_installs_nothing_that_the_site_did_not_sign() {
    for lie in [Lie::ManifestUnsigned, Lie::ManifestByOther, Lie::ManifestBitFlip] {
        let (rogue, machine) = (Mock::start(lie), Machine::new(16));
        let error = machine.install(&rogue, &place).unwrap_err();
        assert!(matches!(error, InstallError::Seal(_)) && error.step() == "manifest", "{lie:?}: {error:?}");
        assert!(machine.disk().iter().all(|b| *b == OLD), "{lie:?}: the disk was touched");
        assert!(rogue.state().reports.is_empty(), "{lie:?}: it received the start of the installation");
    }
    // On a running node: the rogue's peer list is signed too, with its own key.
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, rogue) = (Mock::start(Lie::None), Mock::start(Lie::None));
    let identity = seed.identity();
    let key = SigningKey::from_bytes(&[7; 32]);
    let lists = Lists { dir: &dir, identity: &identity, key: &key, applied: payload::node::applied::ListId::NONE };
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
    // The kernel's size and the device's differ.
    let (result, _) = run(16, &|_, m| fs::write(m.root.join("dev/vda"), vec![OLD; 17 * MIB]).unwrap());
    assert!(matches!(result, Err(InstallError::OtherDisk { .. })));
}

#[test]
fn a_seed_of_an_older_epoch_is_refused_and_gets_the_proof() {
    let machine = Machine::new(16);
    let new = Mock::start(Lie::None);
    new.state().epoch = Some(2);
    machine.enroll(&new).unwrap();
    // An older seed of the same site, and one that cannot prove any epoch: it counts as epoch 1.
    for proof in [Some(1), None] {
        let old = Mock::start(Lie::None);
        old.state().epoch = proof;
        let refused = machine.enroll(&old).err().unwrap();
        assert!(matches!(refused, EnrollError::OldEpoch { epoch: 1, seen: 2 }), "{refused}");
        assert_eq!(old.state().told, [2]);
    }
    assert!(new.state().told.is_empty());
}
