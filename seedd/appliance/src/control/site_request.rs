//! What the command line asks a running site for, over the control socket.

use cluster_seed::ids::Mac;
use serde::{Deserialize, Serialize};
use web::api::{BmcKind, PowerAction};

/// No `Debug`: one of them holds a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "what", deny_unknown_fields)]
pub enum SiteRequest {
    /// The event log: `events` (each with its machine's `mac`), `next` to go on from, and whether there are `more`.
    Events {
        /// Only newer ones; without it the last `back` that fit.
        after: Option<i64>,
        back: u32,
        limit: u32,
        mac: Option<Mac>,
        /// Beginnings of kinds; none means all.
        kinds: Vec<String>,
    },
    /// The last packets of a machine: `pcapng` in base64 and their number, `packets`.
    Packets {
        mac: Mac,
    },
    /// Prometheus' text: `text`.
    Metrics,
    /// A [`web::api::PowerView`], as do the next two.
    Power {
        mac: Mac,
    },
    Controller {
        mac: Mac,
        kind: BmcKind,
        address: String,
        user: String,
        password: String,
    },
    ForgetController {
        mac: Mac,
    },
    /// A [`web::api::PowerDone`].
    Act {
        mac: Mac,
        action: PowerAction,
    },
    /// What the doctor wants to know of the daemon: `iface`, `listen`, `active`, `sealed`, `pid`.
    Doctor,
    /// For so many seconds (at most an hour) the made-up machines of the doctor are counted but not written down.
    Rehearsal {
        seconds: u64,
    },
}
