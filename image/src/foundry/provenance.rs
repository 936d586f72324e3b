//! Who made an output from what: an in-toto statement (in-toto attestation framework 1.0) with a SLSA provenance predicate
//! (SLSA 1.0), in a DSSE envelope signed by the site. It has no times, so that the same inputs give the same bytes.

use cluster_seed::foundry::{Envelope, OutputSpec, STATEMENT};
use cluster_seed::manifest::BootFile;
use cluster_seed::seal::{SigningKey, key_text};
use serde_json::{Value, json};

use crate::error::Error;

const BUILD_TYPE: &str = "urn:kubedos:foundry:v1";

/// How the output was made.
pub struct Made<'a> {
    pub spec: &'a OutputSpec,
    pub version: &'a str,
    /// `name version` of each program.
    pub tools: &'a [String],
}

/// The signed envelope about these files.
pub fn envelope(made: &Made, subjects: &[BootFile], key: &SigningKey) -> Result<Vec<u8>, Error> {
    let statement = serde_json::to_vec(&statement(made, subjects, &key_text(&key.verifying_key())))?;
    Ok(serde_json::to_vec(&Envelope::sign(STATEMENT, &statement, key))?)
}

fn statement(made: &Made, subjects: &[BootFile], key: &str) -> Value {
    let Made { spec, version, tools } = made;
    let subject: Vec<Value> = subjects.iter().map(|f| json!({"name": f.name, "digest": {"sha256": f.sha256}})).collect();
    let inputs = [
        ("snapshot.lock", Some(spec.snapshot)),
        ("artifact", spec.artifact),
        ("artifact.raw", spec.raw),
        ("join.json", Some(spec.join).filter(|_| spec.target.has_settings())),
    ];
    let inputs = inputs.into_iter().filter_map(|(name, digest)| digest.map(|d| json!({"name": name, "digest": {"sha256": d}})));
    let mut statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "target": spec.target, "site": spec.site, "role": spec.role, "version": spec.version, "arch": spec.arch,
                    "options": spec.options,
                },
                "internalParameters": {"recipe": spec.recipe, "tools": tools},
                "resolvedDependencies": inputs.collect::<Vec<_>>(),
            },
            "runDetails": {
                "builder": {"id": format!("urn:kubedos:site:{key}"), "version": {"seedd": version}},
                "metadata": {"invocationId": spec.id()},
            },
        },
    });
    // Absent where there is none: the bytes of other outputs stay as they were.
    if let Some(node) = &spec.node {
        statement["predicate"]["buildDefinition"]["externalParameters"]["node"] = json!(node);
    }
    statement
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cluster_seed::foundry::Target;
    use cluster_seed::ids::Digest;

    use super::*;

    #[test]
    fn the_statement_names_every_file_and_every_input_and_is_signed() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let spec = OutputSpec {
            recipe: 1,
            target: Target::Raw,
            site: "north".to_owned(),
            role: Some("base".to_owned()),
            node: None,
            contains_secret: false,
            version: "20260829T140000Z".to_owned(),
            arch: "amd64".to_owned(),
            artifact: Some(digest("artifact")),
            raw: Some(digest("raw")),
            snapshot: digest("snapshot"),
            join: digest("join"),
            options: BTreeMap::new(),
        };
        let key = SigningKey::from_bytes(&[1; 32]);
        let files = ["a", "b"].map(|name| BootFile { name: name.to_owned(), size: 1, sha256: digest(name) });
        let made = Made { spec: &spec, version: "0.1.0", tools: &["e2fsprogs 1.47.2".to_owned()] };
        let bytes = envelope(&made, &files, &key).unwrap();
        assert_eq!(bytes, envelope(&made, &files, &key).unwrap());
        let signed: Envelope = serde_json::from_slice(&bytes).unwrap();
        let statement: Value = serde_json::from_slice(&signed.open(&key.verifying_key()).unwrap()).unwrap();
        assert_eq!(statement["subject"][1], json!({"name": "b", "digest": {"sha256": digest("b")}}));
        let inputs = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
        let of = |n: usize| inputs[n]["digest"]["sha256"].as_str().unwrap().to_owned();
        assert_eq!([of(0), of(3)], [spec.snapshot.to_string(), spec.join.to_string()]);
        assert!(!String::from_utf8(bytes).unwrap().contains("2026-"), "no times");
        let given = |s: &Value| s["predicate"]["buildDefinition"]["externalParameters"].get("node").cloned();
        let named = OutputSpec { node: Some("edge".to_owned()), ..spec.clone() };
        let named = super::statement(&Made { spec: &named, ..made }, &files, "");
        assert_eq!((given(&statement), given(&named)), (None, Some(json!("edge"))));
    }
}
