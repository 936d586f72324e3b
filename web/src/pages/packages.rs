//! `/packages`: the snapshots, their proofs, and the extras.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cluster_seed::proof::ProofState;

use super::shell::{Shell, overview, page};
use super::view::{bytes, clean};
use crate::api::{ExtraView, SnapshotView};
use crate::auth::{NoPage, PageSession};
use crate::call::App;
use crate::dates::{ago, iso};
use crate::headers::RequestId;
use crate::words::Lang;

/// Digits of a digest that are shown; the full digest is in the title.
const SHORT: usize = 12;

/// The colour of a proof's result.
pub(crate) fn tone(proof: ProofState) -> &'static str {
    match proof {
        ProofState::Proven => "good",
        ProofState::Failed => "bad",
        ProofState::Unproven => "idle",
    }
}

/// The key of the word of a proof's result.
pub(super) fn word(proof: ProofState) -> &'static str {
    match proof {
        ProofState::Proven => "proof-proven",
        ProofState::Failed => "proof-failed",
        ProofState::Unproven => "proof-unproven",
    }
}

struct Snapshot {
    id: String,
    short: String,
    in_use: bool,
    suite: String,
    packages: u32,
    size: String,
    maker: Option<String>,
    word: String,
    tone: &'static str,
    when: Option<(String, String)>,
    installed: Vec<String>,
    failed: Vec<(String, String)>,
}

impl Snapshot {
    fn of(lang: Lang, one: &SnapshotView, now: u64) -> Self {
        let id = one.id.to_string();
        let roles = || one.roles.iter();
        Snapshot {
            short: id.chars().take(SHORT).collect(),
            id,
            in_use: one.in_use,
            suite: clean(&one.suite),
            packages: one.packages,
            size: bytes(one.bytes),
            maker: one.maker.as_ref().map(|k| clean(k).chars().take(SHORT).collect()),
            word: lang.t(word(one.proof)),
            tone: tone(one.proof),
            when: one.proven_at.map(|at| (iso(at), ago(lang, now, at))),
            installed: roles().filter_map(|r| Some(format!("{} ({})", clean(&r.role), r.packages?))).collect(),
            failed: roles().filter_map(|r| Some((clean(&r.role), clean(r.why.as_ref()?)))).collect(),
        }
    }
}

struct Extra {
    kind: String,
    name: String,
    version: String,
    size: String,
    sha256: String,
    short: String,
    signed_by: Option<String>,
}

impl Extra {
    fn of(one: &ExtraView) -> Self {
        let sha256 = one.sha256.to_string();
        Extra {
            kind: clean(&one.kind),
            name: clean(&one.name),
            version: clean(&one.version),
            size: bytes(one.bytes),
            short: sha256.chars().take(SHORT).collect(),
            sha256,
            signed_by: one.signed_by.as_ref().map(|f| clean(f)),
        }
    }
}

#[derive(Template)]
#[template(path = "packages.html")]
struct Page {
    shell: Shell,
    snapshots: Vec<Snapshot>,
    damaged: Vec<(String, String)>,
    extras: Vec<Extra>,
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    let overview = overview(&app).await?;
    let newest = *app.newest().borrow();
    let view = app.call(|api| api.packages()).await?;
    let mut shell = Shell::new("Packages", &overview, &id, Some(&session)).titled("nav-packages");
    let lang = shell.lang;
    shell.event = newest;
    let template = Page {
        shell,
        snapshots: view.snapshots.iter().map(|s| Snapshot::of(lang, s, overview.clock)).collect(),
        damaged: view.damaged.iter().map(|d| (d.id.to_string(), clean(&d.why))).collect(),
        extras: view.extras.iter().map(Extra::of).collect(),
    };
    Ok(page(StatusCode::OK, &template)?)
}
