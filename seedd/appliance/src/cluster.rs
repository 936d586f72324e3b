//! A new site's cluster.yaml: the medium's, with another name and, if chosen, another address on the boot network. Comments
//! are kept if it is enough to change lines.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Hostname;
use cluster_seed::netboot::Pool;
use ipnet::Ipv4Net;
use site::hint::Hint as _;

/// The new text and its parsed form. `address` is the seed's address on the boot network, with the prefix length; the pool of
/// addresses for machines is derived from it.
pub fn of_new_site(text: &str, name: &Hostname, address: Option<Ipv4Net>) -> Result<(String, ClusterSpec)> {
    let mut wanted = ClusterSpec::parse(text).map_err(|e| anyhow!("{e}")).context("reading the medium's cluster.yaml")?;
    wanted.metadata.name = name.clone();
    let underlay = &mut wanted.spec.networking.underlay;
    let moved = address.filter(|a| a.addr() != underlay.seed.value || a.trunc() != underlay.subnet.trunc());
    if let Some(address) = moved {
        let pool = pool(address)
            .ok_or_else(|| anyhow!("{address} leaves no addresses for machines"))
            .hint("choose an address with a prefix length from 8 to 30 that is neither the network's first nor its last")?;
        underlay.subnet = address.trunc();
        underlay.seed.value = address.addr();
        underlay.pool.value = pool;
        // They belong to the previous network.
        underlay.router = underlay.router.filter(|r| address.contains(r));
        underlay.dns.retain(|d| address.contains(d));
    }
    // JSON is valid YAML: if changing lines is not enough, the file is written without comments.
    let plain = || serde_json::to_string_pretty(&wanted).context("writing cluster.yaml");
    for candidate in [lines(text, &wanted, moved.is_some()), plain()?] {
        if let Ok(spec) = ClusterSpec::parse(&candidate)
            && same(&spec, &wanted)
        {
            return Ok((candidate, spec));
        }
    }
    let error = ClusterSpec::parse(&plain()?).err().map_or_else(|| "the written file differs".to_owned(), |e| e.message);
    Err(anyhow!("these settings do not give a valid cluster.yaml: {error}"))
}

fn same(a: &ClusterSpec, b: &ClusterSpec) -> bool {
    serde_json::to_value(a).ok() == serde_json::to_value(b).ok()
}

/// Changes the lines that differ.
fn lines(text: &str, wanted: &ClusterSpec, moved: bool) -> String {
    let underlay = &wanted.spec.networking.underlay;
    let pool = underlay.pool.value;
    let mut new = vec![("metadata", "name", wanted.metadata.name.to_string())];
    if moved {
        new.push(("underlay", "subnet", underlay.subnet.to_string()));
        new.push(("underlay", "seed", underlay.seed.value.to_string()));
        new.push(("underlay", "pool", format!("{{first: {}, last: {}}}", pool.first, pool.last)));
    }
    // (indentation, key) of the mappings that a line is in.
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut out = String::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        let key = bare.split_once(':').map(|(k, _)| k).filter(|k| !bare.starts_with(['#', '-']) && !k.contains(' '));
        let Some(key) = key else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        path.retain(|(i, _)| *i < indent);
        let parent = path.last().map_or("", |(_, k)| k.as_str());
        let change = new.iter().find(|(p, k, _)| *p == parent && *k == key);
        match change {
            Some((_, _, value)) => out.push_str(&format!("{}{key}: {value}\n", &line[..indent])),
            None => out.push_str(&format!("{line}\n")),
        }
        path.push((indent, key.to_owned()));
    }
    out
}

/// A range for machines without the seed's address: a hundred addresses if possible, otherwise the larger side.
fn pool(seed: Ipv4Net) -> Option<Pool> {
    if !(8..=30).contains(&seed.prefix_len()) {
        return None;
    }
    let (first, last) = (u32::from(seed.network()) + 1, u32::from(seed.broadcast()) - 1);
    let own = u32::from(seed.addr());
    if !(first..=last).contains(&own) {
        return None;
    }
    let range = |a: u32, b: u32| Pool { first: Ipv4Addr::from(a), last: Ipv4Addr::from(b) };
    let hundred = [100, 20].into_iter().map(|n| first - 1 + n).find(|a| a + 99 <= last && !(*a..=a + 99).contains(&own));
    Some(match hundred {
        Some(a) => range(a, a + 99),
        None if own - first >= last - own => range(first, own - 1),
        None => range(own + 1, last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use site::default_cluster_yaml;

    fn name() -> Hostname {
        "site-b".parse().unwrap()
    }

    #[test]
    fn the_name_changes_and_comments_stay() {
        let text = default_cluster_yaml("maker");
        let (new, spec) = of_new_site(&text, &name(), None).unwrap();
        assert_eq!(spec.metadata.name.as_str(), "site-b");
        assert_eq!(new, text.replace("name: maker", "name: site-b"));
        let same = Some("10.44.0.1/24".parse().unwrap());
        assert_eq!(of_new_site(&text, &name(), same).unwrap().0, new);
    }

    #[test]
    fn another_address_moves_the_whole_boot_network() {
        let text = default_cluster_yaml("maker");
        let (new, spec) = of_new_site(&text, &name(), Some("192.168.7.9/24".parse().unwrap())).unwrap();
        let u = &spec.spec.networking.underlay;
        assert_eq!((u.subnet.to_string().as_str(), u.seed.value.to_string().as_str()), ("192.168.7.0/24", "192.168.7.9"));
        assert_eq!(
            (u.pool.value.first.to_string().as_str(), u.pool.value.last.to_string().as_str()),
            ("192.168.7.100", "192.168.7.199")
        );
        assert!(new.contains("# The segment on which machines netboot."), "{new}");
        // Forms that lines do not reach are written as JSON.
        let flow = text.replace(
            "      subnet: 10.44.0.0/24\n      seed: 10.44.0.1\n",
            "      'subnet': 10.44.0.0/24\n      'seed': 10.44.0.1\n",
        );
        assert_ne!(flow, text);
        let (json, spec) = of_new_site(&flow, &name(), Some("192.168.7.9/24".parse().unwrap())).unwrap();
        assert!(json.starts_with('{'));
        assert_eq!(spec.spec.networking.underlay.seed.value.to_string(), "192.168.7.9");
        // What collides with a plane is no good file.
        assert!(of_new_site(&text, &name(), Some("10.78.0.1/24".parse().unwrap())).is_err());
    }

    #[test]
    fn pools_at_their_limits() {
        for (seed, expected) in [
            ("10.0.0.1/24", Some(("10.0.0.100", "10.0.0.199"))),
            ("10.0.0.150/24", Some(("10.0.0.20", "10.0.0.119"))),
            ("10.0.0.1/16", Some(("10.0.0.100", "10.0.0.199"))),
            ("10.0.0.1/26", Some(("10.0.0.2", "10.0.0.62"))),
            ("10.0.0.62/26", Some(("10.0.0.1", "10.0.0.61"))),
            ("10.0.0.1/30", Some(("10.0.0.2", "10.0.0.2"))),
            ("10.0.0.2/30", Some(("10.0.0.1", "10.0.0.1"))),
            ("10.0.0.0/30", None),
            ("10.0.0.3/30", None),
            ("10.0.0.1/31", None),
            ("10.0.0.1/7", None),
        ] {
            let found = pool(seed.parse().unwrap()).map(|p| (p.first.to_string(), p.last.to_string()));
            assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())), "{seed}");
        }
    }
}
