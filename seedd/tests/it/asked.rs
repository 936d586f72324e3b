//! An external inventory that is asked before approval: what it answers, and that a dead one keeps nobody waiting.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use cluster_seed::events::EventKind;
use seedd::app::asked::keep;
use seedd::app::webhooks::message::{headers, secret};
use seedd::app::{App, Seed};
use web::api::{Actor, CodeLeads, PlanApi as _, PlanHow, SuggestionView};

use crate::support::receiver::receiver;
use crate::support::sites::*;

const SECRET: &str = "a secret of a test";

struct Bench {
    _t: Temp,
    app: Arc<App>,
    running: tokio::runtime::Runtime,
}

fn bench(url: &str, how: &str) -> Bench {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let file = t.path.join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let text = std::fs::read_to_string(site.cluster_file()).unwrap();
    let wish = format!("    inventory: {{url: '{url}', secretFile: {file}, timeoutSeconds: 2, onFailure: {how}}}\n");
    let with = text.replacen("\n  enrollment:\n", &format!("\n  enrollment:\n{wish}"), 1);
    assert_ne!(text, with);
    std::fs::write(site.cluster_file(), with).unwrap();
    let app = unsealed(&site, A);
    let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    running.spawn(keep(app.clone(), app.spec.spec.enrollment.inventory.clone().unwrap()));
    Bench { _t: t, app, running }
}

fn suggestion(app: &Arc<App>) -> Option<SuggestionView> {
    let plan = Seed(app.clone()).plan().unwrap();
    let planned = plan.check.rows.into_iter().filter_map(|r| r.suggestion);
    planned.chain(plan.check.unplanned.into_iter().filter_map(|u| u.suggestion)).next()
}

fn wait_for(app: &App, kind: EventKind) -> String {
    loop {
        let all = app.store.read(|tx| tx.events_after(0, 1_000)).unwrap();
        if let Some(event) = all.into_iter().find(|e| e.kind == kind.as_str()) {
            return event.text;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn plan_for(app: &Arc<App>, m: &Machine) {
    let text = format!("mac,name,role\n{},planned,base\n", m.facts().boot_mac.unwrap());
    Seed(app.clone()).keep_plan(&admin(), &text, PlanHow::Set).unwrap();
}

fn lead(app: &Arc<App>, who: &Actor, code: &str) -> CodeLeads {
    Seed(app.clone()).lead(who, code).unwrap()
}

#[test]
fn the_question_is_signed_and_the_answer_fills_in_the_form() {
    let answer = r#"{"allow": true, "name": "n7", "role": "base", "disk": "vda", "labels": {"rack": "7"}, "asset": 4711}"#;
    let (url, asked) = receiver("ask", vec![(200, answer.to_owned())]);
    let b = bench(&url, "ask");
    let m = Machine::new(1);
    let (id, code) = m.enroll(&b.app);
    let question = asked.recv_timeout(Duration::from_secs(60)).expect("a question");
    let json: serde_json::Value = serde_json::from_str(&question.body).unwrap();
    assert_eq!((&json["type"], &json["site"]), (&"machine.arrived".into(), &"site-a".into()));
    assert_eq!(json["data"]["enrollment"], id.to_string());
    assert_eq!(json["data"]["disks"][0]["name"], "vda");
    assert!(!question.body.contains(&code), "the code is nobody's business");
    let at = question.headers["webhook-timestamp"].parse().unwrap();
    let key = secret(&b._t.path.join("secret")).unwrap();
    let expected = headers(&question.headers["webhook-id"], at, question.body.as_bytes(), &key);
    assert_eq!(question.headers["webhook-signature"], expected[2].1);
    assert!(wait_for(&b.app, EventKind::InventoryAnswered).contains("name n7, role base, disk vda"));
    let s = suggestion(&b.app).unwrap();
    assert_eq!((s.source.as_str(), s.planned, s.ready, s.click), ("by the inventory", false, false, false));
    assert_eq!((s.hostname.as_deref(), s.role.as_deref(), s.disk.as_deref()), (Some("n7"), Some("base"), Some("vda")));
    assert_eq!(s.labels["rack"], "7");
    // It approves nothing: the code leads to the form.
    assert!(matches!(lead(&b.app, &admin(), &code), CodeLeads::Form { .. }));
    m.approve(&b.app, id, &form(&code, "n7", false)).unwrap();
}

#[test]
fn a_machine_that_the_inventory_refuses_needs_the_whole_form() {
    let (url, _asked) = receiver("ask", vec![(200, r#"{"allow": false, "reason": "sold in May"}"#.to_owned())]);
    let b = bench(&url, "ask");
    let m = Machine::new(1);
    plan_for(&b.app, &m);
    let (id, code) = m.enroll(&b.app);
    assert!(wait_for(&b.app, EventKind::InventoryRefused).contains("sold in May"));
    let s = suggestion(&b.app).unwrap();
    assert!(s.planned && !s.ready && s.why.unwrap().contains("refuses this machine: sold in May"));
    assert!(matches!(lead(&b.app, &admin(), &code), CodeLeads::Form { why: Some(_), .. }));
    m.approve(&b.app, id, &form(&code, "planned", false)).unwrap();
}

#[test]
fn a_dead_inventory_keeps_no_operator_waiting() {
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    // With `ask`, a planned machine is approved by its code as ever.
    let b = bench(&url, "ask");
    let m = Machine::new(1);
    plan_for(&b.app, &m);
    let (_, code) = m.enroll(&b.app);
    wait_for(&b.app, EventKind::InventoryFailed);
    assert!(suggestion(&b.app).unwrap().ready);
    assert!(matches!(lead(&b.app, &admin(), &code), CodeLeads::Approved(_)));
    // With `wait`, its code alone waits, and the whole form does not.
    let b = bench(&url, "wait");
    let m = Machine::new(2);
    plan_for(&b.app, &m);
    let (id, code) = m.enroll(&b.app);
    wait_for(&b.app, EventKind::InventoryFailed);
    assert!(suggestion(&b.app).unwrap().why.unwrap().contains("has not answered"));
    assert!(matches!(lead(&b.app, &admin(), &code), CodeLeads::Form { why: Some(_), .. }));
    m.approve(&b.app, id, &form(&code, "planned", false)).unwrap();
    b.running.shutdown_timeout(Duration::from_secs(5));
}

#[test]
fn nonsense_and_floods_are_no_answers_and_wait_asks_again() {
    let flood = format!("{{\"allow\": true, \"x\": \"{}\"}}", "y".repeat(1 << 20));
    let answers = [(500, "{}".to_owned()), (200, flood), (200, r#"{"allow": true, "name": "n8"}"#.to_owned())];
    let (url, asked) = receiver("ask", answers.into());
    let b = bench(&url, "wait");
    let m = Machine::new(1);
    m.enroll(&b.app);
    let first = asked.recv_timeout(Duration::from_secs(60)).expect("a question");
    assert!(wait_for(&b.app, EventKind::InventoryFailed).contains("status 500"));
    for _ in 0..2 {
        let again = asked.recv_timeout(Duration::from_secs(60)).expect("the question again");
        assert_eq!(again.headers["webhook-id"], first.headers["webhook-id"]);
    }
    wait_for(&b.app, EventKind::InventoryAnswered);
    assert_eq!(suggestion(&b.app).unwrap().hostname.as_deref(), Some("n8"));
    let failed = b.app.store.read(|tx| tx.events_after(0, 1_000)).unwrap();
    assert_eq!(failed.iter().filter(|e| e.kind == "inventory.failed").count(), 1, "recorded once");
}
