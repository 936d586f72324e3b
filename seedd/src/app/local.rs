//! Sessions of the command line on this machine: whoever may open the control socket gets a token for the JSON API. They are in
//! memory only, and end with the process or with a reload of the site.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use appliance::control::answer::Session;
use cluster_seed::ids::Digest;
use host::clock::steady;
use host::random;
use site::hint::Hint as _;
use subtle::ConstantTimeEq as _;
use web::api::Actor;

use super::App;

/// The actor in the event log, as for everything else that comes by the control socket.
const WHO: &str = "command line";
/// Lifetime in seconds. A command that runs longer (`--watch`) asks for another one.
const SECONDS: u64 = 15 * 60;
/// Most sessions at a time; the oldest ends first.
const MAX_SESSIONS: usize = 64;

/// Digests of tokens, and until when they are valid by the steady clock; oldest first.
#[derive(Default)]
pub(super) struct LocalSessions(Mutex<VecDeque<(Digest, u64)>>);

impl LocalSessions {
    fn add(&self, token: &str, now: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(_, until)| *until > now);
        while held.len() >= MAX_SESSIONS {
            held.pop_front();
        }
        held.push_back((digest(token), now.saturating_add(SECONDS)));
    }

    fn has(&self, token: &str, now: u64) -> bool {
        let wanted = digest(token);
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().any(|(digest, until)| *until > now && bool::from(digest.0.ct_eq(&wanted.0)))
    }
}

fn digest(token: &str) -> Digest {
    Digest::of(format!("kubedos:local-session:v1\0{token}").as_bytes())
}

/// Where a program on this machine reaches a listener.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, at.port())
}

impl App {
    /// A new session for a caller of the control socket.
    pub(super) fn local_session(&self) -> Result<Session> {
        let pages = self.pages.get().ok_or_else(|| anyhow!("the web interface is not listening yet"));
        let (scheme, at) = pages.hint("try again in a moment")?;
        let token = hex::encode(random::bytes::<32>()?);
        self.local.add(&token, steady());
        Ok(Session { url: format!("{scheme}://{}", reachable(*at)), fingerprint: self.fingerprint(), token })
    }

    /// Who a token of such a session belongs to.
    pub(super) fn local_actor(&self, token: &str) -> Option<Actor> {
        self.local.has(token, steady()).then(|| Actor { user: WHO.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_with_their_time_and_the_oldest_makes_room() {
        let all = LocalSessions::default();
        all.add("first", 100);
        assert!(all.has("first", 100 + SECONDS - 1) && !all.has("first", 100 + SECONDS) && !all.has("second", 100));
        (1..MAX_SESSIONS).for_each(|n| all.add(&n.to_string(), 101));
        assert!(all.has("first", 102));
        all.add("one more", 102);
        assert!(!all.has("first", 102) && all.has("1", 102) && all.has("one more", 102));
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_the_loopback_one() {
        for (listens, reached) in
            [("0.0.0.0:443", "127.0.0.1:443"), ("[::]:8443", "[::1]:8443"), ("10.44.0.1:443", "10.44.0.1:443")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
