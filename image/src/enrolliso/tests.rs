use std::collections::BTreeMap;
use std::fs;

use cluster_seed::manifest::BootFile;
use cluster_seed::seal::SigningKey;

use super::*;
use crate::Dirs;
use crate::iso::{add_files, boot};

const KEY: [u8; 32] = [7; 32];

fn netboot(dirs: &Dirs) -> NetbootManifest {
    let id = Digest::of(b"netboot");
    let place = dirs.netboot.join(id.to_string());
    fs::create_dir_all(&place).unwrap();
    let files = ["initrd.img", "shimx64.efi", "undionly.kpxe", "vmlinuz"].map(|name| {
        fs::write(place.join(name), format!("the {name}")).unwrap();
        BootFile { name: name.to_owned(), size: 4 + name.len() as u64, sha256: Digest::of(format!("the {name}").as_bytes()) }
    });
    NetbootManifest { id, snapshot: Digest::of(b"s"), arch: ARCH.to_owned(), kernel: "6.12".to_owned(), files: files.into() }
}

fn medium(netboot: &NetbootManifest) -> EnrollMedium<'_> {
    EnrollMedium { site: "site-a", seed: "http://10.44.0.1", parameters: "console=tty0 console=ttyS1,115200n8 quiet", netboot }
}

fn key() -> String {
    key_text(&SigningKey::from_bytes(&KEY).verifying_key())
}

/// Every file that the directory of the ISO has before the loaders of the snapshot are added.
fn tree(dir: &Utf8Path) -> BTreeMap<String, Vec<u8>> {
    let dirs = Dirs::under(dir);
    let netboot = netboot(&dirs);
    let what = medium(&netboot);
    let mut stage = Stage::new(&dir.join("iso"));
    stage.write("README.txt", readme(&what, &key()).as_bytes()).unwrap();
    add_files(&mut stage, &dirs, &netboot, Digest::of(b"id"), &menu(&what, &key()).unwrap()).unwrap();
    stage.files().into_iter().map(|f| (f.name.clone(), fs::read(dir.join("iso").join(&f.name)).unwrap())).collect()
}

#[test]
fn the_medium_has_kernel_agent_and_menu_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(Utf8Path::from_path(dir.path()).unwrap());
    let mark = boot::mark(Digest::of(b"id"));
    let mut names = vec![
        "EFI/BOOT/grub.cfg",
        "EFI/debian/grub.cfg",
        "README.txt",
        &mark,
        "boot/grub/grub.cfg",
        "boot/initrd.img",
        "boot/vmlinuz",
    ];
    names.sort_unstable();
    assert_eq!(tree.keys().map(String::as_str).collect::<Vec<_>>(), names);
    assert_eq!((&tree["boot/vmlinuz"][..], &tree["boot/initrd.img"][..]), (&b"the vmlinuz"[..], &b"the initrd.img"[..]));
    // The private half of the site key, in the forms in which it could get there.
    for secret in [KEY.to_vec(), hex::encode(KEY).into_bytes()] {
        assert!(tree.values().all(|bytes| !bytes.windows(secret.len()).any(|w| w == secret)));
    }
}

#[test]
fn the_command_line_has_the_sites_key_and_no_other_can_follow_it() {
    let dir = tempfile::tempdir().unwrap();
    let netboot = netboot(&Dirs::under(Utf8Path::from_path(dir.path()).unwrap()));
    let text = menu(&medium(&netboot), &key()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("linux ")).collect();
    let line = format!(
        "    linux /boot/vmlinuz kubedos.seed=http://10.44.0.1 console=tty0 console=ttyS1,115200n8 quiet panic=30 kubedos.site={}",
        key()
    );
    assert_eq!(lines, [line]);
    // The command line as the agent parses it.
    let parsed = payload::cmdline::Cmdline::parse(lines[0]).unwrap();
    assert_eq!((parsed.seed.as_str(), parsed.site), ("http://10.44.0.1", Some(SigningKey::from_bytes(&KEY).verifying_key())));
    let other = key_text(&SigningKey::from_bytes(&[8; 32]).verifying_key());
    let parameters = format!("kubedos.site={other}");
    let text = menu(&EnrollMedium { parameters: &parameters, ..medium(&netboot) }, &key()).unwrap();
    let line = text.lines().find(|l| l.trim_start().starts_with("linux ")).unwrap();
    assert_eq!(payload::cmdline::Cmdline::parse(line).unwrap().site, parsed.site);
}

#[test]
fn the_menu_names_site_and_key_and_prefers_an_installed_node() {
    let dir = tempfile::tempdir().unwrap();
    let netboot = netboot(&Dirs::under(Utf8Path::from_path(dir.path()).unwrap()));
    let text = menu(&medium(&netboot), &key()).unwrap();
    assert!(text.contains(&format!("menuentry 'Enroll at site-a (site key {}...)' --id enroll {{\n", &key()[..16])));
    assert!(text.contains(&format!("echo 'Site key {}'\n", key())));
    // The first entry, unless there is a node on the disk.
    let (default, first) = (text.find("set default=0\n").unwrap(), text.find("menuentry").unwrap());
    let local = text.find("if search --no-floppy --label --set=disk kubedos-root; then\n    set default=local\nfi\n").unwrap();
    assert!(default < local && local < first && text[first..].starts_with("menuentry 'Enroll at"));
    assert!(text.contains("menuentry 'Start from the local disk' --id local {"));
    // A quote would end a title.
    assert!(text.lines().all(|l| l.matches('\'').count().is_multiple_of(2)));
    assert!(text.lines().filter(|l| l.starts_with("menuentry")).all(|l| l.len() < 100), "a title fits a line of the menu");
}

#[test]
fn a_command_line_at_the_limit_of_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let netboot = netboot(&Dirs::under(Utf8Path::from_path(dir.path()).unwrap()));
    let of = |n: usize| menu(&EnrollMedium { parameters: &"x".repeat(n), ..medium(&netboot) }, &key());
    let used = "kubedos.seed=http://10.44.0.1  panic=30 kubedos.site=".len() + key().len();
    for (len, fits) in [(MAX_CMDLINE - 2, true), (MAX_CMDLINE - 1, true), (MAX_CMDLINE, false)] {
        assert_eq!(of(len - used).is_ok(), fits, "{len}");
    }
}

#[test]
fn a_finished_medium_is_taken_only_if_it_is_intact_and_the_sites() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let (site_key, other) = (SigningKey::from_bytes(&KEY), SigningKey::from_bytes(&[8; 32]));
    let dirs = Dirs::under(dir);
    let inputs = |site_key| Inputs {
        arm64_agent: None,
        snapshot_dir: dir,
        snapshot_id: Digest::of(b"s"),
        suite: "kubedos",
        keyring: dir,
        agent: dir,
        dirs: &dirs,
        site_key,
        no_rescue: false,
    };
    let (file, id) = (dir.join("enroll-x.iso"), Digest::of(b"id"));
    let manifest = EnrollManifest {
        id,
        arch: ARCH.to_owned(),
        snapshot: Digest::of(b"s"),
        netboot: Digest::of(b"n"),
        size: 5,
        sha256: Digest::of(b"image"),
    };
    assert!(finished(&inputs(&site_key), id, &file).is_none());
    fs::write(&file, "image").unwrap();
    assert!(finished(&inputs(&site_key), id, &file).is_none(), "no manifest yet");
    store::write_sealed(&manifest_of(&file), &manifest, &site_key).unwrap();
    assert_eq!(finished(&inputs(&site_key), id, &file), Some(manifest));
    assert!(finished(&inputs(&other), id, &file).is_none() && finished(&inputs(&site_key), Digest::of(b"y"), &file).is_none());
    fs::write(&file, "imagE").unwrap();
    assert!(finished(&inputs(&site_key), id, &file).is_none());
}
