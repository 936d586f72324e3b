//! The plan on the pages: a code that is enough, one that is not, a file, and what is hostile.

use crate::api::SuggestionView;
use crate::auth::csrf;
use crate::testing::client::{FORM, ask, cookie, get, site};
use crate::testing::data::{PENDING, pending_id};
use crate::testing::plan::claimant;
use crate::testing::{CODE, Mock, TOKEN};

fn plan(mock: &Mock, change: impl Fn(&mut SuggestionView)) {
    let mut state = mock.state();
    let waiting = state.machines.iter_mut().find(|m| m.row.id == PENDING).unwrap();
    let suggestion = waiting.waiting[0].suggestion.as_mut().unwrap();
    (suggestion.planned, suggestion.ready, suggestion.source) = (true, true, "by line 4 of the plan".to_owned());
    change(suggestion);
}

async fn post(router: &axum::Router, path: &str, fields: &str) -> crate::testing::client::Answer {
    let cookie = cookie();
    let body = format!("csrf={}&{fields}", csrf(TOKEN));
    ask(router, "POST", path, &[("cookie", cookie.as_str()), FORM], body).await
}

#[tokio::test]
async fn the_code_of_a_planned_machine_is_enough_and_the_field_is_empty_for_the_next() {
    let (mock, router) = site("");
    plan(&mock, |_| ());
    let page = post(&router, "/approve", &format!("code={CODE}")).await;
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    assert!(text.contains("r01u07: the machine checks the code (base, nvme0n1 466 GiB, S5GXNX0T123456)"), "{text}");
    let shown = text.replace("placeholder=\"12-345-678\"", "");
    assert!(!shown.contains(CODE), "the field is empty, and the code is nowhere: {text}");
    let field = text.lines().find(|l| l.contains("id=\"find-code\"")).unwrap();
    assert!(field.contains("autofocus") && field.contains("value=\"\""), "{field}");
    // The next form carries which codes were typed.
    let id = pending_id().to_string();
    assert!(text.contains(&format!("name=\"typed\" value=\"{id}\"")), "{text}");
    let next = post(&router, "/approve", &format!("code=99-000-000&typed={id}")).await;
    assert_eq!(next.status, 400);
    let text = next.text();
    assert!(text.contains("r01u07: the machine checks the code") && text.contains("99-000-000"), "{text}");
}

#[tokio::test]
async fn a_machine_that_is_not_the_planned_one_is_shown_big_and_its_code_alone_is_refused() {
    let (mock, router) = site("");
    plan(&mock, |s| {
        s.ready = false;
        s.differs = vec!["the plan has its serial number with MAC address 52:54:00:00:00:99".to_owned()];
        s.why = s.differs.first().cloned();
    });
    let page = post(&router, "/approve", &format!("code={CODE}")).await;
    let text = page.text();
    assert_eq!(page.status, 409, "{text}");
    assert!(text.contains("id=\"differs\"") && text.contains("52:54:00:00:00:99"), "{text}");
    assert!(text.contains("its code alone does not approve this machine"), "{text}");
    // Nothing of such a plan is filled in; the code that was typed is kept.
    let field = |id: &str| text.lines().find(|l| l.contains(&format!("id=\"{id}\""))).unwrap().to_owned();
    assert!(field("approve-hostname").contains("value=\"\"") && field("approve-code").contains(CODE), "{text}");
    assert!(!mock.state().changes.contains(&"approve"));
}

#[tokio::test]
async fn a_rule_fills_in_the_form_and_says_so_but_approves_nobody() {
    let (_, router) = site("");
    let page = post(&router, "/approve", &format!("code={CODE}")).await;
    let text = page.text();
    assert_eq!(page.status, 200);
    assert!(text.contains("Filled in by rule 2") && text.contains("value=\"r01u07\""), "{text}");
    assert!(text.contains("<option value=\"base\" selected>"), "{text}");
}

#[tokio::test]
async fn a_click_is_offered_only_where_the_site_allows_it_and_the_machine_told_its_code() {
    let cookie = cookie();
    for click in [false, true] {
        let (mock, router) = site("");
        plan(&mock, |s| s.click = click);
        let text = get(&router, &format!("/machines/{PENDING}"), &[("cookie", cookie.as_str())]).await.text();
        assert_eq!(text.contains("id=\"click-submit\""), click, "{text}");
    }
}

#[tokio::test]
async fn what_was_typed_stays_until_it_is_kept() {
    let (_, router) = site("");
    let text = "serial,name,role%0ASN1,a,nosuch%0A";
    for (act, status) in [("check", 200), ("set", 400), ("add", 400)] {
        let page = post(&router, "/plan", &format!("act={act}&text={text}")).await;
        assert_eq!(page.status, status, "{act}");
        assert!(page.text().contains("SN1,a,nosuch"), "{act}");
    }
    let page = post(&router, "/plan", "act=check&text=serial,name,role%0ASN1,a,base%0A").await.text();
    assert!(page.contains("id=\"dry-run\"") && page.contains("without contradictions"), "{page}");
}

#[tokio::test]
async fn a_file_takes_the_place_of_the_text_and_needs_the_token_of_the_session() {
    let (mock, router) = site("");
    let cookie = cookie();
    let part = |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let file = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"plan.csv\"\r\nContent-Type: text/csv\r\n\r\n\
                serial,name,role\nSN1,a,base\n\r\n--x--\r\n";
    let form = |token: &str| format!("{}{}{}{file}", part("csrf", token), part("act", "set"), part("text", "rubbish"));
    let headers = [("cookie", cookie.as_str()), ("content-type", "multipart/form-data; boundary=x")];
    for (token, status) in [("wrong", 403), (csrf(TOKEN).as_str(), 303)] {
        let page = ask(&router, "POST", "/plan", &headers, form(token)).await;
        assert_eq!(page.status, status, "{}", page.text());
        assert_eq!(mock.state().changes.contains(&"keep_plan"), status == 303);
    }
    let foreign = [headers[0], headers[1], ("sec-fetch-site", "cross-site")];
    assert_eq!(ask(&router, "POST", "/plan", &foreign, form(&csrf(TOKEN))).await.status, 403);
    let cut = form(&csrf(TOKEN)).replace("--x--", "");
    assert_eq!(ask(&router, "POST", "/plan", &headers, cut).await.status, 400);
}

#[tokio::test]
async fn several_machines_of_one_row_are_listed_as_a_conflict_without_a_click() {
    let cookie = cookie();
    let (mock, router) = site("");
    let page = get(&router, "/plan", &[("cookie", cookie.as_str())]).await.text();
    let from = page.find("id=\"conflicts\"").unwrap();
    let section = &page[from..page[from..].find("</section>").unwrap() + from];
    assert_eq!(section.matches("52:54:00:ab:00:02</code>").count(), 2, "both are listed: {section}");
    assert!(section.contains("Code typed") && !section.contains("/plan/click"), "{section}");
    plan(&mock, |s| s.rivals = vec![claimant("")]);
    let text = get(&router, &format!("/machines/{PENDING}"), &[("cookie", cookie.as_str())]).await.text();
    assert!(text.contains("id=\"rivals\"") && !text.contains("id=\"click-submit\""), "{text}");
}

#[tokio::test]
async fn machines_that_were_set_aside_are_a_count_of_their_own_on_home_plan_and_approve() {
    let cookie = cookie();
    let (_, router) = site("");
    for (path, line) in [
        ("/", "id=\"aside\"><span aria-hidden=\"true\">\u{25cb}</span> Set aside <b>1</b>"),
        ("/plan", "2 machines, 1 <a href=\"#verdicts\">set aside</a>"),
        ("/machines/approve", "<a href=\"/plan#verdicts\">1 set aside</a>"),
    ] {
        let text = get(&router, path, &[("cookie", cookie.as_str())]).await.text();
        assert!(text.contains(line), "{path}: {text}");
    }
}
