//! `/mesh`: what crosses the planes, as a picture and as tables.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::charts::spoken;
use super::shell::{Shell, overview, page};
use super::view::clean;
use crate::api::{MeshLink, MeshView, MeshViolation, Unit};
use crate::auth::{NoPage, PageSession};
use crate::call::App;
use crate::dates::iso;
use crate::headers::RequestId;
use crate::words::Lang;

/// Nodes in the picture: more would cover each other. The tables have all.
const MAX_DRAWN: usize = 24;
/// Rows of the table of links.
const MAX_ROWS: usize = 200;
/// The picture, in the units of its view box.
const CENTRE: (f64, f64) = (300.0, 200.0);
const RADIUS: (f64, f64) = (205.0, 160.0);
/// Width of the line with the most traffic.
const WIDEST: f64 = 9.0;

#[derive(Deserialize)]
pub(crate) struct Ask {
    #[serde(default)]
    plane: String,
}

struct Choice {
    name: String,
    current: bool,
}

struct Dot {
    x: String,
    y: String,
    /// Of the name beside it, and how it is aligned there.
    text_x: String,
    text_y: String,
    anchor: &'static str,
    name: String,
}

struct Line {
    /// `x1 y1 x2 y2` of the two dots.
    path: String,
    width: String,
    bad: bool,
    title: String,
}

struct Row {
    plane: String,
    from: String,
    to: String,
    rate: String,
    rtt: Option<String>,
}

struct Drop {
    node: String,
    plane: String,
    reason: String,
    packets: String,
}

#[derive(Template)]
#[template(path = "mesh.html")]
struct Page {
    shell: Shell,
    choices: Vec<Choice>,
    missing: Option<String>,
    source: Option<String>,
    at: String,
    violations: Vec<String>,
    blind: String,
    dots: Vec<Dot>,
    lines: Vec<Line>,
    /// Nodes that are not in the picture.
    undrawn: usize,
    rows: Vec<Row>,
    left_out: usize,
    drops: Vec<Drop>,
}

/// The busiest nodes, in order of their names.
fn drawn<'a>(view: &'a MeshView, links: &[&'a MeshLink]) -> Vec<&'a str> {
    let mut busy: BTreeMap<&str, f64> = view.nodes.iter().map(|n| (n.as_str(), 0.0)).collect();
    for link in links {
        for end in [&link.from, &link.to] {
            *busy.entry(end).or_default() += link.bytes_per_second;
        }
    }
    let mut all: Vec<(&str, f64)> = busy.into_iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let mut names: Vec<&str> = all.into_iter().take(MAX_DRAWN).map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

/// Places on an ellipse, the first at the top.
fn places(count: usize) -> impl Iterator<Item = (f64, f64)> {
    (0..count).map(move |n| {
        let angle = (n as f64 / count as f64).mul_add(std::f64::consts::TAU, -std::f64::consts::FRAC_PI_2);
        (angle.cos(), angle.sin())
    })
}

fn dot(name: &str, (x, y): (f64, f64)) -> Dot {
    // Names stand outside of the ellipse, so that no line crosses them.
    let anchor = if x.abs() < 0.3 {
        "middle"
    } else if x > 0.0 {
        "start"
    } else {
        "end"
    };
    let at = |centre: f64, radius: f64, part: f64, more: f64| format!("{:.1}", (radius + more).mul_add(part, centre));
    Dot {
        x: at(CENTRE.0, RADIUS.0, x, 0.0),
        y: at(CENTRE.1, RADIUS.1, y, 0.0),
        text_x: at(CENTRE.0, RADIUS.0, x, 12.0),
        text_y: at(CENTRE.1, RADIUS.1, y, 18.0),
        anchor,
        name: clean(name),
    }
}

/// One line for each pair of nodes, both directions and all planes together.
fn lines(names: &[&str], dots: &[Dot], links: &[&MeshLink], bad: &BTreeSet<(&str, &str)>) -> Vec<Line> {
    let mut pairs: BTreeMap<(&str, &str), f64> = bad.iter().map(|pair| (*pair, 0.0)).collect();
    for link in links {
        *pairs.entry(pair(&link.from, &link.to)).or_default() += link.bytes_per_second;
    }
    let most = pairs.values().copied().fold(1.0, f64::max);
    let place = |name: &str| names.iter().position(|n| *n == name).and_then(|n| dots.get(n));
    let line = |(a, b): (&str, &str), rate: f64| {
        let (one, two) = (place(a)?, place(b)?);
        let bad = bad.contains(&(a, b));
        // The square root, so that small traffic is seen beside large.
        Some(Line {
            path: format!("M{} {}L{} {}", one.x, one.y, two.x, two.y),
            width: format!("{:.1}", ((rate / most).sqrt() * WIDEST).max(0.8)),
            bad,
            title: format!("{} – {}: {}", one.name, two.name, spoken(rate, Unit::BytesPerSecond)),
        })
    };
    pairs.into_iter().filter_map(|(ends, rate)| line(ends, rate)).collect()
}

fn pair<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    if a < b { (a, b) } else { (b, a) }
}

/// Which plane carried what, between which nodes.
fn carried(lang: Lang, v: &MeshViolation) -> String {
    let service = format!("{}/{}", v.protocol, v.port);
    lang.with(
        "mesh-carried",
        &[("node", (&v.node).into()), ("plane", (&v.plane).into()), ("x", (&service).into()), ("peer", (&v.peer).into())],
    )
}

fn template(view: &MeshView, plane: &str, shell: Shell) -> Page {
    let lang = shell.lang;
    let planes: BTreeSet<&str> = view.links.iter().map(|l| l.plane.as_str()).collect();
    let plane = planes.get(plane).copied().unwrap_or_default();
    let shown = |p: &str| plane.is_empty() || plane == p;
    let links: Vec<&MeshLink> = view.links.iter().filter(|l| shown(&l.plane)).collect();
    let violations = || view.violations.iter().filter(|v| shown(&v.plane));
    let names = drawn(view, &links);
    let dots: Vec<Dot> = names.iter().zip(places(names.len())).map(|(name, at)| dot(name, at)).collect();
    let bad: BTreeSet<(&str, &str)> = violations().map(|v| pair(&v.node, &v.peer)).collect();
    let row = |l: &&MeshLink| Row {
        plane: clean(&l.plane),
        from: clean(&l.from),
        to: clean(&l.to),
        rate: spoken(l.bytes_per_second, Unit::BytesPerSecond),
        rtt: l.rtt.map(|s| spoken(s, Unit::Seconds)),
    };
    let drop = |d: &crate::api::MeshDrop| Drop {
        node: clean(&d.node),
        plane: clean(&d.plane),
        reason: clean(&d.reason),
        packets: spoken(d.packets.round(), Unit::Count),
    };
    let mut choices = vec![Choice { name: String::new(), current: plane.is_empty() }];
    choices.extend(planes.iter().map(|p| Choice { name: clean(p), current: *p == plane }));
    Page {
        shell,
        choices,
        missing: view.missing.as_deref().map(clean),
        source: view.source.as_deref().map(clean),
        at: iso(view.at),
        violations: violations().map(|v| clean(&carried(lang, v))).collect(),
        blind: view.blind.iter().map(|n| clean(n)).collect::<Vec<_>>().join(", "),
        undrawn: view.nodes.len().saturating_sub(names.len()),
        lines: lines(&names, &dots, &links, &bad),
        dots,
        rows: links.iter().take(MAX_ROWS).map(row).collect(),
        left_out: view.left_out + links.len().saturating_sub(MAX_ROWS),
        drops: view.drops.iter().filter(|d| shown(&d.plane)).map(drop).collect(),
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    ask: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, NoPage> {
    let plane = ask.map(|Query(a)| a.plane).unwrap_or_default();
    let overview = overview(&app).await?;
    let view = app.call(move |api| api.mesh()).await?;
    let shell = Shell::new("Mesh", &overview, &id, Some(&session)).titled("nav-mesh");
    Ok(page(StatusCode::OK, &template(&view, &plane, shell))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(from: &str, to: &str, rate: f64) -> MeshLink {
        MeshLink { plane: "wg3".to_owned(), from: from.to_owned(), to: to.to_owned(), bytes_per_second: rate, rtt: None }
    }

    #[test]
    fn both_directions_are_one_line_and_the_most_traffic_is_the_widest() {
        let links = [link("a", "b", 60.0), link("b", "a", 40.0), link("c", "a", 1.0), link("a", "x", 5.0)];
        let links: Vec<&MeshLink> = links.iter().collect();
        let names = ["a", "b", "c"];
        let dots: Vec<Dot> = names.iter().zip(places(3)).map(|(n, at)| dot(n, at)).collect();
        let bad = BTreeSet::from([("b", "c")]);
        let found = lines(&names, &dots, &links, &bad);
        let seen: Vec<_> = found.iter().map(|l| (l.title.as_str(), l.width.as_str(), l.bad)).collect();
        // `x` is not in the picture; a violation is drawn even where nothing flows now.
        assert_eq!(seen, [("a – b: 100 B/s", "9.0", false), ("a – c: 1 B/s", "0.9", false), ("b – c: 0 B/s", "0.8", true)]);
    }

    #[test]
    fn the_busiest_nodes_are_drawn() {
        let nodes: Vec<String> = (0..40).map(|n| format!("n{n:02}")).collect();
        let view = MeshView { nodes, ..MeshView::default() };
        let links = [link("n38", "n39", 5.0), link("n37", "n39", 1.0)];
        let links: Vec<&MeshLink> = links.iter().collect();
        let names = drawn(&view, &links);
        assert_eq!((names.len(), &names[MAX_DRAWN - 3..]), (MAX_DRAWN, &["n37", "n38", "n39"][..]));
    }
}
