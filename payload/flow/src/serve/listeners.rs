//! TCP ports that this network namespace listens on: they tell the service's port from the client's.

use std::collections::BTreeSet;

/// Most ports; `MAX_LISTENERS` of `bpf/maps.h`.
const MAX_LISTENERS: usize = 4096;
/// State of a socket that listens, in hex (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Of both families. A file that cannot be read has none.
pub(super) fn listening() -> BTreeSet<u16> {
    let files = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap_or_default());
    texts.iter().flat_map(|text| parse(text)).take(MAX_LISTENERS).collect()
}

/// Lines of proc_pid_net(5): number, local address and port, remote ones, state, more.
fn parse(text: &str) -> impl Iterator<Item = u16> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let (_, port) = local.rsplit_once(':')?;
        if state == LISTEN { u16::from_str_radix(port, 16).ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
             1: 0100007F:9C40 0100007F:0CEA 01 00000000:00000000 00:00000000 00000000\n\
             2: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0 0\n\
             3: bad 0 0A\n\n";
        assert_eq!(parse(text).collect::<Vec<_>>(), [3306, 22]);
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listening().contains(&listener.local_addr().unwrap().port()));
    }
}
