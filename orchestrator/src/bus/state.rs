//! The last state of every camera, for subscribers that come late.

use std::collections::BTreeMap;
use std::sync::Arc;

use detection::TrackChange;
use watchpost_api::{ConfigurationChange, Event};
use watchpost_pipelines::tasks::TaskId;

use super::Published;

/// The newest event of each thing that has a state, by camera. Media have none.
#[derive(Debug, Clone, Default)]
pub struct State {
    cameras: BTreeMap<String, CameraEvents>,
}

/// The newest events of one camera.
#[derive(Debug, Clone, Default)]
struct CameraEvents {
    state: Option<Arc<Published>>,
    motion: Option<Arc<Published>>,
    tasks: BTreeMap<TaskId, Arc<Published>>,
    /// By zone and label.
    zones: BTreeMap<(String, String), Arc<Published>>,
    /// Objects that have not ended, by their number at the camera.
    tracks: BTreeMap<i64, Arc<Published>>,
}

impl State {
    /// The newest events in the order they were published: applied one after the other they give this
    /// state.
    pub fn events(&self) -> Vec<Arc<Published>> {
        let mut events: Vec<_> = self
            .cameras
            .values()
            .flat_map(|camera| {
                let single = camera.state.iter().chain(&camera.motion);
                single
                    .chain(camera.tasks.values())
                    .chain(camera.zones.values())
                    .chain(camera.tracks.values())
            })
            .cloned()
            .collect();
        events.sort_by_key(|event| event.number);
        events
    }

    /// Brings the state up to date with an event.
    pub(super) fn apply(&mut self, published: &Arc<Published>) {
        match &published.event {
            Event::Track(track) => {
                let tracks = &mut self.camera(&track.camera).tracks;
                if track.change == TrackChange::Ended {
                    tracks.remove(&track.event.object_id);
                } else {
                    tracks.insert(track.event.object_id, published.clone());
                }
            }
            Event::Zone(zone) => {
                let zones = &mut self.camera(&zone.camera).zones;
                let key = (zone.zone.clone(), zone.label.clone());
                if zone.count == 0 {
                    zones.remove(&key);
                } else {
                    zones.insert(key, published.clone());
                }
            }
            Event::Motion(motion) => {
                self.camera(&motion.camera).motion = Some(published.clone());
            }
            Event::Task(task) => {
                let tasks = &mut self.camera(&task.camera).tasks;
                tasks.insert(task.status.id, published.clone());
            }
            Event::Camera(camera) => {
                self.camera(&camera.camera).state = Some(published.clone());
            }
            Event::Configuration(configuration) => match configuration.change {
                ConfigurationChange::Removed => {
                    if let Some(camera) = &configuration.camera {
                        self.cameras.remove(camera);
                    }
                }
                // The camera's workers start again under the new name and publish its state.
                ConfigurationChange::Renamed => {
                    if let Some(from) = &configuration.from {
                        self.cameras.remove(from);
                    }
                }
                ConfigurationChange::Added
                | ConfigurationChange::Changed
                | ConfigurationChange::Applied => {}
            },
            Event::Media(_) => {}
        }
    }

    fn camera(&mut self, name: &str) -> &mut CameraEvents {
        self.cameras.entry(name.to_owned()).or_default()
    }
}
