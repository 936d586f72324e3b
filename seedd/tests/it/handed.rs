//! What root makes in a data directory that belongs to the user of the seed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::process::Command;

use camino::Utf8Path;
use site::Site;

use crate::support::sites::{A, temp};

/// An ordinary user without a name.
const NOBODY: u32 = 65_534;

fn seedd(data: &Utf8Path, words: &[&str]) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_seedd")).args(words).args(["--data", data.as_str()]).output().unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn owner(path: &Utf8Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

/// Files and folders of root below a folder.
fn of_root(dir: &Utf8Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in dir.read_dir_utf8().unwrap().map(Result::unwrap) {
        if owner(entry.path()) == 0 {
            found.push(entry.path().to_string());
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(of_root(entry.path()));
        }
    }
    found
}

#[test]
fn what_root_makes_in_the_directory_of_another_user_belongs_to_that_user_after_each_command() {
    if !nix::unistd::geteuid().is_root() {
        return kubedos_skip::skip("root", "gives files to another user");
    }
    let temp = temp();
    let (data, secret, outside) = (temp.path.join("site"), temp.path.join("passphrase"), temp.path.join("outside"));
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::write(&secret, A).unwrap();
    fs::write(&outside, "of root").unwrap();

    let (ok, said) = seedd(&data, &["init", "--passphrase-file", secret.as_str()]);
    assert!(ok, "{said}");
    assert_eq!(of_root(&data), Vec::<String>::new());
    assert!(data.join("seed.db").exists() && owner(&data.join("keys")) == NOBODY);

    // A command that fails has written too, and links are given without what they point to.
    fs::create_dir_all(data.join("blobs/sha256/ab")).unwrap();
    fs::write(data.join("blobs/sha256/ab/part"), "x").unwrap();
    symlink(&outside, data.join("link")).unwrap();
    let (ok, said) = seedd(&data, &["payload", "use", &"0".repeat(64)]);
    assert!(!ok, "{said}");
    assert_eq!(of_root(&data), Vec::<String>::new());
    assert_eq!((owner(&data.join("link")), owner(&outside)), (NOBODY, 0));

    // The owners in a root file system become part of an image, perhaps of one that is being built now.
    let (tools, building) = (data.join("cache/toolroot-0-0/usr"), data.join("tmp/artifact-x/root"));
    fs::create_dir_all(&tools).unwrap();
    fs::create_dir_all(&building).unwrap();
    fs::write(data.join("tmp/importing.lock"), "").unwrap();
    let (ok, said) = seedd(&data, &["hand-over"]);
    assert!(ok, "{said}");
    assert_eq!((owner(&tools), owner(&building), owner(&data.join("tmp/importing.lock"))), (0, 0, NOBODY));

    // A directory that has no site, named by mistake, is left alone, also by a command that fails for this reason.
    let home = temp.path.join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("of-root"), "").unwrap();
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    assert!(!seedd(&home, &["token", "list"]).0 && seedd(&home, &["hand-over"]).0);
    assert_eq!(owner(&home.join("of-root")), 0);

    // Nobody else is to run the seed of a directory that belongs to root.
    chown(&data, Some(0), Some(0)).unwrap();
    fs::write(data.join("of-root"), "").unwrap();
    assert!(seedd(&data, &["hand-over"]).0);
    assert_eq!(owner(&data.join("of-root")), 0);
}

#[test]
fn root_closes_no_folder_that_a_link_in_the_data_directory_points_to() {
    if !nix::unistd::geteuid().is_root() {
        return kubedos_skip::skip("root", "another user changes no folder of root");
    }
    let temp = temp();
    let (site, elsewhere) = (Site::new(&temp.path.join("site")), temp.path.join("elsewhere"));
    let set = |path: &Utf8Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    site.make_folders().unwrap();
    fs::create_dir(&elsewhere).unwrap();
    set(&elsewhere, 0o755);
    fs::remove_dir(site.join("tmp")).unwrap();
    symlink(&elsewhere, site.join("tmp")).unwrap();
    let error = site.protect().unwrap_err();
    assert!(site::hint::of(&error).is_some_and(|hint| hint.contains("mount --bind")), "{error:#}");
    assert_eq!(mode(&elsewhere), 0o755);
    // The data directory itself may be a link.
    fs::remove_file(site.join("tmp")).unwrap();
    fs::create_dir(site.join("tmp")).unwrap();
    set(&site.data, 0o755);
    symlink(&site.data, temp.path.join("link")).unwrap();
    Site::new(&temp.path.join("link")).protect().unwrap();
    assert_eq!(mode(&site.data), 0o700);
}
