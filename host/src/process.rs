//! What a process that holds secrets asks of the kernel: that its files and its memory are its user's alone.

use std::io;

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

/// From now on, nobody but the owner may read or enter what this process and the programs it starts create, whatever
/// permission bits the call asks for.
pub fn keep_files_private() {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// Keeps the memory from other processes of the same user (ptrace(2), /proc/PID/mem) and out of core dumps. Both settings
/// are needed: a crash handler that reads a pipe ignores the limit (core(5)). Programs that this one starts are dumpable
/// again, but inherit the limit.
pub fn keep_memory_private() -> io::Result<()> {
    set_dumpable(false)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// Keeps every page that is in memory, or will be, out of swap; pages are not read in advance for it. False where this
/// process may lock a limited amount only: beyond it, the kernel would refuse memory of any kind (mlockall(2)).
pub fn lock_memory() -> io::Result<bool> {
    // Root may raise its limit; anybody else has what the service manager gave.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    if getrlimit(Resource::RLIMIT_MEMLOCK)?.0 != RLIM_INFINITY {
        return Ok(false);
    }
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?;
    Ok(true)
}
