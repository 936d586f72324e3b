use std::collections::BTreeSet;
use std::sync::Arc;

use host::tool::{Tool, ToolError};
use pxe::counters::{Count, Counters};
use pxe::why::Why;
use web::meter::HttpMeter;

use super::*;

fn sample() -> String {
    let (dhcp, tftp) = (Arc::new(Counters::default()), Arc::new(Counters::default()));
    dhcp.add(Count::Discover);
    dhcp.add_ignored(Why::PoolExhausted);
    tftp.add(Count::TftpDone);
    tftp.add_tftp_bytes(260_000);
    let meters = Meters {
        dhcp: vec![dhcp, Arc::default()],
        tftp: vec![tftp],
        http: Arc::new(HttpMeter::default()),
        pages: Arc::default(),
    };
    meters.http.door().count(Turn::Address);
    meters.pages.count(Turn::Idle);
    meters.http.answered("/chunks/ab", 200, 4 << 20);
    let flight = Flight::new(0);
    flight.transfers.observe(0.3);
    let tallies = Tallies { enrollments: vec![("Pending".into(), 2)], machines: 3, nodes: 1, leases: 3, events: 40 };
    let unheard = Unheard { silent: 1, seconds: vec![("n1.lab.lan".into(), 400)] };
    let now = Now { tallies, unheard, mode: "active", clock: 1_795_377_600, offset: Some(-0.5), free: Some(9), ..Now::default() };
    render(Some(&meters), &flight, &now).unwrap()
}

/// Names as Prometheus stores them, with those of a histogram.
fn names(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|l| !l.starts_with('#'));
    samples.map(|l| l.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn everything_is_counted_under_its_name() {
    let text = sample();
    for line in [
        "# TYPE kubedos_dhcp_packets_total counter",
        "kubedos_dhcp_packets_total{type=\"discover\"} 1",
        "kubedos_dhcp_ignored_total{reason=\"pool_exhausted\"} 1",
        "kubedos_dhcp_ignored_total{reason=\"bad_mac\"} 0",
        "kubedos_tftp_transfers_total{result=\"done\"} 1",
        "kubedos_tftp_sent_bytes_total 260000",
        "kubedos_tftp_transfer_seconds_bucket{le=\"0.5\"} 1",
        "kubedos_http_requests_total{of=\"chunks\",status=\"2xx\"} 1",
        "kubedos_http_sent_bytes_total{of=\"chunks\"} 4194304",
        "kubedos_http_turned_away_total{listener=\"machines\",reason=\"address\"} 1",
        "kubedos_http_turned_away_total{listener=\"pages\",reason=\"idle\"} 1",
        "kubedos_enrollments{state=\"Pending\"} 2",
        "kubedos_mode{state=\"active\"} 1",
        "kubedos_sealed 0",
        "kubedos_clock_offset_seconds -0.5",
        "kubedos_leases 3",
        "kubedos_nodes_silent 1",
        "kubedos_node_unheard_seconds{node=\"n1.lab.lan\"} 400",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("# EOF") && text.ends_with('\n'));
}

#[test]
fn promtool_has_nothing_to_say() {
    let said = match Tool::new("promtool").args(["check", "metrics"]).stdin(sample()).run_any() {
        Ok(said) => said,
        Err(ToolError::Start { .. }) => return kubedos_skip::skip("promtool", "is not installed"),
        Err(e) => panic!("{e}"),
    };
    assert!(said.0.success(), "{} {}", said.1.text(), said.1.stderr);
    assert_eq!((said.1.text(), said.1.stderr.trim()), (String::new(), ""));
}

#[test]
fn every_query_of_the_dashboard_names_what_is_exported() {
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../../../docs/grafana-kubedos.json")).unwrap();
    let known = names(&sample());
    let mut asked = BTreeSet::new();
    let mut todo = vec![&dashboard];
    while let Some(value) = todo.pop() {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value.as_str()) {
                        ("expr" | "query", Some(expr)) => {
                            let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                            asked.extend(words.filter(|w| w.starts_with("kubedos_")).map(str::to_owned));
                        }
                        _ => todo.push(value),
                    }
                }
            }
            serde_json::Value::Array(list) => todo.extend(list),
            _ => {}
        }
    }
    assert!(asked.len() >= 12, "{asked:?}");
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "not exported: {unknown:?}\nexported: {known:?}");
}
