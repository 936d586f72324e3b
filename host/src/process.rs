//! Kernel settings for a process that holds secrets: only its user can access its files and memory.

use std::ffi::CString;
use std::io;

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::execvp;

/// Sets the umask so that only the owner can access files and folders that this process and its child processes create,
/// whatever permission bits they request.
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

/// Becomes another program with this process's environment, in the foreground of its terminal: returns only if that fails.
pub fn become_program(program: &str, args: &[String]) -> io::Error {
    let words = std::iter::once(program).chain(args.iter().map(String::as_str)).map(CString::new);
    match words.collect::<Result<Vec<CString>, _>>() {
        Ok(words) => match words.first().map(|program| execvp(program, &words)) {
            Some(Err(errno)) => errno.into(),
            Some(Ok(never)) => match never {},
            None => io::ErrorKind::InvalidInput.into(),
        },
        Err(zero) => zero.into(),
    }
}

/// Keeps all current and future pages out of swap; pages are not read in advance for it. False if this process may lock only a
/// limited amount: beyond that, the kernel would refuse any allocation (mlockall(2)).
pub fn lock_memory() -> io::Result<bool> {
    // Root can raise its limit; other users have the limit set by the service manager.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    if getrlimit(Resource::RLIMIT_MEMLOCK)?.0 != RLIM_INFINITY {
        return Ok(false);
    }
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?;
    Ok(true)
}
