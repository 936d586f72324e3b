//! WireGuard keys and the configuration text that `wg setconf` reads (wg(8)).

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Seconds between keepalives, so that a path through NAT stays open (wg(8) recommends 25).
pub const KEEPALIVE_SECONDS: u16 = 25;
/// Tolerance for handshakes in the future, in seconds: the clock is constantly corrected in small steps.
const HANDSHAKE_SLACK: u64 = 5;
/// MTU of a plane: 1500 less IPv6, UDP and WireGuard headers, as wg-quick chooses.
pub const MTU: u16 = 1420;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a WireGuard key (want 32 bytes in base64)")]
pub struct KeyError;

/// A Curve25519 private key (RFC 7748), one per node and plane.
pub struct WgPrivateKey(StaticSecret);

impl WgPrivateKey {
    /// From 32 random bytes; clamped according to RFC 7748 section 5, so that `wg` prints the same bytes.
    pub fn from_random(mut bytes: [u8; 32]) -> Self {
        bytes[0] &= 248;
        bytes[31] &= 127;
        bytes[31] |= 64;
        WgPrivateKey(StaticSecret::from(bytes))
    }

    pub fn public(&self) -> WgPublicKey {
        WgPublicKey(PublicKey::from(&self.0).to_bytes())
    }

    /// Base64 text, wiped when dropped.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(B64.encode(self.0.as_bytes()))
    }

    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        Ok(WgPrivateKey(StaticSecret::from(decode(text)?)))
    }
}

impl fmt::Debug for WgPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn decode(text: &str) -> Result<[u8; 32], KeyError> {
    B64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(KeyError)
}

/// The public half, base64 in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WgPublicKey(pub [u8; 32]);

impl fmt::Display for WgPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&B64.encode(self.0))
    }
}

impl fmt::Debug for WgPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for WgPublicKey {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        decode(s).map(WgPublicKey)
    }
}

impl Serialize for WgPublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WgPublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A peer on a plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WgPeer {
    pub key: WgPublicKey,
    pub address: Ipv4Addr,
    /// Endpoint; a peer without one has to initiate the handshake.
    pub endpoint: Option<SocketAddrV4>,
}

/// The text for `wg setconf` and `wg syncconf`. Contains the private key: pass it on stdin, never in a file.
pub fn setconf(private: &WgPrivateKey, listen_port: u16, peers: &[WgPeer]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "[Interface]\nPrivateKey = {}\nListenPort = {listen_port}", private.expose().as_str());
    for peer in peers {
        let _ = writeln!(text, "\n[Peer]\nPublicKey = {}\nAllowedIPs = {}/32", peer.key, peer.address);
        if let Some(endpoint) = peer.endpoint {
            let _ = writeln!(text, "Endpoint = {endpoint}");
        }
        let _ = writeln!(text, "PersistentKeepalive = {KEEPALIVE_SECONDS}");
    }
    text
}

/// Peers whose last handshake is in the future: the clock was set back. WireGuard accepts a handshake only if its timestamp
/// is later than the previous one (whitepaper, section 5.1), so such a peer has to be removed and added again.
/// `text` is what `wg show IF latest-handshakes` prints, `now` Unix seconds.
pub fn handshakes_ahead(text: &str, now: u64) -> Vec<WgPublicKey> {
    let lines = text.lines().filter_map(|l| l.split_once('\t'));
    let ahead = lines.filter(|(_, at)| at.trim().parse::<u64>().is_ok_and(|at| at > now.saturating_add(HANDSHAKE_SLACK)));
    ahead.filter_map(|(key, _)| key.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_clamped_and_derived_as_wg_does() {
        // Second value: what `wg pubkey` (wireguard-tools 1.0.20210914) prints for the first.
        let key = WgPrivateKey::from_random([7; 32]);
        assert_eq!(key.expose().as_str(), "AAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHB0c=");
        assert_eq!(key.public().to_string(), "E75P6uryBMf9M1j8nAByGIHRdCeBKCJ+xnTzf3/pe20=");
        assert_eq!(WgPrivateKey::from_text(&key.expose()).unwrap().public(), key.public());
    }

    #[test]
    fn setconf_is_what_wg_reads() {
        let key = WgPrivateKey::from_random([7; 32]);
        let peer = WgPeer {
            key: WgPublicKey([1; 32]),
            address: Ipv4Addr::new(10, 78, 0, 2),
            endpoint: Some("10.44.0.100:51821".parse().unwrap()),
        };
        let text = setconf(&key, 51821, &[peer]);
        let expected = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51821\n\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.2/32\n\
             Endpoint = 10.44.0.100:51821\nPersistentKeepalive = 25\n",
            key.expose().as_str(),
            WgPublicKey([1; 32])
        );
        assert_eq!(text.as_str(), expected);
    }

    #[test]
    fn peers_with_a_handshake_in_the_future_are_found() {
        let (a, b, c) = (WgPublicKey([1; 32]), WgPublicKey([2; 32]), WgPublicKey([3; 32]));
        let text = format!("{a}\t1005\n{b}\t1006\n{c}\t0\nnonsense\nx\t2000\n");
        assert_eq!(handshakes_ahead(&text, 1000), [b]);
        assert_eq!(handshakes_ahead(&text, 0), [a, b]);
        assert!(handshakes_ahead(&text, u64::MAX).is_empty() && handshakes_ahead("", 0).is_empty());
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for text in ["", "AAAA", &B64.encode([0u8; 31]), &B64.encode([0u8; 33]), "not base64!"] {
            assert!(text.parse::<WgPublicKey>().is_err(), "{text}");
        }
    }
}
