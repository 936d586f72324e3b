//! `spec.extras` as YAML, so that it can be put into cluster.yaml.

use std::fmt::Write as _;

use cluster_seed::extras::{ExtrasSpec, SignatureSpec};

/// Renders a section, indented by two spaces as below `spec:`. Every value is quoted as in JSON, which is YAML: a tag such as 3.10
/// stays text. `header` are comment lines. `debs` and `lintAllow` are not written: bundles have none.
pub fn render(spec: &ExtrasSpec, header: &[String]) -> String {
    let mut out = String::new();
    for line in header {
        // Control characters cannot end a comment early.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(out, "  # {line}");
    }
    out.push_str("  extras:\n");
    let mut list = Lines { out: &mut out };
    let keys = spec.keys.iter().map(|(name, k)| (name.as_str(), row(&[("url", &k.url), ("sha256", &k.sha256.to_string())])));
    list.map("keys", keys.collect());
    let files = spec
        .files
        .iter()
        .map(|f| with_signature(&[("path", &f.path), ("url", &f.url), ("sha256", &f.sha256.to_string())], f.signature.as_ref()));
    list.list("files", files.collect());
    let charts = spec.charts.iter().map(|c| {
        let digest = c.sha256.to_string();
        with_signature(&[("name", &c.name), ("version", &c.version), ("url", &c.url), ("sha256", &digest)], c.signature.as_ref())
    });
    list.list("charts", charts.collect());
    let images = spec.images.iter().map(|i| {
        let digest = i.sha256.to_string();
        with_signature(&[("name", &i.name), ("tag", &i.tag), ("url", &i.url), ("sha256", &digest)], i.signature.as_ref())
    });
    list.list("images", images.collect());
    let repositories = spec.repositories.iter().map(|(name, r)| {
        let mut fields = vec![("url", r.url.as_str()), ("suite", r.suite.as_str())];
        fields.extend(r.component.as_deref().map(|c| ("component", c)));
        fields.push(("key", r.key.as_str()));
        (name.as_str(), row(&fields))
    });
    list.map("repositories", repositories.collect());
    let packages = spec.packages.iter().map(|p| {
        let digest = p.sha256.to_string();
        row(&[
            ("repository", p.repository.as_str()),
            ("package", p.package.as_str()),
            ("version", p.version.as_str()),
            ("architecture", p.architecture.as_str()),
            ("sha256", digest.as_str()),
        ])
    });
    list.list("packages", packages.collect());
    out
}

struct Lines<'a> {
    out: &'a mut String,
}

impl Lines<'_> {
    fn list(&mut self, name: &str, rows: Vec<String>) {
        if !rows.is_empty() {
            let _ = writeln!(self.out, "    {name}:");
        }
        for row in rows {
            let _ = writeln!(self.out, "      - {{{row}}}");
        }
    }

    fn map(&mut self, name: &str, rows: Vec<(&str, String)>) {
        if !rows.is_empty() {
            let _ = writeln!(self.out, "    {name}:");
        }
        for (key, row) in rows {
            let _ = writeln!(self.out, "      {}: {{{row}}}", quoted(key));
        }
    }
}

fn row(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(key, value)| format!("{key}: {}", quoted(value))).collect::<Vec<_>>().join(", ")
}

fn with_signature(fields: &[(&str, &str)], signature: Option<&SignatureSpec>) -> String {
    let row = row(fields);
    match signature {
        Some(s) => format!("{row}, signature: {{url: {}, key: {}}}", quoted(&s.url), quoted(&s.key)),
        None => row,
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_back() {
        let hex = "ab".repeat(32);
        let yaml = format!(
            "keys: {{k: {{url: \"https://e.example/k\", sha256: {hex}}}}}
files: [{{path: helm, url: /srv/helm, sha256: {hex}, signature: {{url: /srv/helm.asc, key: k}}}}]
images: [{{name: registry.k8s.io/pause, tag: \"3.10\", url: \"/srv/a b#c.tar\", sha256: {hex}}}]
charts: [{{name: cilium, version: 1.18.5, url: /srv/c.tgz, sha256: {hex}}}]
repositories: {{k: {{url: \"https://e.example/v1\", suite: /, key: k}}, d: {{url: /srv/d, suite: s, component: main, key: k}}}}
packages: [{{repository: k, package: kubelet, version: \"1.36\", sha256: {hex}}}]
"
        );
        let spec: ExtrasSpec = serde_saphyr::from_str(&yaml).unwrap();
        let text = render(&spec, &["written by a test\nextras: {}".to_owned()]);
        assert!(text.starts_with("  # written by a testextras: {}\n  extras:\n    keys:\n"), "{text}");
        #[derive(serde::Deserialize)]
        struct Whole {
            extras: ExtrasSpec,
        }
        assert_eq!(serde_saphyr::from_str::<Whole>(&text).unwrap().extras, spec);
        assert_eq!(render(&ExtrasSpec::default(), &[]), "  extras:\n");
    }
}
