//! `/planes`: the planes, what they carry, and keys of nodes that are being replaced.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::view::{Moment, clean};
use crate::api::{AllowRow, PlaneRow, RotateWish, RotationRow, RotationStage};
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::words::Lang;

struct Plane {
    name: String,
    purpose: String,
    cidr: String,
    cidr6: Option<String>,
    port: u16,
    topology: String,
    mtu: Option<u16>,
    nodes: u32,
    denies: bool,
}

struct Allow {
    plane: String,
    from: String,
    to: String,
    ports: String,
    why: String,
    built_in: bool,
}

struct Key {
    node: String,
    plane: String,
    stage: &'static str,
    word: String,
    since: Moment,
    actor: String,
}

#[derive(Default, Deserialize)]
pub(crate) struct RotateForm {
    #[serde(default)]
    node: String,
    #[serde(default)]
    plane: String,
    #[serde(default)]
    all: String,
}

#[derive(Template)]
#[template(path = "planes.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    planes: Vec<Plane>,
    allows: Vec<Allow>,
    keys: Vec<Key>,
    /// As it was typed.
    node: String,
    chosen: String,
    all: bool,
}

fn plane(lang: Lang, row: &PlaneRow) -> Plane {
    let hubs = row.hubs.iter().map(|hub| clean(hub)).collect::<Vec<_>>().join(", ");
    let topology = match (row.topology.as_str(), hubs.is_empty()) {
        ("hub", true) => lang.t("planes-hub"),
        ("hub", false) => lang.with("planes-hubs", &[("x", (&hubs).into())]),
        ("mesh", _) => lang.t("planes-mesh"),
        (other, _) => clean(other),
    };
    Plane {
        name: clean(&row.name),
        purpose: clean(&row.purpose),
        cidr: row.cidr.to_string(),
        cidr6: row.cidr6.map(|net| net.to_string()),
        port: row.port,
        topology,
        mtu: row.mtu,
        nodes: row.nodes,
        denies: row.policy == "deny",
    }
}

fn allow(plane: &str, row: &AllowRow) -> Allow {
    Allow {
        plane: clean(plane),
        from: clean(&row.from),
        to: clean(&row.to),
        ports: clean(&row.ports.join(", ")),
        why: clean(&row.why),
        built_in: row.built_in,
    }
}

fn key(lang: Lang, row: &RotationRow, now: u64) -> Key {
    let (stage, word) = match row.stage {
        RotationStage::Queued => ("idle", "planes-queued"),
        RotationStage::Asked => ("wait", "planes-asked"),
        RotationStage::Announced => ("wait", "planes-announced"),
        RotationStage::Switched => ("wait", "planes-switched"),
    };
    Key {
        node: clean(&row.node),
        plane: clean(&row.plane),
        stage,
        word: lang.t(word),
        since: Moment::of(lang, now, row.since),
        actor: clean(&row.actor),
    }
}

async fn render(
    app: &App,
    id: &RequestId,
    session: &Session,
    form: RotateForm,
    refused: Option<(StatusCode, Refusal)>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let (rows, rotations) = app.call(|api| Ok((api.planes()?, api.rotations()?))).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let shell = Shell::new("Planes", &overview, id, Some(session)).titled("nav-planes");
    let lang = shell.lang;
    let template = Page {
        shell,
        refusal,
        planes: rows.iter().map(|row| plane(lang, row)).collect(),
        allows: rows.iter().flat_map(|row| row.allows.iter().map(move |a| allow(&row.name, a))).collect(),
        keys: rotations.iter().map(|row| key(lang, row, overview.clock)).collect(),
        node: clean(&form.node),
        chosen: clean(&form.plane),
        all: !form.all.is_empty(),
    };
    page(status, &template)
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(render(&app, &id, &session, RotateForm::default(), None).await?)
}

pub(crate) async fn rotate(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Approve>, RotateForm>,
) -> Result<Response, Failure> {
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let wish = RotateWish { node: some(&form.node), plane: some(&form.plane), all: !form.all.is_empty() };
    let actor = change.actor().clone();
    match app.call(move |api| api.rotate(&actor, &wish)).await {
        Ok(_) => Ok(Redirect::to("/planes").into_response()),
        Err(failure) => render(&app, &id, change.session(), form, Some(Refusal::of(failure)?)).await,
    }
}
