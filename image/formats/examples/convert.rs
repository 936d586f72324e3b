//! Writes a raw disk image in a format, with fixed identifiers; or measures it.
//!
//! `cargo run --release -p formats --example convert -- FORMAT DISK.raw OUT`, with FORMAT one of qcow2-zlib, qcow2-zstd, vmdk,
//! ova, vhd, vhdx. `… -- bench DISK.raw FOLDER [RUNS]` writes qcow2 beside `qemu-img convert -c`, with either compression, in
//! turns, and prints the times and their ratio.

use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::{Progress, Quiet};
use formats::{Conversion, Error, Uuid, Written, ova, ovf, qcow2, vhd, vhdx, vmdk};
use host::clock::Stopwatch;
use host::tool::Tool;

struct Lines;

impl Progress for Lines {
    fn begin(&self, step: &str, _total: Option<u64>) {
        self.say(step);
    }
    fn advance(&self, _n: u64) {}
    fn end(&self) {}
    fn say(&self, line: &str) {
        // Nothing can be done when the terminal is gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

const MACHINE: ovf::Machine<'static> = ovf::Machine {
    name: "kubedos-node",
    product: "Kubedos node",
    vendor: "Kubedos",
    version: "0",
    guest: ovf::GUEST,
    hardware: 19,
    firmware: ovf::Firmware::Efi { secure_boot: false },
    cpus: 2,
    memory_mib: 2048,
    networks: &["VM Network"],
    serial: true,
    tpm: true,
    class: "kubedos",
    properties: &[],
    extra_config: &[],
};

fn write_vmdk(conversion: &Conversion<'_>) -> Result<Written, Error> {
    let options = vmdk::Options { name: "kubedos-node-disk1.vmdk", content_id: 1, hardware: 19, virtual_size: None };
    vmdk::write(conversion, &options)
}

fn write_ova(conversion: &Conversion<'_>) -> Result<Written, Error> {
    let disk = Utf8PathBuf::from(format!("{}.vmdk", conversion.out));
    let written = write_vmdk(&Conversion { out: &disk, ..*conversion })?;
    let package = ova::Package { name: "kubedos-node", vmdk: &disk, capacity: written.capacity, machine: &MACHINE, modified: 0 };
    ova::write(conversion.out, &package, conversion.progress).map(|(written, _)| written)
}

fn write(format: &str, conversion: &Conversion<'_>) -> Result<Written, Box<dyn std::error::Error>> {
    let compressed = |compression| qcow2::write(conversion, &qcow2::Options { compression, virtual_size: None });
    let ids = vhdx::Ids { disk: Uuid::from_u128(1), file_write: Uuid::from_u128(2), data_write: Uuid::from_u128(3) };
    Ok(match format {
        "qcow2-zlib" => compressed(qcow2::Compression::Zlib)?,
        "qcow2-zstd" => compressed(qcow2::Compression::Zstd)?,
        "vmdk" => write_vmdk(conversion)?,
        "ova" => write_ova(conversion)?,
        "vhd" => vhd::write(conversion, &vhd::Options { id: Uuid::from_u128(1), created: 0 })?,
        "vhdx" => vhdx::write(conversion, &vhdx::Options { ids, virtual_size: None })?,
        other => return Err(format!("{other} is not a format").into()),
    })
}

/// Seconds and size of the file.
type Run = (f64, u64);

fn qemu(kind: &str, raw: &Utf8Path, out: &Utf8Path) -> Result<Run, Box<dyn std::error::Error>> {
    let watch = Stopwatch::start();
    let option = format!("compression_type={kind}");
    let args = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &option, raw.as_str(), out.as_str()];
    Tool::new("qemu-img").args(args).run()?;
    Ok((watch.elapsed().as_secs_f64(), std::fs::metadata(out)?.len()))
}

fn ours(kind: &str, raw: &Utf8Path, out: &Utf8Path) -> Result<Run, Box<dyn std::error::Error>> {
    let watch = Stopwatch::start();
    let written = write(&format!("qcow2-{kind}"), &Conversion { raw, out, progress: &Quiet })?;
    Ok((watch.elapsed().as_secs_f64(), written.size))
}

/// The median time, and the size.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    runs.get(runs.len() / 2).copied().unwrap_or_default()
}

fn bench(raw: &Utf8Path, folder: &Utf8Path, runs: usize) -> Result<(), Box<dyn std::error::Error>> {
    for kind in ["zlib", "zstd"] {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            b.push(qemu(kind, raw, &folder.join("qemu.qcow2"))?);
            a.push(ours(kind, raw, &folder.join("ours.qcow2"))?);
        }
        let (ours, qemu) = (median(a), median(b));
        let ratio = ours.0 / qemu.0;
        let line = format!("{kind}: {:.2} s, {} MiB; qemu-img {:.2} s, {} MiB", ours.0, ours.1 >> 20, qemu.0, qemu.1 >> 20);
        Lines.say(&format!("{line}; ratio {ratio:.2} of at most 1.2"));
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["bench", raw, folder] => bench(raw.into(), folder.into(), 3),
        ["bench", raw, folder, runs] => bench(raw.into(), folder.into(), runs.parse()?),
        [format, raw, out] => {
            let written = write(format, &Conversion { raw: raw.into(), out: out.into(), progress: &Lines })?;
            Lines.say(&format!("{} bytes, disk of {}", written.size, written.capacity));
            Ok(())
        }
        _ => Err("usage: convert FORMAT DISK.raw OUT, or convert bench DISK.raw FOLDER [RUNS]".into()),
    }
}
