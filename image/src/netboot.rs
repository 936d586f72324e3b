//! The netboot set: kernel, initramfs with the agent as its init, and iPXE's loaders.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::manifest::{BootFile, NetbootManifest};
use cluster_seed::progress::Progress;

use crate::error::{Error, io};
use crate::index::{Index, Package};
use crate::initramfs::Initramfs;
use crate::modules;
use crate::spec::{ARCH, NetbootSpec, RECIPE};
use crate::toolroot::{ToolRoot, unpack};
use crate::tree::{Meta, Tree, TreeError};
use crate::{Inputs, store};

const MANIFEST: &str = "netboot.json";
/// One module, decompressed.
const MAX_MODULE: u64 = 128 << 20;
const MAX_KERNEL: u64 = 256 << 20;
const MAX_AGENT: u64 = 256 << 20;
/// Small against level 19's time; the kernel's window limit (128 MiB) is far away.
const ZSTD_LEVEL: i32 = 17;
/// Loaders by the name they are served under and their place in Debian's packages [`LOADER_PACKAGES`].
const LOADERS: &[(&str, &str)] = &[
    ("undionly.kpxe", "usr/lib/ipxe/undionly.kpxe"),
    ("snponly.efi", "usr/lib/ipxe/snponly.efi"),
    ("ipxe.efi", "usr/lib/ipxe/ipxe.efi"),
    ("ipxe-arm64.efi", "usr/lib/ipxe/ipxe-arm64.efi"),
    ("shimx64.efi", "usr/lib/shim/shimx64.efi.signed"),
    // shim asks for its second stage by this name.
    ("grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
];
const LOADER_PACKAGES: [&str; 3] = ["ipxe", "shim-signed", "grub-efi-amd64-signed"];
/// Each takes memory for the window of its level.
const MAX_WORKERS: usize = 8;
/// Of depmod's files those that text readers need (busybox, the agent).
const DEPMOD_FILES: &[&str] = &[
    "modules.dep",
    "modules.alias",
    "modules.softdep",
    "modules.symbols",
    "modules.builtin",
    "modules.builtin.modinfo",
    "modules.order",
];

const UDHCPC_SCRIPT: &[u8] = b"#!/bin/sh
case \"$1\" in
deconfig)
    ip addr flush dev \"$interface\"
    ip link set dev \"$interface\" up
    ;;
bound | renew)
    ip addr replace \"$ip/$mask\" dev \"$interface\"
    for hop in $router; do
        ip route replace default via \"$hop\" dev \"$interface\" && break
    done
    ;;
esac
exit 0
";

fn tree_error(tree: &Tree) -> impl Fn(TreeError) -> Error + '_ {
    move |source| Error::Tree { root: tree.root().to_owned(), source }
}

/// Builds the set, or returns the one that is there. Written to `<netboot>/<id>/`.
pub fn build_netboot(inputs: &Inputs, progress: &dyn Progress) -> Result<NetbootManifest, Error> {
    let agent = read_agent(inputs.agent)?;
    let spec = NetbootSpec {
        recipe: RECIPE,
        arch: ARCH.to_owned(),
        snapshot: inputs.snapshot_id,
        agent: cluster_seed::ids::Digest::of(&agent),
    };
    let id = spec.id();
    let place = inputs.dirs.netboot.join(id.to_string());
    if let Some(manifest) = store::read_sealed::<NetbootManifest>(&place.join(MANIFEST), inputs.site_key)
        && manifest.id == id
        && manifest.files.iter().all(|f| store::digest_file(&place.join(&f.name)).is_ok_and(|(d, _)| d == f.sha256))
    {
        return Ok(manifest);
    }
    let index = Index::open(inputs.snapshot_dir, inputs.suite)?;
    let tools = ToolRoot::open(inputs, &index, progress)?;
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "netboot-")?;
    let out = work.join("out");
    fs::create_dir(&out).map_err(io("make", &out))?;

    progress.begin("unpacking the kernel", None);
    let kernel = unpack_kernel(&index, &work, &out)?;
    progress.end();
    progress.begin("choosing kernel modules", None);
    let mut initramfs = Initramfs::default();
    add_modules(&tools, &work, &kernel, &mut initramfs, progress)?;
    add_base(&tools, &work, agent, &mut initramfs, progress)?;
    progress.end();
    progress.begin("packing the initramfs", Some(initramfs.size()));
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS) as u32);
    pack(&initramfs, &out.join("initrd.img"), workers)?;
    progress.end();
    let loaders = Tree::new(&work.join("loaders"));
    for package in LOADER_PACKAGES {
        let wanted = |name: &str| ["usr/lib/ipxe", "usr/lib/shim", "usr/lib/grub"].iter().any(|d| name.starts_with(d));
        unpack(&index, index.get(package, "netboot")?, &loaders, &wanted)?;
    }
    for (name, from) in LOADERS {
        let bytes = loaders.read(from, MAX_KERNEL).map_err(tree_error(&loaders))?;
        check_sbat(name, &bytes)?;
        store::write_synced(&out.join(name), &bytes)?;
    }
    let manifest = NetbootManifest { id, snapshot: inputs.snapshot_id, arch: ARCH.to_owned(), kernel, files: list(&out)? };
    store::write_sealed(&out.join(MANIFEST), &manifest, inputs.site_key)?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    if place.exists() {
        // It was looked at above and found damaged or signed by another key.
        fs::remove_dir_all(&place).map_err(io("remove", &place))?;
    }
    store::publish(&out, &place)?;
    Ok(manifest)
}

/// The oldest generations that are accepted: shim 15.8 (CVE-2023-40547) and the GRUB of early 2025's fixes
/// (<https://github.com/rhboot/shim/blob/main/SBAT.md>).
const SBAT: [(&str, &str, u32); 2] = [("shimx64.efi", "shim", 4), ("grubx64.efi", "grub", 5)];

/// Refuses a loader that firmware is about to revoke, or revoked: its SBAT section says `NAME,GENERATION,...`.
fn check_sbat(file: &str, bytes: &[u8]) -> Result<(), Error> {
    let Some((_, component, oldest)) = SBAT.iter().find(|(name, ..)| *name == file) else { return Ok(()) };
    let start = format!("\n{component},");
    // shim also holds the list of what it revokes, whose lines end after the number.
    let number = |at: usize| {
        let rest = &bytes[at + start.len()..];
        let digits: String = rest.iter().take(6).take_while(|b| b.is_ascii_digit()).map(|b| char::from(*b)).collect();
        (rest.get(digits.len()) == Some(&b',')).then_some(digits)
    };
    let digits = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(start.as_bytes())).find_map(number);
    match digits.and_then(|d| d.parse::<u32>().ok()) {
        Some(generation) if generation >= *oldest => Ok(()),
        Some(old) => Err(Error::Content(format!("{file} is of SBAT generation {old}, older than {oldest}: take newer packages"))),
        None => Err(Error::Content(format!("{file} has no SBAT generation of {component}"))),
    }
}

/// Reads the agent and checks that it is a static x86-64 executable: in the initramfs there is no dynamic linker.
pub(crate) fn read_agent(path: &Utf8Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io("open the agent", path))?;
    file.take(MAX_AGENT).read_to_end(&mut bytes).map_err(io("read", path))?;
    // ELF64, little-endian, EM_X86_64 (System V ABI, chapter 4).
    if !bytes.starts_with(b"\x7fELF\x02\x01") || bytes.get(18..20) != Some(&[62, 0][..]) {
        return Err(Error::Content(format!("the agent {path} is not an x86-64 executable")));
    }
    if has_interpreter(&bytes) {
        return Err(Error::Content(format!("the agent {path} is not static: it asks for a dynamic linker")));
    }
    Ok(bytes)
}

/// Whether a program header of type PT_INTERP is there.
fn has_interpreter(elf: &[u8]) -> bool {
    let number = |at: usize, len: usize| elf.get(at..at + len).map(|b| b.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b)));
    let (Some(offset), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else { return true };
    (0..count).any(|i| {
        let at = i.checked_mul(size).and_then(|n| n.checked_add(offset)).and_then(|n| usize::try_from(n).ok());
        at.filter(|a| *a < elf.len()).and_then(|a| number(a, 4)) == Some(3)
    })
}

/// The package with the kernel that `linux-image-amd64` stands for.
pub(crate) fn kernel_package(index: &Index) -> Result<&Package, Error> {
    let meta = index.get("linux-image-amd64", "netboot")?;
    let names = meta.needs.iter().flatten().filter(|n| n.starts_with("linux-image-"));
    let missing = || Error::Missing { package: "linux-image-*".into(), needed_by: meta.name.clone() };
    names.filter_map(|n| index.get(n, &meta.name).ok()).next().ok_or_else(missing)
}

fn unpack_kernel(index: &Index, work: &Utf8Path, out: &Utf8Path) -> Result<String, Error> {
    let tree = Tree::new(&work.join("kernel"));
    let wrong = tree_error(&tree);
    tree.dir("usr/lib", Meta { mode: 0o755, owner: None, mtime: 0 }).map_err(&wrong)?;
    tree.symlink("lib", "usr/lib").map_err(&wrong)?;
    let wanted = |n: &str| n.starts_with("boot/vmlinuz-") || n.starts_with("usr/lib/modules/") || n.starts_with("lib/modules/");
    unpack(index, kernel_package(index)?, &tree, &wanted)?;
    let kernels = tree.list("boot").map_err(&wrong)?;
    let [file] = &kernels[..] else {
        return Err(Error::Content(format!("the kernel package has {} kernels, not one", kernels.len())));
    };
    let bytes = tree.read(&format!("boot/{file}"), MAX_KERNEL).map_err(&wrong)?;
    store::write_synced(&out.join("vmlinuz"), &bytes)?;
    Ok(file.trim_start_matches("vmlinuz-").to_owned())
}

fn read_text(tree: &Tree, name: &str) -> Result<String, Error> {
    let bytes = tree.read(name, MAX_MODULE).map_err(tree_error(tree))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn decompress(path: &Utf8Path) -> Result<Vec<u8>, Error> {
    let file = BufReader::new(File::open(path).map_err(io("open", path))?);
    let mut reader: Box<dyn Read> = match path.extension() {
        Some("xz") => Box::new(liblzma::bufread::XzDecoder::new(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(io("decompress", path))?),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    (&mut reader).take(MAX_MODULE + 1).read_to_end(&mut bytes).map_err(io("decompress", path))?;
    if bytes.len() as u64 > MAX_MODULE { Err(Error::Content(format!("{path} is too large"))) } else { Ok(bytes) }
}

fn add_modules(
    tools: &ToolRoot,
    work: &Utf8Path,
    kernel: &str,
    initramfs: &mut Initramfs,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let full = Tree::new(&work.join("kernel"));
    let stage = Tree::new(&work.join("stage"));
    let base = format!("usr/lib/modules/{kernel}");
    tools.run("indexing the kernel's modules", work, &["depmod", "-b", "/work/kernel", kernel], progress)?;
    let deps = modules::parse_dep(&read_text(&full, &format!("{base}/modules.dep"))?);
    let soft = modules::parse_softdep(&read_text(&full, &format!("{base}/modules.softdep"))?);
    let wrong = tree_error(&stage);
    stage.dir("usr/lib", Meta { mode: 0o755, owner: None, mtime: 0 }).map_err(&wrong)?;
    stage.symlink("lib", "usr/lib").map_err(&wrong)?;
    for path in modules::closure(&deps, &soft) {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let from = full.target(&format!("{base}/{path}")).map_err(tree_error(&full))?;
        let plain = path.split(".ko").next().unwrap_or(&path).to_owned() + ".ko";
        let bytes = decompress(&from)?;
        stage.write(&format!("{base}/{plain}"), 0o644, 0, &bytes).map_err(&wrong)?;
        initramfs.file(&format!("{base}/{plain}"), 0o644, bytes);
    }
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let text = full.read(&format!("{base}/{name}"), MAX_MODULE).map_err(tree_error(&full))?;
        stage.write(&format!("{base}/{name}"), 0o644, 0, &text).map_err(&wrong)?;
    }
    tools.run("indexing the chosen modules", work, &["depmod", "-b", "/work/stage", kernel], progress)?;
    for name in DEPMOD_FILES {
        let text = stage.read(&format!("{base}/{name}"), MAX_MODULE).map_err(&wrong)?;
        initramfs.file(&format!("{base}/{name}"), 0o644, text);
    }
    Ok(())
}

/// Everything besides modules: the agent, busybox and its names, the first devices.
fn add_base(
    tools: &ToolRoot,
    work: &Utf8Path,
    agent: Vec<u8>,
    initramfs: &mut Initramfs,
    progress: &dyn Progress,
) -> Result<(), Error> {
    initramfs.file("init", 0o755, agent);
    initramfs.file("usr/bin/busybox", 0o755, tools.read("usr/bin/busybox", MAX_MODULE)?);
    let applets = tools.run("listing busybox's applets", work, &["busybox", "--list"], progress)?.text();
    for name in applets.lines().filter(|n| !n.contains('/') && *n != "busybox") {
        initramfs.link(&format!("usr/bin/{name}"), "busybox");
    }
    for (name, target) in [("bin", "usr/bin"), ("sbin", "usr/bin"), ("usr/sbin", "bin"), ("lib", "usr/lib")] {
        initramfs.link(name, target);
    }
    for name in ["dev", "proc", "sys", "run", "tmp", "root", "mnt", "var"] {
        initramfs.dir(name);
    }
    initramfs.device("dev/console", 0o600, 5, 1);
    initramfs.device("dev/null", 0o666, 1, 3);
    initramfs.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n".to_vec());
    initramfs.file("etc/group", 0o644, b"root:x:0:\n".to_vec());
    initramfs.file("etc/udhcpc/default.script", 0o755, UDHCPC_SCRIPT.to_vec());
    initramfs.link("usr/share/udhcpc/default.script", "/etc/udhcpc/default.script");
    Ok(())
}

/// Compresses with `workers` threads, 1 or more: the bytes don't depend on how many. Without any (0) they would differ.
fn pack(initramfs: &Initramfs, path: &Utf8Path, workers: u32) -> Result<(), Error> {
    let file = BufWriter::new(File::create(path).map_err(io("create", path))?);
    let packed = zstd::stream::write::Encoder::new(file, ZSTD_LEVEL).and_then(|mut encoder| {
        encoder.multithread(workers)?;
        initramfs.write(&mut encoder)?;
        encoder.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    });
    packed.map_err(io("write", path))
}

fn list(out: &Utf8PathBuf) -> Result<Vec<BootFile>, Error> {
    let names = Tree::new(out).list("").map_err(|source| Error::Tree { root: out.clone(), source })?;
    let file = |name: String| {
        let (sha256, size) = store::digest_file(&out.join(&name))?;
        Ok(BootFile { name, size, sha256 })
    };
    names.into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hole_8_loaders_of_revoked_generations_are_refused() {
        let sbat = |line: &str| format!("MZ..\0sbat,1,SBAT Version,sbat,1,x\n{line}\n\0\0").into_bytes();
        let judge = |file, line: &str| check_sbat(file, &sbat(line)).map_err(|e| e.to_string());
        for (generation, good) in [(3, false), (4, true), (5, true)] {
            assert_eq!(judge("shimx64.efi", &format!("shim,{generation},UEFI shim,shim,1,x")).is_ok(), good, "{generation}");
        }
        assert!(judge("grubx64.efi", "grub,4,x").unwrap_err().contains("older than 5"));
        assert!(judge("grubx64.efi", "grub,5,x").is_ok() && judge("grubx64.efi", "grub,x").is_err());
        assert!(judge("shimx64.efi", "grub,5,x").unwrap_err().contains("no SBAT"));
        assert!(judge("snponly.efi", "").is_ok(), "iPXE is not signed");
    }

    fn elf(kind: u8) -> Vec<u8> {
        let mut elf = vec![0u8; 120];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = kind;
        elf
    }

    #[test]
    fn the_initramfs_has_the_same_bytes_however_many_threads_pack_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut initramfs = Initramfs::default();
        // Several of zstd's jobs (four windows each, so 16 to 32 MiB at this level), made of what compresses fast.
        for n in 0..5u32 {
            let lines = (0..200_000u32).flat_map(|i| format!("{n} {:>60} {}\n", i / 7, i % 1_000).into_bytes());
            initramfs.file(&format!("file{n}"), 0o644, lines.collect());
        }
        let packed = |workers: u32| {
            let path = Utf8PathBuf::from_path_buf(dir.path().join(workers.to_string())).unwrap();
            pack(&initramfs, &path, workers).unwrap();
            fs::read(path).unwrap()
        };
        let one = packed(1);
        assert!(one == packed(3));
        let mut plain = Vec::new();
        initramfs.write(&mut plain).unwrap();
        assert!(plain.len() > 60 << 20, "{}", plain.len());
        assert!(plain == zstd::stream::decode_all(&one[..]).unwrap());
    }

    #[test]
    fn the_agent_must_be_static() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("agent")).unwrap();
        let judge = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_agent(&path).map(|b| b.len()).map_err(|e| e.to_string())
        };
        assert_eq!(judge(&elf(1)), Ok(120));
        assert!(judge(&elf(3)).unwrap_err().contains("dynamic linker"));
        assert!(judge(b"#!/bin/sh\n").unwrap_err().contains("not an x86-64"));
        assert!(judge(&elf(1)[..40]).is_err());
    }
}
