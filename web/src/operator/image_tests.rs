//! The page of images.

use crate::auth::csrf;
use crate::testing::client::{FORM, ask, cookie, get, operator, site};
use crate::testing::outputs::OUTPUT;
use crate::testing::{Mock, TOKEN};

#[tokio::test]
async fn the_page_offers_every_target_and_shows_what_was_made_with_its_verification() {
    let (mock, router) = site("");
    let cookie = cookie();
    mock.state().site.job = None;
    let text = get(&router, "/images", &[("cookie", cookie.as_str())]).await.text();
    for part in ["<option value=\"qcow2\">", "<option value=\"oci\">", "<option value=\"node-iso\">", "Role base", "Role db"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let link = format!("href=\"/outputs/{OUTPUT}\"");
    for part in [link.as_str(), "node.qcow2", "700 MiB", "current", "stale", "intact", "node.qcow2 was changed"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // A target for all roles is not offered for one.
    assert_eq!(text.matches("<option value=\"node-iso\">").count(), 1);
    assert!(!text.contains("data-poll") && !text.contains(" disabled"), "nothing runs");
}

#[tokio::test]
async fn every_control_has_a_label() {
    let (_, router) = site("");
    let text = get(&router, "/images", &[("cookie", &cookie())]).await.text();
    for select in text.split("<select id=\"").skip(1) {
        let id = select.split('"').next().unwrap();
        assert!(text.contains(&format!("<label for=\"{id}\">")), "{id}");
    }
    let labels: Vec<&str> = text.split("aria-label=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for button in ["Build for role base", "Build for role db", "Build for all roles"] {
        assert!(labels.contains(&button), "{button} in {labels:?}");
    }
    assert!(labels.contains(&format!("Verify {OUTPUT}").as_str()), "{labels:?}");
}

#[tokio::test]
async fn while_a_job_runs_the_page_follows_it_and_offers_to_stop_it_only() {
    let (_, router) = site("");
    let cookie = cookie();
    let text = get(&router, "/images", &[("cookie", cookie.as_str())]).await.text();
    assert!(text.contains("data-poll") && text.contains("http-equiv=\"refresh\"") && text.contains("action=\"/images/stop\""));
    // Two roles, all roles, two outputs.
    assert_eq!(text.matches("\" disabled>").count(), 5, "{text}");
}

#[tokio::test]
async fn a_refusal_is_shown_on_the_page() {
    let (mock, router) = site("");
    let cookie = cookie();
    let token = csrf(TOKEN);
    let headers = [("cookie", cookie.as_str()), FORM];
    for (path, fields, status, said) in [
        ("/images/build", "target=floppy&role=base", 400, "no target"),
        ("/images/build", "target=qcow2", 400, "choose a role"),
        ("/images/verify", "name=../../etc", 404, "no such image on this seed"),
    ] {
        let answer = ask(&router, "POST", path, &headers, format!("csrf={token}&{fields}")).await;
        assert_eq!(answer.status, status, "{fields}");
        assert!(answer.text().contains(said), "{fields}: {said}\n{}", answer.text());
    }
    mock.state().overview.sealed = true;
    let text = get(&router, "/images", &headers[..1]).await.text();
    assert!(
        text.contains("the seed is sealed") && !text.contains("action=\"/images/build\""),
        "nothing is offered that would fail"
    );
}

#[tokio::test]
async fn the_file_of_an_output_is_downloaded_by_the_outputs_name_only() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("manifest.json"), "disk").unwrap();
    let mock = std::sync::Arc::new(Mock::new(camino::Utf8Path::from_path(dir.path()).unwrap(), ""));
    let router = operator(&mock);
    let cookie = cookie();
    let answer = get(&router, &format!("/outputs/{OUTPUT}"), &[("cookie", cookie.as_str()), ("range", "bytes=1-2")]).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (206, "is"));
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"manifest.json\"");
    let stranger = get(&router, &format!("/outputs/{OUTPUT}"), &[]).await.status.as_u16();
    assert!([303, 401].contains(&stranger), "only after login: {stranger}");
    for bad in ["/outputs/..", "/outputs/%2e%2e", "/outputs/a%2Fb", "/outputs/half"] {
        assert_eq!(get(&router, bad, &[("cookie", cookie.as_str())]).await.status, 404, "{bad}");
    }
}
