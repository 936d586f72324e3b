//! WireGuard keys and the configuration text that `wg setconf` reads (wg(8)).

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use ipnet::Ipv4Net;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Seconds between keepalives, so that a path through NAT stays open (wg(8) recommends 25).
pub const KEEPALIVE_SECONDS: u16 = 25;
/// Tolerance for handshakes in the future, in seconds: the clock is constantly corrected in small steps.
const HANDSHAKE_SLACK: u64 = 5;
/// Bytes that a plane's packets grow by: IPv6, UDP and WireGuard headers, as wg-quick counts.
const OVERHEAD: u16 = 80;
/// MTU of a plane over Ethernet. Larger frames of the underlay are not used: another part of the path may not have them.
pub const MTU: u16 = 1420;
/// Smallest MTU of a plane: what every IPv4 host accepts (RFC 791 section 3.1).
pub const MIN_MTU: u16 = 576;
/// Smallest MTU with IPv6 (RFC 8200 section 5): the kernel removes the IPv6 addresses of an interface that has less.
pub const MIN_MTU6: u16 = 1280;
/// Largest MTU that cluster.yaml may give a plane: what an interface with the largest one leaves.
pub const MAX_MTU: u16 = u16::MAX - OVERHEAD;
/// Seconds after which a session without a new handshake is over: rejected after 180, and renewed every 120 while packets flow
/// (whitepaper, section 6.1).
const SESSION_SECONDS: u64 = 180;
/// Seconds without a handshake after which a peer's earlier handshakes are forgotten.
const DEAD_SECONDS: u64 = 300;

/// MTU of a plane whose packets travel over an underlay with this MTU in bytes (PPPoE, VXLAN and tunnels have less than 1500).
pub fn plane_mtu(underlay: u32) -> u16 {
    room(underlay).clamp(MIN_MTU, MTU)
}

/// What an underlay with this MTU leaves for a packet of a plane.
fn room(underlay: u32) -> u16 {
    u16::try_from(underlay.saturating_sub(OVERHEAD.into())).unwrap_or(u16::MAX)
}

/// MTU of a plane for which cluster.yaml wants one: that one, or less if this machine's own interface has no room for it.
/// `underlay` is the interface's MTU, if it is known.
pub fn mtu_of(wanted: Option<u16>, underlay: Option<u32>) -> u16 {
    match (wanted, underlay) {
        (Some(wanted), Some(underlay)) => wanted.min(room(underlay)).max(MIN_MTU),
        (Some(wanted), None) => wanted,
        (None, underlay) => underlay.map_or(MTU, plane_mtu),
    }
}

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
    /// On a plane with IPv6.
    pub address6: Option<Ipv6Addr>,
    /// Endpoint; a peer without one has to initiate the handshake.
    pub endpoint: Option<SocketAddrV4>,
    /// Addresses of the pods on it.
    pub pods: Option<Ipv4Net>,
    /// Its node uses another key at the moment: it may shake hands, which shows that the node changed over, but has no addresses.
    /// WireGuard gives an address to one peer only.
    pub idle: bool,
}

/// The text for `wg setconf` and `wg syncconf`. Contains the private key: pass it on stdin, never in a file.
/// A peer in `live` gets no endpoint: WireGuard follows it to where its packets come from, through NAT too, and a configured
/// endpoint would replace that one.
pub fn setconf(private: &WgPrivateKey, listen_port: u16, peers: &[WgPeer], live: &[WgPublicKey]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "[Interface]\nPrivateKey = {}\nListenPort = {listen_port}", private.expose().as_str());
    for peer in peers {
        let _ = writeln!(text, "\n[Peer]\nPublicKey = {}", peer.key);
        if !peer.idle {
            let _ = writeln!(text, "AllowedIPs = {}/32", peer.address);
        }
        if let Some(address6) = peer.address6.filter(|_| !peer.idle) {
            let _ = writeln!(text, "AllowedIPs = {address6}/128");
        }
        if let Some(pods) = peer.pods.filter(|_| !peer.idle) {
            let _ = writeln!(text, "AllowedIPs = {pods}");
        }
        if let Some(endpoint) = peer.endpoint.filter(|_| !live.contains(&peer.key)) {
            let _ = writeln!(text, "Endpoint = {endpoint}");
        }
        let _ = writeln!(text, "PersistentKeepalive = {KEEPALIVE_SECONDS}");
    }
    text
}

/// The peers and times in what `wg show IF latest-handshakes` prints; a peer without a handshake has 0.
pub(crate) fn handshakes(text: &str) -> impl Iterator<Item = (WgPublicKey, u64)> {
    let lines = text.lines().filter_map(|l| l.split_once('\t'));
    lines.filter_map(|(key, at)| Some((key.parse().ok()?, at.trim().parse().ok()?)))
}

/// Peers to remove and add again. WireGuard accepts a handshake only if its timestamp is later than the previous one
/// (whitepaper, section 5.1), so a peer whose clock went back is ignored until that one is forgotten.
///
/// These are peers with a handshake in the future (this machine's clock went back), and those that have been silent for so long
/// that theirs may have. `text` is what `wg show IF latest-handshakes` prints, `now` Unix seconds.
pub fn handshakes_to_forget(text: &str, now: u64) -> Vec<WgPublicKey> {
    let ahead = |at: u64| at > now.saturating_add(HANDSHAKE_SLACK);
    let dead = |at: u64| at > 0 && at.saturating_add(DEAD_SECONDS) < now;
    handshakes(text).filter(|(_, at)| ahead(*at) || dead(*at)).map(|(key, _)| key).collect()
}

/// Peers with a session at `now`, in Unix seconds. `text` is what `wg show IF latest-handshakes` prints.
pub fn live(text: &str, now: u64) -> Vec<WgPublicKey> {
    let recent = |at: u64| at > 0 && at <= now.saturating_add(HANDSHAKE_SLACK) && at.saturating_add(SESSION_SECONDS) > now;
    handshakes(text).filter(|(_, at)| recent(*at)).map(|(key, _)| key).collect()
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
            address6: None,
            endpoint: Some("10.44.0.100:51821".parse().unwrap()),
            pods: None,
            idle: false,
        };
        let text = setconf(&key, 51821, std::slice::from_ref(&peer), &[WgPublicKey([2; 32])]);
        let expected = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51821\n\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.2/32\n\
             Endpoint = 10.44.0.100:51821\nPersistentKeepalive = 25\n",
            key.expose().as_str(),
            WgPublicKey([1; 32])
        );
        assert_eq!(text.as_str(), expected);
        // The endpoint that WireGuard learned stays.
        let live = setconf(&key, 51821, std::slice::from_ref(&peer), &[WgPublicKey([1; 32])]);
        assert_eq!(live.as_str(), expected.replace("Endpoint = 10.44.0.100:51821\n", ""));
        let idle = setconf(&key, 51821, &[WgPeer { idle: true, ..peer.clone() }], &[]);
        assert_eq!(idle.as_str(), expected.replace("AllowedIPs = 10.78.0.2/32\n", ""));
        let pods = setconf(&key, 51821, &[WgPeer { pods: Some("10.244.2.0/24".parse().unwrap()), ..peer.clone() }], &[]);
        let own = "AllowedIPs = 10.78.0.2/32\n";
        assert_eq!(pods.as_str(), expected.replace(own, &format!("{own}AllowedIPs = 10.244.2.0/24\n")));
        let both = WgPeer { address6: Some("fd00:78::2".parse().unwrap()), ..peer };
        let text = setconf(&key, 51821, std::slice::from_ref(&both), &[]);
        assert_eq!(text.as_str(), expected.replace(own, &format!("{own}AllowedIPs = fd00:78::2/128\n")));
        let idle6 = setconf(&key, 51821, &[WgPeer { idle: true, ..both }], &[]);
        assert_eq!(idle6, idle, "a peer that is idle has no address of either family");
    }

    #[test]
    fn a_peer_is_forgotten_or_live_by_its_last_handshake() {
        let (a, b, c) = (WgPublicKey([1; 32]), WgPublicKey([2; 32]), WgPublicKey([3; 32]));
        let text = format!("{a}\t1005\n{b}\t1006\n{c}\t0\nnonsense\nx\t2000\n");
        let none: [WgPublicKey; 0] = [];
        for (now, forget, alive) in [
            // In the future.
            (0, vec![a, b], vec![]),
            (1000, vec![b], vec![a]),
            (1001, vec![], vec![a, b]),
            // The session is over, and the peer may come back at its endpoint.
            (1185, vec![], vec![b]),
            (1186, vec![], vec![]),
            (1305, vec![], vec![]),
            (1306, vec![a], vec![]),
            (1307, vec![a, b], vec![]),
        ] {
            assert_eq!((handshakes_to_forget(&text, now), live(&text, now)), (forget, alive), "{now}");
        }
        assert_eq!((handshakes_to_forget("", 0), live("", 0)), (none.to_vec(), none.to_vec()));
    }

    #[test]
    fn a_plane_fits_into_its_underlay() {
        for (underlay, plane) in [(1500, 1420), (9000, 1420), (1492, 1412), (1450, 1370), (1400, 1320), (600, 576), (0, 576)] {
            assert_eq!(plane_mtu(underlay), plane, "{underlay}");
        }
    }

    #[test]
    fn a_wanted_mtu_is_used_where_there_is_room_for_it() {
        for (wanted, underlay, mtu) in [
            (None, None, MTU),
            (None, Some(9000), MTU),
            (Some(8920), Some(9000), 8920),
            (Some(8920), Some(8999), 8919),
            (Some(8920), None, 8920),
            (Some(1280), Some(1500), 1280),
            (Some(1420), Some(600), MIN_MTU),
        ] {
            assert_eq!(mtu_of(wanted, underlay), mtu, "{wanted:?} over {underlay:?}");
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for text in ["", "AAAA", &B64.encode([0u8; 31]), &B64.encode([0u8; 33]), "not base64!"] {
            assert!(text.parse::<WgPublicKey>().is_err(), "{text}");
        }
    }
}
