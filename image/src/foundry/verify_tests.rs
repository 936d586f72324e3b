use cluster_seed::foundry::{OutputSpec, RECIPE, Target};
use cluster_seed::progress::Quiet;
use cluster_seed::seal::SigningKey;

use super::*;
use crate::foundry::{files_of, provenance};
use crate::store::write_sealed;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// A small output of a site in a directory.
struct Example {
    _guard: tempfile::TempDir,
    dir: Utf8PathBuf,
    name: String,
}

impl Example {
    fn new(version: &str) -> Self {
        let guard = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(guard.path()).unwrap().to_owned();
        let digest = |text: &str| Digest::of(text.as_bytes());
        let spec = OutputSpec {
            recipe: RECIPE,
            target: Target::Raw,
            site: "north".to_owned(),
            role: Some("base".to_owned()),
            node: None,
            contains_secret: false,
            version: version.to_owned(),
            arch: "amd64".to_owned(),
            artifact: Some(digest("artifact")),
            raw: Some(digest("raw")),
            snapshot: digest("snapshot"),
            join: digest("join"),
            options: BTreeMap::new(),
        };
        let name = spec.name();
        let write = |ending: &str, bytes: &[u8]| fs::write(dir.join(format!("{name}{ending}")), bytes).unwrap();
        write(".img", b"the disk image");
        write(".spdx.json", b"{}");
        let made = provenance::Made { spec: &spec, version: "0.1.0", tools: &[] };
        let envelope = provenance::envelope(&made, &files_of(&dir, &Quiet).unwrap(), &key()).unwrap();
        write(PROVENANCE_ENDING, &envelope);
        let files = files_of(&dir, &Quiet).unwrap();
        let manifest = OutputManifest { id: spec.id(), spec, files, primary: format!("{name}.img"), tools: Vec::new() };
        write_sealed(&dir.join(format!("{name}{MANIFEST_ENDING}")), &manifest, &key()).unwrap();
        Example { _guard: guard, dir, name }
    }

    fn file(&self, ending: &str) -> Utf8PathBuf {
        self.dir.join(format!("{}{ending}", self.name))
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        verify(&self.file(".img"), &key().verifying_key(), &Quiet)
    }
}

#[test]
fn an_intact_output_is_verified_by_its_file_its_manifest_or_its_directory() {
    let example = Example::new("20260829T140000Z");
    for path in [example.file(".img"), example.file(MANIFEST_ENDING), example.dir.clone()] {
        let found = verify(&path, &key().verifying_key(), &Quiet).unwrap();
        assert_eq!((found.manifest.primary, found.manifest.files.len()), (format!("{}.img", example.name), 3));
    }
    assert_eq!(claimed_key(&example.dir).unwrap(), key_text(&key().verifying_key()));
}

#[test]
fn a_flipped_byte_of_any_file_is_refused() {
    let example = Example::new("20260829T140000Z");
    for ending in [".img", ".spdx.json", PROVENANCE_ENDING, MANIFEST_ENDING] {
        let path = example.file(ending);
        let before = fs::read(&path).unwrap();
        for at in 0..before.len() {
            let mut changed = before.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(example.verify().is_err(), "byte {at} of {ending}");
        }
        fs::write(&path, &before).unwrap();
    }
    assert!(example.verify().is_ok());
}

#[test]
fn a_truncated_and_a_missing_file_are_refused_by_name() {
    let example = Example::new("20260829T140000Z");
    let path = example.file(".img");
    let before = fs::read(&path).unwrap();
    fs::write(&path, &before[..before.len() - 1]).unwrap();
    assert!(matches!(example.verify(), Err(VerifyError::Size { found: 13, expected: 14, .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(example.verify(), Err(VerifyError::Missing(missing)) if missing == path));
    fs::remove_file(example.file(MANIFEST_ENDING)).unwrap();
    assert!(matches!(example.verify(), Err(VerifyError::NoManifest(_))));
}

#[test]
fn the_manifest_of_another_site_is_refused() {
    let example = Example::new("20260829T140000Z");
    let other = SigningKey::from_bytes(&[2; 32]).verifying_key();
    assert!(matches!(verify(&example.dir, &other, &Quiet), Err(VerifyError::OtherSite(_))));
}

#[test]
fn a_provenance_of_other_files_is_refused() {
    let (example, other) = (Example::new("20260829T140000Z"), Example::new("20260830T140000Z"));
    // Signed by the site and listed in the manifest, but about other names.
    let (key, path) = (key(), example.file(PROVENANCE_ENDING));
    fs::copy(other.file(PROVENANCE_ENDING), &path).unwrap();
    let mut manifest = find(&example.dir).unwrap().1.open(&key.verifying_key()).unwrap();
    manifest.files = files_of(&example.dir, &Quiet).unwrap().into_iter().filter(|f| !f.name.ends_with(MANIFEST_ENDING)).collect();
    write_sealed(&example.file(MANIFEST_ENDING), &manifest, &key).unwrap();
    assert!(matches!(example.verify(), Err(VerifyError::Provenance)));
}

#[test]
fn an_older_version_than_one_seen_is_refused_unless_it_is_allowed() {
    let (old, new) = (Example::new("20260829T140000Z"), Example::new("20260830T140000Z"));
    let path = old.dir.join("seen/versions.json");
    let note = |example: &Example, allow| {
        let mut seen = Seen::load(&path)?;
        seen.note(&example.verify()?, allow)?;
        seen.save(&path)
    };
    note(&old, false).unwrap();
    note(&new, false).unwrap();
    note(&new, false).unwrap();
    let refused = note(&old, false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "version 20260829T140000Z is older than version 20260830T140000Z, which was seen here before"
    );
    note(&old, true).unwrap();
    assert!(note(&old, false).is_err(), "what was seen stays");
}
