//! Every operation of the JSON API: what it takes, and what it answers.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::api::{
    AboutView, ApiTokenView, Approve, AuditEvent, AuditPage, AuditState, BuildWish, CapsuleFile, ChangePassword, ChartsView,
    CheckpointView, ClockView, ConvergeAct, ConvergeView, CountersignTaken, CountersignText, CountersignView, CreatedJoinToken,
    CreatedToken, DeadLetterView, DhcpView, EnrollmentView, EventView, ExportWish, FleetRow, ImportWish, JobDetail, JobView,
    JoinTokenView, Login, MachineDetail, MachinePage, MachineRow, MeshView, NewJoinToken, NewToken, NewUser, OutputsView,
    Overview, PackagesView, PasskeyView, PeopleView, PlaceView, PlanCheck, PlanText, PlanView, PlaneRow, PowerAction, PowerDone,
    PowerView, RotateWish, RotationRow, Say, SessionView, SetPower, SetUser, SettingsCheck, SettingsText, SettingsView, Setup,
    SiteView, SshView, TestWish, UserView, WebhookTest, WebhookView, WindowView,
};
use crate::json::Events;
use crate::json::inventory::{EnrollmentPage, NodePage};
use crate::json::machine::Note;
use crate::json::passkeys::{Made, Nothing};
use crate::json::people::{Agree, Password};
use crate::json::plan::{AllowMachine, Allowed, Code, Open, Removed as RemovedRows, Said};
use crate::schema::TokenName;

pub(super) type Shape = fn(&mut SchemaGenerator) -> Value;

/// What an operation answers with.
pub(super) enum Answer {
    Json(Shape),
    /// Of this media type.
    File(&'static str),
}

/// A parameter of an address: name, type, and what it is.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

pub(super) struct Op {
    pub(super) method: &'static str,
    /// As the router has it.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: Vec<Parameter>,
    pub(super) headers: Vec<Parameter>,
    pub(super) takes: Option<Shape>,
    pub(super) answer: Answer,
    /// It needs no session.
    pub(super) open: bool,
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn op(method: &'static str, path: &'static str, summary: &'static str, answer: Answer) -> Op {
    Op { method, path, summary, query: Vec::new(), headers: Vec::new(), takes: None, answer, open: false }
}

fn get<T: JsonSchema>(path: &'static str, summary: &'static str) -> Op {
    op("GET", path, summary, Answer::Json(shape::<T>))
}

fn post<T: JsonSchema>(path: &'static str, summary: &'static str) -> Op {
    op("POST", path, summary, Answer::Json(shape::<T>))
}

fn put<T: JsonSchema>(path: &'static str, summary: &'static str) -> Op {
    op("PUT", path, summary, Answer::Json(shape::<T>))
}

fn delete<T: JsonSchema>(path: &'static str, summary: &'static str) -> Op {
    op("DELETE", path, summary, Answer::Json(shape::<T>))
}

fn file(path: &'static str, kind: &'static str, summary: &'static str) -> Op {
    op("GET", path, summary, Answer::File(kind))
}

impl Op {
    fn takes<T: JsonSchema>(self) -> Self {
        Op { takes: Some(shape::<T>), ..self }
    }

    fn query(self, query: &[Parameter]) -> Self {
        Op { query: query.to_vec(), ..self }
    }

    fn header(self, header: Parameter) -> Self {
        Op { headers: vec![header], ..self }
    }

    fn open(self) -> Self {
        Op { open: true, ..self }
    }
}

/// Shapes that the handlers write as they go.
macro_rules! shapes {
    ($($name:ident { $($field:ident: $of:ty),+ })+) => {$(
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        #[schemars(rename_all = "camelCase")]
        struct $name { $($field: $of),+ }
    )+};
}

shapes! {
    Token { token: String }
    LoggedOut { logged_out: bool }
    Sealed { sealed: bool }
    Passphrase { passphrase: String }
    ToMs { to_ms: u64 }
    Machines { machines: Vec<MachineRow> }
    Reason { reason: Option<String> }
    Address { address: std::net::IpAddr }
    Denied { denied: u32 }
    Forgotten { forgotten: i64 }
    Power { action: PowerAction }
    Fingerprint { fingerprint: String }
    SiteName { name: String }
    Epoch { epoch: u64 }
    Size { size: u64 }
    Removed { removed: bool }
    Jobs { jobs: Vec<JobDetail> }
    Fresh { fresh: bool }
    Changed { changed: bool }
    Users { users: Vec<UserView> }
    Sessions { sessions: Vec<SessionView> }
    Tokens { tokens: Vec<ApiTokenView> }
    JoinTokens { tokens: Vec<JoinTokenView> }
    Ended { ended: u64 }
    Revoked { revoked: TokenName }
    Planes { planes: Vec<PlaneRow> }
    Rotations { rotations: Vec<RotationRow> }
    LastEvents { events: Vec<EventView> }
    Webhooks { webhooks: Vec<WebhookView> }
    DeadLetters { dead: Vec<DeadLetterView> }
}

const PAGE: Parameter = ("page", "integer", "from 1; a page has 200 rows");
const TIME: &str = "in UTC, as 2026-11-22T19:54:05Z";
const SEARCH: [Parameter; 6] = [
    ("kind", "string", "a kind of events or a family of kinds"),
    ("actor", "string", "a user"),
    ("machine", "string", "a machine's host name, MAC address or number"),
    ("q", "string", "words"),
    ("since", "string", TIME),
    ("until", "string", TIME),
];

fn search(more: &[Parameter]) -> Vec<Parameter> {
    SEARCH.iter().chain(more).copied().collect()
}

pub(super) fn operations() -> Vec<Op> {
    [seed(), people(), machines(), plan(), nodes(), site(), log(), rest()].into_iter().flatten().collect()
}

fn seed() -> Vec<Op> {
    vec![
        post::<Token>("/api/v1/setup", "Create the first administrator and log in").takes::<Setup>().open(),
        post::<Token>("/api/v1/login", "Log in").takes::<Login>().open(),
        post::<LoggedOut>("/api/v1/logout", "End the session"),
        post::<Sealed>("/api/v1/unseal", "Open the site's keys").takes::<Passphrase>(),
        post::<Sealed>("/api/v1/seal", "Forget the site's keys"),
        get::<Overview>("/api/v1/status", "State of the seed"),
        get::<ClockView>("/api/v1/clock", "The seed's clock"),
        post::<ClockView>("/api/v1/clock", "Set the seed's clock").takes::<ToMs>(),
        get::<AboutView>("/api/v1/about", "Versions"),
        op(
            "POST",
            "/api/v1/about/support",
            "Support bundle, encrypted to the operator",
            Answer::File("application/octet-stream"),
        ),
        file("/api/v1/openapi.json", "application/json", "This description"),
    ]
}

fn people() -> Vec<Op> {
    vec![
        post::<Value>("/api/v1/login/passkey/begin", "Options of navigator.credentials.get").takes::<Nothing>().open(),
        post::<Token>("/api/v1/login/passkey", "Log in with a passkey").takes::<Value>().open(),
        post::<Fresh>("/api/v1/login/again", "Prove who one is, for what cannot be undone").takes::<Password>(),
        get::<PeopleView>("/api/v1/me", "Who one is, and what one may do"),
        post::<Changed>("/api/v1/me/password", "Change the own password").takes::<ChangePassword>(),
        get::<Users>("/api/v1/users", "Users"),
        post::<UserView>("/api/v1/users", "Add a user").takes::<NewUser>(),
        put::<UserView>("/api/v1/users/{name}", "Change or disable a user").takes::<SetUser>(),
        delete::<Removed>("/api/v1/users/{name}", "Remove a user"),
        put::<Changed>("/api/v1/users/{name}/password", "Set another user's password").takes::<Password>(),
        get::<Sessions>("/api/v1/sessions", "Sessions"),
        delete::<Ended>("/api/v1/sessions", "End the own other sessions"),
        delete::<Ended>("/api/v1/sessions/{name}", "End a session"),
        get::<Tokens>("/api/v1/api-tokens", "API tokens"),
        post::<CreatedToken>("/api/v1/api-tokens", "Create an API token; the answer has its text").takes::<NewToken>(),
        delete::<Revoked>("/api/v1/api-tokens/{token}", "Revoke an API token"),
        post::<Value>("/api/v1/passkeys/begin", "Options of navigator.credentials.create").takes::<Nothing>(),
        post::<PasskeyView>("/api/v1/passkeys", "Add a passkey").takes::<Made>(),
        delete::<Removed>("/api/v1/passkeys/{name}", "Remove a passkey"),
    ]
}

/// All machines, or the page of them that a parameter asks for.
#[derive(JsonSchema)]
#[allow(dead_code)]
#[serde(untagged)]
enum MachineList {
    All(Machines),
    Page(MachinePage),
}

fn machines() -> Vec<Op> {
    vec![
        get::<MachineList>(
            "/api/v1/machines",
            "Machines and nodes; with a parameter, the page of them that it asks for; without, those seen last",
        )
        .query(&[
            ("q", "string", "words, and serial:, role:, label: and the like"),
            ("state", "string", "a stage"),
            ("sort", "string", "a column; with - before it, the other way round"),
            ("page", "integer", "from 1"),
        ]),
        get::<MachineDetail>("/api/v1/machines/{id}", "One machine with its timeline and diagnosis"),
        put::<FleetRow>("/api/v1/machines/{id}/note", "Set the place and the labels of a machine").takes::<Note>(),
        delete::<Forgotten>("/api/v1/machines/{id}", "Remove a machine that is not a node from the list"),
        file("/api/v1/machines/{id}/packets.pcapng", "application/vnd.tcpdump.pcap", "Last packets of a machine"),
        get::<PowerView>("/api/v1/machines/{id}/power", "Management controller of a machine"),
        post::<PowerDone>("/api/v1/machines/{id}/power", "Switch a machine").takes::<Power>(),
        put::<PowerView>("/api/v1/machines/{id}/controller", "Set the management controller").takes::<SetPower>(),
        delete::<PowerView>("/api/v1/machines/{id}/controller", "Forget the management controller"),
        post::<PowerView>("/api/v1/machines/{id}/controller/certificate", "Read the controller's certificate"),
        put::<PowerView>("/api/v1/machines/{id}/controller/certificate", "Confirm the controller's certificate")
            .takes::<Fingerprint>(),
        post::<EnrollmentView>("/api/v1/approve", "Approve the machine that shows a code").takes::<Approve>(),
        post::<EnrollmentView>("/api/v1/enrollments/{id}/approve", "Approve an enrollment").takes::<Approve>(),
        post::<EnrollmentView>("/api/v1/enrollments/{id}/deny", "Deny an enrollment").takes::<Reason>(),
        post::<EnrollmentView>("/api/v1/enrollments/{id}/agree", "Say the second yes to a machine").takes::<Agree>(),
        post::<EnrollmentView>("/api/v1/enrollments/{id}/revoke", "Remove a node from the planes").takes::<Reason>(),
        post::<Denied>("/api/v1/deny-address", "Deny every enrollment that waits at an address").takes::<Address>(),
    ]
}

fn plan() -> Vec<Op> {
    vec![
        get::<PlanView>("/api/v1/plan", "The plan of enrollment, held against the machines"),
        put::<PlanView>("/api/v1/plan", "Replace the plan; CSV or YAML").takes::<PlanText>(),
        post::<PlanView>("/api/v1/plan", "Add rows to the plan").takes::<PlanText>(),
        delete::<RemovedRows>("/api/v1/plan", "Remove the plan"),
        post::<PlanCheck>("/api/v1/plan/check", "Check a plan without keeping it").takes::<PlanText>(),
        delete::<RemovedRows>("/api/v1/plan/rows/{name}", "Remove the row of a name"),
        post::<EnrollmentView>("/api/v1/approve-planned", "Approve a planned machine by its code").takes::<Code>(),
        post::<EnrollmentView>("/api/v1/enrollments/{id}/approve-planned", "Approve a planned machine without its code"),
        put::<WindowView>("/api/v1/enrollment-window", "Open the join window").takes::<Open>(),
        delete::<WindowView>("/api/v1/enrollment-window", "Close the join window"),
        get::<JoinTokens>("/api/v1/join-tokens", "Join tokens, without their secrets"),
        post::<CreatedJoinToken>("/api/v1/join-tokens", "Create a join token; the answer has its text").takes::<NewJoinToken>(),
        delete::<Revoked>("/api/v1/join-tokens/{token}", "Revoke a join token"),
        post::<JoinTokenView>("/api/v1/join-tokens/{token}/agree", "Agree to a join token as the second user"),
        post::<Said>("/api/v1/machines/{id}/say", "Put a machine off, or let it ask again").takes::<Say>(),
        post::<Allowed>("/api/v1/allow", "Let a machine ask again, by its MAC address").takes::<AllowMachine>(),
    ]
}

fn nodes() -> Vec<Op> {
    vec![
        get::<NodePage>("/api/v1/nodes", "Nodes, by name").query(&[PAGE]),
        get::<EnrollmentPage>("/api/v1/enrollments", "Enrollments, newest first").query(&[PAGE]),
        get::<Planes>("/api/v1/planes", "Planes, and what they carry"),
        get::<Rotations>("/api/v1/rotations", "Keys of nodes that are being replaced"),
        post::<Rotations>("/api/v1/rotations", "Replace the keys of a node, of a plane, or all").takes::<RotateWish>(),
        get::<SshView>("/api/v1/ssh", "By whom the nodes' host keys are certified"),
        get::<Webhooks>("/api/v1/webhooks", "Receivers of events"),
        get::<DeadLetters>("/api/v1/webhooks/dead", "Events that were given up, newest first"),
        post::<WebhookTest>("/api/v1/webhooks/test", "Send a receiver one message").takes::<TestWish>(),
        get::<CountersignView>("/api/v1/countersign", "The countersigning key, and nodes that wait for it"),
        post::<CountersignTaken>("/api/v1/countersign", "Take what the countersigning key signed").takes::<CountersignText>(),
        get::<CountersignText>("/api/v1/countersign/request", "What the countersigning key is asked to sign").query(&[(
            "all",
            "boolean",
            "nodes too that it has signed already",
        )]),
        get::<ConvergeView>("/api/v1/converge", "How far the nodes have converged"),
        post::<ConvergeView>("/api/v1/converge", "Run, check, pause or resume plays").takes::<ConvergeAct>(),
        get::<ChartsView>("/api/v1/charts", "Charts of the site's Prometheus").query(&[(
            "window",
            "string",
            "1h, 6h, 24h or 7d",
        )]),
        get::<MeshView>("/api/v1/mesh", "Traffic between the nodes"),
        get::<DhcpView>("/api/v1/dhcp", "Pools, leases, reservations and other DHCP servers").query(&[(
            "q",
            "string",
            "part of an address, a MAC address or a name",
        )]),
    ]
}

fn site() -> Vec<Op> {
    vec![
        get::<SiteView>("/api/v1/site", "The site, its capsules and its drills"),
        post::<JobView>("/api/v1/site/export", "Export a capsule").takes::<ExportWish>(),
        post::<JobView>("/api/v1/site/import", "Import or verify a capsule").takes::<ImportWish>(),
        post::<Epoch>("/api/v1/site/promote", "Promote a standby; the name of the site confirms it").takes::<SiteName>(),
        put::<PlaceView>("/api/v1/site/place", "Override the boot network here").takes::<PlaceView>(),
        delete::<PlaceView>("/api/v1/site/place", "Use the boot network of cluster.yaml"),
        post::<JobView>("/api/v1/site/drill", "Start a recovery drill").takes::<Passphrase>(),
        post::<JobView>("/api/v1/site/stop", "Stop the running job"),
        get::<CapsuleFile>("/api/v1/capsules/{name}", "How much of a capsule was uploaded"),
        put::<Size>("/api/v1/capsules/{name}", "Append a piece to a capsule; the body is the piece")
            .query(&[("at", "integer", "where the piece begins"), ("total", "integer", "final size of the capsule")]),
        delete::<Removed>("/api/v1/capsules/{name}", "Delete a capsule"),
        get::<PackagesView>("/api/v1/snapshots", "Snapshots and extras"),
        get::<OutputsView>("/api/v1/outputs", "Images in the formats of other platforms"),
        post::<JobView>("/api/v1/outputs", "Build an image").takes::<BuildWish>(),
        post::<JobView>("/api/v1/outputs/{name}/verify", "Verify every byte of an image"),
    ]
}

fn log() -> Vec<Op> {
    let seen = ("Last-Event-ID", "integer", "the last event that was seen");
    vec![
        get::<Events>("/api/v1/events", "Events, oldest first")
            .query(&[("after", "integer", "only events with higher numbers"), ("limit", "integer", "1 to 500; default 100")]),
        get::<LastEvents>("/api/v1/events/last", "The newest events, oldest first").query(&[(
            "limit",
            "integer",
            "1 to 500; default 50",
        )]),
        file("/api/v1/events/stream", "text/event-stream", "New events as they happen").header(seen),
        get::<AuditPage>("/api/v1/audit", "Search the event log, newest first").query(&search(&[
            ("before", "integer", "only events with lower numbers"),
            ("limit", "integer", "1 to 500; default 100"),
        ])),
        get::<AuditEvent>("/api/v1/audit/{id}", "One event with its place in the chain of hashes"),
        get::<AuditState>("/api/v1/audit/state", "Checkpoints and verification of the event log"),
        file("/api/v1/audit/export", "application/x-ndjson", "Export the event log").query(&search(&[(
            "format",
            "string",
            "jsonl or syslog",
        )])),
        post::<JobView>("/api/v1/audit/verify", "Verify the event log"),
        post::<CheckpointView>("/api/v1/audit/checkpoint", "Sign the event log as it is now"),
    ]
}

fn rest() -> Vec<Op> {
    let tag = ("If-Match", "string", "ETag of the settings that the change is based on");
    vec![
        get::<Jobs>("/api/v1/jobs", "The running job and those before it, newest first"),
        get::<JobDetail>("/api/v1/jobs/{id}", "One job with its steps"),
        post::<JobView>("/api/v1/jobs/{id}/stop", "Stop a job"),
        get::<SettingsView>("/api/v1/settings", "cluster.yaml, with its ETag"),
        put::<SettingsView>("/api/v1/settings", "Replace cluster.yaml").takes::<SettingsText>().header(tag),
        post::<SettingsCheck>("/api/v1/settings/check", "Check and compare a cluster.yaml").takes::<SettingsText>(),
    ]
}
