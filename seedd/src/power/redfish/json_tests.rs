use serde_json::json;

use super::*;

#[test]
fn links_lead_nowhere_else() {
    for (path, good) in [
        ("/redfish/v1/Systems/1", true),
        ("/redfish/v1/Systems/1/", true),
        ("/redfish/v1/Systems/a%20b", true),
        ("https://evil/redfish/v1/Systems/1", false),
        ("//evil/redfish/v1/", false),
        ("/redfish/v1/../../admin", false),
        ("/redfish/v1/%2e%2E/admin", false),
        ("/redfish/v1/a b", false),
        ("/redfish/v1/a?x=1", false),
        ("/redfish/v1/a\r\nHost: evil", false),
        ("/admin", false),
    ] {
        assert_eq!(link(&json!({ "@odata.id": path })), good.then(|| path.trim_end_matches('/')), "{path:?}");
    }
    let long = |n: usize| json!({ "@odata.id": format!("/redfish/v1/{}", "x".repeat(n - 12)) });
    assert!(link(&long(MAX_LINK)).is_some() && link(&long(MAX_LINK + 1)).is_none());
    for odd in [json!(null), json!({}), json!({ "@odata.id": null }), json!({ "@odata.id": 7 }), json!("/redfish/v1/x")] {
        assert_eq!(link(&odd), None, "{odd}");
    }
    let list = json!([{ "@odata.id": "/redfish/v1/a" }, null, {}, 7, { "@odata.id": "http://evil/" }]);
    assert_eq!(links(Some(&list)), ["/redfish/v1/a"]);
    assert_eq!((links(Some(&list[0])), links(None)), (vec!["/redfish/v1/a"], vec![]));
}

#[test]
fn redirects_and_monitors_stay_on_the_controller() {
    let origins = ("https://10.0.0.9".to_owned(), "https://10.0.0.9:443".to_owned());
    for (to, redirect, monitor) in [
        ("/redfish/v1/Systems/", Some("/redfish/v1/Systems/"), true),
        ("https://10.0.0.9/redfish/v1/Systems/", Some("/redfish/v1/Systems/"), true),
        ("https://10.0.0.9:443/redfish/v1/Systems/", Some("/redfish/v1/Systems/"), true),
        ("/redfish/v1", Some("/redfish/v1"), true),
        ("/taskmon/0", None, true),
        ("https://10.0.0.99/redfish/v1/", None, false),
        ("https://10.0.0.9.evil/redfish/v1/", None, false),
        ("http://10.0.0.9/redfish/v1/", None, false),
        ("//evil/redfish/v1/", None, false),
        ("/redfish/v1/../../x", None, false),
        ("", None, false),
    ] {
        assert_eq!(location(to, &origins, false), redirect, "{to}");
        assert_eq!(location(to, &origins, true).is_some(), monitor, "{to}");
    }
}

#[test]
fn the_next_part_of_a_list_may_have_a_query() {
    for (part, next) in [
        (json!({ "Members@odata.nextLink": "/redfish/v1/Systems?$skip=2" }), Some("/redfish/v1/Systems?$skip=2")),
        (json!({ "@odata.nextLink": "/redfish/v1/Systems?page=2&n=5" }), Some("/redfish/v1/Systems?page=2&n=5")),
        (json!({ "Members@odata.nextLink": { "@odata.id": "/redfish/v1/Systems/p2" } }), Some("/redfish/v1/Systems/p2")),
        (json!({ "Members@odata.nextLink": null }), None),
        (json!({ "Members@odata.nextLink": "http://evil/redfish/v1/" }), None),
        (json!({}), None),
    ] {
        assert_eq!(next_part(&part), next, "{part}");
    }
}

#[test]
fn addresses_are_read_as_vendors_write_them() {
    let wanted = Mac([0x52, 0x54, 0, 0xab, 0, 1]);
    for (text, good) in [
        ("52:54:00:AB:00:01", true),
        ("52-54-00-ab-00-01", true),
        ("525400AB0001", true),
        ("5254.00ab.0001", true),
        (" 52:54:00:ab:00:01 ", true),
        ("52:54:00:ab:00:02", false),
        ("52:54:00:ab:00:01:00:00", false),
        ("5254", false),
        ("N/A", false),
        ("", false),
    ] {
        assert_eq!(mac(text) == Some(wanted), good, "{text}");
        for key in ["MACAddress", "PermanentMACAddress", "MacAddress"] {
            assert_eq!(has_mac(&json!({ key: text }), wanted), good, "{key} {text}");
        }
        assert_eq!(has_mac(&json!({ "Ethernet": { "MACAddress": text } }), wanted), good, "{text}");
    }
    assert!(!has_mac(&json!({ "MACAddress": null, "Ethernet": null }), wanted) && !has_mac(&json!({}), wanted));
}

#[test]
fn a_uuid_is_one_in_either_order_and_placeholders_are_none() {
    let wanted = "00112233-4455-6677-8899-aabbccddeeff";
    assert!(is_uuid("00112233-4455-6677-8899-AABBCCDDEEFF", wanted) && is_uuid("33221100-5544-7766-8899-aabbccddeeff", wanted));
    assert!(!is_uuid("00112233-4455-6677-8899-aabbccddee00", wanted) && !is_uuid("", wanted) && !is_uuid(wanted, ""));
    for none in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
        assert!(!is_uuid(none, none), "{none}");
    }
}

#[test]
fn values_are_taken_in_the_services_own_spelling() {
    let some = |all: &[&str]| Some(all.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    for (wanted, allowed, fits) in [
        (&["PowerCycle", "ForceRestart"][..], some(&["forcerestart", "On"]), vec!["forcerestart"]),
        (&["On"], None, vec!["On"]),
        (&["Pxe"], some(&["Hdd"]), vec![]),
    ] {
        assert_eq!(fitting(wanted, allowed.as_deref()), fits, "{wanted:?}");
    }
    for (holder, said) in [
        (json!({ "X@Redfish.AllowableValues": ["a", null, 7, "b"] }), some(&["a", "b"])),
        (json!({ "X@Redfish.AllowableValues": [] }), None),
        (json!({ "X@Redfish.AllowableValues": null }), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        assert_eq!(allowable(Some(&holder), "X"), said, "{holder}");
    }
}

#[test]
fn an_action_has_its_own_target_or_the_usual_one_and_may_be_missing() {
    let of = "/redfish/v1/Systems/1";
    for (actions, target) in [
        (json!({ "#A.B": { "target": "/redfish/v1/x/A.B" } }), Some("/redfish/v1/x/A.B")),
        (json!({ "#A.B": { "target": "http://evil/" } }), Some("/redfish/v1/Systems/1/Actions/A.B")),
        (json!({ "#A.B": {} }), Some("/redfish/v1/Systems/1/Actions/A.B")),
        (json!({ "#A.B": null }), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        assert_eq!(action(&json!({ "Actions": actions }), of, "A.B").as_deref(), target, "{actions}");
    }
}

#[test]
fn a_reason_is_one_bounded_line_wherever_it_stands() {
    for (body, said) in [
        (r#"{"error":{"message":"no\nsuch thing"}}"#, "no such thing"),
        (r#"{"error":{"message":"general","@Message.ExtendedInfo":[{"Message":""},{"Message":"exact"}]}}"#, "exact"),
        (r#"{"error":{"@Message.ExtendedInfo":{"Message":"one"}}}"#, "one"),
        (r#"{"@Message.ExtendedInfo":[{"Message":"top"}]}"#, "top"),
        (r#"{"TaskState":"Exception","Messages":[{"Message":"of a task"}]}"#, "of a task"),
        (r#"{"error":null}"#, "no reason was given"),
        ("<html>", "no reason was given"),
        ("", "no reason was given"),
    ] {
        assert_eq!(reason(body.as_bytes()), said, "{body}");
    }
    assert_eq!(reason(format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(999)).as_bytes()).len(), 200);
    assert_eq!(reason(b"{\"error\":{\"message\":\"caf\xe9\"}}"), "caf\u{fffd}");
    assert!(parse(b"\xef\xbb\xbf{}").is_ok() && parse(b"{").is_err());
}
