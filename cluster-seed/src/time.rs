//! `time:` of cluster.yaml, and the chrony configurations made from it. Text only; no clock is read here.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Most networks that a seed serves the time to: the underlay and the planes.
const MAX_NETWORKS: usize = 64;
/// Most time servers of a site.
pub const MAX_SERVERS: usize = 8;
/// Stratum of the seed's own clock without a time server: worse than any real source (RFC 5905, figure 11: 16 is
/// unsynchronised).
pub const LOCAL_STRATUM: u8 = 8;

/// Time settings of the site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeSpec {
    /// Announce the seed as NTP server by DHCP (option 42).
    #[serde(default = "yes")]
    pub serve: bool,
    /// NTP servers of the seed, by name or address; if empty, its own clock is used.
    #[serde(default)]
    pub servers: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Default for TimeSpec {
    fn default() -> Self {
        TimeSpec { serve: true, servers: Vec::new() }
    }
}

impl TimeSpec {
    /// The first problem, as text. A server's name becomes a word in chrony's configuration.
    pub fn check(&self) -> Result<(), String> {
        if self.servers.len() > MAX_SERVERS {
            return Err(format!("time.servers has {} entries, more than {MAX_SERVERS}", self.servers.len()));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
        let named = |s: &&String| (1..=253).contains(&s.len()) && s.bytes().all(plain) && !s.starts_with('-');
        match self.servers.iter().find(|s| !named(s)) {
            Some(bad) => Err(format!("time.servers: {:?} is not a name or an address", bad.chars().take(60).collect::<String>())),
            None => Ok(()),
        }
    }
}

/// chrony.conf(5) of the seed: serves `networks`, follows `servers` if there are any.
pub fn seed_config(time: &TimeSpec, networks: &[Ipv4Net]) -> String {
    let mut text = "# Written by seedd at each start.\ndriftfile /var/lib/chrony/chrony.drift\nrtcsync\n".to_owned();
    // Writing to a String cannot fail.
    for server in &time.servers {
        let _ = writeln!(text, "server {server} iburst");
    }
    if !time.servers.is_empty() {
        // Only at the start: later, nodes depend on this clock.
        text.push_str("makestep 1 3\n");
    }
    if time.serve {
        let _ = writeln!(text, "local stratum {LOCAL_STRATUM}");
        for network in networks {
            let _ = writeln!(text, "allow {network}");
        }
    }
    text
}

/// True if `text` is exactly what [`seed_config`] writes for some site: chrony starts as root, and other directives of
/// chrony.conf(5) name files and programs.
pub fn is_seed_config(text: &str) -> bool {
    let after = |word: &'static str| text.lines().filter_map(move |l| l.strip_prefix(word));
    let servers = after("server ").map(|l| l.strip_suffix(" iburst").unwrap_or_default().to_owned()).collect();
    let time = TimeSpec { serve: after("local stratum ").next().is_some(), servers };
    let networks: Result<Vec<Ipv4Net>, _> = after("allow ").map(str::parse).collect();
    time.check().is_ok() && networks.is_ok_and(|n| n.len() <= MAX_NETWORKS && seed_config(&time, &n) == text)
}

/// Largest correction of a node's clock after the first one, in seconds.
pub const MAX_CHANGE: u32 = 60;

/// Time source of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeTime {
    /// The seed's address on the boot network, before the planes are up. Any host there can forge it.
    Underlay(Ipv4Addr),
    /// The seed's address on the control plane, authenticated by WireGuard.
    ControlPlane(Ipv4Addr),
}

/// chrony.conf(5) of a node. The first correction may be a step of any size, no later one is larger than [`MAX_CHANGE`].
///
/// On the boot network a larger one is ignored while chrony runs. On the control plane it means that an operator set the
/// clock: after four of them chrony exits, systemd restarts it, and the first correction is a step. docs/adr/0010-time.md.
pub fn node_config(from: NodeTime) -> String {
    let (seed, ignored) = match from {
        NodeTime::Underlay(seed) => (seed, -1),
        NodeTime::ControlPlane(seed) => (seed, 4),
    };
    format!(
        "# Written by kubedos-node at each start.\nserver {seed} iburst minpoll 4 maxpoll 8\nmakestep 1 1\n\
         maxchange {MAX_CHANGE} 1 {ignored}\ndriftfile /var/lib/chrony/chrony.drift\nrtcsync\nport 0\n"
    )
}

/// Output of `chronyc -n -c tracking` (chronyc(1), tracking; the order of the fields is from its source code).
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// Address of the source; empty if there is none.
    pub source: String,
    pub stratum: u8,
    /// Seconds that the clock is slow (negative) or fast of NTP time.
    pub offset: f64,
    /// Drift of the clock without correction, in parts per million.
    pub drift: f64,
    pub state: TimeState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeState {
    /// Synchronised to a server.
    Synchronised,
    /// Not synchronised; serves its own clock.
    Local,
    /// Not synchronised.
    Unsynchronised,
}

/// chrony's reference id of its own clock: 127.127.1.1.
const LOCAL_REFERENCE: &str = "7F7F0101";

/// `None` unless it is one line of 14 fields.
pub fn parse_tracking(csv: &str) -> Option<Tracking> {
    let fields: Vec<&str> = csv.trim_end_matches('\n').split(',').collect();
    let [id, source, stratum, _, offset, _, _, drift, .., leap] = fields[..] else { return None };
    if fields.len() != 14 || csv.trim_end().contains('\n') {
        return None;
    }
    let state = match (id, leap) {
        (LOCAL_REFERENCE, _) => TimeState::Local,
        (_, "Not synchronised") | ("00000000", _) => TimeState::Unsynchronised,
        _ => TimeState::Synchronised,
    };
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite());
    let source: String = source.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    Some(Tracking { source, stratum: stratum.parse().ok()?, offset: number(offset)?, drift: number(drift)?, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_words_of_a_configuration() {
        let with = |servers: &[&str]| TimeSpec { serve: true, servers: servers.iter().map(|s| (*s).to_owned()).collect() };
        for good in [&[][..], &["10.0.0.1", "ntp.example.org", "fd00::1"], &["a"; MAX_SERVERS]] {
            assert_eq!(with(good).check(), Ok(()), "{good:?}");
        }
        let long = "a".repeat(254);
        for bad in [&[""][..], &["a b"], &["a\nallow all"], &["-x"], &["a;b"], &[&long], &["a"; MAX_SERVERS + 1]] {
            assert!(with(bad).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_seed_serves_its_networks_only() {
        let networks = ["10.44.0.0/24".parse().unwrap(), "10.78.0.0/16".parse().unwrap()];
        let alone = seed_config(&TimeSpec::default(), &networks);
        assert_eq!(
            alone,
            "# Written by seedd at each start.\ndriftfile /var/lib/chrony/chrony.drift\nrtcsync\nlocal stratum 8\n\
             allow 10.44.0.0/24\nallow 10.78.0.0/16\n"
        );
        let follows = seed_config(&TimeSpec { serve: false, servers: vec!["ntp.example.org".into()] }, &networks);
        assert!(follows.contains("server ntp.example.org iburst\nmakestep 1 3\n"));
        assert!(!follows.contains("allow") && !follows.contains("local stratum"));
    }

    /// L6: chrony starts as root with a file that the daemon's user wrote.
    #[test]
    fn a_configuration_with_another_directive_is_not_a_seeds() {
        let networks = ["10.44.0.0/24".parse().unwrap(), "10.78.0.0/16".parse().unwrap()];
        let follows = TimeSpec { serve: true, servers: vec!["ntp.example.org".into(), "fd00::9".into()] };
        for time in [TimeSpec::default(), follows, TimeSpec { serve: false, servers: Vec::new() }] {
            let text = seed_config(&time, &networks);
            assert!(is_seed_config(&text), "{text}");
            for more in ["pidfile /etc/shadow", "include /tmp/x", "mailonchange root 1", "allow", "server -x iburst", " ", "#"] {
                assert!(!is_seed_config(&format!("{text}{more}\n")) && !is_seed_config(&format!("{more}\n{text}")), "{more}");
            }
            assert!(!is_seed_config(&text.replace("/var/lib/chrony/chrony.drift", "/etc/passwd")));
            assert!(!is_seed_config(text.trim_end()) && !is_seed_config(""));
        }
    }

    /// L9: a host that impersonates the seed can step a node's clock once, and then only by a minute at a time.
    #[test]
    fn a_node_steps_once() {
        let underlay = node_config(NodeTime::Underlay([10, 44, 0, 1].into()));
        let plane = node_config(NodeTime::ControlPlane([10, 78, 0, 1].into()));
        for (text, server, limit) in [(&underlay, "10.44.0.1", "-1"), (&plane, "10.78.0.1", "4")] {
            let lines = |word: &str| text.lines().filter(|l| l.starts_with(word)).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(lines("server"), [format!("server {server} iburst minpoll 4 maxpoll 8")], "one source");
            assert_eq!(lines("makestep"), ["makestep 1 1"]);
            assert_eq!(lines("maxchange"), [format!("maxchange 60 1 {limit}")]);
            assert_eq!(lines("port"), ["port 0"]);
        }
    }

    #[test]
    fn tracking_is_read() {
        let line = "0A2C0001,10.44.0.1,9,1795377600.123,-0.000012,0.0,0.0,-3.250,0.0,0.1,0.001,0.002,64.2,Normal\n";
        let tracking = parse_tracking(line).unwrap();
        assert_eq!((tracking.source.as_str(), tracking.stratum, tracking.drift), ("10.44.0.1", 9, -3.25));
        assert_eq!(tracking.state, TimeState::Synchronised);
        let local = "7F7F0101,,8,1795377600.1,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0,Normal";
        assert_eq!(parse_tracking(local).unwrap().state, TimeState::Local);
        let none = "00000000,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised";
        assert_eq!(parse_tracking(none).unwrap().state, TimeState::Unsynchronised);
        let nan = local.replace("1.0,0.0,0.0,0.0,0.0,0.0,Normal", "nan,0.0,0.0,0.0,0.0,0.0,Normal");
        for bad in ["", "506 Cannot talk to daemon", "a,b", &format!("{local},x"), &format!("{local}\n{local}"), &nan] {
            assert_eq!(parse_tracking(bad), None, "{bad}");
        }
    }
}
