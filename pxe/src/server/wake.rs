//! Lets another thread interrupt a wait for packets.

use std::io;
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

pub(crate) fn event_fd() -> io::Result<Arc<EventFd>> {
    Ok(Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?))
}
