//! Who holds a port, from the kernel's tables (proc(5)): pure parsers, and one that looks.

use std::fs;

/// A socket of /proc/net/{udp,tcp}: local port, state and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub port: u16,
    /// 10 is listening, for TCP.
    pub state: u8,
    pub inode: u64,
}

/// Reads one table; lines that are not understood are left out.
pub fn parse(table: &str) -> Vec<Held> {
    let line = |l: &str| {
        let words: Vec<&str> = l.split_whitespace().collect();
        let port = u16::from_str_radix(words.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        let state = u8::from_str_radix(words.get(3)?, 16).ok()?;
        Some(Held { port, state, inode: words.get(9)?.parse().ok()? })
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// Names of the programs that hold a UDP port.
pub fn of_udp(port: u16) -> Vec<String> {
    let held = ["/proc/net/udp", "/proc/net/udp6"].iter().filter_map(|p| fs::read_to_string(p).ok());
    let inodes: Vec<u64> = held.flat_map(|t| parse(&t)).filter(|h| h.port == port).map(|h| h.inode).collect();
    programs(&inodes)
}

/// Names of the programs that listen on a TCP port.
pub fn of_tcp(port: u16) -> Vec<String> {
    let held = ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|p| fs::read_to_string(p).ok());
    let listening = held.flat_map(|t| parse(&t)).filter(|h| h.port == port && h.state == 10);
    programs(&listening.map(|h| h.inode).collect::<Vec<_>>())
}

/// Processes that have one of these sockets open.
fn programs(inodes: &[u64]) -> Vec<String> {
    if inodes.is_empty() {
        return Vec::new();
    }
    let wanted: Vec<String> = inodes.iter().map(|i| format!("socket:[{i}]")).collect();
    let mut names = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |d: fs::DirEntry| fs::read_link(d.path()).is_ok_and(|l| wanted.iter().any(|w| l.as_os_str() == w.as_str()));
        if descriptors.flatten().any(holds) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            names.push(format!("{} (pid {})", name.trim(), process.file_name().to_string_lossy()));
        }
    }
    if names.is_empty() {
        names.push("a program of another user".to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_by_line() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            29567: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0\n\
            garbage\n   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0\n";
        let held = [Held { port: 67, state: 7, inode: 4711 }, Held { port: 80, state: 10, inode: 12 }];
        assert_eq!(parse(table), held);
        assert!(parse("").is_empty());
    }

    #[test]
    fn this_test_is_found_as_the_holder_of_its_own_port() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let me = format!("(pid {})", std::process::id());
        assert!(of_udp(udp.local_addr().unwrap().port()).iter().any(|n| n.ends_with(&me)));
        assert!(of_tcp(tcp.local_addr().unwrap().port()).iter().any(|n| n.ends_with(&me)));
    }
}
