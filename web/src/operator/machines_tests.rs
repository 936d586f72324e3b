//! The list of machines, what is done to many of them, and the first page.

use crate::auth::csrf;
use crate::testing::client::{Answer, FORM, ask, cookie, get, site};
use crate::testing::data::{PENDING, pending_id};
use crate::testing::machines::SILENT;
use crate::testing::{Mock, TOKEN};

use axum::Router;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::EnrollmentId;

async fn page(router: &Router, path: &str) -> String {
    let answer = get(router, path, &[("cookie", &cookie())]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

async fn post(router: &Router, path: &str, fields: &str) -> Answer {
    ask(router, "POST", path, &[("cookie", &cookie()), FORM], format!("csrf={}&{fields}", csrf(TOKEN))).await
}

/// The rows of the table, by the numbers of their machines.
fn rows(page: &str) -> Vec<i64> {
    page.split("<tr id=\"m").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
}

#[tokio::test]
async fn the_list_is_searched_sorted_and_filtered_by_its_address() {
    let (_, router) = site("");
    for (path, found) in [
        ("/machines?q=name%3Adb&sort=name", vec![4, 5, 7]),
        ("/machines?q=name%3Adb&sort=-name", vec![7, 5, 4]),
        ("/machines?state=silent", vec![SILENT]),
        ("/machines?state=waiting", vec![PENDING]),
        ("/machines?q=label%3Arack%3Dr7", vec![PENDING]),
        ("/machines?q=place%3A%22hall+2%22", vec![PENDING]),
        ("/machines?q=mac%3A52-54-00-ab-00-03", vec![3]),
        ("/machines?q=nothing", vec![]),
        ("/machines?state=nonsense&sort=nonsense&page=nonsense&other=1", vec![]),
    ] {
        let text = page(&router, path).await;
        if path.contains("nonsense") {
            assert_eq!(rows(&text).len(), 7, "an old address shows the list");
        } else {
            assert_eq!(rows(&text), found, "{path}");
        }
        assert_eq!(text.contains("No machine matches"), path.contains("q=nothing"), "{path}");
    }
    let text = page(&router, "/machines?q=db&state=silent&sort=-name").await;
    for part in [
        "value=\"db\"",
        "<input type=\"hidden\" name=\"state\" value=\"silent\">",
        "href=\"/machines?q=db&#38;sort=-name\"",
        "href=\"/machines?q=db&#38;state=silent&#38;sort=name\"",
        "aria-sort=\"descending\"",
        "aria-current=\"page\"",
        "<span aria-hidden=\"true\">\u{25b2}</span> Silent",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn the_json_keeps_its_shape_until_something_is_asked_of_it() {
    let (_, router) = site("");
    let json = async |path: &str| get(&router, path, &[("cookie", &cookie())]).await.json();
    let all = json("/api/v1/machines").await;
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["machines"]);
    assert!(all["machines"][0].get("stage").is_none());
    let found = json("/api/v1/machines?q=rack%3Dr7&state=waiting&sort=name&page=1").await;
    assert_eq!((found["total"].as_u64(), found["page"].as_u64(), found["pages"].as_u64()), (Some(1), Some(1), Some(1)));
    let row = &found["machines"][0];
    assert_eq!(
        (row["id"].as_i64(), row["stage"].as_str(), row["serial"].as_str()),
        (Some(PENDING), Some("waiting"), Some("A1B2C3"))
    );
    assert_eq!((row["place"].as_str(), row["labels"][0].as_str()), (Some("hall 2"), Some("rack=r7")));
    assert_eq!(found["counts"], serde_json::json!({"waiting": 1}));
}

#[tokio::test]
async fn labels_are_set_for_what_is_ticked_and_nothing_is_lost_when_they_are_refused() {
    let (mock, router) = site("");
    let back = "back=q%3Ddb%26sort%3D-name";
    let done = post(&router, "/machines/act", &format!("m4=1&m5=1&act=label&labels=a,+b&{back}")).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/machines?q=db&sort=-name"));
    let notes = |id: i64| mock.state().notes.get(&id).cloned().unwrap_or_default().1;
    assert_eq!((notes(4), notes(5)), (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    post(&router, "/machines/act", "m4=1&act=unlabel&labels=b").await;
    assert_eq!((notes(4).len(), notes(5).len()), (1, 2));
    for (fields, says) in [
        ("act=label&labels=a", "no machine is selected"),
        ("m4=1&act=label&labels=", "no label was typed"),
        ("m4=1&act=label&labels=a%22b", "no comma and no quotation mark"),
        ("m4=1&act=nonsense&labels=keep", "no action is selected"),
        ("m4=1", "no action is selected"),
    ] {
        let answer = post(&router, "/machines/act", &format!("{fields}&{back}")).await;
        assert_eq!(answer.status, 400, "{fields}");
        let text = answer.text();
        assert!(text.contains(says) && text.contains("id=\"refused\""), "{fields}: {text}");
        assert_eq!(
            text.contains("name=\"m4\" value=\"1\" aria-label=\"Select db-1.lab.lan\" checked"),
            fields.contains("m4"),
            "{text}"
        );
        assert!(text.contains("value=\"q=db&#38;sort=-name\""), "the search is still there");
    }
    // What comes back with the form is no address that is followed.
    let evil = post(&router, "/machines/act", "m4=1&act=label&labels=c&back=%2F%2Fevil.example").await;
    assert_eq!(evil.header("location"), "/machines");
}

#[tokio::test]
async fn power_of_many_asks_for_their_number_and_says_what_came_of_each() {
    let (mock, router) = site("");
    let on = post(&router, "/machines/act", "m4=1&m5=1&act=on").await;
    assert_eq!(on.status, 200);
    assert!(on.text().contains("Done for all 2 machines"), "{}", on.text());
    mock.state().changes.clear();
    let asked = post(&router, "/machines/act", "m4=1&m5=1&act=off").await.text();
    assert!(
        asked.contains("like pulling the plug") && asked.contains("name=\"m4\"") && asked.contains("id=\"count\""),
        "{asked}"
    );
    let wrong = post(&router, "/machines/act", "m4=1&m5=1&act=off&count=3").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("the number does not match"));
    assert!(mock.state().changes.is_empty(), "nothing was switched off");
    let off = post(&router, "/machines/act", "m4=1&m5=1&act=off&count=2").await.text();
    assert!(off.contains("2 of 2 machines failed") && off.contains("wait 2 s"), "{off}");
    assert_eq!(mock.state().changes, ["act_power", "act_power"]);
}

#[tokio::test]
async fn denial_of_many_tells_those_that_do_not_wait() {
    let (mock, router) = site("");
    let fields = format!("m{PENDING}=1&m4=1&act=deny");
    let asked = post(&router, "/machines/act", &fields).await.text();
    assert!(asked.contains("id=\"reason\"") && asked.contains("2 machines"), "{asked}");
    let done = post(&router, "/machines/act", &format!("{fields}&count=2&reason=not+ours")).await.text();
    assert!(done.contains("1 of 2 machines failed") && done.contains("it is not waiting for approval"), "{done}");
    let state = mock.state();
    let denied = state.machines.iter().find(|m| m.row.id == PENDING).and_then(|m| m.row.enrollment.clone()).unwrap();
    assert_eq!((denied.state, denied.reason.as_deref()), (EnrollmentState::Denied, Some("not ours")));
}

/// Three machines that wait, with codes that begin with 12, 21 and 22.
fn three_wait(mock: &Mock) {
    let mut state = mock.state();
    let first = state.machines.iter().find(|m| m.row.id == PENDING).cloned().unwrap();
    for (id, number) in [(21u8, 21u16), (22, 22)] {
        let mut machine = first.clone();
        machine.row.id = id.into();
        let e = machine.row.enrollment.as_mut().unwrap();
        (e.id, e.number) = (EnrollmentId([id; 16]), Some(number));
        machine.waiting[0].enrollment = e.clone();
        state.machines.push(machine);
    }
}

fn filled(id: i64, name: &str, code: &str) -> String {
    let enrollment = if id == PENDING { pending_id() } else { EnrollmentId([u8::try_from(id).unwrap(); 16]) };
    format!("enrollment-{id}={enrollment}&code-{id}={code}&name-{id}={name}&role-{id}=base&disk-{id}=nvme0n1&")
}

#[tokio::test]
async fn many_are_approved_by_one_form_and_what_is_refused_stays_with_its_reason() {
    let (mock, router) = site("");
    three_wait(&mock);
    let ticked = post(&router, "/machines/act", &format!("m{PENDING}=1&m21=1&m22=1&act=approve")).await;
    assert_eq!(ticked.header("location"), "/machines/approve?ids=2,21,22");
    let form = page(&router, "/machines/approve?ids=2,21,22").await;
    for part in [
        "id=\"next-code\"",
        "id=\"code-2\"",
        "id=\"code-21\"",
        "value=\"node-1\"",
        "value=\"node-3\"",
        "placeholder=\"21-345-678\"",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
    assert!(form.contains("<option value=\"base\" selected>"), "the only role with an artifact is chosen");
    // One goes through, one has the code of another machine, one has no code yet.
    let fields = [filled(2, "n-2", "12-345-678"), filled(21, "n-21", "22-345-678"), filled(22, "keep-me", "")].concat();
    let answer = post(&router, "/machines/approve", &fields).await;
    assert_eq!(answer.status, 400);
    let text = answer.text();
    assert!(text.contains("id=\"passed\"") && text.contains("n-2: base, nvme0n1") && !text.contains("id=\"code-2\""), "{text}");
    assert!(text.contains("id=\"refused-21\">this code belongs to another machine"), "{text}");
    assert!(
        text.contains("value=\"22-345-678\"") && text.contains("value=\"n-21\"") && text.contains("value=\"keep-me\""),
        "{text}"
    );
    let focus = "aria-describedby=\"refused-21\" autofocus";
    assert!(text.contains(focus) && text.matches("autofocus").count() == 1, "{text}");
    assert_eq!(mock.state().changes.iter().filter(|c| **c == "approve").count(), 2);

    // The field at the top finds the row by the number of the code.
    let fields = [filled(21, "n-21", ""), filled(22, "n-22", "")].concat();
    let text = post(&router, "/machines/approve", &format!("{fields}code=22+345+678")).await.text();
    assert!(
        text.contains("n-22: base, nvme0n1") && text.contains("id=\"code-21\"") && !text.contains("id=\"code-22\""),
        "{text}"
    );
    assert!(text.contains("id=\"next-code\" name=\"code\" class=\"code\" value=\"\""), "it empties for the next one: {text}");
    for (code, says) in [("99-345-678", "no machine of this list shows"), ("12", "not a pairing code"), ("", "no code was typed")]
    {
        let answer = post(&router, "/machines/approve", &format!("{}code={code}", filled(21, "n-21", ""))).await;
        assert_eq!(answer.status, 400, "{code}");
        assert!(answer.text().contains(says), "{code}: {}", answer.text());
        assert!(answer.text().contains(&format!("value=\"{code}\"")), "{code} is kept");
    }
    let last = post(&router, "/machines/approve", &filled(21, "n-21", "21-345-678")).await;
    assert!(last.text().contains("All machines of this list went through"), "{}", last.text());
    // Reloaded, or with numbers that are none, it shows no other machines.
    assert!(page(&router, "/machines/approve?ids=21").await.contains("None of these machines is waiting"));
    assert!(page(&router, "/machines/approve?ids=x").await.contains("None of these machines is waiting"));
}

#[tokio::test]
async fn a_row_says_what_is_missing_and_two_rows_do_not_share_a_name() {
    let (mock, router) = site("");
    three_wait(&mock);
    let missing = filled(2, "n-2", "12-345-678").replace("role-2=base", "role-2=");
    let answer = post(&router, "/machines/approve", &missing).await;
    assert!(answer.status == 400 && answer.text().contains("the role is missing"), "{}", answer.text());
    assert!(!mock.state().changes.contains(&"approve"));
    let fields = [filled(2, "same", "12-345-678"), filled(21, "SAME", "21-345-678")].concat();
    let text = post(&router, "/machines/approve", &fields).await.text();
    assert!(text.contains("another row has this host name") && text.contains("id=\"code-21\""), "{text}");
    let text =
        post(&router, "/machines/approve", &format!("{}do=fill&pattern=r7u%7Bn%7D&role=base", filled(21, "x", ""))).await.text();
    assert!(text.contains("value=\"r7u1\"") && text.contains("value=\"r7u{n}\""), "{text}");
}

#[tokio::test]
async fn what_cannot_be_taken_back_asks_for_the_name_and_says_what_is_lost() {
    let (mock, router) = site("");
    let asked = page(&router, "/machines/4/revoke").await;
    for part in [
        "Its keys leave the peer list",
        "It votes in etcd. Without it, 1 of 3 members are healthy",
        "Type <code>db-1</code>",
        "id=\"word\"",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let id = EnrollmentId([4; 16]);
    let wrong = post(&router, "/machines/4/revoke", &format!("enrollment={id}&reason=stolen&word=db-2")).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("the name does not match") && wrong.text().contains("value=\"stolen\""), "{}", wrong.text());
    assert!(mock.state().changes.is_empty());
    let done = post(&router, "/machines/4/revoke", &format!("enrollment={id}&reason=stolen&word=+DB-1.lab.lan+")).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/machines/4"));
    assert_eq!(mock.state().changes, ["revoke"]);

    let asked = page(&router, "/machines/1/forget").await;
    assert!(asked.contains("Type <code>52:54:00:ab:00:01</code>"), "neither name nor serial number: {asked}");
    assert_eq!(post(&router, "/machines/1/forget", "word=").await.status, 400);
    assert_eq!(post(&router, "/machines/1/forget", "word=52:54:00:AB:00:01").await.header("location"), "/machines");

    mock.state().changes.clear();
    let asked = post(&router, "/machines/6/power", "action=off").await;
    assert_eq!(asked.status, 200);
    assert!(asked.text().contains("like pulling the plug") && asked.text().contains("name=\"action\" value=\"off\""));
    assert_eq!(post(&router, "/machines/6/power", "action=cycle&word=other").await.status, 400);
    assert!(mock.state().changes.is_empty());
    assert_eq!(post(&router, "/machines/6/power", "action=cycle&word=web-2").await.status, 200);
    assert_eq!(mock.state().changes, ["act_power"]);
}

#[tokio::test]
async fn place_and_labels_of_one_machine_are_saved_and_kept_when_refused() {
    let (mock, router) = site("");
    let done = post(&router, &format!("/machines/{PENDING}/note"), "place=hall+3&labels=b,+a").await;
    assert_eq!(done.header("location"), "/machines/2");
    let note = mock.state().notes[&PENDING].clone();
    assert_eq!((note.0.as_str(), note.1), ("hall 3", vec!["a".to_owned(), "b".to_owned()]));
    let long = "x".repeat(cluster_seed::fleet::MAX_PLACE + 1);
    let refused = post(&router, &format!("/machines/{PENDING}/note"), &format!("place={long}&labels=keep")).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("id=\"note-refused\"")
            && refused.text().contains(&long)
            && refused.text().contains("value=\"keep\"")
    );
    assert_eq!(post(&router, "/machines/99/note", "place=x").await.status, 404);
}

#[tokio::test]
async fn a_nodes_page_begins_with_what_matters() {
    let (_, router) = site("");
    let text = page(&router, "/machines/6").await;
    assert!(text.contains("<code class=\"copied\">ssh root@10.78.0.6</code>"), "{text}");
    assert!(!page(&router, "/machines/3").await.contains("ssh root@"), "it is still installing");
    let silent = page(&router, &format!("/machines/{SILENT}")).await;
    assert!(silent.contains("id=\"silent\"") && silent.contains("</span> Silent</span>"), "{silent}");
    let folds: Vec<&str> = silent.split("<summary>").skip(1).filter_map(|s| s.split(['<', ' ']).next()).collect();
    let newest = folds.iter().position(|f| *f == "Role").unwrap();
    assert!(newest < folds.iter().position(|f| *f == "Boot").unwrap(), "newest first: {folds:?}");
    assert!(silent.contains("<span class=\"times\">\u{d7}4</span>"), "three repeats: {silent}");
}

#[tokio::test]
async fn the_first_page_says_what_needs_an_operator() {
    let (mock, router) = site("");
    let text = page(&router, "/").await;
    assert!(text.contains("<title>(1) Home"), "{text}");
    for part in [
        "id=\"find-code\"",
        "placeholder=\"12-345-678\" autofocus",
        "data-need=\"waiting\"",
        "1 machine failed: chunk 17 does not match its digest",
        "1 node silent: db-3.lab.lan",
        "data-need=\"snapshot\"",
        "The newest capsule of the site was exported 12 d ago.",
        "data-need=\"certificates\"",
        "href=\"/machines?state=silent\"",
        "<a href=\"/machines/4\">db-1.lab.lan</a>",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("The first hour") && !text.contains("data-need=\"ssh-keys\""), "{text}");
    mock.state().ssh_keys = 0;
    mock.state().overview.sealed = true;
    let text = page(&router, "/").await;
    assert!(text.contains("data-need=\"ssh-keys\"") && text.contains("data-need=\"sealed\""), "{text}");
}

#[tokio::test]
async fn a_new_site_has_a_list_of_steps_until_a_node_works() {
    let (mock, router) = site("");
    mock.state().machines.clear();
    mock.state().ssh_keys = 0;
    mock.state().overview.snapshot = None;
    mock.state().overview.lists = Default::default();
    let text = page(&router, "/").await;
    let steps = text.split("<ol class=\"steps\">").nth(1).unwrap().split("</ol>").next().unwrap();
    assert_eq!((steps.matches("class=\"done\"").count(), steps.matches("class=\"open\"").count()), (4, 4), "{steps}");
    for part in ["seedd darksite build", "seedd cluster apply", "ssh.authorizedKeys", "Boot a machine from the network"] {
        assert!(steps.contains(part), "{part}: {steps}");
    }
    assert!(!text.contains("Needs you"), "nothing is said twice: {text}");
    assert!(page(&router, "/machines").await.contains("No machine has been seen yet"));
}
