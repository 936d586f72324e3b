//! The data of the Site page.

use cluster_seed::capsule::CapsuleManifest;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::events::family;
use host::sealed;
use transfer::capsule::shelf::{self, Shelf};
use transfer::capsule::{MAX_RECORD, RECORDS};
use web::api::ApiError;
use web::api::{CapsuleFile, CapsuleRecord, PlaceView, SiteView};

use super::{App, unexpected, views};
use crate::drill;

/// Most earlier capsules and drills that are shown.
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
        let (medium, drills) =
            self.store.read(|tx| Ok::<_, site::store::StoreError>((tx.medium()?, tx.newest_of(family::DRILL, DRILLS_TOLD)?)))?;
        let overview = self.view_overview()?;
        Ok(SiteView {
            site_key: self.public.site.clone(),
            recipient: self.public.operator.clone(),
            mode: overview.mode,
            epoch: overview.epoch,
            medium: medium.map(|id| id.to_string()),
            place: place(&self.spec)?,
            overlaid: self.site.overlay_file().exists(),
            capsules: shelf.list().map_err(unexpected)?.into_iter().map(capsule_file).collect(),
            records: self.capsule_records(),
            free: shelf.free().map_err(unexpected)?,
            job: self.jobs.view(),
            no_drill: drill::find_lab().err().map(|e| format!("{e:#}")),
            drills: drills.into_iter().map(views::event).collect(),
        })
    }

    /// Capsules that this site exported, newest first. Records that cannot be read are skipped.
    fn capsule_records(&self) -> Vec<CapsuleRecord> {
        let Ok(entries) = self.site.join(RECORDS).read_dir_utf8() else { return Vec::new() };
        let mut records: Vec<CapsuleRecord> = entries
            .flatten()
            .filter_map(|entry| {
                let id = entry.file_name().strip_suffix(".json")?.to_owned();
                let manifest: CapsuleManifest = sealed::read(entry.path(), &self.site_key, MAX_RECORD).ok()?;
                Some(CapsuleRecord { id, created: manifest.created, recipient: manifest.recipient })
            })
            .collect();
        records.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        records.truncate(RECORDS_TOLD);
        records
    }
}

fn capsule_file(f: shelf::CapsuleFile) -> CapsuleFile {
    CapsuleFile { name: f.name, size: f.size, expected: f.expected, modified: f.modified }
}
