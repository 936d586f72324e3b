//! A bill of materials as SPDX 2.3 JSON (spdx.github.io/spdx-spec/v2.3, JSON schema of the same version).
//!
//! It depends on the snapshot only: the same snapshot gives the same bytes. What Debian's indexes do not contain (licences,
//! copyright) is NOASSERTION; each package has a copyright file.

use std::collections::BTreeMap;

use cluster_seed::ids::Digest;
use jiff::Timestamp;
use serde::Serialize;

use crate::format::deb822;

const NOTHING: &str = "NOASSERTION";
/// The document's own id.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// One package or file of the bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub version: String,
    /// Debian's architecture; empty if there is none.
    pub arch: String,
    pub sha256: Digest,
    /// Name of its file.
    pub file: String,
    /// Upstream address; empty if unknown.
    pub from: String,
    pub homepage: String,
    /// `Name <mail>`, as in the Maintainer field.
    pub supplier: String,
    /// Package URL (github.com/package-url/purl-spec); empty if there is no type for it.
    pub purl: String,
    /// SPDX's term: `LIBRARY`, `CONTAINER`, `FILE`, …
    pub purpose: &'static str,
}

/// What the bill of materials describes.
#[derive(Debug, Clone)]
pub struct Subject {
    /// `snapshot` or `artifact`.
    pub kind: &'static str,
    pub name: String,
    pub id: Digest,
    pub version: String,
    /// The date of the snapshot, not of today.
    pub created: Timestamp,
    /// Name and version of the program.
    pub tool: String,
    pub supplier: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    spdx_id: &'static str,
    name: &'a str,
    document_namespace: String,
    creation_info: CreationInfo<'a>,
    document_describes: Vec<String>,
    packages: Vec<Package<'a>>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo<'a> {
    created: String,
    creators: Vec<String>,
    comment: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(rename = "SPDXID")]
    spdx_id: String,
    name: &'a str,
    version_info: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    package_file_name: &'a str,
    supplier: String,
    download_location: &'a str,
    files_analyzed: bool,
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<&'a str>,
    license_concluded: &'static str,
    license_declared: &'static str,
    copyright_text: &'static str,
    primary_package_purpose: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef<'a> {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// The text of the bill of materials. Parts are sorted here, and duplicates removed.
pub fn render(subject: &Subject, parts: &[Part]) -> Result<String, serde_json::Error> {
    let sorted: BTreeMap<_, &Part> = parts.iter().map(|p| ((&p.name, &p.version, &p.arch, p.sha256, &p.file), p)).collect();
    let top = format!("SPDXRef-{}-{}", subject.kind, subject.id.short());
    let mut packages = vec![Package {
        spdx_id: top.clone(),
        name: &subject.name,
        version_info: &subject.version,
        package_file_name: "",
        supplier: supplier(&subject.supplier),
        download_location: NOTHING,
        files_analyzed: false,
        checksums: vec![sha256(subject.id)],
        homepage: None,
        license_concluded: NOTHING,
        license_declared: NOTHING,
        copyright_text: NOTHING,
        primary_package_purpose: "OPERATING-SYSTEM",
        external_refs: vec![],
    }];
    let mut relationships = vec![relation(DOCUMENT, "DESCRIBES", &top)];
    for (n, one) in sorted.into_values().enumerate() {
        let id = format!("SPDXRef-{n}-{}", tame(&one.name));
        relationships.push(relation(&top, "CONTAINS", &id));
        packages.push(package(one, id));
    }
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        spdx_id: DOCUMENT,
        name: &subject.name,
        document_namespace: format!("https://kubedos.invalid/spdx/{}/{}", subject.kind, subject.id),
        creation_info: CreationInfo {
            created: subject.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            creators: vec![format!("Tool: {}", subject.tool)],
            comment: "Dated as the snapshot it describes, so that the same snapshot gives the same document.",
        },
        document_describes: vec![top],
        packages,
        relationships,
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

fn package(part: &Part, spdx_id: String) -> Package<'_> {
    let external = ExternalRef { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: &part.purl };
    Package {
        spdx_id,
        name: &part.name,
        version_info: &part.version,
        package_file_name: &part.file,
        supplier: supplier(&part.supplier),
        download_location: if is_url(&part.from) { &part.from } else { NOTHING },
        files_analyzed: false,
        checksums: vec![sha256(part.sha256)],
        homepage: Some(part.homepage.as_str()).filter(|h| is_url(h)),
        license_concluded: NOTHING,
        license_declared: NOTHING,
        copyright_text: NOTHING,
        primary_package_purpose: part.purpose,
        external_refs: if part.purl.is_empty() { vec![] } else { vec![external] },
    }
}

fn relation(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship { spdx_element_id: from.to_owned(), relationship_type: kind, related_spdx_element: to.to_owned() }
}

fn sha256(digest: Digest) -> Checksum {
    Checksum { algorithm: "SHA256", checksum_value: digest.to_string() }
}

/// `Organization: Name (mail)` (clause 7.5); Debian's maintainers are often teams.
fn supplier(maintainer: &str) -> String {
    let clean = |t: &str| t.chars().filter(|c| !c.is_control() && !"()".contains(*c)).collect::<String>().trim().to_owned();
    let maintainer = maintainer.trim();
    match maintainer.split_once('<') {
        _ if maintainer.is_empty() => NOTHING.to_owned(),
        Some((name, mail)) => format!("Organization: {} ({})", clean(name), clean(mail.trim_end_matches(['>', ' ']))),
        None => format!("Organization: {}", clean(maintainer)),
    }
}

fn is_url(text: &str) -> bool {
    let scheme = text.starts_with("https://") || text.starts_with("http://");
    scheme && text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b))
}

/// SPDX ids consist of letters, digits, dots and dashes (clause 3.2).
fn tame(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// The package URL of a Debian package.
pub fn deb_purl(name: &str, version: &str, arch: &str) -> String {
    format!("pkg:deb/debian/{}@{}?arch={}", escape(name), escape(version), escape(arch))
}

/// The package URL of an image.
pub fn oci_purl(repository: &str, tag: &str, digest: &Digest) -> String {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    format!("pkg:oci/{}@sha256%3A{digest}?repository_url={}&tag={}", escape(name), escape(repository), escape(tag))
}

/// Percent-encodes everything but unreserved characters (purl-spec, "Rules for each purl component").
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// One part for each stanza of a Packages index.
pub fn parts_of_index(text: &str) -> Vec<Part> {
    let part = |paragraph: deb822::Paragraph<'_>| {
        let field = |name: &str| paragraph.get(name).unwrap_or_default().trim().to_owned();
        let (name, version, arch) = (field("Package"), field("Version"), field("Architecture"));
        let file = field("Filename").rsplit('/').next().unwrap_or_default().to_owned();
        let purpose = match field("Section").as_str() {
            "libs" | "oldlibs" => "LIBRARY",
            "kernel" => "OPERATING-SYSTEM",
            _ => "APPLICATION",
        };
        let purl = deb_purl(&name, &version, &arch);
        let (homepage, supplier) = (field("Homepage"), field("Maintainer"));
        let sha256 = field("SHA256").parse().ok()?;
        Some(Part { name, version, arch, sha256, file, from: String::new(), homepage, supplier, purl, purpose })
    };
    deb822::paragraphs(text).filter_map(part).collect()
}

/// One part for each extra.
pub fn parts_of_extras(manifest: &cluster_seed::extras::ExtrasManifest) -> Vec<Part> {
    let part = |o: &cluster_seed::extras::Origin| {
        let image = manifest.images.iter().find(|i| o.kind == "image" && i.name == o.name && i.tag == o.version);
        let (purl, purpose) = match (o.kind.as_str(), image) {
            ("image", Some(image)) => (oci_purl(&o.name, &o.version, &image.digest), "CONTAINER"),
            ("chart", _) => (format!("pkg:helm/{}@{}", escape(&o.name), escape(&o.version)), "APPLICATION"),
            ("package" | "deb", _) => (format!("pkg:deb/{}@{}", escape(&o.name), escape(&o.version)), "APPLICATION"),
            _ => (String::new(), "FILE"),
        };
        Part {
            name: o.name.clone(),
            version: if o.version.is_empty() { o.sha256.short() } else { o.version.clone() },
            arch: String::new(),
            sha256: o.sha256,
            file: o.url.rsplit('/').next().unwrap_or_default().to_owned(),
            from: o.url.clone(),
            homepage: String::new(),
            supplier: String::new(),
            purl,
            purpose,
        }
    };
    manifest.origins.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn subject() -> Subject {
        Subject {
            kind: "snapshot",
            name: "trixie of site-a".into(),
            id: Digest::of(b"id"),
            version: "1".into(),
            created: Timestamp::from_second(1_767_225_600).unwrap(),
            tool: "seedd-0.1.0".into(),
            supplier: "site-a".into(),
        }
    }

    const INDEX: &str = "Package: g++\nVersion: 4:14.2.0-1\nArchitecture: amd64\nMaintainer: Debian GCC Maintainers <gcc@example.org>\n\
                         Homepage: http://gcc.gnu.org/\nSection: devel\nFilename: pool/main/g/g++_14.2.0-1_amd64.deb\nSHA256: ";

    fn index() -> String {
        format!("{INDEX}{}\n\n{}{}\n", "ab".repeat(32), INDEX.replace("g++", "libc6").replace("devel", "libs"), "cd".repeat(32))
    }

    #[test]
    fn the_same_parts_in_any_order_give_the_same_document() {
        let mut parts = parts_of_index(&index());
        let one = render(&subject(), &parts).unwrap();
        parts.reverse();
        parts.push(parts[0].clone());
        assert_eq!(render(&subject(), &parts).unwrap(), one);
        let value: serde_json::Value = serde_json::from_str(&one).unwrap();
        assert_eq!(value["packages"].as_array().unwrap().len(), 3);
        let gxx = &value["packages"][1];
        assert_eq!(gxx["externalRefs"][0]["referenceLocator"], "pkg:deb/debian/g%2B%2B@4%3A14.2.0-1?arch=amd64");
        assert_eq!(gxx["supplier"], "Organization: Debian GCC Maintainers (gcc@example.org)");
        assert_eq!(
            (&gxx["SPDXID"], &value["packages"][2]["primaryPackagePurpose"]),
            (&"SPDXRef-0-g--".into(), &"LIBRARY".into())
        );
        assert_eq!(value["creationInfo"]["created"], "2026-01-01T00:00:00Z");
    }

    /// The rules of the JSON schema and of the specification's text that this document could break.
    #[test]
    fn the_document_keeps_the_rules_of_spdx() {
        let value: serde_json::Value = serde_json::from_str(&render(&subject(), &parts_of_index(&index())).unwrap()).unwrap();
        assert_eq!(
            (&value["spdxVersion"], &value["dataLicense"], &value["SPDXID"]),
            (&"SPDX-2.3".into(), &"CC0-1.0".into(), &DOCUMENT.into())
        );
        let mut ids = BTreeSet::from([DOCUMENT.to_owned()]);
        let is_id = |id: &str| {
            id.strip_prefix("SPDXRef-")
                .is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b)))
        };
        for package in value["packages"].as_array().unwrap() {
            let id = package["SPDXID"].as_str().unwrap();
            assert!(is_id(id) && ids.insert(id.to_owned()), "{id}");
            for key in ["name", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText", "supplier"] {
                assert!(package[key].as_str().is_some_and(|v| !v.is_empty()), "{id} has no {key}");
            }
            // With filesAnalyzed false a verification code is not allowed, and none is there (clause 7.8, 7.9).
            assert!(package["filesAnalyzed"] == false && package.get("packageVerificationCode").is_none());
            assert_eq!(package["checksums"][0]["checksumValue"].as_str().unwrap().len(), 64);
        }
        for relation in value["relationships"].as_array().unwrap() {
            assert!(
                ids.contains(relation["spdxElementId"].as_str().unwrap())
                    && ids.contains(relation["relatedSpdxElement"].as_str().unwrap())
            );
        }
        let namespace = value["documentNamespace"].as_str().unwrap();
        assert!(is_url(namespace) && !namespace.contains('#'));
    }

    #[test]
    fn odd_values_do_not_break_it() {
        for (bad, good) in [("", NOTHING), ("Team", "Organization: Team"), ("A (B) <a@b>\n", "Organization: A B (a@b)")] {
            assert_eq!(supplier(bad), good);
        }
        for bad in ["javascript:x", "http://a b", "ftp://x", "https://x/<y>", ""] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
