//! A client of Prometheus' HTTP API, version 1 (prometheus.io/docs/prometheus/latest/querying/api).

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use web::api::{AlertView, Series};

/// Time limit of one question.
const LIMIT: Duration = Duration::from_secs(5);
/// Time limit of a connection: a node that is down must not hold up the page.
const CONNECT: Duration = Duration::from_secs(2);
/// Largest answer read, in bytes: 300 series of 120 points.
const MAX_ANSWER: u64 = 4 << 20;
/// Most alerts and most series read of an answer.
const MAX_ITEMS: usize = 1000;
/// Most values read of an instant query: every pair of a hundred nodes on a plane.
const MAX_SAMPLES: usize = 10_000;

pub struct Prometheus {
    agent: ureq::Agent,
    at: SocketAddrV4,
}

#[derive(Deserialize)]
struct Answer<T> {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<T>,
}

#[derive(Deserialize)]
struct Matrix {
    #[serde(rename = "resultType")]
    kind: String,
    result: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    metric: BTreeMap<String, String>,
    /// Unix seconds with a fraction, and the value as text: it may be `NaN` or `+Inf`.
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(rename = "resultType")]
    kind: String,
    result: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// One value of an instant query.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    /// Finite.
    pub value: f64,
}

impl Sample {
    /// Empty if there is no such label.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    state: String,
    #[serde(default)]
    active_at: String,
}

impl Prometheus {
    pub fn at(at: SocketAddrV4) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .timeout_connect(Some(CONNECT))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0);
        Prometheus { agent: config.build().into(), at }
    }

    /// One value per series and step. `label` names the series.
    pub fn range(&self, query: &str, label: &str, from: u64, to: u64, step: u64) -> Result<Vec<Series>> {
        let moments = [("start", from), ("end", to), ("step", step)].map(|(k, v)| (k, v.to_string()));
        let mut asked = vec![("query", query.to_owned())];
        asked.extend(moments);
        read_matrix(&self.get("query_range", &asked)?, label).with_context(|| format!("reading the answer to {query}"))
    }

    /// What a query means at this moment.
    pub fn now(&self, query: &str) -> Result<Vec<Sample>> {
        read_vector(&self.get("query", &[("query", query.to_owned())])?).with_context(|| format!("reading the answer to {query}"))
    }

    /// Pending and firing alerts, critical ones first.
    pub fn alerts(&self) -> Result<Vec<AlertView>> {
        read_alerts(&self.get("alerts", &[])?).context("reading the alerts")
    }

    fn get(&self, what: &str, query: &[(&'static str, String)]) -> Result<Vec<u8>> {
        let mut request = self.agent.get(format!("http://{}/api/v1/{what}", self.at));
        for (name, value) in query {
            request = request.query(*name, value);
        }
        let mut answer = request.call().with_context(|| format!("asking {}", self.at))?;
        answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().with_context(|| format!("reading from {}", self.at))
    }
}

fn open<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T> {
    let answer: Answer<T> = serde_json::from_slice(text).context("not an answer of Prometheus")?;
    ensure!(answer.status == "success", "Prometheus says {}", answer.error);
    answer.data.context("an answer without data")
}

fn read_matrix(text: &[u8], label: &str) -> Result<Vec<Series>> {
    let matrix: Matrix = open(text)?;
    ensure!(matrix.kind == "matrix", "a {} instead of a matrix", matrix.kind);
    let finite = |(at, value): &(f64, String)| {
        let value: f64 = value.parse().ok()?;
        // Seconds of this era are exact in an f64.
        (value.is_finite() && *at >= 0.0).then_some((*at as u64, value))
    };
    let series = |row: &Row| Series {
        name: row.metric.get(label).cloned().unwrap_or_else(|| "all".to_owned()),
        points: row.values.iter().filter_map(finite).collect(),
    };
    Ok(matrix.result.iter().take(MAX_ITEMS).map(series).filter(|s| !s.points.is_empty()).collect())
}

fn read_vector(text: &[u8]) -> Result<Vec<Sample>> {
    let vector: Vector = open(text)?;
    ensure!(vector.kind == "vector", "a {} instead of a vector", vector.kind);
    let sample = |point: Point| {
        let value: f64 = point.value.1.parse().ok()?;
        value.is_finite().then_some(Sample { labels: point.metric, value })
    };
    Ok(vector.result.into_iter().take(MAX_SAMPLES).filter_map(sample).collect())
}

fn read_alerts(text: &[u8]) -> Result<Vec<AlertView>> {
    let all: Alerts = open(text)?;
    let view = |a: &Alert| {
        let label = |name: &str| a.labels.get(name).cloned().unwrap_or_default();
        let since = a.active_at.parse::<jiff::Timestamp>().ok().and_then(|t| u64::try_from(t.as_second()).ok());
        AlertView {
            name: label("alertname"),
            severity: label("severity"),
            summary: a.annotations.get("summary").cloned().unwrap_or_else(|| label("instance")),
            firing: a.state == "firing",
            since: since.unwrap_or(0),
        }
    };
    let mut alerts: Vec<AlertView> = all.alerts.iter().take(MAX_ITEMS).map(view).collect();
    let weight = |a: &AlertView| match (a.firing, a.severity.as_str()) {
        (true, "critical") => 0,
        (true, "info") => 2,
        (true, _) => 1,
        (false, _) => 3,
    };
    alerts.sort_by_key(|a| (weight(a), a.name.clone(), a.summary.clone()));
    Ok(alerts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_query_gives_finite_values() {
        let text = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"instance":"a","peer":"b"},"value":[1.7e9,"0.5"]},{"metric":{},"value":[1700000015.5,"NaN"]}]}}"#;
        let found = read_vector(text).unwrap();
        assert_eq!((found.len(), found[0].label("peer"), found[0].label("plane"), found[0].value), (1, "b", "", 0.5));
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(read_vector(matrix).is_err());
    }

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let text = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"instance":"a"},"values":[[1.7e9,"0.5"],[1700000015.5,"NaN"],[1700000030,"+Inf"],[1700000045,"1"]]},
            {"metric":{"instance":"b"},"values":[[1700000000,"NaN"]]},
            {"metric":{},"values":[[1700000000,"2"]]}]}}"#;
        let series = read_matrix(text, "instance").unwrap();
        let names: Vec<&str> = series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a", "all"]);
        assert_eq!(series[0].points, [(1_700_000_000, 0.5), (1_700_000_045, 1.0)]);
    }

    #[test]
    fn an_error_of_prometheus_is_told_in_its_words() {
        let text = br#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end of input"}"#;
        let error = read_matrix(text, "x").unwrap_err();
        assert_eq!(error.to_string(), "Prometheus says parse error: unexpected end of input");
        assert!(read_matrix(b"<html>", "x").is_err());
        assert!(read_matrix(br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, "x").is_err());
    }

    #[test]
    fn firing_critical_alerts_come_first() {
        let text = br#"{"status":"success","data":{"alerts":[
            {"labels":{"alertname":"Pending","severity":"critical"},"annotations":{},"state":"pending","activeAt":"2026-11-30T01:00:00.5Z"},
            {"labels":{"alertname":"Info","severity":"info"},"annotations":{"summary":"s"},"state":"firing"},
            {"labels":{"alertname":"Bad","severity":"critical","instance":"n1"},"state":"firing","activeAt":"yesterday"}]}}"#;
        let alerts = read_alerts(text).unwrap();
        let seen: Vec<_> = alerts.iter().map(|a| (a.name.as_str(), a.summary.as_str(), a.firing, a.since)).collect();
        assert_eq!(seen, [("Bad", "n1", true, 0), ("Info", "s", true, 0), ("Pending", "", false, 1_796_000_400)]);
    }
}
