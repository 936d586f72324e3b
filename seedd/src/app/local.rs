//! Sessions of the command line on this machine: whoever may open the control socket gets a token for the JSON API. They are in
//! memory only, and end with the process or with a reload of the site.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, anyhow};
use appliance::control::answer::Session;
use host::clock::steady;
use host::random;
use site::hint::Hint as _;
use web::api::Actor;

use super::App;

/// The actor in the event log, as for everything else that comes by the control socket.
const WHO: &str = "command line";
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
        self.local.has(token, steady()).then(|| Actor::local(WHO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_the_loopback_one() {
        for (listens, reached) in
            [("0.0.0.0:443", "127.0.0.1:443"), ("[::]:8443", "[::1]:8443"), ("10.44.0.1:443", "10.44.0.1:443")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
