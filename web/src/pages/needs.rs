//! What needs an operator now, and the first hour of a new site as a list of steps.

use cluster_seed::fleet::Stage;
use cluster_seed::proof::ProofState;

use super::view::clean;
use crate::api::{HomeView, Overview};
use crate::dates::ago;
use crate::words::Lang;

/// Age in seconds from which the newest capsule is mentioned: a week.
const CAPSULE_AGE: u64 = 7 * 86_400;

/// Something that an operator should do.
pub(crate) struct Need {
    pub(crate) id: &'static str,
    /// `bad` or `wait`.
    pub(crate) tone: &'static str,
    pub(crate) text: String,
    /// A command that does it.
    pub(crate) command: Option<&'static str>,
    /// Text and address of a link.
    pub(crate) link: Option<(String, &'static str)>,
}

/// The needs that were found, in a language.
struct Needs(Lang, Vec<Need>);

impl Needs {
    fn push(&mut self, id: &'static str, tone: &'static str, text: String) -> &mut Need {
        self.1.push(Need { id, tone, text, command: None, link: None });
        let last = self.1.len() - 1;
        &mut self.1[last]
    }

    fn go(&mut self, id: &'static str, tone: &'static str, text: String, link: (&str, &'static str)) {
        let link = (self.0.t(link.0), link.1);
        self.push(id, tone, text).link = Some(link);
    }

    fn run(&mut self, id: &'static str, tone: &'static str, text: String, command: &'static str) {
        self.push(id, tone, text).command = Some(command);
    }
}

/// A step of the first hour.
pub(crate) struct Step {
    pub(crate) done: bool,
    pub(crate) title: String,
    /// How to do it.
    pub(crate) how: String,
    pub(crate) command: Option<&'static str>,
    pub(crate) link: Option<(String, &'static str)>,
}

fn count(home: &HomeView, stage: Stage) -> u32 {
    home.counts.get(&stage).copied().unwrap_or(0)
}

/// The steps of a new site, until a node works.
pub(super) fn steps(lang: Lang, overview: &Overview, home: &HomeView) -> Vec<Step> {
    let works = [Stage::Working, Stage::Silent].iter().any(|s| count(home, *s) > 0);
    if works {
        return Vec::new();
    }
    let built = home.netboot && overview.roles.iter().any(|r| r.artifact.is_some());
    let seen = home.counts.values().any(|n| *n > 0);
    let step = |done, title: &str, how: &str, command| Step { done, title: lang.t(title), how: lang.t(how), command, link: None };
    vec![
        Step { done: true, title: lang.t("step-site"), how: String::new(), command: None, link: None },
        step(!overview.setup_needed, "step-admin", "step-admin-how", None),
        Step {
            link: Some((lang.t("unseal"), "/unseal")),
            ..step(!overview.sealed, "step-unseal", "step-unseal-how", Some("seedd unseal"))
        },
        step(home.ssh_keys > 0, "step-keys", "step-keys-how", Some("seedd cluster apply")),
        step(overview.snapshot.is_some(), "step-snapshot", "step-snapshot-how", Some("seedd darksite build")),
        step(built, "step-images", "step-images-how", Some("seedd image build")),
        step(seen, "step-boot", "step-boot-how", None),
        Step {
            link: seen.then(|| (lang.t("step-pending"), "/machines?state=waiting")),
            ..step(false, "step-approve", "step-approve-how", None)
        },
    ]
}

/// What needs an operator, the most urgent first. `new` leaves out what the steps of a new site say already.
pub(super) fn needs(lang: Lang, overview: &Overview, home: &HomeView, new: bool) -> Vec<Need> {
    let mut all = Needs(lang, Vec::new());
    if !new {
        seed_needs(overview, home, &mut all);
    }
    machine_needs(overview, home, &mut all);
    if !new {
        keeping_needs(overview, home, &mut all);
    }
    all.1
}

/// The seed cannot do its work.
fn seed_needs(overview: &Overview, home: &HomeView, all: &mut Needs) {
    if overview.sealed {
        all.go("sealed", "bad", all.0.t("need-sealed"), ("unseal", "/unseal"));
    }
    if home.ssh_keys == 0 {
        all.run("ssh-keys", "bad", all.0.t("need-keys"), "seedd cluster apply");
    }
}

fn machine_needs(overview: &Overview, home: &HomeView, all: &mut Needs) {
    let (lang, now) = (all.0, overview.clock);
    let waiting = count(home, Stage::Waiting);
    if waiting > 0 {
        let text = match &home.oldest {
            Some(oldest) => {
                let since = ago(lang, now, oldest.at);
                lang.with("need-waiting-since", &[("n", waiting.into()), ("x", (&since).into())])
            }
            None => lang.with("need-waiting", &[("n", waiting.into())]),
        };
        all.go("waiting", "wait", text, ("go-approve", "/machines/approve"));
    }
    for (reason, n) in &home.failures {
        let reason = clean(reason);
        let key = if reason.is_empty() { "need-failed-silently" } else { "need-failed" };
        let text = lang.with(key, &[("n", n.into()), ("x", (&reason).into())]);
        all.go("failed", "bad", text, ("go-show", "/machines?state=failed"));
    }
    let silent = count(home, Stage::Silent);
    if silent > 0 {
        let since = |at| ago(lang, now, at);
        let named: Vec<String> = home.silent.iter().map(|s| format!("{} ({})", clean(&s.name), since(s.at))).collect();
        let more = silent.saturating_sub(u32::try_from(named.len()).unwrap_or(silent));
        let key = if more > 0 { "need-silent-more" } else { "need-silent" };
        let text = lang.with(key, &[("n", silent.into()), ("x", (&named.join(", ")).into()), ("more", more.into())]);
        all.go("silent", "bad", text, ("go-show", "/machines?state=silent"));
    }
    let lists = &overview.lists;
    if lists.unaware > 0 {
        let names: Vec<String> = lists.revoked.iter().map(|n| clean(n)).collect();
        let (names, nodes) = (names.join(", "), lists.nodes.to_string());
        let puts = [("n", lists.unaware.into()), ("x", (&names).into()), ("all", (&nodes).into())];
        all.push("unaware", "bad", lang.with("need-unaware", &puts));
    }
}

/// What has to be kept up over the years.
fn keeping_needs(overview: &Overview, home: &HomeView, all: &mut Needs) {
    let lang = all.0;
    match (overview.snapshot, overview.proof) {
        (None, _) => all.run("snapshot", "bad", lang.t("need-no-snapshot"), "seedd darksite build"),
        (Some(_), Some(ProofState::Failed)) => {
            all.go("snapshot", "bad", lang.t("need-proof-failed"), ("nav-packages", "/packages"));
        }
        (Some(_), Some(ProofState::Unproven)) => {
            all.run("snapshot", "wait", lang.t("need-unproven"), "seedd darksite prove");
        }
        _ => {}
    }
    let (names, n) = &home.ending;
    if *n > 0 {
        let names = names.iter().map(|n| clean(n)).collect::<Vec<_>>().join(", ");
        let text = lang.with("need-certificates", &[("n", n.into()), ("x", (&names).into())]);
        all.go("certificates", "wait", text, ("nav-platform", "/platform"));
    }
    let age = home.capsule.map(|at| overview.clock.saturating_sub(at));
    if age.is_none_or(|age| age >= CAPSULE_AGE) {
        let text = match home.capsule {
            Some(at) => lang.with("need-capsule-old", &[("x", (&ago(lang, overview.clock, at)).into())]),
            None => lang.t("need-no-capsule"),
        };
        all.go("capsule", "wait", text, ("go-export", "/site"));
    }
}
