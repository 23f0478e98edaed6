//! What the supervisor writes into the store and takes from it: ids, object events, region grids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use detection::{BBox, TrackChange};

use crate::config::MediaConfig;
use crate::media::Media;
use crate::protocol::Object;
use crate::store::{self, ID_BLOCK, Store, TaskRow, TrackRecord};
use watchpost_pipelines::tasks::{MediaFile, Parameters, Task, TaskState, TaskStatus};

/// Ids are reserved anew when fewer than this many of a block are left: more than a frame can bring.
const RESERVE_AHEAD: i64 = 200;

/// The store as the supervisor sees it. Without one (its folder cannot be written) cameras work all the same.
#[derive(Default)]
pub struct History {
    store: Option<Arc<Store>>,
    media: Option<Media>,
    /// First id beyond what its tracker may give, by camera.
    reserved: BTreeMap<String, i64>,
    /// The block that comes next, by camera: asked for beforehand, so that nobody waits for the disk.
    next: BTreeMap<String, Receiver<store::Result<i64>>>,
}

/// Ids a tracker may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// From this one on; nothing: there is no store, and each tracker begins with its own.
    From(Option<u32>),
    /// They are on their way to the disk; ask again.
    Soon,
}

impl History {
    /// With a store, or without.
    pub fn new(store: Option<Arc<Store>>, media: Option<Media>) -> Self {
        Self {
            store,
            media,
            ..Self::default()
        }
    }

    /// A tracker of this camera is going to be started: its ids are asked for.
    pub fn prepare_ids(&mut self, camera: &str) {
        if let Some(store) = &self.store
            && !self.next.contains_key(camera)
        {
            match store.reserve_ids(camera) {
                Ok(block) => drop(self.next.insert(camera.to_owned(), block)),
                Err(error) => tracing::warn!(camera, "object ids: {error}"),
            }
        }
    }

    /// The ids a tracker of this camera may give. Each start of a tracker begins a new block. An error says that ids could be
    /// given twice.
    pub fn first_id(&mut self, camera: &str) -> store::Result<Ids> {
        if self.store.is_none() {
            return Ok(Ids::From(None));
        }
        Ok(match self.take_block(camera)? {
            Some(first) => Ids::From(u32::try_from(first).ok()),
            None => Ids::Soon,
        })
    }

    /// A track changed.
    pub fn track(
        &mut self,
        camera: &str,
        change: TrackChange,
        object: &Object,
        bbox: BBox,
        path_length: f64,
    ) {
        let id = i64::from(object.id);
        let few = self
            .reserved
            .get(camera)
            .is_some_and(|end| id + RESERVE_AHEAD >= *end);
        if few && let Err(error) = self.take_block(camera) {
            tracing::error!(camera, "object ids: {error}");
        }
        let Some(store) = &self.store else { return };
        let record = TrackRecord {
            camera: camera.to_owned(),
            object_id: id,
            change,
            label: object.label.clone(),
            score: object.score,
            bbox,
            path_length,
            first_seen: object.first_seen,
            last_seen: object.last_seen,
            zones: object.zones.clone(),
        };
        if let Err(error) = store.record(record) {
            tracing::warn!(camera, "{error}");
        }
    }

    /// The state of a camera's task has changed: an event of the stream.
    pub fn task(&self, camera: &str, status: &TaskStatus) {
        let mut json = serde_json::json!({ "camera": camera });
        if let (Some(json), Ok(serde_json::Value::Object(status))) =
            (json.as_object_mut(), serde_json::to_value(status))
        {
            json.extend(status);
        }
        self.tell(|store| store.note("task", json));
    }

    /// A task is to go on after a restart as it is now, resting where it rests by request, or does not any more.
    pub fn keep_task(&self, camera: &str, status: &TaskStatus, paused: bool) {
        let lasts = matches!(status.task, Task::Series | Task::Video);
        match &status.parameters {
            Some(parameters) if lasts && status.state.is_under_way() => {
                let row = TaskRow {
                    camera: camera.to_owned(),
                    task: status.task,
                    parameters: parameters.clone(),
                    progress: serde_json::Value::Null,
                    state: if paused {
                        TaskState::Paused
                    } else {
                        TaskState::Active
                    },
                };
                self.tell(|store| store.save_task(row));
            }
            _ if lasts => self.tell(|store| store.forget_task(camera, status.task)),
            _ => {}
        }
    }

    /// The tasks of a camera that go on.
    pub fn kept_tasks(&self, camera: &str) -> Vec<TaskRow> {
        let rows = self
            .store
            .as_ref()
            .map_or(Ok(Vec::new()), |store| store.tasks());
        let mut rows = rows.unwrap_or_else(|error| {
            tracing::warn!(camera, "tasks: {error}");
            Vec::new()
        });
        rows.retain(|row| row.camera == camera);
        rows
    }

    /// Watchpost was started: series that were not asked to outlive that do not.
    pub fn begin_tasks(&self) {
        let rows = self
            .store
            .as_ref()
            .map_or(Ok(Vec::new()), |store| store.tasks());
        for row in rows.unwrap_or_default() {
            if matches!(&row.parameters, Parameters::Series(series) if !series.continue_on_start) {
                tracing::info!(
                    camera = row.camera,
                    "a series ended with the last run: continue_on_start is not set"
                );
                self.tell(|store| store.forget_task(&row.camera, row.task));
            }
        }
        self.tell(Store::flush);
    }

    /// A camera's task has made a file.
    pub fn file(&self, camera: &str, file: MediaFile) {
        if let Some(media) = &self.media {
            media.add(camera, file);
        }
    }

    /// Nobody follows a camera's objects any more; who begins again gives new ids.
    pub fn end_events(&self, camera: &str) {
        self.tell(|store| store.end_events(camera));
    }

    /// The grid to start a camera's detection with, and whether it is frozen.
    pub fn grid(&self, camera: &str) -> Option<store::Grid> {
        self.store.as_ref()?.grid(camera).unwrap_or_else(|error| {
            tracing::warn!(camera, "region grid: {error}");
            None
        })
    }

    /// A camera's grid has changed.
    pub fn save_grid(&self, camera: &str, json: &str, frozen: bool) {
        let Some(store) = &self.store else { return };
        if let Err(error) = store.save_grid(camera, json, frozen) {
            tracing::warn!(camera, "region grid: {error}");
        }
    }

    /// A camera is gone: its grid and its tasks go too. Its events and media stay, they happened.
    pub fn removed(&mut self, camera: &str) {
        self.reserved.remove(camera);
        self.next.remove(camera);
        self.end_events(camera);
        self.tell(|store| store.delete_grid(camera));
        self.tell(|store| store.forget_tasks(camera));
    }

    /// A camera's grid is to be forgotten, while the camera stays.
    pub fn forget_grid(&self, camera: &str) {
        self.tell(|store| store.delete_grid(camera));
    }

    /// Cameras of which ids, a grid or tasks are stored.
    pub fn cameras(&self) -> BTreeSet<String> {
        let Some(store) = &self.store else {
            return BTreeSet::new();
        };
        store.cameras().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            BTreeSet::new()
        })
    }

    /// These are all cameras there are; grids and tasks of others are left over from a configuration that has changed meanwhile.
    pub fn retain(&self, cameras: &[String]) {
        self.tell(|store| store.retain(cameras));
    }

    /// A camera has another name: what is known of it moves along.
    pub fn renamed(&mut self, from: &str, to: &str) {
        self.end_events(from);
        self.tell(|store| store.rename_camera(from, to));
        if let Some(media) = &self.media {
            media.renamed(from, to);
        }
        if let Some(end) = self.reserved.remove(from) {
            self.reserved.insert(to.to_owned(), end);
        }
        if let Some(next) = self.next.remove(from) {
            self.next.insert(to.to_owned(), next);
        }
    }

    /// Other limits for the files that are kept.
    pub fn keep_media(&self, config: &MediaConfig) {
        if let Some(media) = &self.media {
            media.configure(config);
        }
    }

    /// The next block, and asks for the one after it, which follows on from it. Nothing: it is not on disk yet.
    fn take_block(&mut self, camera: &str) -> store::Result<Option<i64>> {
        self.prepare_ids(camera);
        let next = self.next.get(camera).ok_or(store::Error::Busy)?;
        let first = match next.try_recv() {
            Ok(first) => first,
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => Err(store::Error::Closed),
        };
        self.next.remove(camera);
        let first = first?;
        self.prepare_ids(camera);
        self.reserved.insert(camera.to_owned(), first + ID_BLOCK);
        Ok(Some(first))
    }

    fn tell(&self, write: impl FnOnce(&Store) -> store::Result<()>) {
        let Some(store) = &self.store else { return };
        if let Err(error) = tokio::task::block_in_place(|| write(store)) {
            tracing::error!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn first_id(history: &mut History) -> u32 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match history.first_id("front").unwrap() {
                Ids::From(first) => return first.unwrap(),
                Ids::Soon => assert!(Instant::now() < deadline, "no ids came"),
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn each_tracker_begins_with_ids_nobody_had() {
        let folder = tempfile::tempdir().unwrap();
        let mut given = Vec::new();
        for _ in 0..2 {
            let store = Arc::new(Store::open(folder.path()).unwrap());
            let mut history = History::new(Some(store), None);
            for _ in 0..3 {
                given.push(first_id(&mut history));
            }
        }
        assert_eq!(given[..3], [1, 1001, 2001]);
        // The block that had been asked for beforehand is lost, and never given again.
        assert_eq!(given[3..], [4001, 5001, 6001]);
        assert_eq!(
            History::default().first_id("front").unwrap(),
            Ids::From(None)
        );
    }
}
