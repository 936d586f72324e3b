//! cluster.yaml in the web interface: shown, checked, compared, replaced.

use std::cmp::Reverse;
use std::sync::PoisonError;
use std::time::Duration;

use cluster_seed::cluster::{ClusterSpec, SpecError};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::people::Permission;
use cluster_seed::webhooks;
use converge::fleet::Scene;
use converge::plan::plan;
use host::clock::{now, now_ms};
use similar::{ChangeTag, TextDiff};
use site::keys::PublicKeys;
use site::payloads;
use site::store::events::NewEvent;
use site::store::nodes::NodeRecord;
use web::api::{Actor, ApiError, DiffChange, DiffLine, SettingsApi, SettingsCheck, SettingsView, SpecProblem};

use super::{App, Seed, for_page, unexpected};

/// Lines around a change that are shown.
const CONTEXT: usize = 3;
/// Most lines of a difference.
const MAX_DIFF: usize = 2_000;
/// Time after which the difference is computed more roughly.
const DIFF_TIME: Duration = Duration::from_secs(2);
/// Most problems with nodes that are listed.
const MAX_UNFIT: usize = 20;

impl SettingsApi for Seed {
    fn settings(&self, actor: &Actor) -> Result<SettingsView, ApiError> {
        let view = self.0.view_settings()?;
        Ok(if actor.may.contain(Permission::Administer) {
            view
        } else {
            SettingsView { text: without_secrets(view.text), ..view }
        })
    }

    fn check_settings(&self, text: &str) -> Result<SettingsCheck, ApiError> {
        self.0.check_settings(text)
    }

    fn apply_settings(&self, actor: &Actor, text: &str, tag: &str) -> Result<SettingsView, ApiError> {
        self.0.apply_settings(&actor.must(Permission::Administer)?.user, text, tag)
    }
}

/// What of a changed file does not fit the nodes that run, one line each.
pub fn unfit(spec: &ClusterSpec, nodes: &[NodeRecord]) -> Vec<String> {
    let mut all = Vec::new();
    for node in nodes {
        if !spec.spec.roles.contains_key(&node.role) {
            all.push(format!("{} has the role {}, which the file does not have", node.hostname, node.role));
        }
        for (plane, (address, _)) in &node.planes {
            match spec.spec.networking.planes.get(plane) {
                None => all.push(format!("{} is on the plane {plane}, which the file does not have", node.hostname)),
                Some(p) if !p.value.cidr.contains(address) => {
                    all.push(format!("{} has the address {address} on {plane}, outside of {}", node.hostname, p.value.cidr));
                }
                Some(_) => {}
            }
        }
    }
    all
}

/// The planes of a changed file that the seed has no key for, one line each.
pub fn keyless(spec: &ClusterSpec, keys: &PublicKeys) -> Vec<String> {
    let planes = spec.spec.networking.planes.keys().filter(|plane| !keys.planes.contains_key(*plane));
    planes.map(|plane| format!("plane {plane} is new, and the seed has no key for it")).collect()
}

/// What an operator can do about one.
pub const KEYLESS_HINT: &str = "the planes of a site are chosen before `seedd init`";

/// The file without the paths of webhooks and of the inventory, which may be secrets. A file of which they are not known is not shown.
fn without_secrets(text: String) -> String {
    let hidden =
        || "# An administrator can read this file: the URLs of its webhooks and inventory cannot be hidden in it.\n".to_owned();
    let Ok(spec) = ClusterSpec::parse(&text) else { return hidden() };
    hide_urls(text, &spec).unwrap_or_else(hidden)
}

/// The text of a cluster.yaml with scheme and host of the URLs of webhooks and of the inventory; `None` if one with more than these is not
/// in it as it is. `spec` is what the text says.
pub(super) fn hide_urls(mut text: String, spec: &ClusterSpec) -> Option<String> {
    let inventory = spec.spec.enrollment.inventory.as_ref().map(|ask| ask.url.value.as_str());
    let mut urls: Vec<&str> = spec.spec.webhooks.iter().map(|hook| hook.url.value.as_str()).chain(inventory).collect();
    // The longest first, since one may begin with another; and each once.
    urls.sort_by_key(|url| (Reverse(url.len()), *url));
    urls.dedup();
    for url in urls {
        let shown = webhooks::shown(url);
        if !shown.ends_with('\u{2026}') {
            continue;
        }
        if !text.contains(url) {
            return None;
        }
        text = text.replace(url, &shown);
    }
    Some(text)
}

fn problem(error: SpecError) -> SpecProblem {
    let SpecError { line, column, message, hint } = error;
    SpecProblem { line, column, message, hint }
}

/// A problem of the file as a whole.
fn whole(message: String, hint: &str) -> SpecProblem {
    SpecProblem { line: 0, column: 0, message, hint: Some(hint.to_owned()) }
}

fn tag(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

/// The changed lines with some around them.
fn difference(old: &str, new: &str) -> Vec<DiffLine> {
    let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(old, new);
    let number = |index: Option<usize>| index.map(|i| i as u64 + 1);
    let mut lines = Vec::new();
    for (at, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if at > 0 {
            lines.push(DiffLine { change: DiffChange::Gap, old: None, new: None, text: String::new() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let tag = match change.tag() {
                ChangeTag::Equal => DiffChange::Same,
                ChangeTag::Delete => DiffChange::Removed,
                ChangeTag::Insert => DiffChange::Added,
            };
            let text = change.value().trim_end_matches(['\r', '\n']).to_owned();
            lines.push(DiffLine { change: tag, old: number(change.old_index()), new: number(change.new_index()), text });
        }
    }
    if lines.len() > MAX_DIFF {
        lines.truncate(MAX_DIFF);
        lines.push(DiffLine { change: DiffChange::Gap, old: None, new: None, text: "further changes are not shown".to_owned() });
    }
    lines
}

impl App {
    fn view_settings(&self) -> Result<SettingsView, ApiError> {
        let text = self.site.cluster_text().map_err(for_page)?;
        Ok(SettingsView { tag: tag(&text), text, overlaid: self.site.overlay_file().exists() })
    }

    fn check_settings(&self, text: &str) -> Result<SettingsCheck, ApiError> {
        let held = self.site.cluster_text().map_err(for_page)?;
        let mut check = SettingsCheck { diff: difference(&held, text), ..SettingsCheck::default() };
        let spec = match self.site.spec_of(text).map_err(for_page)? {
            Ok(spec) => spec,
            Err(error) => {
                check.problems.push(problem(error));
                return Ok(check);
            }
        };
        let own = &self.spec.metadata.name;
        if spec.metadata.name != *own {
            let text = format!("the file is that of site {}, and this one is {own}", spec.metadata.name);
            check.problems.push(whole(text, "the name of a site does not change"));
        }
        let nodes = self.store.read(|tx| tx.live_nodes())?;
        let unfit = unfit(&spec, &nodes).into_iter().take(MAX_UNFIT);
        check
            .problems
            .extend(unfit.map(|why| whole(why, "nodes keep their role and addresses until they are replaced or revoked")));
        check.problems.extend(keyless(&spec, &self.public).into_iter().map(|why| whole(why, KEYLESS_HINT)));
        if check.problems.is_empty() {
            let payload = payloads::current(&self.site, &self.store).map_err(unexpected)?.map(|p| (p.id, p.size));
            let scene = self.store.read(|tx| Scene::read(tx, &spec, payload, now())).map_err(unexpected)?;
            check.plan = plan(&scene, &spec).text();
        }
        Ok(check)
    }

    fn apply_settings(&self, who: &str, text: &str, tag_of: &str) -> Result<SettingsView, ApiError> {
        // One at a time: between the comparison and the write nobody else writes.
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.view_settings()?.tag != tag_of {
            let hint = "compare again, and apply the result";
            return Err(ApiError::conflict("the settings were changed in the meantime", hint));
        }
        let check = self.check_settings(text)?;
        if let Some(first) = check.problems.into_iter().next() {
            let place = if first.line > 0 { format!("line {}, column {}: ", first.line, first.column) } else { String::new() };
            return Err(ApiError::BadRequest { why: format!("{place}{}", first.message), hint: first.hint });
        }
        if self.site.replace_cluster_text(text).map_err(for_page)? {
            let count = |change| check.diff.iter().filter(|l| l.change == change).count();
            let (added, removed) = (count(DiffChange::Added), count(DiffChange::Removed));
            let s = if added == 1 { "" } else { "s" };
            let text = format!("cluster.yaml was changed: {added} line{s} added, {removed} removed");
            self.write(|tx| {
                let event = NewEvent { actor: Some(who), ..NewEvent::new(EventKind::SettingsApplied, &text) };
                Ok(tx.event(now_ms(), &event)?)
            })?;
            self.reload();
        }
        self.view_settings()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cluster_seed::ids::{EnrollmentId, NodeId};
    use cluster_seed::wireguard::WgPublicKey;

    use super::super::testing::app;
    use super::*;

    #[test]
    fn paths_of_webhooks_and_of_the_inventory_are_in_the_file_only_for_those_who_may_administer() {
        let hook = |url: &str| format!("\nspec:\n  webhooks: [{{url: {url}, secretFile: /etc/secret}}]\n");
        let with = |url: &str| site::default_cluster_yaml("site-a").replacen("\nspec:\n", &hook(url), 1);
        let shown = without_secrets(with("'http://hooks.lan/SECRET'"));
        assert!(shown.contains("http://hooks.lan/\u{2026}") && !shown.contains("SECRET"), "{shown}");
        let ask = "\n  enrollment:\n    inventory: {url: 'http://cmdb.lan/SECRET', secretFile: /etc/secret}\n";
        let asks = without_secrets(site::default_cluster_yaml("site-a").replacen("\n  enrollment:\n", ask, 1));
        assert!(asks.contains("http://cmdb.lan/\u{2026}") && !asks.contains("SECRET"), "{asks}");
        // Written so that it cannot be found in the text.
        let escaped = without_secrets(with(r#""http://hooks.lan/SECR\x45T""#));
        assert!(escaped.starts_with("# An administrator") && escaped.lines().count() == 1, "{escaped}");
        // One begins with another, and the inventory is the receiver of a webhook.
        let many = "[{url: 'http://h.lan/A', secretFile: /s}, {url: 'http://h.lan/A/SECRET', secretFile: /s}, {url: 'http://h.lan', secretFile: /s}]";
        let many = with("x").replace("[{url: x, secretFile: /etc/secret}]", many);
        let many = many.replacen("\n  enrollment:\n", &ask.replace("cmdb.lan/", "h.lan/A/"), 1);
        let shown = without_secrets(many);
        assert!(shown.matches("http://h.lan/\u{2026}").count() == 3 && !shown.contains("SECRET"), "{shown}");
        assert!(shown.contains("url: 'http://h.lan',"), "{shown}");
        assert!(without_secrets("not: yaml: at all".to_owned()).starts_with("# An administrator"));
        let plain = site::default_cluster_yaml("site-a");
        assert_eq!(without_secrets(plain.clone()), plain);
    }

    fn spec() -> ClusterSpec {
        ClusterSpec::parse(&site::default_cluster_yaml("site-a")).unwrap()
    }

    fn node(role: &str, plane: &str, address: &str) -> NodeRecord {
        NodeRecord {
            id: NodeId([1; 16]),
            enrollment: EnrollmentId([1; 16]),
            hostname: "n-1.lan".parse().unwrap(),
            role: role.to_owned(),
            host: 5,
            artifact: Digest([0; 32]),
            endpoint: None,
            planes: BTreeMap::from([(plane.to_owned(), (address.parse().unwrap(), WgPublicKey([0; 32])))]),
            revoked: false,
        }
    }

    #[test]
    fn a_file_without_the_role_or_plane_of_a_node_is_refused() {
        let spec = spec();
        let role = spec.spec.roles.keys().next().unwrap().clone();
        let (plane, at) = spec.spec.networking.planes.iter().next().unwrap();
        let inside = at.value.cidr.hosts().nth(4).unwrap().to_string();
        assert!(unfit(&spec, &[node(&role, plane, &inside)]).is_empty());
        assert_eq!(unfit(&spec, &[node("gone", plane, &inside)]).len(), 1);
        assert_eq!(unfit(&spec, &[node(&role, "wg9", &inside)]).len(), 1);
        assert_eq!(unfit(&spec, &[node(&role, plane, "192.0.2.1")]).len(), 1);
    }

    #[test]
    fn a_difference_shows_changes_with_their_surroundings() {
        let lines = |n: std::ops::Range<u32>| n.map(|i| format!("line {i}\n")).collect::<String>();
        let old = lines(0..40);
        assert!(difference(&old, &old).is_empty());
        let new = old.replace("line 5\n", "line five\n").replace("line 30\n", "");
        let diff = difference(&old, &new);
        let of = |change| diff.iter().filter(|l| l.change == change).map(|l| (l.old, l.new, l.text.as_str())).collect::<Vec<_>>();
        assert_eq!(of(DiffChange::Removed), [(Some(6), None, "line 5"), (Some(31), None, "line 30")]);
        assert_eq!(of(DiffChange::Added), [(None, Some(6), "line five")]);
        assert_eq!((of(DiffChange::Gap).len(), of(DiffChange::Same).len()), (1, 4 * CONTEXT));
    }

    #[test]
    fn a_difference_has_a_limit() {
        let many = |word: &str| (0..MAX_DIFF).map(|i| format!("{word} {i}\n")).collect::<String>();
        assert_eq!(difference(&many("a"), &many("b")).len(), MAX_DIFF + 1);
    }

    #[test]
    fn a_change_is_checked_then_applied_once_and_a_stale_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let app = app(camino::Utf8Path::from_path(dir.path()).unwrap());
        let before = app.view_settings().unwrap();
        let text = format!("{}# changed on the page\n", before.text);
        let check = app.check_settings(&text).unwrap();
        assert!(check.problems.is_empty() && !check.plan.is_empty(), "{check:?}");
        assert_eq!(check.diff.iter().filter(|l| l.change == DiffChange::Added).count(), 1);
        let after = app.apply_settings("ada", &text, &before.tag).unwrap();
        assert!(after.text == text && *app.changed.borrow(), "the seed reads it");
        let stale = app.apply_settings("ada", &before.text, &before.tag);
        assert!(matches!(stale, Err(ApiError::Conflict { .. })), "{stale:?}");
        let events = app.store.read(|tx| tx.events_after(0, 99)).unwrap();
        assert!(events.iter().any(|e| e.kind == EventKind::SettingsApplied && e.actor.as_deref() == Some("ada")));
    }

    #[test]
    fn a_bad_file_is_refused_with_its_place_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let app = app(camino::Utf8Path::from_path(dir.path()).unwrap());
        let before = app.view_settings().unwrap();
        let bad = before.text.replace("kind: ", "knid: ");
        let check = app.check_settings(&bad).unwrap();
        assert!(check.problems.len() == 1 && check.problems[0].line > 0, "{check:?}");
        assert!(matches!(app.apply_settings("ada", &bad, &before.tag), Err(ApiError::BadRequest { .. })));
        let more = before.text.replace("      wg3: {", "      wg9: {cidr: 10.99.0.0/16, port: 51899}\n      wg3: {");
        let check = app.check_settings(&more).unwrap();
        assert!(check.problems.iter().any(|p| p.message.contains("plane wg9 is new")), "{check:?}");
        let other = before.text.replace("site-a", "site-b");
        let check = app.check_settings(&other).unwrap();
        assert!(check.problems.iter().any(|p| p.message.contains("site-b")), "{check:?}");
        assert_eq!(app.view_settings().unwrap(), before);
    }
}
