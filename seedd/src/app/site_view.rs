//! The page of the whole site, as data.

use cluster_seed::capsule::CapsuleManifest;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::seal::Sealed;
use web::api::ApiError;
use web::api::{CapsuleRecord, PlaceView, SiteView};

use super::{App, internal, unexpected};
use crate::capsule::shelf::Shelf;
use crate::capsule::{MAX_RECORD, RECORDS};
use crate::drill;
use crate::site::setting;
use host::files::read_limited;

/// Earlier capsules and drills that are told.
const RECORDS_TOLD: usize = 20;
const DRILLS_TOLD: u32 = 10;

/// The underlay in force.
pub(super) fn place(spec: &ClusterSpec) -> Result<PlaceView, ApiError> {
    let underlay = &spec.spec.networking.underlay;
    Ok(PlaceView {
        subnet: underlay.subnet.to_string(),
        seed: underlay.seed.value.to_string(),
        first: underlay.pool.value.first.to_string(),
        last: underlay.pool.value.last.to_string(),
        router: underlay.router.map_or_else(String::new, |r| r.to_string()),
    })
}

impl App {
    pub fn view_site(&self) -> Result<SiteView, ApiError> {
        let shelf = Shelf(&self.site);
        let (medium, drills) = self
            .store
            .read(|tx| Ok::<_, crate::store::StoreError>((tx.setting(setting::MEDIUM)?, tx.newest_of("drill.", DRILLS_TOLD)?)))
            .map_err(internal)?;
        let overview = self.view_overview()?;
        Ok(SiteView {
            site_key: self.public.site.clone(),
            recipient: self.public.operator.clone(),
            mode: overview.mode,
            epoch: overview.epoch,
            medium,
            place: place(&self.spec)?,
            overlaid: self.site.overlay_file().exists(),
            capsules: shelf.list().map_err(unexpected)?,
            records: self.capsule_records(),
            free: shelf.free().map_err(unexpected)?,
            job: self.jobs.view(),
            no_drill: drill::find_lab().err().map(|e| format!("{e:#}")),
            drills,
        })
    }

    /// Capsules this site made, newest first. A record that cannot be read is none.
    fn capsule_records(&self) -> Vec<CapsuleRecord> {
        let Ok(entries) = self.site.join(RECORDS).read_dir_utf8() else { return Vec::new() };
        let mut records: Vec<CapsuleRecord> = entries
            .flatten()
            .filter_map(|entry| {
                let id = entry.file_name().strip_suffix(".json")?.to_owned();
                let sealed: Sealed<CapsuleManifest> =
                    serde_json::from_slice(&read_limited(entry.path(), MAX_RECORD).ok()?).ok()?;
                let manifest = sealed.open(&self.site_key).ok()?;
                Some(CapsuleRecord { id, created: manifest.created, recipient: manifest.recipient })
            })
            .collect();
        records.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        records.truncate(RECORDS_TOLD);
        records
    }
}
