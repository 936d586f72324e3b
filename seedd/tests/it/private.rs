//! What a running seed keeps from other users and other processes of this machine.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use seedd::app::App;
use seedd::app::auth::hash_password;
use site::Site;
use site::mode::Mode;
use site::store::{Store, StoreError};
use web::api::{ApiError, Login, Origin};

use crate::support::sites::{A, Temp, empty, temp};

/// An ordinary user without a name.
const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(60);

/// A site made by `seedd init` and served by `seedd serve`, under the umask of most systems.
struct Running {
    temp: Temp,
    site: Site,
    daemon: Child,
    /// What both run as.
    uid: u32,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A program of user `uid`, started by a shell that sets the umask.
fn command(uid: u32, program: &Utf8Path, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$0\" \"$@\"", program.as_str()]).args(args).stdin(Stdio::null());
    if nix::unistd::geteuid().is_root() {
        command.uid(uid).gid(uid);
    }
    command
}

/// A standby's daemon opens nothing but its pages and its control socket, so it needs no privilege.
fn running(uid: u32) -> Running {
    let temp = temp();
    let own = Utf8PathBuf::from(env!("CARGO_BIN_EXE_seedd"));
    let program = temp.path.join("seedd");
    // Another user may not enter the build's folder.
    fs::copy(&own, &program).unwrap();
    let (secret, work) = (temp.path.join("passphrase"), temp.path.join("work"));
    fs::write(&secret, A).unwrap();
    fs::create_dir(&work).unwrap();
    if nix::unistd::geteuid().is_root() {
        for path in [&temp.path, &secret, &work] {
            chown(path, Some(uid), Some(uid)).unwrap();
        }
    }
    let data = work.join("site");
    let made = command(uid, &program, &["init", "--data", data.as_str(), "--passphrase-file", secret.as_str()]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let site = Site::new(&data);
    open_to_its_owner_only(&data);
    Store::open(&site.database())
        .unwrap()
        .write(|tx| Mode::Standby.set(tx).map(drop))
        .unwrap_or_else(|e: StoreError| panic!("{e}"));
    give(&data, uid);
    let args =
        ["serve", "--data", data.as_str(), "--iface", "lo", "--pages", "127.0.0.1:0", "--passphrase-file", secret.as_str()];
    let daemon = command(uid, &program, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running { temp, site, daemon, uid };
    let began = Instant::now();
    while !appliance::control::Client::new(&running.site.control_socket()).answers() {
        assert!(running.daemon.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE, "the daemon does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    running
}

fn give(path: &Utf8Path, uid: u32) {
    if nix::unistd::geteuid().is_root() {
        let files = path.read_dir_utf8().unwrap().map(|e| e.unwrap().into_path());
        files.for_each(|file| chown(file, Some(uid), Some(uid)).unwrap());
    }
}

/// There is no exception: packages, boot files and the time leave by the network, and nobody else reads the directory.
fn open_to_its_owner_only(dir: &Utf8Path) {
    let meta = fs::symlink_metadata(dir).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o700, "{dir}");
    for entry in dir.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            open_to_its_owner_only(entry.path());
        } else if !kind.is_symlink() {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path());
        }
    }
}

fn proc(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
}

#[test]
fn a_site_is_open_to_its_owner_only_when_fresh_and_when_served() {
    let running = running(nix::unistd::geteuid().as_raw());
    open_to_its_owner_only(&running.site.data);
    // A version before left the directory open.
    let (data, pid) = (&running.site.data, running.daemon.id());
    fs::set_permissions(data, fs::Permissions::from_mode(0o755)).unwrap();
    running.site.make_folders().unwrap();
    assert_eq!(fs::metadata(data).unwrap().permissions().mode() & 0o777, 0o700);

    let limits = proc(pid, "limits");
    let line =
        |name: &str| limits.lines().find(|l| l.starts_with(name)).unwrap().split_whitespace().rev().take(3).collect::<Vec<_>>();
    assert_eq!(line("Max core file size")[1..], ["0", "0"], "{limits}");
    if line("Max locked memory")[1..] == ["unlimited", "unlimited"] {
        let status = proc(pid, "status");
        let locked = status.lines().find_map(|l| l.strip_prefix("VmLck:")).unwrap().trim();
        assert_ne!(locked, "0 kB", "memory is not locked though it may be");
    }
}

#[test]
fn no_process_of_the_same_user_reads_the_memory_of_the_daemon() {
    let me = nix::unistd::geteuid();
    let running = running(if me.is_root() { NOBODY } else { me.as_raw() });
    let reads = |pid: u32, file: &str| {
        let path = format!("/proc/{pid}/{file}");
        command(running.uid, Utf8Path::new("head"), &["-c", "1", &path]).output().unwrap().status.success()
    };
    // The environment is guarded like the memory, and no other protection of the kernel hides it.
    let mut other = command(running.uid, Utf8Path::new("sleep"), &["60"]).spawn().unwrap();
    let began = Instant::now();
    let open = loop {
        let open = reads(other.id(), "environ");
        if open || began.elapsed() > PATIENCE {
            break open;
        }
    };
    let _ = other.kill();
    let _ = other.wait();
    assert!(open, "a process of the same user can be read here");
    assert!(!reads(running.daemon.id(), "environ") && !reads(running.daemon.id(), "mem"));
    let owner = fs::metadata(format!("/proc/{}/mem", running.daemon.id())).unwrap().uid();
    assert_eq!(owner, 0, "the kernel gives the files of a process that is not dumpable to root");
    assert!(running.temp.path.exists());
}

#[test]
fn a_sealed_seed_has_no_keys_and_the_same_certificate_at_every_start() {
    let temp = temp();
    let site = empty(&temp.path.join("site"), "site-a", A);
    let http = "10.44.0.1:80".parse().unwrap();
    let app = App::open(site.clone(), http).unwrap();
    assert_eq!(app.tls.sealed_fingerprint(), None, "nobody has opened the keys yet");
    app.unseal_with(A, "test").unwrap();
    let (open, sealed) = (app.tls.fingerprint(), app.tls.sealed_fingerprint().unwrap());
    assert_ne!(open, sealed);
    assert!(app.seal("test") && app.is_sealed());
    assert!(matches!(app.with_keys(|_| Ok(())), Err(ApiError::Sealed)));
    assert_eq!(app.tls.fingerprint(), sealed);
    assert!(!app.seal("test"), "it is sealed already");
    let told = app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    assert_eq!(told.iter().filter(|e| e.kind == "seed.sealed").count(), 1);
    drop(app);
    for _ in 0..2 {
        let again = App::open(site.clone(), http).unwrap();
        assert_eq!((again.tls.fingerprint(), again.is_sealed()), (sealed.clone(), true));
    }
    let again = App::open(site, http).unwrap();
    again.unseal_with(A, "test").unwrap();
    assert_eq!(again.tls.sealed_fingerprint(), Some(sealed));
}

#[test]
fn the_password_of_the_nodes_grub_is_shown_by_an_unsealed_seed_only_and_the_log_says_so() {
    let temp = temp();
    let app = App::open(empty(&temp.path.join("site"), "site-a", A), "10.44.0.1:80".parse().unwrap()).unwrap();
    assert!(matches!(app.show_grub_password("test"), Err(ApiError::Sealed)));
    app.unseal_with(A, "test").unwrap();
    let password = app.show_grub_password("ada").unwrap();
    assert_eq!((password.len(), &password), (16, &app.show_grub_password("ada").unwrap()), "one for all nodes");
    let told = app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    let shown: Vec<_> = told.iter().filter(|e| e.kind == "grub.password").collect();
    assert_eq!((shown.len(), shown[0].actor.as_deref()), (2, Some("ada")));
    assert!(!told.iter().any(|e| e.text.contains(password.as_str())));
    assert!(!holds(&app.site.data, &password), "the data directory has it as ciphertext only");
    assert!(app.seal("test"));
    assert!(matches!(app.show_grub_password("test"), Err(ApiError::Sealed)));
}

#[test]
fn passwords_that_fail_at_one_account_lock_out_neither_another_nor_the_passphrase() {
    let temp = temp();
    let app = App::open(empty(&temp.path.join("site"), "site-a", A), "10.44.0.1:80".parse().unwrap()).unwrap();
    for user in ["ada", "eve"] {
        let hash = hash_password("correct horse battery").unwrap();
        app.store.write(|tx| tx.add_admin(user, &hash, 0)).unwrap_or_else(|e: StoreError| panic!("{e}"));
    }
    // The end of a tunnel: everybody has this address.
    let from = "127.0.0.1".parse().unwrap();
    let login = |user: &str, password: &str| {
        app.log_in(&Origin::new(from, "test"), &Login { user: user.into(), password: password.into() })
    };
    for _ in 0..6 {
        assert!(
            matches!(login("eve", "wrong"), Err(ApiError::Forbidden { .. }))
                || matches!(login("eve", "wrong"), Err(ApiError::TooMany { .. }))
        );
    }
    assert!(matches!(login("eve", "correct horse battery"), Err(ApiError::TooMany { .. })));
    assert!(login("ada", "correct horse battery").is_ok());
    // Logins between them free no guess at the passphrase.
    let mut refused = 0;
    for _ in 0..7 {
        assert!(login("ada", "correct horse battery").is_ok());
        refused += usize::from(matches!(app.unseal_by(from, "ada", "wrong passphrase"), Err(ApiError::TooMany { .. })));
    }
    assert!(refused > 0, "seven guesses were free");
}

fn holds(dir: &Utf8Path, secret: &str) -> bool {
    dir.read_dir_utf8().unwrap().map(Result::unwrap).any(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => holds(entry.path(), secret),
        kind if kind.is_file() => fs::read(entry.path()).unwrap().windows(secret.len()).any(|w| w == secret.as_bytes()),
        _ => false,
    })
}

#[test]
fn a_drill_that_is_killed_leaves_no_passphrase() {
    let temp = temp();
    let site = empty(&temp.path.join("site"), "site-a", A);
    let (program, secret, marker) = (temp.path.join("seedd"), temp.path.join("passphrase"), temp.path.join("marker"));
    fs::copy(env!("CARGO_BIN_EXE_seedd"), &program).unwrap();
    fs::write(&secret, A).unwrap();
    // A lab that notes what it was given, outside the site, and then works for as long as the seed's program lives.
    let lab = temp.path.join("kubedos-lab");
    let script = format!(
        "#!/bin/sh\n[ -e {marker} ] && exit 1\nwhile [ \"$1\" != --passphrase-file ]; do shift; done\ncat \"$2\" > {marker}.part\n\
         mv {marker}.part {marker}\nwhile kill -0 $PPID; do sleep 0.1; done\n"
    );
    fs::write(&lab, script).unwrap();
    fs::set_permissions(&lab, fs::Permissions::from_mode(0o755)).unwrap();
    let drill = || {
        let mut command = Command::new(&program);
        command.args(["drill", "--data", site.data.as_str(), "--passphrase-file", secret.as_str()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let left =
        || site.join("tmp").read_dir_utf8().unwrap().filter(|e| e.as_ref().unwrap().file_name().starts_with("drill-")).count();
    let mut running = drill();
    let began = Instant::now();
    while !marker.exists() {
        assert!(running.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE, "the lab was not started");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(fs::read_to_string(&marker).unwrap(), A, "the lab gets the passphrase");
    assert!(!holds(&site.data, A), "while it runs");
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(left() == 1 && !holds(&site.data, A), "after it was killed");
    assert!(!drill().wait().unwrap().success(), "this lab works once");
    assert_eq!(left(), 0, "the next drill clears away what the first one left");
}
