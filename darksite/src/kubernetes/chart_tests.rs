use super::*;
use crate::kubernetes::testing::{OF_CHART, chart, digest};

fn names(chart: &Chart, values: &Value) -> Vec<String> {
    images(chart, values).unwrap().iter().map(|n| n.reference.name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

#[test]
fn the_images_of_cilium_with_the_values_of_the_play() {
    let found = images(&chart(), &cilium_values()).unwrap();
    let mut got: Vec<String> = found.iter().map(|n| n.reference.to_string()).collect();
    let mut wanted: Vec<String> =
        OF_CHART.iter().map(|(name, tag)| format!("quay.io/cilium/{name}:{tag}@sha256:{}", digest(name))).collect();
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
    let operator = found.iter().find(|n| n.path == "operator.image").unwrap();
    assert_eq!(operator.reference.name, "quay.io/cilium/operator-generic");
}

/// Each switch, with the images that it adds to or takes from those of the play.
#[test]
fn switches_decide_which_images_are_needed() {
    let all = sorted(OF_CHART.iter().map(|(name, _)| (*name).to_owned()).collect());
    let cases: [(Value, &[&str], &[&str]); 12] = [
        (json!({"hubble": {"enabled": false}}), &[], &["hubble-relay", "hubble-ui", "hubble-ui-backend", "certgen"]),
        (json!({"hubble": {"ui": {"enabled": false}}}), &[], &["hubble-ui", "hubble-ui-backend"]),
        (json!({"hubble": {"relay": {"enabled": false}}}), &[], &["hubble-relay"]),
        (json!({"hubble": {"tls": {"auto": {"method": "helm"}}}}), &[], &["certgen"]),
        (json!({"hubble": {"tls": {"enabled": false}}}), &[], &["certgen"]),
        (json!({"envoy": {"enabled": false}}), &[], &["cilium-envoy"]),
        (json!({"l7Proxy": false}), &[], &["cilium-envoy"]),
        (json!({"operator": {"enabled": false}}), &[], &["operator-generic"]),
        (json!({"nodeinit": {"enabled": true}}), &["startup-script"], &[]),
        (json!({"clustermesh": {"useAPIServer": true}}), &["clustermesh-apiserver"], &[]),
        (json!({"authentication": {"mutual": {"spire": {"enabled": true}}}}), &["spire-agent"], &[]),
        // Null removes a key, as for Helm.
        (json!({"hubble": {"ui": {"frontend": null}}}), &[], &["hubble-ui"]),
    ];
    for (more, added, gone) in cases {
        let mut values = cilium_values();
        lay_over(&mut values, &more);
        let mut wanted: Vec<String> = all.iter().filter(|n| !gone.contains(&n.as_str())).cloned().collect();
        wanted.extend(added.iter().map(|n| (*n).to_owned()));
        assert_eq!(sorted(names(&chart(), &values)), sorted(wanted), "{more}");
    }
}

#[test]
fn a_chart_that_is_not_ciliums_has_no_such_switches() {
    let mut other = chart();
    other.name = "other".to_owned();
    let found = sorted(names(&other, &json!({})));
    assert!(found.contains(&"certgen".to_owned()) && found.contains(&"operator".to_owned()), "{found:?}");
}

#[test]
fn images_are_named_in_several_ways() {
    let hex = "ab".repeat(32);
    let of = |values: &str| {
        let chart = Chart {
            name: "x".to_owned(),
            version: "1".to_owned(),
            app_version: "v9".to_owned(),
            sha256: digest("x"),
            values: values.to_owned(),
        };
        images(&chart, &json!({})).map(|all| all.iter().map(|n| n.reference.to_string()).collect::<Vec<_>>())
    };
    for (values, wanted) in [
        ("image: {repository: r.example/a, tag: v1}", "r.example/a:v1".to_owned()),
        ("image: {repository: a/b, tag: \"\"}", "docker.io/a/b:v9".to_owned()),
        ("image: {registry: r.example, repository: a/b, tag: v1}", "r.example/a/b:v1".to_owned()),
        ("image: {repository: r.example/a, tag: 2}", "r.example/a:2".to_owned()),
        (&format!("image: {{repository: r.example/a, digest: \"sha256:{hex}\"}}"), format!("r.example/a@sha256:{hex}")),
        (
            &format!("image: {{repository: r.example/a, tag: v1, digest: \"sha256:{hex}\", useDigest: false}}"),
            "r.example/a:v1".to_owned(),
        ),
        ("image: {override: \"r.example/b:v2\", repository: r.example/a, tag: v1}", "r.example/b:v2".to_owned()),
        ("sidecars: [{image: \"r.example/a:v1\"}]", "r.example/a:v1".to_owned()),
    ] {
        assert_eq!(of(values), Ok(vec![wanted]), "{values}");
    }
    for none in
        ["", "{}", "image: {repository: a}", "image: \"\"", "image: \"{{ .Values.x }}\"", "x: {enabled: false, image: a:1}"]
    {
        assert_eq!(of(none), Ok(vec![]), "{none:?}");
    }
    for bad in ["image: {repository: \"A b\", tag: v1}", "a: [", "image: {repository: r.example/a, digest: sha256:00}"] {
        assert!(of(bad).is_err(), "{bad}");
    }
}

#[test]
fn limits_of_a_chart() {
    let of = |values: String| {
        let chart =
            Chart { name: "x".to_owned(), version: "1".to_owned(), app_version: "1".to_owned(), sha256: digest("x"), values };
        images(&chart, &json!({})).map(|all| all.len())
    };
    let many = |n: usize| (0..n).map(|i| format!("k{i}: {{image: \"r.example/i{i}:1\"}}\n")).collect::<String>();
    assert_eq!(of(many(MAX_IMAGES)), Ok(MAX_IMAGES));
    assert!(matches!(of(many(MAX_IMAGES + 1)), Err(ChartError::TooMany { .. })));
    let deep = |n: usize| format!("{}1{}", "{a: ".repeat(n), "}".repeat(n));
    assert_eq!(of(deep(MAX_DEPTH)), Ok(0));
    assert!(matches!(of(deep(MAX_DEPTH + 1)), Err(ChartError::TooMany { .. })));
    // Each alias doubles the text.
    let laughs: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)).collect();
    assert!(of(format!("a0: &a0 [x, x]\n{laughs}")).is_err());
}
