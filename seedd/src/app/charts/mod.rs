//! Charts and alerts of the site, asked of the Prometheus of its monitoring nodes on the metrics plane.

mod catalogue;
mod mesh;
mod prometheus;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::ensure;
use host::clock::{Stopwatch, now};
use web::api::{ApiError, ChartsView, Window};

use super::App;
use catalogue::CATALOGUE;
use prometheus::Prometheus;

/// Where the play `monitoring` has Prometheus listen.
const PORT: u16 = 9090;
/// Points of a series.
const POINTS: u64 = 120;
/// Prometheus has nothing between two samples, in seconds.
const MIN_STEP: u64 = 15;
/// Time for all questions to one Prometheus: a page does not wait longer for a slow one.
const PATIENCE: Duration = Duration::from_secs(15);

impl App {
    /// What the first monitoring node that answers has measured.
    pub fn charts(&self, window: Window) -> Result<ChartsView, ApiError> {
        Ok(match self.first_monitor(|at| ask(at, window, now()))? {
            Ok((source, view)) => ChartsView { source: Some(source), ..view },
            Err(why) => ChartsView { missing: Some(why), ..ChartsView::default() },
        })
    }

    /// Asks one monitoring node after the other; says which one answered, or why none did.
    fn first_monitor<T>(&self, ask: impl Fn(SocketAddrV4) -> anyhow::Result<T>) -> Result<Result<(String, T), String>, ApiError> {
        let sources = self.monitors()?;
        if sources.is_empty() {
            return Ok(Err("No node with the play monitoring has converged: the numbers come from its Prometheus.".to_owned()));
        }
        let mut failures = Vec::new();
        for (name, ip) in &sources {
            match ask(SocketAddrV4::new(*ip, PORT)) {
                Ok(found) => return Ok(Ok((name.clone(), found))),
                Err(error) => failures.push(format!("{name} ({ip}): {error:#}")),
            }
        }
        Ok(Err(format!("Prometheus does not answer: {}", failures.join("; "))))
    }

    /// Converged nodes with the monitoring play, and their addresses on the metrics plane.
    fn monitors(&self) -> Result<Vec<(String, Ipv4Addr)>, ApiError> {
        let plane = self.metrics_plane();
        self.store.read(|tx| {
            let scene = self.scene(tx)?;
            let nodes = scene.nodes.iter().filter(|n| n.record.converged && scene.role_of(n).is_some_and(|r| r.monitors()));
            let found = nodes.filter_map(|n| Some((n.node.hostname.label().to_owned(), n.node.planes.get(plane)?.0)));
            Ok(found.collect())
        })
    }
}

fn ask(at: SocketAddrV4, window: Window, to: u64) -> anyhow::Result<ChartsView> {
    let prometheus = Prometheus::at(at);
    let step = (window.seconds() / POINTS).max(MIN_STEP);
    // Samples of two page views fall on the same moments.
    let to = to - to % step;
    let from = to.saturating_sub(window.seconds());
    let alerts = prometheus.alerts()?;
    let (mut charts, watch) = (Vec::new(), Stopwatch::start());
    for plot in CATALOGUE {
        ensure!(watch.elapsed() < PATIENCE, "it did not answer all questions within {} s", PATIENCE.as_secs());
        let chart = plot.chart(prometheus.range(plot.query, plot.label, from, to, step)?);
        if !chart.series.is_empty() {
            charts.push(chart);
        }
    }
    Ok(ChartsView { source: None, missing: None, from, to, alerts, charts })
}
