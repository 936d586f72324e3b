//! Executables that go into an image: read, and checked to run there.

use std::fs::File;
use std::io::Read as _;

use camino::Utf8Path;
use cluster_seed::arch::Arch;
use host::files::read_limited;

use crate::error::Error;

const MAX_AGENT: u64 = 256 << 20;
const MAX_SEEDD: u64 = 512 << 20;
/// Type of the program header that names a dynamic linker (System V ABI, chapter 5).
const PT_INTERP: u64 = 3;
/// How an ELF64 file, little-endian, begins (System V ABI, chapter 4).
const ELF64: &[u8] = b"\x7fELF\x02\x01";

/// Bytes at the beginning of a program that contain its program headers: linkers put them behind the ELF header.
const HEADERS: u64 = 64 << 10;

/// Whether this is an executable without a dynamic linker, of any 64-bit architecture. False if it cannot be read.
pub fn is_static(path: &Utf8Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEADERS).read_to_end(&mut head));
    read.is_ok() && head.starts_with(ELF64) && !has_interpreter(&head)
}

/// Reads the agent, which must be a static executable for `arch`: the initramfs has no dynamic linker.
pub(crate) fn read_agent(path: &Utf8Path, arch: Arch) -> Result<Vec<u8>, Error> {
    let bytes = read(path, arch, MAX_AGENT)?;
    if has_interpreter(&bytes) {
        return Err(Error::Content(format!("the agent {path} is not static: it needs a dynamic linker")));
    }
    Ok(bytes)
}

/// Reads `seedd`, which must be an executable for amd64.
pub(crate) fn read_seedd(path: &Utf8Path) -> Result<Vec<u8>, Error> {
    read(path, Arch::Amd64, MAX_SEEDD)
}

fn read(path: &Utf8Path, arch: Arch, limit: u64) -> Result<Vec<u8>, Error> {
    let bytes = read_limited(path, limit)?;
    if !bytes.starts_with(ELF64) || bytes.get(18..20) != Some(&arch.elf_machine().to_le_bytes()[..]) {
        return Err(Error::Content(format!("{path} is not an executable for {arch}")));
    }
    Ok(bytes)
}

/// Whether there is a program header of type `PT_INTERP`; true also where the headers cannot be read.
fn has_interpreter(elf: &[u8]) -> bool {
    let number = |at: usize, len: usize| elf.get(at..at + len).map(|b| b.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b)));
    let (Some(offset), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else { return true };
    (0..count).any(|i| {
        let at = i.checked_mul(size).and_then(|n| n.checked_add(offset)).and_then(|n| usize::try_from(n).ok());
        at.filter(|a| *a < elf.len()).and_then(|a| number(a, 4)) == Some(PT_INTERP)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// An ELF file with one program header of this type.
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

    fn judge(read: impl Fn(&Utf8Path) -> Result<Vec<u8>, Error>, bytes: &[u8]) -> Result<usize, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("program");
        fs::write(&path, bytes).unwrap();
        read(&path).map(|b| b.len()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_agent_must_be_static() {
        let read_agent = |path: &Utf8Path| read_agent(path, Arch::Amd64);
        assert_eq!(judge(read_agent, &elf(1)), Ok(120));
        assert!(judge(read_agent, &elf(3)).unwrap_err().contains("dynamic linker"));
        assert!(judge(read_agent, &elf(1)[..40]).unwrap_err().contains("dynamic linker"), "headers cut off");
    }

    #[test]
    fn a_static_program_is_told_from_a_dynamic_one_and_from_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("program");
        assert!(!is_static(&path), "there is none");
        for (bytes, expected) in [(&elf(1)[..], true), (&elf(3)[..], false), (&elf(1)[..40], false), (&b"#!/bin/sh\n"[..], false)]
        {
            fs::write(&path, bytes).unwrap();
            assert_eq!(is_static(&path), expected, "{} bytes", bytes.len());
        }
        assert!(!is_static(Utf8Path::from_path(dir.path()).unwrap()), "a folder");
    }

    #[test]
    fn only_executables_for_the_architecture_are_accepted() {
        let mut arm64 = elf(1);
        arm64[18] = 183;
        for bad in [&b"#!/bin/sh\n"[..], &elf(1)[..19], b"", &arm64] {
            assert!(judge(read_seedd, bad).unwrap_err().contains("not an executable for amd64"));
            assert!(judge(|p| read_agent(p, Arch::Amd64), bad).unwrap_err().contains("not an executable for amd64"));
        }
        assert_eq!(judge(|p| read_agent(p, Arch::Arm64), &arm64), Ok(120));
        assert!(judge(|p| read_agent(p, Arch::Arm64), &elf(1)).unwrap_err().contains("not an executable for arm64"));
        assert_eq!(judge(read_seedd, &elf(1)[..20]), Ok(20));
        assert_eq!(judge(read_seedd, &elf(3)), Ok(120), "seedd may need a dynamic linker");
    }
}
