//! What the first page shows.

use std::collections::BTreeMap;

use cluster_seed::capsule::CapsuleManifest;
use cluster_seed::fleet::Stage;
use converge::pki::LIFE;
use host::clock::now;
use host::sealed;
use site::store::Tx;
use site::store::fleet::FleetRecord;
use transfer::capsule::{MAX_RECORD, RECORDS};
use web::api::{ApiError, Happening, HomeView, NamedMachine};

use super::{App, verdict_view, views};

/// Silent nodes and nodes with old certificates that are named.
const NAMED: u32 = 5;
/// Events that are shown, and how far back they are looked for, in rows of the log.
const SHOWN: usize = 10;
const WINDOW: i64 = 20_000;
/// Seconds before the end of a certificate from which it is reported. The node should have fetched another one long before.
const ENDING: u64 = 30 * 86_400;

impl App {
    pub(super) fn view_home(&self) -> Result<HomeView, ApiError> {
        let mut home = self.store.read(|tx| {
            let named = |(row, since): (FleetRecord, u64)| NamedMachine { id: row.machine, name: row.title, at: since };
            let heard = |(row, _): (FleetRecord, u64)| NamedMachine { id: row.machine, name: row.title, at: row.heard };
            let aside = verdict_view::aside(tx)?;
            let number = verdict_view::number(&aside);
            let mut counts: BTreeMap<Stage, u32> = tx.fleet_counts(&[])?.into_iter().collect();
            if let Some(waiting) = counts.get_mut(&Stage::Waiting) {
                *waiting = waiting.saturating_sub(number);
            }
            let longest = tx.fleet_oldest(Stage::Waiting, number.saturating_add(1))?;
            let oldest = longest.into_iter().find(|(row, _)| !aside.contains(&row.machine));
            Ok::<_, ApiError>(HomeView {
                counts,
                aside: number,
                oldest: oldest.map(named),
                failures: tx.fleet_failures()?,
                silent: tx.fleet_oldest(Stage::Silent, NAMED)?.into_iter().map(heard).collect(),
                ending: tx.old_certificates(now().saturating_sub(LIFE - ENDING), NAMED)?,
                netboot: tx.netboot()?.is_some(),
                events: happenings(tx)?,
                ..HomeView::default()
            })
        })?;
        home.ssh_keys = self.spec.spec.ssh.authorized_keys.len();
        home.job = self.jobs.view();
        home.capsule = self.newest_capsule();
        Ok(home)
    }

    /// When the capsule was exported whose record was written last.
    fn newest_capsule(&self) -> Option<u64> {
        let entries = self.site.join(RECORDS).read_dir_utf8().ok()?;
        let dated = entries.flatten().filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.into_path())));
        let (_, path) = dated.filter(|(_, path)| path.extension() == Some("json")).max()?;
        let manifest: CapsuleManifest = sealed::read(&path, &self.site_key, MAX_RECORD).ok()?;
        Some(manifest.created)
    }
}

fn happenings(tx: &Tx<'_>) -> Result<Vec<Happening>, ApiError> {
    let mut all = Vec::new();
    for event in tx.newest_that_matter(SHOWN, WINDOW)? {
        let name = event.machine.map(|id| tx.fleet_title(id)).transpose()?.flatten();
        all.push(Happening { event: views::event(event), name });
    }
    Ok(all)
}
