//! What `kubedos-flow show` prints: the last hour, for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::Report;

/// Most rows of each table.
const MAX_SHOWN: usize = 40;

/// `12.3 MB`; powers of 1000.
fn size(bytes: u64) -> String {
    let (mut rest, mut unit) = (bytes.saturating_mul(10), 0);
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    while rest >= 10_000 && unit + 1 < units.len() {
        (rest, unit) = (rest / 1000, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {}", rest / 10, rest % 10, units[unit]) }
}

fn flows(report: &Report, out: &mut String) {
    let mut sums: BTreeMap<_, [u64; 4]> = BTreeMap::new();
    for row in report.minutes.iter().flat_map(|m| &m.tables.flows) {
        let key = (&row.plane, &row.peer, &row.protocol, row.port, row.role, &row.unit);
        let sums = sums.entry(key).or_default();
        let way = if row.direction.as_str() == "in" { 0 } else { 2 };
        sums[way] += row.bytes;
        sums[way + 1] += row.packets;
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(_, [bytes_in, _, bytes_out, _])| std::cmp::Reverse(bytes_in.saturating_add(*bytes_out)));
    let _ = writeln!(out, "{:9} {:16} {:11} {:7} {:>10} {:>10}  unit", "plane", "peer", "service", "role", "in", "out");
    for ((plane, peer, protocol, port, role, unit), [bytes_in, _, bytes_out, _]) in rows.iter().take(MAX_SHOWN) {
        let service = if *port == 0 { (*protocol).clone() } else { format!("{protocol}/{port}") };
        let (bytes_in, bytes_out) = (size(*bytes_in), size(*bytes_out));
        let _ = writeln!(out, "{plane:9} {peer:16} {service:11} {:7} {bytes_in:>10} {bytes_out:>10}  {unit}", role.as_str());
    }
    if rows.len() > MAX_SHOWN {
        let _ = writeln!(out, "and {} more", rows.len() - MAX_SHOWN);
    }
}

fn drops(report: &Report, out: &mut String) {
    let mut sums: BTreeMap<_, u64> = BTreeMap::new();
    for row in report.minutes.iter().flat_map(|m| &m.tables.drops) {
        *sums.entry((&row.plane, row.direction.as_str(), &row.peer, &row.protocol, row.port, &row.reason)).or_default() +=
            row.packets;
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    for ((plane, direction, peer, protocol, port, reason), packets) in rows.iter().take(MAX_SHOWN) {
        let _ = writeln!(out, "dropped   {plane} {direction} {peer} {protocol}/{port}: {packets} packets, {reason}");
    }
}

/// The last hour: flows by size, drops, violations.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    if let Some(why) = &report.why {
        let _ = writeln!(out, "nothing is counted: {why}");
    }
    flows(report, &mut out);
    drops(report, &mut out);
    for violation in &report.violations {
        let _ = writeln!(out, "violation {} ({})", violation.text, size(violation.payload));
    }
    let lost = &report.lost;
    if lost.flows + lost.connections + lost.drops + lost.violations > 0 {
        let _ = writeln!(
            out,
            "not counted, because tables were full: {} packets, {} events of connections, {} drops, {} violations",
            lost.flows, lost.connections, lost.drops, lost.violations
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (u64::MAX, "1.8 EB")] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn both_directions_are_one_line() {
        let report: Report = serde_json::from_str(include_str!("../tests/sample.json")).unwrap();
        let text = text(&report);
        assert!(text.contains("wg3       n2               tcp/2379    server      1.5 kB     3.0 kB  etcd.service\n"), "{text}");
        assert!(text.contains("dropped   wg3 in n2 tcp/9999: 3 packets, NETFILTER_DROP\n"), "{text}");
        assert!(text.contains("violation wg2 carried tcp/10250 with n2 (512 B)\n"), "{text}");
    }
}
