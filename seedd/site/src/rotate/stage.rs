//! The new keys, and their files as they will be.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::secret::{AgeKey, seal_to};
use cluster_seed::wireguard::WgPrivateKey;
use darksite::ReleaseKey;
use host::files::{PRIVATE, PUBLIC, read_limited, set_dir_mode, write_atomic};
use host::random;

use super::place::{ID, folder};
use super::what::{AfterStep, Changed, Rotated, Rotation};
use crate::Site;
use crate::hint::Hint as _;
use crate::keys::{KeyDir, MAX_KEYRING, PublicKeys, ReleaseKeys, Unsealed, plane_text, public_text, release_name};
use crate::layout::ids;
use crate::store::Store;
use crate::store::vault::Resealed;

/// Most certificates of earlier release keys that are kept.
pub(super) const MAX_EARLIER: usize = 16;

/// New keys on the disk that are not in force yet.
pub(super) struct Staged {
    pub rotated: Rotated,
    /// The vault key that is in force.
    pub old_vault: AgeKey,
}

/// A file to be written: name, content, mode.
type NewFile = (&'static str, Vec<u8>, u32);

/// Makes the keys, writes their files, and opens them once as the next start will.
pub(super) fn stage(job: &Rotation<'_>, id: &str, after: AfterStep<'_>) -> Result<Staged> {
    let keys = job.site.keys();
    let held = keys.unseal_with(job.operator)?;
    let mut public = keys.public()?;
    let mut files: Vec<NewFile> = Vec::new();
    let rotated = Rotated {
        planes: planes(job, &held, &mut public, &mut files)?,
        vault: vault(job, &mut public, &mut files)?,
        release: release(job, &held, &mut public, &mut files)?,
    };
    files.push(("public.json", public_text(&public, Some(&held.site))?, PUBLIC));

    let folder = folder(job.site);
    fs::create_dir(&folder).with_context(|| format!("creating {folder}"))?;
    set_dir_mode(&folder, 0o700).with_context(|| format!("protecting {folder}"))?;
    after("folder")?;
    for (name, bytes, mode) in files {
        write_atomic(&folder.join(name), &bytes, mode)?;
        after(name)?;
    }
    check(job.site, &folder, job.operator, &public)?;
    write_atomic(&folder.join(ID), id.as_bytes(), PRIVATE)?;
    host::files::sync_dir(&job.site.join("keys"))?;
    after("id")?;
    Ok(Staged { rotated, old_vault: held.vault })
}

/// Refuses new keys that could not be opened afterwards.
fn check(site: &Site, folder: &Utf8Path, operator: &AgeKey, public: &PublicKeys) -> Result<()> {
    let keys = KeyDir::replaced(&site.join("keys"), folder);
    keys.unseal_with(operator).context("checking the new keys")?;
    ensure!(keys.public()? == *public, "the new public keys were not written as they are");
    Ok(())
}

fn planes(
    job: &Rotation<'_>,
    held: &Unsealed,
    public: &mut PublicKeys,
    files: &mut Vec<NewFile>,
) -> Result<BTreeMap<String, Changed<cluster_seed::wireguard::WgPublicKey>>> {
    let mut changed = BTreeMap::new();
    if job.choice.planes.is_empty() {
        return Ok(changed);
    }
    if let Some(unknown) = job.choice.planes.iter().find(|plane| !held.planes.contains_key(*plane)) {
        let known: Vec<&str> = held.planes.keys().map(String::as_str).collect();
        return Err(anyhow!("there is no plane named {unknown:?}")).hint(format!("the planes are {}", known.join(", ")));
    }
    let mut private = BTreeMap::new();
    for (plane, key) in &held.planes {
        let new = match job.choice.planes.contains(plane) {
            true => WgPrivateKey::from_random(random::bytes::<32>()?),
            false => WgPrivateKey::from_text(&key.expose())?,
        };
        if new.public() != key.public() {
            changed.insert(plane.clone(), Changed { old: key.public(), new: new.public() });
        }
        public.planes.insert(plane.clone(), new.public());
        private.insert(plane.clone(), new);
    }
    files.push(("planes.age", seal_to(&public.operator, plane_text(&private)?.expose())?, PRIVATE));
    Ok(changed)
}

fn vault(job: &Rotation<'_>, public: &mut PublicKeys, files: &mut Vec<NewFile>) -> Result<Option<(Changed<String>, Resealed)>> {
    if !job.choice.vault {
        return Ok(None);
    }
    let key = AgeKey::generate();
    let old = std::mem::replace(&mut public.vault, key.recipient());
    files.push(("vault.age", seal_to(&public.operator, key.to_secret().expose())?, PRIVATE));
    // What is encrypted again is counted in the transaction.
    Ok(Some((Changed { old, new: key.recipient() }, Resealed::default())))
}

fn release(
    job: &Rotation<'_>,
    held: &Unsealed,
    public: &mut PublicKeys,
    files: &mut Vec<NewFile>,
) -> Result<Option<(Changed<String>, Vec<Digest>)>> {
    if !job.choice.release {
        return Ok(None);
    }
    let now = i64::try_from(job.now_ms / 1000).context("reading the clock")?;
    let created = jiff::Timestamp::from_second(now).context("reading the clock")?;
    let key = ReleaseKey::generate(&release_name(job.site.spec()?.metadata.name.as_str()), created)?;
    let mut known = public.release.take().map_or_else(Vec::new, |r| r.earlier);
    known.push(B64.encode(job.site.keys().release_keyring()?));
    let snapshots = signed_with(job.site, job.store, &known)?;
    known.retain(|certificate| snapshots.iter().any(|(_, used)| used == certificate));
    if known.len() > MAX_EARLIER {
        return Err(anyhow!("snapshots of this site are signed with more than {MAX_EARLIER} earlier release keys"))
            .hint("remove old snapshots: `seedd darksite remove`");
    }
    public.release = Some(ReleaseKeys { fingerprint: key.fingerprint(), earlier: known });
    files.push(("release.age", seal_to(&public.operator, &key.to_secret_bytes()?)?, PRIVATE));
    files.push(("release.pgp", key.public_keyring()?, PUBLIC));
    let changed = Changed { old: held.release.fingerprint(), new: key.fingerprint() };
    Ok(Some((changed, snapshots.into_iter().map(|(id, _)| id).collect())))
}

/// The snapshots that this site made and signed with one of these certificates, each with the certificate.
fn signed_with(site: &Site, store: &Store, certificates: &[String]) -> Result<Vec<(Digest, String)>> {
    let mut found = Vec::new();
    for id in ids(&site.join("snapshots"))? {
        if store.maker(id)?.is_some() {
            continue;
        }
        match read_limited(&site.snapshot(id).join("keyring.gpg"), MAX_KEYRING) {
            Ok(bytes) => found.push((id, B64.encode(bytes))),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(e.into()),
        }
    }
    found.retain(|(_, used)| certificates.contains(used));
    Ok(found)
}
