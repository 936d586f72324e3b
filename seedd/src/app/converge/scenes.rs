//! The site as its nodes converge, kept for some seconds. Each node sends a message every few seconds, and each is decided for
//! among all: with ten thousand nodes, reading all of them for each message would be all that the seed does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use converge::fleet::Scene;
use host::clock::Stopwatch;
use site::store::Generation;

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
    pub(super) fn held(&self, generation: Generation) -> Option<Arc<Scene>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|k| k.generation == generation && k.age.elapsed() < KEPT)?;
        Some(kept.scene.clone())
    }

    pub(super) fn keep(&self, scene: &Arc<Scene>, generation: Generation) {
        let kept = Kept { scene: scene.clone(), generation, age: Stopwatch::start() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }
}
