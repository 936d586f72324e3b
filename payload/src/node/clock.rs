//! The node's clock: chrony follows the seed; steps that depend on the time wait briefly for its first response.
//!
//! No trust decision depends on it (docs/adr/0010-time.md). The lower bound of the clock is
//! `/usr/lib/clock-epoch`, which systemd applies before it starts anything.

use std::net::Ipv4Addr;
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::time::{NodeTime, TimeState, node_config, parse_tracking};

use crate::http::{Wait, chain};
use host::files::{FileError, PUBLIC, write_atomic};
use host::tool::Tool;

/// The configuration that chrony's unit on a node reads.
const CONFIG: &str = "run/kubedos/chrony.conf";
const LIMIT: Duration = Duration::from_secs(20);
/// Polls of chrony, a second apart, before the node continues with the clock it has.
const LOOKS: u32 = 15;

/// The seed's address on the underlay, from its URL.
pub fn seed_of(url: &str) -> Option<Ipv4Addr> {
    let authority = url.strip_prefix("http://")?.split('/').next()?;
    authority.split(':').next()?.parse().ok()
}

/// Starts chrony with the seed on the boot network as its only server, and waits for it. Returns a line for the console.
///
/// # Errors
/// Only if the configuration cannot be written: a node with a wrong clock works, but its log timestamps are wrong.
pub fn follow(root: &Utf8Path, seed: Ipv4Addr, wait: Wait<'_>) -> Result<String, FileError> {
    start(root, NodeTime::Underlay(seed))?.map_or_else(Ok, |()| Ok(words(settled(LOOKS, wait, &mut ask))))
}

/// Switches to the control plane, where time cannot be forged; if the seed does not serve NTP there, keeps the boot network.
/// Returns a line for the console.
///
/// # Errors
/// Only if the configuration cannot be written.
pub fn move_to_plane(root: &Utf8Path, seed: Ipv4Addr, plane: Ipv4Addr, wait: Wait<'_>) -> Result<String, FileError> {
    decide(seed, plane, &mut |from| {
        let started = start(root, from)?;
        Ok(started.is_ok().then(|| settled(LOOKS, wait, &mut ask)).flatten())
    })
}

fn decide(
    seed: Ipv4Addr,
    plane: Ipv4Addr,
    follow: &mut dyn FnMut(NodeTime) -> Result<Option<String>, FileError>,
) -> Result<String, FileError> {
    if let Some(source) = follow(NodeTime::ControlPlane(plane))? {
        return Ok(format!("from {source}"));
    }
    Ok(format!("not over the control plane; {}", words(follow(NodeTime::Underlay(seed))?)))
}

/// The inner error is a line for the console.
fn start(root: &Utf8Path, from: NodeTime) -> Result<Result<(), String>, FileError> {
    write_atomic(&root.join(CONFIG), node_config(from).as_bytes(), PUBLIC)?;
    let started = Tool::new("systemctl").args(["restart", "chrony.service"]).timeout(LIMIT).run();
    Ok(started.map(|_| ()).map_err(|e| format!("chrony did not start: {}", chain(&e))))
}

/// The source that chrony follows.
fn ask() -> Option<String> {
    let tracking = Tool::new("chronyc").args(["-n", "-c", "tracking"]).timeout(LIMIT).run().ok()?;
    parse_tracking(&tracking.text()).filter(|t| t.state == TimeState::Synchronised).map(|t| t.source)
}

fn settled(looks: u32, wait: Wait<'_>, look: &mut dyn FnMut() -> Option<String>) -> Option<String> {
    for _ in 0..looks {
        if let Some(source) = look() {
            return Some(source);
        }
        wait(Duration::from_secs(1));
    }
    None
}

fn words(source: Option<String>) -> String {
    source.map_or_else(|| "no response from the seed's NTP server; continuing".to_owned(), |s| format!("from {s}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_found_in_its_url() {
        for (url, seed) in [
            ("http://10.44.0.1", Some([10, 44, 0, 1].into())),
            ("http://10.44.0.1:8080/x", Some([10, 44, 0, 1].into())),
            ("http://seed.lan", None),
            ("https://10.44.0.1", None),
            ("", None),
        ] {
            assert_eq!(seed_of(url), seed, "{url}");
        }
    }

    /// L9: time comes from the boot network only until the plane serves it.
    #[test]
    fn the_time_comes_over_the_plane_if_the_seed_serves_it_there() {
        let (seed, plane): (Ipv4Addr, Ipv4Addr) = ([10, 44, 0, 1].into(), [10, 78, 0, 1].into());
        for (served, asked) in
            [(true, vec![NodeTime::ControlPlane(plane)]), (false, vec![NodeTime::ControlPlane(plane), NodeTime::Underlay(seed)])]
        {
            let mut tried = Vec::new();
            let words = decide(seed, plane, &mut |from| {
                tried.push(from);
                Ok((served || from == NodeTime::Underlay(seed)).then(|| format!("{from:?}")))
            });
            assert_eq!(tried, asked);
            assert_eq!(words.unwrap().contains("not over the control plane"), !served);
        }
    }

    #[test]
    fn the_wait_is_bounded() {
        let mut looks = 0;
        let mut after = |n: u32| {
            looks = 0;
            let words = words(settled(5, &|_| (), &mut || {
                looks += 1;
                (looks >= n).then(|| "10.44.0.1".to_owned())
            }));
            (words.starts_with("from 10.44.0.1"), looks)
        };
        assert_eq!(after(1), (true, 1));
        assert_eq!(after(5), (true, 5));
        assert_eq!(after(6), (false, 5));
    }
}
