//! The counters in Prometheus' text format 0.0.4. The number of series is bounded by [`crate::book::MAX_ROWS`].

use std::fmt::Write;

use crate::book::{Book, Conn, Drop, Flow};
use crate::ports::protocol_name;
use crate::report::Header;

/// Microseconds of a second.
const MICRO: f64 = 1e6;

/// A label's value, with `\`, `"` and line ends escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, about: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}

fn of_flow(row: &Flow) -> String {
    let (protocol, port) = (protocol_name(row.protocol), row.port.to_string());
    labels(&[
        ("plane", &row.plane),
        ("direction", row.direction.as_str()),
        ("peer", &row.peer),
        ("protocol", &protocol),
        ("port", &port),
        ("role", row.role.as_str()),
        ("unit", &row.unit),
    ])
}

fn of_conn(row: &Conn) -> String {
    let port = row.port.to_string();
    labels(&[("plane", &row.plane), ("peer", &row.peer), ("port", &port), ("role", row.role.as_str()), ("unit", &row.unit)])
}

fn of_drop(row: &Drop) -> String {
    let (protocol, port) = (protocol_name(row.protocol), row.port.to_string());
    labels(&[
        ("plane", &row.plane),
        ("direction", row.direction.as_str()),
        ("peer", &row.peer),
        ("protocol", &protocol),
        ("port", &port),
        ("reason", &row.reason),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "a sum of times is a floating-point number in the format")]
fn seconds(micro: u64) -> f64 {
    micro as f64 / MICRO
}

/// Everything, as one answer to a scrape.
pub fn text(header: &Header, book: &Book) -> String {
    let mut out = Text(String::new());
    out.family("kubedos_flow_counting", "gauge", "1 if packets are counted; 0 if the kernel has no type information.");
    out.sample("kubedos_flow_counting", "", u8::from(header.why.is_none()));
    for (at, (name, about)) in [
        ("kubedos_flow_packets_total", "Packets."),
        ("kubedos_flow_bytes_total", "Bytes from the IP header on."),
        ("kubedos_flow_payload_bytes_total", "Bytes without the headers of IP, TCP and UDP."),
    ]
    .into_iter()
    .enumerate()
    {
        out.family(name, "counter", about);
        book.totals.flows.rows().for_each(|(row, sums)| out.sample(name, &of_flow(row), sums[at]));
    }
    out.family("kubedos_flow_rtt_seconds", "summary", "Smoothed round-trip time of TCP, one sample per packet sent.");
    for (row, [_, _, _, sum, samples]) in book.totals.flows.rows().filter(|(_, sums)| sums[4] > 0) {
        let labels = of_flow(row);
        out.sample("kubedos_flow_rtt_seconds_sum", &labels, seconds(*sum));
        out.sample("kubedos_flow_rtt_seconds_count", &labels, samples);
    }
    for (at, (name, about)) in [
        ("kubedos_flow_connections_opened_total", "TCP connections that were established."),
        ("kubedos_flow_connections_failed_total", "TCP connections of this node that were refused or not answered."),
        ("kubedos_flow_retransmits_total", "TCP segments that were sent again."),
    ]
    .into_iter()
    .enumerate()
    {
        out.family(name, "counter", about);
        book.totals.conns.rows().for_each(|(row, sums)| out.sample(name, &of_conn(row), sums[at]));
    }
    out.family("kubedos_flow_drops_total", "counter", "Packets that this node dropped, with the kernel's reason.");
    book.totals.drops.rows().for_each(|(row, sums)| out.sample("kubedos_flow_drops_total", &of_drop(row), sums[0]));
    out.family("kubedos_flow_violation", "gauge", "1 for a service that a plane carried in the last hour and should not.");
    for what in book.violations.keys() {
        let (protocol, port) = (protocol_name(what.protocol), what.port.to_string());
        let pairs = [
            ("plane", &*what.plane),
            ("peer", &what.peer),
            ("protocol", &protocol),
            ("port", &port),
            ("role", what.role.as_str()),
        ];
        out.sample("kubedos_flow_violation", &labels(&pairs), 1);
    }
    out.family("kubedos_flow_lost_total", "counter", "What found no room in a table and was not counted.");
    let [flows, connections, drops] = book.lost;
    for (table, n) in [("flows", flows), ("connections", connections), ("drops", drops), ("violations", book.violations_lost)] {
        out.sample("kubedos_flow_lost_total", &labels(&[("table", table)]), n);
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::layout::{Direction, Role};

    #[test]
    fn a_scrape_has_every_counter_with_its_labels() {
        let mut book = Book::default();
        let flow = Flow {
            plane: "wg3".into(),
            peer: "n\"2".into(),
            protocol: 6,
            port: 2379,
            role: Role::Client,
            direction: Direction::Out,
            unit: "etcd.service".into(),
        };
        book.totals.flows.add(&flow, &[3, 300, 150, 2_500_000, 2]);
        let header = Header { why: Some("no BTF".to_owned()), ..Header::default() };
        let text = text(&header, &book);
        let labels = r#"plane="wg3",direction="out",peer="n\"2",protocol="tcp",port="2379",role="client",unit="etcd.service""#;
        for line in [
            "kubedos_flow_counting 0".to_owned(),
            format!("kubedos_flow_payload_bytes_total{{{labels}}} 150"),
            format!("kubedos_flow_rtt_seconds_sum{{{labels}}} 2.5"),
            "kubedos_flow_lost_total{table=\"drops\"} 0".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }
}
