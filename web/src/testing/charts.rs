//! Charts of the mock.

use crate::api::{AlertView, Chart, ChartsView, Series, Unit, Window};

/// End of the charts, in Unix seconds.
const TO: u64 = 1_763_800_000;
const POINTS: u64 = 120;

/// `spice` is appended to every text from outside.
pub fn charts(spice: &str, window: Window) -> ChartsView {
    let from = TO - window.seconds();
    let step = window.seconds() / POINTS;
    let wave = |name: &str, base: f64, swing: f64, gap: bool| Series {
        name: format!("{name}{spice}"),
        points: (0..=POINTS)
            .filter(|n| !gap || !(40..55).contains(n))
            .map(|n| (from + n * step, base + swing * (n as f64 / 9.0).sin()))
            .collect(),
    };
    let alert = |name: &str, severity: &str, summary: &str, firing| AlertView {
        name: format!("{name}{spice}"),
        severity: severity.to_owned(),
        summary: format!("{summary}{spice}"),
        firing,
        since: TO - 600,
    };
    ChartsView {
        source: Some(format!("mon-1{spice}")),
        missing: None,
        from,
        to: TO,
        alerts: vec![
            alert("NodeDown", "critical", "etcd-3 does not answer", true),
            alert("DiskFullSoon", "warning", "/ of etcd-1 will be full within 24 hours", false),
        ],
        charts: vec![
            Chart {
                id: "cpu",
                title: "Processor time used",
                unit: Unit::Share,
                series: vec![wave("etcd-1", 0.4, 0.2, false), wave("etcd-2", 0.3, 0.1, true), wave("mon-1", 0.12, 0.05, false)],
                left_out: 2,
            },
            Chart {
                id: "planes",
                title: "Received on each plane, all nodes",
                unit: Unit::BytesPerSecond,
                series: vec![wave("wg3", 9e6, 4e6, false), wave("wg2", 3e5, 1e5, false)],
                left_out: 0,
            },
        ],
    }
}
