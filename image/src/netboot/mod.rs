//! The netboot set: kernel, initramfs with the agent as its init, and loaders.

/// The kernel modules that the initramfs needs.
mod modules;

/// A cpio archive that is the same for the same files.
pub(crate) mod initramfs;

/// iPXE, shim and GRUB.
mod loaders;

/// Debian's installer.
pub(crate) mod installer;

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};

use camino::Utf8Path;
use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{BootFile, MAX_MANIFEST, NetbootManifest, boot_files};
use cluster_seed::progress::{Progress, Quiet};
use host::files::{FileError, PUBLIC, Start, digest_file, failed, open, write_synced};

use crate::error::{Error, in_tree};
use crate::packages::index::Index;
use crate::program::read_agent;
use crate::roots::tools::{ToolRoot, unpack};
use crate::spec::{ARCH, NetbootSpec, RECIPE};
use crate::tree::{Meta, Tree};
use crate::{Inputs, store};
use initramfs::Initramfs;
use payload::layout::NO_RESCUE;

const MANIFEST: &str = "netboot.json";
/// Largest module, decompressed, in bytes.
const MAX_MODULE: u64 = 128 << 20;
const MAX_KERNEL: u64 = 256 << 20;
/// Takes little time compared with level 19, and stays far below the kernel's window limit (128 MiB).
const ZSTD_LEVEL: i32 = 17;
/// Threads that compress; each takes memory for the window of its level.
const MAX_WORKERS: usize = 8;
/// The files of depmod for programs that read text (busybox, the agent).
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

/// Builds the set in `<netboot>/<id>/`, unless it exists.
pub fn build_netboot(inputs: &Inputs, progress: &dyn Progress) -> Result<NetbootManifest, Error> {
    let agent = read_agent(inputs.agent, Arch::Amd64)?;
    let arm64 = inputs.arm64_agent.map(|path| read_agent(path, Arch::Arm64)).transpose()?;
    let spec = NetbootSpec {
        recipe: RECIPE,
        arch: ARCH.to_owned(),
        snapshot: inputs.snapshot_id,
        agent: Digest::of(&agent),
        no_rescue: inputs.no_rescue,
        arm64_agent: arm64.as_deref().map(Digest::of),
    };
    let id = spec.id();
    let place = inputs.dirs.netboot.join(id.to_string());
    if let Some(manifest) = finished(inputs, id, &place) {
        return Ok(manifest);
    }
    let index = Index::open(inputs.snapshot_dir, inputs.suite)?;
    let tools = ToolRoot::open(inputs, &index, progress)?;
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "netboot-")?;
    let out = work.join("out");
    fs::create_dir(&out).map_err(failed("creating directory", &out))?;

    let part = Part { index: &index, tools: &tools, work: &work, out: &out, no_rescue: inputs.no_rescue };
    let kernel = part.build(agent, progress)?;
    loaders::add(&index, &work, &out)?;
    if let Some(agent) = arm64 {
        let index = Index::of(inputs.snapshot_dir, inputs.suite, Arch::Arm64)?;
        let work = work.join(Arch::Arm64.as_str());
        fs::create_dir(&work).map_err(failed("creating directory", &work))?;
        Part { index: &index, work: &work, ..part }.build(agent, progress)?;
        loaders::add(&index, &work, &out)?;
    }
    let manifest = NetbootManifest { id, snapshot: inputs.snapshot_id, arch: ARCH.to_owned(), kernel, files: list(&out)? };
    store::write_sealed(&out.join(MANIFEST), &manifest, inputs.site_key)?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    if place.exists() {
        // It was checked above: it is damaged or signed by another key.
        fs::remove_dir_all(&place).map_err(failed("removing", &place))?;
    }
    store::publish(&out, &place)?;
    Ok(manifest)
}

/// Kernel and initramfs of one architecture, that of the index.
struct Part<'a> {
    index: &'a Index,
    tools: &'a ToolRoot,
    work: &'a Utf8Path,
    out: &'a Utf8Path,
    no_rescue: bool,
}

impl Part<'_> {
    /// Writes both to `out`; the release of the kernel.
    fn build(&self, agent: Vec<u8>, progress: &dyn Progress) -> Result<String, Error> {
        let Part { index, tools, work, out, no_rescue } = *self;
        let (kernel_file, initrd_file) = boot_files(index.arch);
        progress.begin("unpacking the kernel", None);
        let kernel = unpack_kernel(index, work, &out.join(kernel_file))?;
        progress.end();
        progress.begin("selecting kernel modules", None);
        let mut initramfs = Initramfs::default();
        add_modules(tools, work, &kernel, &mut initramfs, progress)?;
        let busybox = busybox(index, work)?;
        add_base(tools, work, (agent, busybox), &mut initramfs, progress)?;
        add_settings(no_rescue, &mut initramfs);
        progress.end();
        progress.begin("compressing the initramfs", Some(initramfs.size()));
        let workers = host::parallel::cores().min(MAX_WORKERS) as u32;
        pack(&initramfs, &out.join(initrd_file), workers)?;
        progress.end();
        Ok(kernel)
    }
}

/// The program of that architecture; the tools have the seed's.
fn busybox(index: &Index, work: &Utf8Path) -> Result<Vec<u8>, Error> {
    let tree = Tree::new(&work.join("busybox"));
    unpack(index, index.get("busybox-static", "netboot")?, &tree, &|name| name.ends_with("bin/busybox"))?;
    let wrong = in_tree(tree.root());
    // In Debian 12 its package still has it in /bin.
    let place = ["usr/bin/busybox", "bin/busybox"].into_iter().find(|name| tree.target(name).is_ok_and(|p| p.is_file()));
    tree.read(place.unwrap_or("usr/bin/busybox"), MAX_MODULE).map_err(wrong)
}

/// The set, if an earlier run finished it and every file is intact.
fn finished(inputs: &Inputs, id: Digest, place: &Utf8Path) -> Option<NetbootManifest> {
    let key = inputs.site_key.verifying_key();
    let manifest: NetbootManifest = host::sealed::read(&place.join(MANIFEST), &key, MAX_MANIFEST).ok()?;
    let intact = |file: &BootFile| digest_file(&place.join(&file.name), &Quiet).is_ok_and(|(_, d)| d == file.sha256);
    (manifest.id == id && manifest.files.iter().all(intact)).then_some(manifest)
}

fn unpack_kernel(index: &Index, work: &Utf8Path, to: &Utf8Path) -> Result<String, Error> {
    let tree = Tree::new(&work.join("kernel"));
    let wrong = in_tree(tree.root());
    tree.dir("usr/lib", Meta { mode: 0o755, owner: None, mtime: 0 }).map_err(&wrong)?;
    tree.symlink("lib", "usr/lib").map_err(&wrong)?;
    let wanted = |n: &str| n.starts_with("boot/vmlinuz-") || n.starts_with("usr/lib/modules/") || n.starts_with("lib/modules/");
    unpack(index, index.kernel()?, &tree, &wanted)?;
    let kernels = tree.list("boot").map_err(&wrong)?;
    let [file] = &kernels[..] else {
        return Err(Error::Content(format!("the kernel package has {} kernels instead of one", kernels.len())));
    };
    let bytes = tree.read(&format!("boot/{file}"), MAX_KERNEL).map_err(&wrong)?;
    write_synced(to, &bytes)?;
    Ok(file.trim_start_matches("vmlinuz-").to_owned())
}

fn read_text(tree: &Tree, name: &str) -> Result<String, Error> {
    let bytes = tree.read(name, MAX_MODULE).map_err(in_tree(tree.root()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn decompress(path: &Utf8Path) -> Result<Vec<u8>, Error> {
    let decompressing = failed("decompressing", path);
    let file = BufReader::new(File::open(path).map_err(&decompressing)?);
    let mut reader: Box<dyn Read> = match path.extension() {
        Some("xz") => Box::new(liblzma::bufread::XzDecoder::new(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(&decompressing)?),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    (&mut reader).take(MAX_MODULE + 1).read_to_end(&mut bytes).map_err(decompressing)?;
    if bytes.len() as u64 > MAX_MODULE {
        return Err(FileError::TooLarge { path: path.to_owned(), limit: MAX_MODULE }.into());
    }
    Ok(bytes)
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
    let wrong = in_tree(stage.root());
    let wrong_full = in_tree(full.root());
    stage.dir("usr/lib", Meta { mode: 0o755, owner: None, mtime: 0 }).map_err(&wrong)?;
    stage.symlink("lib", "usr/lib").map_err(&wrong)?;
    for path in modules::closure(&deps, &soft) {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let from = full.target(&format!("{base}/{path}")).map_err(&wrong_full)?;
        let plain = path.split(".ko").next().unwrap_or(&path).to_owned() + ".ko";
        let bytes = decompress(&from)?;
        stage.write(&format!("{base}/{plain}"), 0o644, 0, &bytes).map_err(&wrong)?;
        initramfs.file(&format!("{base}/{plain}"), 0o644, bytes);
    }
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let text = full.read(&format!("{base}/{name}"), MAX_MODULE).map_err(&wrong_full)?;
        stage.write(&format!("{base}/{name}"), 0o644, 0, &text).map_err(&wrong)?;
    }
    tools.run("indexing the selected modules", work, &["depmod", "-b", "/work/stage", kernel], progress)?;
    for name in DEPMOD_FILES {
        let text = stage.read(&format!("{base}/{name}"), MAX_MODULE).map_err(&wrong)?;
        initramfs.file(&format!("{base}/{name}"), 0o644, text);
    }
    Ok(())
}

/// Adds everything but the modules: the agent, busybox and links for its applets, the first devices.
fn add_base(
    tools: &ToolRoot,
    work: &Utf8Path,
    (agent, busybox): (Vec<u8>, Vec<u8>),
    initramfs: &mut Initramfs,
    progress: &dyn Progress,
) -> Result<(), Error> {
    initramfs.file("init", 0o755, agent);
    initramfs.file("usr/bin/busybox", 0o755, busybox);
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

/// What a kernel command line cannot override.
fn add_settings(no_rescue: bool, initramfs: &mut Initramfs) {
    if no_rescue {
        initramfs.file(NO_RESCUE, 0o644, Vec::new());
    }
}

/// Compresses with `workers` threads, at least one: the bytes don't depend on how many. With none (0) they would differ.
fn pack(initramfs: &Initramfs, path: &Utf8Path, workers: u32) -> Result<(), Error> {
    let writing = failed("writing", path);
    let file = BufWriter::new(open(path, Start::Empty, PUBLIC).map_err(&writing)?);
    let written = zstd::stream::write::Encoder::new(file, ZSTD_LEVEL).and_then(|mut encoder| {
        encoder.multithread(workers)?;
        initramfs.write(&mut encoder)?;
        encoder.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    });
    Ok(written.map_err(writing)?)
}

/// The files of the set, sorted by name.
fn list(out: &Utf8Path) -> Result<Vec<BootFile>, Error> {
    let names = Tree::new(out).list("").map_err(in_tree(out))?;
    let file = |name: String| {
        let (size, sha256) = digest_file(&out.join(&name), &Quiet)?;
        Ok(BootFile { name, size, sha256 })
    };
    names.into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    #[test]
    fn an_image_without_rescue_shell_is_another_image() {
        let spec = |no_rescue| NetbootSpec {
            recipe: 3,
            arch: "amd64".into(),
            snapshot: Digest::of(b"snapshot"),
            agent: Digest::of(b"agent"),
            no_rescue,
            arm64_agent: None,
        };
        let arm64 = NetbootSpec { arm64_agent: Some(Digest::of(b"agent")), ..spec(false) };
        assert_ne!(arm64.id(), spec(false).id());
        let text = serde_json::to_string(&spec(false)).unwrap();
        assert!(!text.contains("arm64"), "a site without it keeps its set: {text}");
        assert_ne!(spec(true).id(), spec(false).id());
        let has = |no_rescue| {
            let (mut initramfs, mut bytes) = (Initramfs::default(), Vec::new());
            add_settings(no_rescue, &mut initramfs);
            initramfs.write(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).contains(NO_RESCUE.trim_start_matches('/'))
        };
        assert!(has(true) && !has(false));
    }

    #[test]
    fn the_initramfs_has_the_same_bytes_however_many_threads_pack_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut initramfs = Initramfs::default();
        // Several of zstd's jobs (four windows each, so 16 to 32 MiB at this level) of data that compresses fast.
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
}
