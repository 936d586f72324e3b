//! Every bound of this crate, in one place.

use std::time::Duration;

/// Largest form or operator JSON body, in bytes.
pub const MAX_FORM: usize = 64 << 10;
/// A request body must have arrived whole within this time.
pub const BODY_TIME: Duration = Duration::from_secs(20);
/// Largest request head that the machines' listener reads by itself, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
/// Largest body that it reads by itself; the router has a limit of its own.
pub const MAX_AGENT_BODY: usize = cluster_seed::agent::MAX_BODY;
/// A request head must have arrived whole within this time.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// A TLS handshake must be done within this time.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Bytes read of a plain request that came to the HTTPS port.
pub const MAX_PLAIN: usize = 16 << 10;
/// A connection that takes no byte for this long while we have some for it is closed.
pub const STALL_TIME: Duration = Duration::from_secs(30);
/// One that takes fewer bytes than this in such a time is closed too.
pub const STALL_BYTES: usize = 32 << 10;
/// Connections open at a time per listener.
pub const MAX_CONNECTIONS: usize = 512;
/// Threads that serve machines in clear.
pub const MAX_FILE_THREADS: usize = 8;
/// Of these, from one address: one machine alone cannot keep the others out.
pub const MAX_PER_ADDRESS: usize = 128;
/// How long open connections may go on after a shutdown was asked for.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);
/// Calls into the daemon that run at a time per router.
pub const MAX_CALLS: usize = 32;
/// How long a request waits for its turn to call.
pub const CALL_WAIT: Duration = Duration::from_secs(10);
/// Password hashes and scrypt runs at a time: each takes tens of megabytes or more.
pub const MAX_COSTLY: usize = 2;
/// Live pages at a time.
pub const MAX_STREAMS: usize = 64;
/// Events sent to one live page in one go.
pub const STREAM_BATCH: u32 = 100;
/// Silence after which a live page gets a comment, and after which its session is looked at again.
pub const KEEPALIVE: Duration = Duration::from_secs(15);
/// Most events one JSON request returns.
pub const MAX_EVENTS: u32 = 500;
/// Events on the first page.
pub const RECENT_EVENTS: usize = 12;
/// Events looked at to find these, as progress reports are told once.
pub const RECENT_WINDOW: u32 = 60;
/// Longest path below a served directory, in bytes as sent.
pub const MAX_PATH: usize = 1024;
/// Most entries a directory listing shows.
pub const MAX_LISTING: usize = 5000;
/// Most tags of an image that one answer lists.
pub const MAX_TAGS: usize = 1000;
/// Bytes read from a file at a time, and so the memory one download takes.
pub const FILE_BUFFER: usize = 64 << 10;
/// Longest session token looked at, in characters.
pub const MAX_TOKEN: usize = 256;
/// Longest text from a machine or the event log that a page shows, in characters.
pub const MAX_SHOWN: usize = 512;
/// Largest piece of a capsule sent in one request, in bytes, and the time it has to arrive.
pub const MAX_PIECE: usize = 8 << 20;
pub const PIECE_TIME: Duration = Duration::from_secs(120);
/// Largest capsule or part that is taken, in bytes.
pub const MAX_CAPSULE: u64 = 16 << 40;
