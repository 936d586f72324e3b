//! 10,000 machines, 8,900 of them nodes: no page and no list of the API grows with the site.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seedd::app::Seed;
use web::api::{InventoryApi as _, OperatorApi as _, Origin, Setup};
use web::limits::LIST_PAGE;

use crate::fleet::pages;
use crate::support::large_fleet::{Size, TO_APPROVAL, TO_WORK, fill};
use crate::support::places::{links, lists, shape};
use crate::support::sites::*;

/// Most bytes of any answer.
const MOST: usize = 300_000;
const MACHINES: u32 = 10_000;
const NOW: u64 = 1_800_000_000;

#[test]
fn no_page_and_no_list_of_ten_thousand_machines_is_large() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    fill(&app.store, Size { machines: MACHINES, events: 5_000, nodes: TO_APPROVAL }, NOW).unwrap();
    assert_eq!(app.store.read(|tx| tx.broken_event()).unwrap(), None);
    let setup = Setup { code: app.setup_code().unwrap(), user: "ada".into(), password: "a long password".into() };
    let token = Seed(app.clone()).setup(&Origin::new("127.0.0.1".parse().unwrap(), "test"), &setup).unwrap();
    let base = pages(&app);
    let ask = |path: &str| {
        let request = ureq::get(format!("{base}{path}")).header("authorization", format!("Bearer {token}"));
        let mut answer = request.config().http_status_as_error(false).build().call().unwrap();
        let kind = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        assert!([200, 404, 409].contains(&answer.status().as_u16()), "{path}: {}: {text:.300}", answer.status());
        (kind, text)
    };
    // Every page that can be reached by links, one of each kind.
    let mut seen: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut next: VecDeque<String> =
        ["/", "/machines", "/machines/approve", "/machines?page=200&sort=-heard", "/machines/1", "/machines/12"]
            .map(str::to_owned)
            .into();
    while let Some(path) = next.pop_front() {
        // Documents are no part of the site, and metrics are for programs.
        if seen.contains_key(&shape(&path)) || path.starts_with("/docs/") || path == "/metrics" {
            continue;
        }
        let (kind, text) = ask(&path);
        seen.insert(shape(&path), (path, text.len()));
        if kind.starts_with("text/html") {
            next.extend(links(&text));
        }
    }
    assert!(seen.len() > 25, "only {:?}", seen.keys());
    let description: serde_json::Value = serde_json::from_str(&ask("/api/v1/openapi.json").1).unwrap();
    for path in lists(&description).into_iter().filter(|p| p != "/api/v1/openapi.json") {
        let size = ask(&path).1.len();
        seen.insert(path.clone(), (path, size));
    }
    let large: Vec<_> = seen.values().filter(|(_, size)| *size > MOST).collect();
    assert!(large.is_empty(), "answers of more than {MOST} bytes: {large:?}");
    for list in ["/api/v1/nodes", "/api/v1/enrollments", "/api/v1/machines"] {
        assert!(seen[list].1 > 30_000, "{list} has rows, and so has the limit something to limit: {}", seen[list].1);
    }
}

/// Nothing is lost by paging: all pages together are the whole list, in order.
#[test]
fn pages_of_a_list_are_the_list() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    const SOME: u32 = 700;
    fill(&app.store, Size { machines: SOME, events: 0, nodes: TO_WORK }, NOW).unwrap();
    let seed = Seed(Arc::clone(&app));
    let first = seed.nodes(1).unwrap();
    let pages = first.total.div_ceil(LIST_PAGE);
    assert!(pages > 2 && first.rows.len() == LIST_PAGE as usize);
    let names: Vec<String> = (1..=pages).flat_map(|p| seed.nodes(p).unwrap().rows).map(|n| n.hostname).collect();
    let all = app.store.read(|tx| tx.live_nodes()).unwrap();
    assert_eq!(names, all.iter().map(|n| n.hostname.to_string()).collect::<Vec<_>>());
    let total = seed.enrollments(1).unwrap().total;
    let mut ids: Vec<_> = (1..=total.div_ceil(LIST_PAGE)).flat_map(|p| seed.enrollments(p).unwrap().rows).collect();
    assert!(ids.is_sorted_by_key(|e| std::cmp::Reverse(e.created)));
    ids.sort_by_key(|e| e.enrollment.id);
    ids.dedup_by_key(|e| e.enrollment.id);
    assert_eq!(ids.len(), total as usize);
    for beyond in [pages + 1, u32::MAX] {
        assert!(seed.nodes(beyond).unwrap().rows.is_empty(), "{beyond}");
    }
    assert_eq!(seed.planes().unwrap()[0].nodes, first.total);
    assert_eq!(seed.machines().unwrap().len(), LIST_PAGE as usize);
}
