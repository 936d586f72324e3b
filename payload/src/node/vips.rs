//! Virtual addresses of load balancers, which are in the AllowedIPs of the peer that holds them. The program `kubedos-vip` of the
//! play `vip` moves them and writes who holds which; the peers that are set from the list have to keep them.

use std::net::Ipv4Addr;

use camino::Utf8Path;
use host::files::read_limited;
use zeroize::Zeroizing;

/// Written by `kubedos-vip`: one line `PLANE ADDRESS HOLDER` for each virtual address.
const FILE: &str = "run/kubedos/vips";
/// Largest file read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Virtual address and holder of each, on this plane.
pub(super) fn held(root: &Utf8Path, plane: &str) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let bytes = read_limited(&root.join(FILE), MAX_FILE).unwrap_or_default();
    parse(&String::from_utf8_lossy(&bytes), plane)
}

fn parse(text: &str, plane: &str) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let line = |line: &str| match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        [on, address, holder] if on == plane => Some((address.parse().ok()?, holder.parse().ok()?)),
        _ => None,
    };
    text.lines().filter_map(line).collect()
}

/// The text for `wg syncconf` with the virtual addresses among the AllowedIPs of their holders: without them, `syncconf` would take
/// them away until `kubedos-vip` gives them again.
pub(super) fn with(text: Zeroizing<String>, held: &[(Ipv4Addr, Ipv4Addr)]) -> Zeroizing<String> {
    held.iter().fold(text, |text, (address, holder)| {
        let own = format!("AllowedIPs = {holder}/32\n");
        Zeroizing::new(text.replace(&own, &format!("{own}AllowedIPs = {address}/32\n")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_lines_of_the_plane_count() {
        let text = "wg3 10.80.255.1 10.80.0.5\nwg1 10.78.255.1 10.78.0.5\nwg3 10.80.255.2\nwg3 x 10.80.0.5\n\n";
        assert_eq!(parse(text, "wg3"), [([10, 80, 255, 1].into(), [10, 80, 0, 5].into())]);
        assert!(parse("", "wg3").is_empty());
    }

    #[test]
    fn an_address_goes_to_its_holder_only() {
        let text = "[Interface]\nPrivateKey = k\n\n[Peer]\nAllowedIPs = 10.80.0.5/32\n\n[Peer]\nAllowedIPs = 10.80.0.50/32\n";
        let same = Zeroizing::new(text.to_owned());
        assert_eq!(with(same.clone(), &[]), same);
        let vip = |last| ([10, 80, 255, last].into(), [10, 80, 0, 5].into());
        let both = "10.80.0.5/32\nAllowedIPs = 10.80.255.2/32\nAllowedIPs = 10.80.255.1/32\n";
        let expected = text.replace("10.80.0.5/32\n", both);
        assert_eq!(with(same.clone(), &[vip(1), vip(2)]).as_str(), expected);
        // The holder is this node itself, or has left.
        assert_eq!(with(same.clone(), &[([10, 80, 255, 1].into(), [10, 80, 0, 9].into())]), same);
    }
}
