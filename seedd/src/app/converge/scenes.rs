//! The site as its nodes converge, kept for some seconds. Each node sends a message every few seconds, and each is decided for
//! among all: with ten thousand nodes, reading all of them for each message would be all that the seed does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use converge::fleet::Scene;
use host::clock::Stopwatch;
use site::store::nodes::NodeRecord;
use site::store::{Generation, Tx};
use web::api::ApiError;

use super::super::App;

/// How long it is kept although nothing is written: nodes fall silent without a word.
const KEPT: Duration = Duration::from_secs(5);

/// The scene that was read last.
#[derive(Default)]
pub struct Scenes(Mutex<Option<Kept>>);

struct Kept {
    scene: Arc<Scene>,
    generation: Generation,
    age: Stopwatch,
}

impl Scenes {
    fn held(&self, generation: Generation) -> Option<Arc<Scene>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|k| k.generation == generation && k.age.elapsed() < KEPT)?;
        Some(kept.scene.clone())
    }

    fn keep(&self, scene: &Arc<Scene>, generation: Generation) {
        let kept = Kept { scene: scene.clone(), generation, age: Stopwatch::start() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }
}

impl App {
    /// The scene in which a node that has sent a message is decided for: the kept one, unless the node may begin to run something,
    /// or is another than it was. What a node begins is always decided by what is in the database at that moment.
    pub fn scene_for(&self, tx: &Tx<'_>, node: &NodeRecord) -> Result<Arc<Scene>, ApiError> {
        let generation = self.store.generation(tx)?;
        let record = tx.converge_of(node.id)?;
        if let Some(scene) = self.scenes.held(generation).filter(|scene| scene.still_decides(node.enrollment, &record)) {
            return Ok(scene);
        }
        let scene = Arc::new(self.scene(tx)?);
        self.scenes.keep(&scene, generation);
        Ok(scene)
    }
}
