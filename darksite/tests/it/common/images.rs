//! Images as layout archives, good ones and others.

use cluster_seed::ids::Digest;

/// (name, content, type byte of the header, link)
pub type Entry<'a> = (&'a str, &'a [u8], u8, &'a str);

/// A tar archive as it stands here, whatever its names.
pub fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content, kind, link) in entries {
        let mut h = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000644\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, b"00000000000\0");
        put(156, &[*kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(148, b"        ");
        let sum: u32 = h.iter().map(|b| u32::from(*b)).sum();
        h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&h);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&[0; 1024]);
    out
}

pub struct ImageFiles {
    pub files: Vec<(String, Vec<u8>)>,
    pub layer: Digest,
    pub manifest: Digest,
}

/// An image with one layer, as `skopeo copy … oci-archive:` writes it.
pub fn image(layer: &[u8]) -> ImageFiles {
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        files.push((format!("blobs/sha256/{digest}"), bytes.to_vec()));
        serde_json::json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let with = |mut d: serde_json::Value, kind: &str| {
        d["mediaType"] = kind.into();
        d
    };
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#;
    let config = with(blob(config), "application/vnd.oci.image.config.v1+json");
    let digest = Digest::of(layer);
    let layer = with(blob(layer), "application/vnd.oci.image.layer.v1.tar+gzip");
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
    let top = with(blob(manifest.as_bytes()), "application/vnd.oci.image.manifest.v1+json");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [top]}).to_string();
    files.push(("index.json".to_owned(), index.into_bytes()));
    ImageFiles { files, layer: digest, manifest: Digest::of(manifest.as_bytes()) }
}

pub fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<Entry<'_>> = files.iter().map(|(n, c)| (n.as_str(), c.as_slice(), b'0', "")).collect();
    tar_of(&entries)
}
