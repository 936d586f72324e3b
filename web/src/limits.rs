//! Every bound of this crate, in one place.

use std::time::Duration;

/// Largest form or operator JSON body, in bytes.
pub const MAX_FORM: usize = 64 << 10;
/// Largest plan of enrollment as a form or JSON, in bytes: its text may be three times as long where it is encoded for a form.
pub const MAX_PLAN: usize = 3 * cluster_seed::plan::MAX_TEXT + MAX_FORM;
/// Most fields of a form with a file.
pub const MAX_FIELDS: usize = 16;
/// Largest answer of the countersigning key as a form or JSON, in bytes: those about some twenty thousand nodes.
pub const MAX_COUNTERSIGN: usize = 16 << 20;
/// Largest request with a cluster.yaml, in bytes: a file of 1 MiB in a form, where most punctuation needs three bytes.
pub const MAX_SETTINGS: usize = 4 << 20;
/// Time for a complete request body to arrive.
pub const BODY_TIME: Duration = Duration::from_secs(20);
/// Largest request head that the machines' listener reads itself, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
/// Largest body that it reads itself, in bytes; the router has its own limit.
pub const MAX_AGENT_BODY: usize = cluster_seed::agent::MAX_BODY;
/// Time for a complete request head to arrive.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time for a TLS handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Bytes read of a plain request to the HTTPS port.
pub const MAX_PLAIN: usize = 16 << 10;
/// A connection that reads no byte for this long while there is something to send is closed.
pub const STALL_TIME: Duration = Duration::from_secs(30);
/// One that reads fewer bytes than this in that time is closed too.
pub const STALL_BYTES: usize = 128 << 10;
/// Open connections per listener. The last quarter is for addresses that have none.
pub const MAX_CONNECTIONS: usize = 512;
/// Refused connections that get an answer at the same time.
pub const MAX_REFUSALS: usize = 32;
/// Time for such a connection to receive it.
pub const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// Time between two lines in the log about connections that the system could not accept.
pub const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Threads that serve machines in plain text.
pub const MAX_FILE_THREADS: usize = 8;
/// Open connections of one address to the machines' listener: an agent uses 3 for downloads and one for requests.
pub const MAX_OF_MACHINE: usize = 16;
/// Open connections of one address to the pages: a browser opens 6.
pub const MAX_OF_BROWSER: usize = 8;
/// How long open connections may continue after a shutdown was requested.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);
/// Concurrent calls into the daemon per router.
pub const MAX_CALLS: usize = 32;
/// How long a request waits for its call to start.
pub const CALL_WAIT: Duration = Duration::from_secs(10);
/// Concurrent password hashes and scrypt runs: each needs tens of megabytes or more.
pub const MAX_COSTLY: usize = 2;
/// Open live pages and exports, and how many of them are for users who have none.
pub const MAX_STREAMS: usize = 64;
pub const LAST_STREAMS: usize = 8;
/// Events sent to a live page at once.
pub const STREAM_BATCH: u32 = 100;
/// Silence after which a live page gets a comment, and its session is checked again.
pub const KEEPALIVE: Duration = Duration::from_secs(15);
/// Most events in one JSON answer.
pub const MAX_EVENTS: u32 = 500;
/// Power actions on many machines that run at the same time: each may wait for a slow controller.
pub const POWER_AT_ONCE: usize = 8;
/// Rows of one JSON answer of a list that grows with the site: no answer has more than 300 kB.
pub const LIST_PAGE: u32 = 200;
/// Most nodes on the page of the platform and in its JSON answer.
pub const MAX_CONVERGE_NODES: usize = 150;
/// Longest path below a served directory, in bytes as sent.
pub const MAX_PATH: usize = 1024;
/// Most entries a directory listing shows.
pub const MAX_LISTING: usize = 5000;
/// Most tags of an image in one answer.
pub const MAX_TAGS: usize = 1000;
/// Bytes read from a file at a time, and so the memory of one download.
pub const FILE_BUFFER: usize = 64 << 10;
/// Longest session token, in characters.
pub const MAX_TOKEN: usize = 256;
/// Longest name of a browser that is kept with its session, in characters.
pub const MAX_BROWSER: usize = 160;
/// Longest text from a machine or the event log that a page shows, in characters.
pub const MAX_SHOWN: usize = 512;
/// Largest piece of a capsule in one request, in bytes, and the time for it to arrive.
pub const MAX_PIECE: usize = 8 << 20;
pub const PIECE_TIME: Duration = Duration::from_secs(120);
/// Largest capsule or part that may be uploaded, in bytes.
pub const MAX_CAPSULE: u64 = 16 << 40;
