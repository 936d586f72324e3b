use std::sync::atomic::{AtomicU64, Ordering};

use cluster_seed::progress::Quiet;

use super::*;

fn dir() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

#[test]
fn a_written_file_has_its_mode_and_leaves_nothing_beside_it() {
    let (_keep, dir) = dir();
    let path = dir.join("f");
    for mode in [PRIVATE, PUBLIC, PRIVATE] {
        write_atomic(&path, b"12345", mode).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
    assert!(write_atomic(&path.join("below-a-file"), b"x", PRIVATE).is_err());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn a_read_ends_at_its_limit() {
    let (_keep, dir) = dir();
    let path = dir.join("f");
    write_synced(&path, b"12345").unwrap();
    assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
    assert_eq!(read_limited(&path, u64::MAX).unwrap(), b"12345");
    assert!(matches!(read_limited(&path, 4), Err(FileError::TooLarge { limit: 4, .. })));
    assert!(read_limited(&dir.join("none"), 4).unwrap_err().is_not_found());
}

#[test]
fn what_another_user_planted_is_neither_followed_nor_in_the_way() {
    let (_keep, dir) = dir();
    let (path, victim) = (dir.join("key"), dir.join("victim"));
    fs::write(&victim, b"precious").unwrap();
    // The name that was used before held a process id, which anybody can see.
    let guessed = dir.join(format!(".key.{}.part", std::process::id()));
    fs::create_dir_all(guessed.join("full")).unwrap();
    write_atomic(&path, b"new", PRIVATE).unwrap();
    replace_unsynced(&path, b"newer").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newer");
    let names = [temporary(&path).unwrap(), temporary(&path).unwrap()];
    assert!(names[0] != names[1] && names.iter().all(|n| n.parent() == Some(&dir) && n.as_str().ends_with(".part")));
    // Even a name that was guessed gains nothing.
    std::os::unix::fs::symlink(&victim, &names[0]).unwrap();
    assert_eq!(write_new(&names[0], b"x", PUBLIC, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(write_synced(&names[0], b"x").is_err());
    // The file itself may be a link: it is replaced, not followed.
    std::os::unix::fs::symlink(&victim, dir.join("link")).unwrap();
    write_atomic(&dir.join("link"), b"own", PRIVATE).unwrap();
    assert!(!fs::symlink_metadata(dir.join("link")).unwrap().is_symlink());
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_digest_is_reported_and_can_be_cancelled() {
    struct Cancel(AtomicU64, bool);
    impl Progress for Cancel {
        fn begin(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, n: u64) {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
        fn end(&self) {}
        fn say(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            self.1
        }
    }
    let (_keep, dir) = dir();
    let path = dir.join("f");
    write_synced(&path, b"abc").unwrap();
    let progress = Cancel(AtomicU64::new(0), false);
    let (size, digest) = digest_file(&path, &progress).unwrap();
    // FIPS 180-2, appendix B.1.
    assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((size, progress.0.into_inner()), (3, 3));
    assert!(matches!(digest_file(&path, &Cancel(AtomicU64::new(0), true)), Err(FileError::Cancelled)));
    assert_eq!(digest_file(&path, &Quiet).unwrap().1, digest);
}

#[test]
fn an_existing_name_is_kept_by_link() {
    let (_keep, dir) = dir();
    write_synced(&dir.join("a"), b"a").unwrap();
    write_synced(&dir.join("b"), b"b").unwrap();
    link(&dir.join("a"), &dir.join("b")).unwrap();
    assert_eq!(fs::read(dir.join("b")).unwrap(), b"b");
    link(&dir.join("a"), &dir.join("c")).unwrap();
    assert_eq!(fs::read(dir.join("c")).unwrap(), b"a");
    link_creating(&dir.join("a"), &dir.join("new/folder/a")).unwrap();
    assert_eq!(fs::read(dir.join("new/folder/a")).unwrap(), b"a");
    assert!(free_space(&dir).unwrap() > 0);
}

#[test]
fn two_folders_exchange_their_names() {
    let (_keep, dir) = dir();
    for name in ["a", "b"] {
        create_dirs(&dir.join(name)).unwrap();
        write_synced(&dir.join(name).join("file"), name.as_bytes()).unwrap();
    }
    exchange(&dir.join("a"), &dir.join("b")).unwrap();
    for (name, content) in [("a", "b"), ("b", "a")] {
        assert_eq!(read_limited(&dir.join(name).join("file"), 9).unwrap(), content.as_bytes());
    }
    assert!(exchange(&dir.join("a"), &dir.join("none")).unwrap_err().is_not_found());
}

#[test]
fn a_link_is_never_followed_when_a_file_is_opened_for_writing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let (target, link) = (dir.join("target"), dir.join("link"));
    fs::write(&target, b"theirs").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for start in [Start::New, Start::Empty, Start::Keep, Start::End] {
        let refused = open(&link, start, PRIVATE).unwrap_err();
        assert!(start == Start::New || refused.to_string().contains("symbolic link"), "{start:?}: {refused}");
    }
    fs::write(dir.join("ours"), b"ours").unwrap();
    assert!(copy(&dir.join("ours"), &link).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"theirs");
    copy(&dir.join("ours"), &dir.join("copied")).unwrap();
    assert_eq!(fs::read(dir.join("copied")).unwrap(), b"ours");
    let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (name, start) in [("a", Start::New), ("b", Start::Empty), ("c", Start::Keep), ("d", Start::End)] {
        open(&dir.join(name), start, PRIVATE).unwrap().write_all(b"x").unwrap();
        assert_eq!(mode(&dir.join(name)), PRIVATE, "{start:?}");
    }
}

#[test]
fn a_file_written_like_another_has_its_mode_and_nothing_that_a_link_points_to_is_read_or_changed() {
    let (_keep, dir) = dir();
    let (own, victim, link) = (dir.join("own"), dir.join("victim"), dir.join("link"));
    fs::write(&own, b"first").unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o640)).unwrap();
    let (bytes, held) = read_with_owner(&own, 5).unwrap();
    assert_eq!(bytes, b"first");
    assert!(matches!(read_with_owner(&own, 4), Err(FileError::TooLarge { limit: 4, .. })));
    fs::write(&victim, b"precious").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    assert!(read_with_owner(&link, 100).is_err());
    // The name itself may be a link: it is replaced.
    write_like(&link, b"second", &held).unwrap();
    let mode = |path: &Utf8Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((fs::read(&link).unwrap(), mode(&link)), (b"second".to_vec(), 0o640));
    assert_eq!((fs::read(&victim).unwrap(), mode(&victim)), (b"precious".to_vec(), 0o600));
    // What somebody put in the place of the new file before it was opened is no new file.
    std::os::unix::fs::symlink(&victim, dir.join("planted")).unwrap();
    assert_eq!(write_new_like(&dir.join("planted"), b"x", &held).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((fs::read(&victim).unwrap(), mode(&victim)), (b"precious".to_vec(), 0o600));
}

#[test]
fn the_mode_of_a_folder_is_set_but_not_that_of_one_that_a_link_points_to() {
    let (_keep, dir) = dir();
    let (folder, link, file) = (dir.join("folder"), dir.join("link"), dir.join("file"));
    let mode = || fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
    fs::create_dir(&folder).unwrap();
    set_dir_mode(&folder, 0o755).unwrap();
    assert_eq!(mode(), 0o755);
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    assert!(set_dir_mode(&link, 0o700).is_err() && mode() == 0o755);
    fs::write(&file, b"").unwrap();
    assert!(set_dir_mode(&file, 0o700).is_err());
    set_dir_mode(&folder, 0o700).unwrap();
    assert_eq!(mode(), 0o700);
}
