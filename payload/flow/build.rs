//! Compiles `bpf/flow.bpf.c` with clang for the BPF machine. The object is embedded into the program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Prints what to do and ends the build.
fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1)
}

/// Headers of this host's kernel interface: `asm/types.h` lies in a folder per architecture on Debian.
fn multiarch() -> Option<PathBuf> {
    let triplets = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|t| Path::new("/usr/include").join(t));
    triplets.into_iter().find(|dir| dir.join("asm/types.h").exists())
}

fn main() {
    for name in ["flow.bpf.c", "kernel.h", "maps.h", "packet.h"] {
        println!("cargo::rerun-if-changed=bpf/{name}");
    }
    println!("cargo::rerun-if-env-changed=KUBEDOS_CLANG");
    let clang = env::var("KUBEDOS_CLANG").unwrap_or_else(|_| "clang".to_owned());
    let (Ok(root), Ok(out)) = (env::var("CARGO_MANIFEST_DIR"), env::var("OUT_DIR")) else {
        fail("cargo sets CARGO_MANIFEST_DIR and OUT_DIR");
    };
    if !Path::new("/usr/include/bpf/bpf_helpers.h").exists() {
        fail("bpf/bpf_helpers.h is missing: apt-get install libbpf-dev");
    }
    let object = Path::new(&out).join("flow.bpf.o");
    let mut command = Command::new(&clang);
    // -g makes the type information that the loader needs; paths of the build are kept out of it.
    command.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-Wno-unused-function"]);
    command.arg(format!("-ffile-prefix-map={root}=.")).arg("-fdebug-compilation-dir=.");
    if let Some(dir) = multiarch() {
        command.arg("-idirafter").arg(dir);
    }
    command.arg("-c").arg("bpf/flow.bpf.c").arg("-o").arg(&object).current_dir(&root);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("{clang} did not compile bpf/flow.bpf.c: {status}")),
        Err(e) => fail(&format!("{clang} cannot be started ({e}): apt-get install clang")),
    }
}
