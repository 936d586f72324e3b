//! `/charts`: what the site's Prometheus measured, drawn as SVG without a script.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::shell::{Shell, overview, page};
use super::view::clean;
use crate::api::{Chart, ChartsView, Series, Unit, Window};
use crate::auth::{NoPage, PageSession};
use crate::call::App;
use crate::dates::{ago, iso};
use crate::headers::RequestId;
use crate::words::Lang;

/// Size of a drawing, in the units of its view box.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 150.0;
/// A gap of more than this many steps interrupts a line: nothing was measured.
const GAP_STEPS: u64 = 3;

#[derive(Deserialize)]
pub(crate) struct Ask {
    #[serde(default)]
    window: String,
}

struct Choice {
    name: &'static str,
    current: bool,
}

struct Alert {
    tone: &'static str,
    word: String,
    name: String,
    summary: String,
    since: Option<(String, String)>,
}

struct Line {
    name: String,
    /// Number of its colour in the style sheet.
    colour: usize,
    /// Pieces of the line, each as the `points` of an SVG polyline.
    pieces: Vec<String>,
    last: String,
    max: String,
}

struct Drawing {
    id: &'static str,
    title: String,
    /// The title is the daemon's, in English.
    foreign: bool,
    top: String,
    lines: Vec<Line>,
    left_out: usize,
}

#[derive(Template)]
#[template(path = "charts.html")]
struct Page {
    shell: Shell,
    choices: Vec<Choice>,
    source: Option<String>,
    missing: Option<String>,
    from: String,
    to: String,
    alerts: Vec<Alert>,
    drawings: Vec<Drawing>,
}

/// A value for people, with two or three digits.
pub(super) fn spoken(value: f64, unit: Unit) -> String {
    const STEPS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let scaled = |value: f64, suffix: &str| {
        let found = STEPS.iter().find(|(size, _)| value.abs() >= *size);
        found.map_or_else(
            || format!("{} {suffix}", short(value)),
            |(size, name)| format!("{} {name}{suffix}", short(value / size)),
        )
    };
    match unit {
        Unit::Share => format!("{} %", short(value * 100.0)),
        Unit::Bytes => scaled(value, "B"),
        Unit::BytesPerSecond => scaled(value, "B/s"),
        Unit::Count => scaled(value, "").trim_end().to_owned(),
        Unit::Seconds if value.abs() >= 2.0 * 86_400.0 => format!("{} d", short(value / 86_400.0)),
        Unit::Seconds if value.abs() >= 2.0 * 3600.0 => format!("{} h", short(value / 3600.0)),
        Unit::Seconds if value != 0.0 && value.abs() < 0.001 => format!("{} µs", short(value * 1e6)),
        Unit::Seconds if value != 0.0 && value.abs() < 1.0 => format!("{} ms", short(value * 1e3)),
        Unit::Seconds => format!("{} s", short(value)),
    }
}

fn short(value: f64) -> String {
    let digits = if value == 0.0 || value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The upper end of the scale; shares go to 100 % where they come near.
fn top(chart: &Chart) -> f64 {
    let max = chart.series.iter().map(Series::max).fold(0.0, f64::max);
    match chart.unit {
        Unit::Share if max > 0.5 => 1.0,
        _ if max > 0.0 => max * 1.1,
        _ => 1.0,
    }
}

/// Polylines of one series; below zero is drawn at zero.
fn pieces(series: &Series, from: u64, to: u64, top: f64) -> Vec<String> {
    let span = to.saturating_sub(from).max(1);
    let step = series.points.windows(2).map(|w| w[1].0.saturating_sub(w[0].0)).min().unwrap_or(1).max(1);
    let mut pieces: Vec<String> = Vec::new();
    let mut before = None;
    for (at, value) in &series.points {
        let x = at.saturating_sub(from) as f64 / span as f64 * WIDTH;
        let y = HEIGHT - (value / top).clamp(0.0, 1.0) * HEIGHT;
        let point = format!("{x:.1},{y:.1}");
        let torn = before.is_none_or(|b: u64| at.saturating_sub(b) > GAP_STEPS * step);
        match pieces.last_mut() {
            Some(piece) if !torn => {
                piece.push(' ');
                piece.push_str(&point);
            }
            _ => pieces.push(point),
        }
        before = Some(*at);
    }
    pieces
}

/// The key of the title of a chart; a chart that is not among them keeps the daemon's title.
fn title(id: &str) -> Option<&'static str> {
    Some(match id {
        "cpu" => "chart-cpu",
        "memory" => "chart-memory",
        "disk" => "chart-disk",
        "planes" => "chart-planes",
        "network" => "chart-network",
        "peers" => "chart-peers",
        "targets" => "chart-targets",
        "clock" => "chart-clock",
        "certificates" => "chart-certificates",
        "etcd-size" => "chart-etcd-size",
        "etcd-fsync" => "chart-etcd-fsync",
        "balancer" => "chart-balancer",
        _ => return None,
    })
}

fn draw(lang: Lang, chart: &Chart, from: u64, to: u64) -> Drawing {
    let top = top(chart);
    let key = title(chart.id);
    let line = |(colour, s): (usize, &Series)| Line {
        name: clean(&s.name),
        colour,
        pieces: pieces(s, from, to, top),
        last: spoken(s.last(), chart.unit),
        max: spoken(s.max(), chart.unit),
    };
    Drawing {
        id: chart.id,
        title: key.map_or_else(|| chart.title.to_owned(), |key| lang.t(key)),
        foreign: key.is_none(),
        top: spoken(top, chart.unit),
        lines: chart.series.iter().enumerate().map(line).collect(),
        left_out: chart.left_out,
    }
}

fn template(view: &ChartsView, window: Window, now: u64, shell: Shell) -> Page {
    let lang = shell.lang;
    let alert = |a: &crate::api::AlertView| Alert {
        tone: match (a.firing, a.severity.as_str()) {
            (false, _) | (true, "info") => "idle",
            (true, "critical") => "bad",
            (true, _) => "wait",
        },
        word: lang.t(if a.firing { "charts-firing" } else { "charts-pending" }),
        name: clean(&a.name),
        summary: clean(&a.summary),
        since: (a.since > 0).then(|| (iso(a.since), ago(lang, now, a.since))),
    };
    Page {
        shell,
        choices: Window::ALL.iter().map(|w| Choice { name: w.as_str(), current: *w == window }).collect(),
        source: view.source.as_deref().map(clean),
        missing: view.missing.as_deref().map(clean),
        from: iso(view.from),
        to: iso(view.to),
        alerts: view.alerts.iter().map(alert).collect(),
        drawings: view.charts.iter().map(|c| draw(lang, c, view.from, view.to)).collect(),
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    ask: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, NoPage> {
    let wanted = ask.map(|Query(a)| a.window).unwrap_or_default();
    let window = Window::ALL.into_iter().find(|w| w.as_str() == wanted).unwrap_or_default();
    let overview = overview(&app).await?;
    let view = app.call(move |api| api.charts(window)).await?;
    let shell = Shell::new("Charts", &overview, &id, Some(&session)).titled("nav-charts");
    Ok(page(StatusCode::OK, &template(&view, window, overview.clock, shell))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spoken_with_two_or_three_digits() {
        let cases = [
            (0.0, Unit::Share, "0 %"),
            (0.123_4, Unit::Share, "12.3 %"),
            (1.0, Unit::Share, "100 %"),
            (1_500_000.0, Unit::Bytes, "1.5 MB"),
            (999.0, Unit::BytesPerSecond, "999 B/s"),
            (3.0, Unit::Count, "3"),
            (0.000_25, Unit::Seconds, "250 µs"),
            (0.012_5, Unit::Seconds, "12.5 ms"),
            (864_000.0, Unit::Seconds, "10 d"),
            (5.0, Unit::Seconds, "5 s"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(spoken(value, unit), text);
        }
    }

    #[test]
    fn charts_have_titles_in_the_language_of_the_page_and_unknown_ones_that_of_the_daemon() {
        let chart = |id, title| Chart { id, title, unit: Unit::Share, series: Vec::new(), left_out: 0 };
        let drawn = |lang, id, title| {
            let drawing = draw(lang, &chart(id, title), 0, 10);
            (drawing.title, drawing.foreign)
        };
        assert_eq!(drawn(Lang::En, "memory", "Memory used"), ("Memory used".to_owned(), false));
        assert_eq!(drawn(Lang::De, "memory", "Memory used"), ("Belegter Arbeitsspeicher".to_owned(), false));
        assert_eq!(drawn(Lang::De, "new", "Something new"), ("Something new".to_owned(), true));
    }

    #[test]
    fn a_line_is_interrupted_where_nothing_was_measured() {
        let points = [0, 10, 20, 60, 70].map(|at| (at, 0.5)).to_vec();
        let series = Series { name: "a".to_owned(), points };
        assert_eq!(pieces(&series, 0, 100, 1.0), ["0.0,75.0 60.0,75.0 120.0,75.0", "360.0,75.0 420.0,75.0"]);
    }

    #[test]
    fn values_outside_of_the_scale_stay_inside_of_the_drawing() {
        let series = Series { name: "a".to_owned(), points: vec![(0, -5.0), (10, 1e9)] };
        assert_eq!(pieces(&series, 0, 10, 1.0), ["0.0,150.0 600.0,0.0"]);
    }
}
