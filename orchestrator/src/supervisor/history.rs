//! The supervisor's way to the bus and to what outlives a run: it publishes events, and keeps ids, region
//! grids and tasks in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use watchpost_api::{
    AnalysedFrame, AnalysedObject, CameraEvent, CameraState, ConfigurationChange,
    ConfigurationEvent, Event, MotionEvent, Object, TaskEvent,
};
use watchpost_pipelines::tasks::{MediaFile, Parameters, Task, TaskId, TaskState, TaskStatus};

use crate::bus::{Bus, ObjectEvents, Observation};
use crate::clock::now;
use crate::config::MediaConfig;
use crate::media::Media;
use crate::protocol::UnreadObjects;
use crate::store::{self, ID_BLOCK, Reader, Store, TaskRow};

/// Ids are reserved anew when fewer than this many of a block are left: more than a frame can bring.
const RESERVE_AHEAD: i64 = 200;

/// Bus and store as the supervisor sees them. Without a store (its folder cannot be written) cameras work all the same.
pub struct History {
    bus: Bus,
    objects: ObjectEvents,
    /// A connection of its own: the supervisor must not wait for HTTP requests that read.
    reader: Option<Reader>,
    store: Option<Arc<Store>>,
    media: Option<Media>,
    /// Tasks that ended with the last run, whether or not that could be written.
    over: BTreeSet<(String, TaskId)>,
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
    pub fn new(bus: Bus, store: Option<Arc<Store>>, media: Option<Media>) -> Self {
        let reader = store.as_ref().and_then(|store| {
            store
                .own_reader()
                .inspect_err(|error| {
                    tracing::error!("region grids and tasks are not read: {error}")
                })
                .ok()
        });
        let newest = store.as_ref().map(|store| store.newest().object_event);
        Self {
            bus,
            objects: ObjectEvents::new(newest.unwrap_or_default()),
            reader,
            store,
            media,
            over: BTreeSet::new(),
            reserved: BTreeMap::new(),
            next: BTreeMap::new(),
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
    pub fn track(&mut self, camera: &str, observation: Observation) {
        let id = observation.object_id;
        let few = self
            .reserved
            .get(camera)
            .is_some_and(|end| id + RESERVE_AHEAD >= *end);
        if few && let Err(error) = self.take_block(camera) {
            tracing::error!(camera, "object ids: {error}");
        }
        for event in self.objects.observe(camera, observation) {
            self.bus.publish(event);
        }
    }

    /// A frame of a camera was analysed.
    pub fn frame(&self, camera: &str, time: f64, size: (u32, u32), objects: &UnreadObjects) {
        self.bus.frames().publish(camera, || AnalysedFrame {
            time,
            // An unreadable report is logged where the status reads it.
            objects: objects
                .read()
                .unwrap_or_default()
                .into_iter()
                .map(|object| analysed(object, size))
                .collect(),
        });
    }

    /// Motion of a camera began or ended.
    pub fn motion(&self, camera: &str, active: bool, time: f64) {
        let camera = camera.to_owned();
        self.bus.publish(Event::Motion(MotionEvent {
            camera,
            active,
            time,
        }));
    }

    /// The state of a camera changed.
    pub fn camera(&self, camera: &str, state: CameraState, reason: Option<&str>, since: f64) {
        self.bus.publish(Event::Camera(CameraEvent {
            camera: camera.to_owned(),
            state,
            reason: reason.map(str::to_owned),
            since,
        }));
    }

    /// A configuration took effect, of one camera or as a whole.
    pub fn configured(&self, change: ConfigurationChange, camera: Option<&str>) {
        self.bus.publish(Event::Configuration(ConfigurationEvent {
            change,
            camera: camera.map(str::to_owned),
            from: None,
        }));
    }

    /// The state of a camera's task changed.
    pub fn task(&self, camera: &str, status: &TaskStatus) {
        self.bus.publish(Event::Task(TaskEvent {
            camera: camera.to_owned(),
            status: status.clone(),
        }));
    }

    /// A task is to go on after a restart as it is now, resting where it rests by request, or does not any more.
    pub fn keep_task(&mut self, camera: &str, status: &TaskStatus, paused: bool) {
        let lasts = matches!(status.task, Task::Series | Task::Video);
        match &status.parameters {
            Some(parameters) if lasts && status.state.is_under_way() => {
                let row = TaskRow {
                    camera: camera.to_owned(),
                    id: status.id,
                    parameters: parameters.clone(),
                    progress: serde_json::Value::Null,
                    state: if paused {
                        TaskState::Paused
                    } else {
                        TaskState::Active
                    },
                };
                self.over.remove(&(camera.to_owned(), status.id));
                self.write(|store| store.save_task(row));
            }
            _ if lasts => self.write(|store| store.forget_task(camera, status.id)),
            _ => {}
        }
    }

    /// The tasks of a camera that go on.
    pub fn kept_tasks(&self, camera: &str) -> Vec<TaskRow> {
        let rows = self.reader.as_ref().map(|reader| reader.tasks_of(camera));
        let mut rows = rows.unwrap_or(Ok(Vec::new())).unwrap_or_else(|error| {
            tracing::warn!(camera, "tasks: {error}");
            Vec::new()
        });
        rows.retain(|row| !self.over.contains(&(row.camera.clone(), row.id)));
        rows
    }

    /// Watchpost was started: series that were not asked to outlive that do not. The future ends when that is on
    /// disk.
    pub fn begin_tasks(&mut self) -> impl Future<Output = ()> + use<> {
        let rows = self
            .reader
            .as_ref()
            .map_or(Ok(Vec::new()), |reader| reader.tasks());
        for row in rows.unwrap_or_default() {
            if matches!(&row.parameters, Parameters::Series(series) if !series.continue_on_start) {
                tracing::info!(
                    camera = row.camera,
                    "a series ended with the last run: continue_on_start is not set"
                );
                self.write(|store| store.forget_task(&row.camera, row.id));
                self.over.insert((row.camera, row.id));
            }
        }
        let store = self.store.clone();
        async move {
            let Some(store) = store else { return };
            match tokio::task::spawn_blocking(move || store.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("{error}"),
                Err(error) => tracing::error!("store: {error}"),
            }
        }
    }

    /// A camera's task has made a file.
    pub fn file(&self, camera: &str, file: MediaFile) {
        if let Some(media) = &self.media {
            media.add(camera, file);
        }
    }

    /// A camera is not analysed any longer: its objects and its motion end.
    pub fn analysis_ended(&mut self, camera: &str, was_motion: bool) {
        self.end_events(camera);
        if was_motion {
            self.motion(camera, false, now());
        }
    }

    /// A camera's objects are not tracked any longer; the next tracker gives new ids.
    fn end_events(&mut self, camera: &str) {
        for event in self.objects.end(camera) {
            self.bus.publish(event);
        }
    }

    /// The grid to start a camera's detection with, and whether it is frozen.
    pub fn grid(&self, camera: &str) -> Option<store::Grid> {
        self.reader.as_ref()?.grid(camera).unwrap_or_else(|error| {
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
        self.write(|store| store.delete_grid(camera));
        self.write(|store| store.forget_tasks(camera));
        self.configured(ConfigurationChange::Removed, Some(camera));
    }

    /// A camera's grid is to be forgotten, while the camera stays.
    pub fn forget_grid(&self, camera: &str) {
        self.write(|store| store.delete_grid(camera));
    }

    /// Cameras of which ids, a grid or tasks are stored.
    pub fn cameras(&self) -> BTreeSet<String> {
        let Some(reader) = &self.reader else {
            return BTreeSet::new();
        };
        reader.cameras().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            BTreeSet::new()
        })
    }

    /// These are all cameras there are; grids and tasks of others are left over from a configuration that has changed meanwhile.
    pub fn retain(&self, cameras: &[String]) {
        self.write(|store| store.retain(cameras));
    }

    /// A camera has another name: what is known of it moves along.
    pub fn renamed(&mut self, from: &str, to: &str) {
        self.end_events(from);
        self.write(|store| store.rename_camera(from, to));
        self.bus.publish(Event::Configuration(ConfigurationEvent {
            change: ConfigurationChange::Renamed,
            camera: Some(to.to_owned()),
            from: Some(from.to_owned()),
        }));
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

    /// Object events are kept for this many days.
    pub fn keep_events(&self, days: f64) {
        if let Some(store) = &self.store {
            store.keep_events(days);
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

    /// Hands a change to the store's writer. The changes that are made this way never wait for the disk.
    fn write(&self, change: impl FnOnce(&Store) -> store::Result<()>) {
        let Some(store) = &self.store else { return };
        if let Err(error) = change(store) {
            tracing::error!("{error}");
        }
    }
}

/// An object with its box in fractions of a frame of this size.
fn analysed(object: Object, (width, height): (u32, u32)) -> AnalysedObject {
    let Object {
        id,
        label,
        score,
        bbox,
        state,
        first_seen: _,
        last_seen: _,
        zones,
    } = object;
    let sides = [width, height, width, height];
    let fraction = |side: usize| f64::from(bbox[side]) / f64::from(sides[side].max(1));
    AnalysedObject {
        id,
        label,
        score,
        bbox: std::array::from_fn(fraction),
        state,
        zones,
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

    /// On a runtime of one thread, where nothing else could run while this waited for the disk.
    #[tokio::test]
    async fn a_disk_that_hangs_does_not_block_a_tokio_worker() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        store.save_grid("front", "{}", false).unwrap();
        store.flush().unwrap();
        let mut history = History::new(Bus::new(0), Some(store), None);
        let disk = rusqlite::Connection::open(folder.path().join(store::FILE_NAME)).unwrap();
        disk.execute_batch("BEGIN IMMEDIATE").unwrap();

        history.forget_grid("front");
        history.renamed("front", "back");
        history.removed("back");
        history.retain(&[]);
        let mut steps = 0;
        let begin = history.begin_tasks();
        tokio::pin!(begin);
        while steps < 100 {
            tokio::select! {
                biased;
                () = &mut begin => panic!("written although the disk hangs"),
                () = tokio::task::yield_now() => steps += 1,
            }
        }
        disk.execute_batch("COMMIT").unwrap();
        begin.await;
        assert!(history.grid("front").is_none());
    }

    #[test]
    fn each_tracker_begins_with_ids_nobody_had() {
        let folder = tempfile::tempdir().unwrap();
        let mut given = Vec::new();
        for _ in 0..2 {
            let store = Arc::new(Store::open(folder.path()).unwrap());
            let mut history = History::new(Bus::new(0), Some(store), None);
            for _ in 0..3 {
                given.push(first_id(&mut history));
            }
        }
        assert_eq!(given[..3], [1, 1001, 2001]);
        // The block that had been asked for beforehand is lost, and never given again.
        assert_eq!(given[3..], [4001, 5001, 6001]);
        assert_eq!(
            History::new(Bus::new(0), None, None)
                .first_id("front")
                .unwrap(),
            Ids::From(None)
        );
    }
}
