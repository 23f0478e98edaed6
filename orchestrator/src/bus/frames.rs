//! What the analysis finds in each frame, for those who watch a camera: always the newest frame only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use watchpost_api::AnalysedFrame;

type Sender = watch::Sender<Option<Arc<AnalysedFrame>>>;

/// Analysed frames for those who watch a camera. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// Cameras that are watched, or were until the last frame.
    cameras: Arc<Mutex<BTreeMap<String, Sender>>>,
}

impl Frames {
    /// Publishes a frame of a camera. Costs a look-up where nobody watches it, and never waits for a watcher.
    pub fn publish(&self, camera: &str, frame: impl FnOnce() -> AnalysedFrame) {
        let mut cameras = self.cameras();
        if let Some(sender) = cameras.get(camera) {
            if sender.is_closed() {
                cameras.remove(camera);
            } else {
                sender.send_replace(Some(Arc::new(frame())));
            }
        }
    }

    /// Watches a camera: changes from the next frame on.
    pub fn watch(&self, camera: &str) -> watch::Receiver<Option<Arc<AnalysedFrame>>> {
        let mut cameras = self.cameras();
        // Of cameras that publish nothing, such as those that do not exist, too.
        cameras.retain(|_, sender| !sender.is_closed());
        let sender = cameras.entry(camera.to_owned());
        // A frame from before is not a change for the receiver.
        sender
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    /// Ends the watching of a camera that is gone.
    pub fn end(&self, camera: &str) {
        self.cameras().remove(camera);
    }

    fn cameras(&self) -> MutexGuard<'_, BTreeMap<String, Sender>> {
        // Each operation on the map is a single step.
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: f64) -> AnalysedFrame {
        let objects = Vec::new();
        AnalysedFrame { time, objects }
    }

    #[tokio::test]
    async fn a_watcher_gets_the_newest_frame_and_the_end() {
        let frames = Frames::default();
        frames.publish("front", || panic!("nobody watches"));
        let mut watcher = frames.watch("front");
        for time in [1.0, 2.0, 3.0] {
            frames.publish("front", || at(time));
            frames.publish("back", || panic!("nobody watches"));
        }
        watcher.changed().await.unwrap();
        let newest = watcher.borrow_and_update().clone();
        assert_eq!(newest.as_deref(), Some(&at(3.0)));
        assert!(!watcher.has_changed().unwrap());
        // One that comes later waits for the next frame.
        let late = frames.watch("front");
        assert!(!late.has_changed().unwrap());
        frames.end("front");
        assert!(watcher.changed().await.is_err());
    }

    #[test]
    fn a_camera_that_is_watched_no_longer_costs_nothing() {
        let frames = Frames::default();
        drop(frames.watch("front"));
        frames.publish("front", || panic!("nobody watches"));
        assert!(frames.cameras().is_empty());
        let watcher = frames.watch("front");
        frames.publish("front", || at(1.0));
        assert_eq!(watcher.borrow().as_deref(), Some(&at(1.0)));
    }
}
