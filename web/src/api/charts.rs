//! Charts of a site, from its Prometheus.

use serde::{Deserialize, Serialize};

/// How much of the past the charts show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Window {
    #[default]
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "6h")]
    SixHours,
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
}

impl Window {
    pub const ALL: [Window; 4] = [Window::Hour, Window::SixHours, Window::Day, Window::Week];

    pub fn seconds(self) -> u64 {
        match self {
            Window::Hour => 3600,
            Window::SixHours => 6 * 3600,
            Window::Day => 86_400,
            Window::Week => 7 * 86_400,
        }
    }

    /// As in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Window::Hour => "1h",
            Window::SixHours => "6h",
            Window::Day => "24h",
            Window::Week => "7d",
        }
    }
}

/// What the values of a chart are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// 0 to 1.
    Share,
    Bytes,
    BytesPerSecond,
    Seconds,
    Count,
}

/// HTTP shape of `GET /api/v1/charts?window=1h|6h|24h|7d`.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChartsView {
    /// The node whose Prometheus answered.
    pub source: Option<String>,
    /// Why there are no charts.
    pub missing: Option<String>,
    /// First and last moment, in Unix seconds.
    pub from: u64,
    pub to: u64,
    /// Alerts that are pending or firing.
    pub alerts: Vec<AlertView>,
    /// Only charts that have a series.
    pub charts: Vec<Chart>,
}

/// An alert of Prometheus.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    pub name: String,
    /// `critical`, `warning` or `info`, or what the operator's own rules say.
    pub severity: String,
    pub summary: String,
    /// False while it is pending.
    pub firing: bool,
    /// Unix seconds; 0 if unknown.
    pub since: u64,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    /// The largest last values first.
    pub series: Vec<Series>,
    /// Series that were left out because there are too many.
    pub left_out: usize,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Series {
    pub name: String,
    /// Unix seconds and value, in order of time; finite numbers only.
    pub points: Vec<(u64, f64)>,
}

impl Series {
    pub fn last(&self) -> f64 {
        self.points.last().map_or(0.0, |(_, v)| *v)
    }

    pub fn max(&self) -> f64 {
        self.points.iter().map(|(_, v)| *v).fold(f64::NEG_INFINITY, f64::max)
    }
}
