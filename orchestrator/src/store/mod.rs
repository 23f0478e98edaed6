//! What outlives a run: region grids, object events, the ids objects were given, media, tasks. SQLite with a write-ahead log.
//!
//! One thread writes (`writer`), in batches that are committed at least every quarter of a second: a kill -9 at any
//! moment loses at most what came since, and never the file. Whoever reads has a connection of its own and waits for
//! nobody. The index of what camera tasks made lives here too, and what of a task must go on after a restart.

mod changes;
mod events;
mod grids;
mod marks;
mod media;
mod private;
mod reader;
mod retention;
mod schema;
mod search;
mod tasks;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use detection::TrackChange;
use rusqlite::Connection;
use rusqlite::types::Value;
use watchpost_api::{Event, Media as MediaItem, ObjectEvent};
use watchpost_pipelines::tasks::{MediaFile, TaskId};

use crate::bus::{Bus, Published, Received};
use crate::frigate::Start;
use crate::lock::{self, NotTaken};

pub use changes::Change;
pub use events::{EventFilter, MAX_PAGE};
pub use grids::Grid;
pub use marks::Newest;
pub use media::{MediaFilter, MediaTotal};
pub use reader::Reader;
pub(crate) use search::{EventOrder, EventSearch};
pub use tasks::TaskRow;

use writer::{Op, Writer};

/// Name of the database in `data_dir`.
pub const FILE_NAME: &str = "watchpost.db";
/// What holds `data_dir` for one Watchpost. Not the name of the lock of `run_dir`, which may be the same folder.
const LOCK: &str = "watchpost.db.lock";

/// Ids are handed out in blocks of this many, so that a crash can waste some but never repeat one.
pub const ID_BLOCK: i64 = 1000;

/// Changes waiting to be written, beside some room for those that must not be lost. A batch of this many takes some tens of
/// milliseconds. Only who asks for an answer waits for the disk, on a thread of its own.
const QUEUE: usize = 4096;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or the file cannot be used.
    #[error("store {path}: {source}; check that data_dir exists and can be written")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another Watchpost has it: two would number objects alike, and forget each other's cameras.
    #[error("data_dir {path}: {source}")]
    Held {
        /// The folder.
        path: PathBuf,
        /// Who has it.
        source: NotTaken,
    },
    /// Written by a newer Watchpost.
    #[error(
        "store {path} has schema {found}, this watchpost knows up to {known}; run a newer one, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// SQLite said no.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The queue is full: the disk does not keep up. What was to be written is not.
    #[error("store: {QUEUE} changes wait for the disk already; this one was dropped")]
    Busy,
    /// The writer thread is gone.
    #[error("store: closed")]
    Closed,
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// The store. Dropping it writes what waits and closes the file.
pub struct Store {
    // Closed before the writer: what cannot write cannot take the log away, either.
    reader: Mutex<Connection>,
    writer: Writer,
    newest: Newest,
    path: PathBuf,
    /// Days for which object events are kept: the bits of a float.
    event_days: AtomicU64,
    dropped: AtomicU64,
    _lock: File,
}

impl Store {
    /// Opens the database in `data_dir`, making folder and file where they are missing. A file that is no sound database is
    /// put aside as `watchpost.db.damaged-SECONDS` and a new one begun: detecting goes on, and nothing is deleted.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        private::folder(data_dir).map_err(|source| Error::Open {
            path: path.clone(),
            source,
        })?;
        let lock = lock::take(&data_dir.join(LOCK)).map_err(|error| match error {
            NotTaken::Io(source) => Error::Open {
                path: path.clone(),
                source,
            },
            source => Error::Held {
                path: data_dir.to_owned(),
                source,
            },
        })?;
        private::files(&path).map_err(|source| Error::Open {
            path: path.clone(),
            source,
        })?;
        let writing = schema::open(&path)?;
        let newest = marks::begin(&writing)?;
        let reader = schema::open_reader(&path)?;
        let writer = Writer::start(writing, writer::BATCH_AGE).map_err(|source| Error::Open {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            writer,
            reader: Mutex::new(reader),
            newest,
            path,
            event_days: AtomicU64::new(f64::INFINITY.to_bits()),
            dropped: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// The folder of the database.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The newest numbers of events and object events that a run before this one may have given.
    pub fn newest(&self) -> Newest {
        self.newest
    }

    /// A connection of its own for the supervisor, which must not wait for others that read.
    pub fn own_reader(&self) -> Result<Reader> {
        Reader::open(&self.path)
    }

    /// Records what is published on the bus, from the moment of this call until `done`; then what has
    /// been published until then is recorded, and the task ends.
    pub fn record_events(
        self: &Arc<Self>,
        bus: &Bus,
        done: tokio_util::sync::CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let (store, mut events) = (self.clone(), bus.subscribe("store"));
        async move {
            loop {
                let received = tokio::select! {
                    biased;
                    received = events.next() => received,
                    () = done.cancelled() => None,
                };
                match received {
                    Some(received) => store.received(received),
                    None => break,
                }
            }
            while let Some(received) = events.try_next() {
                store.received(received);
            }
        }
    }

    fn received(&self, received: Received) {
        match received {
            Received::Event(event) => {
                if let Err(error) = self.record(event) {
                    tracing::warn!("{error}");
                }
            }
            Received::Lost(count) => {
                tracing::error!("store: {count} events were lost: the computer is overloaded");
            }
        }
    }

    /// Records an event. Never waits; [`Error::Busy`] says that it was dropped, and it is counted.
    pub fn record(&self, event: Arc<Published>) -> Result<()> {
        let op = Op::Event(event.clone());
        let is_frequent = match &event.event {
            // The end of an object must not be lost: its event would stay open.
            Event::Track(track) => track.change != TrackChange::Ended,
            Event::Zone(_) | Event::Motion(_) => true,
            Event::Task(_) | Event::Media(_) | Event::Camera(_) | Event::Configuration(_) => false,
        };
        if is_frequent {
            self.post(op)
        } else {
            self.post_rare(op)
        }
    }

    /// Reserves the next block of object ids of a camera; answers with where the first of its [`ID_BLOCK`] will be found once
    /// the reservation is on disk, so that no id is given twice, whatever happens. Never waits.
    pub fn reserve_ids(&self, camera: &str) -> Result<Receiver<Result<i64>>> {
        let (reply, answer) = sync_channel(1);
        self.post(Op::ReserveIds {
            camera: camera.to_owned(),
            reply,
        })?;
        Ok(answer)
    }

    /// Keeps a camera's region grid as the JSON regiondetect exports.
    pub fn save_grid(&self, camera: &str, json: &str, frozen: bool) -> Result<()> {
        self.post(Op::SaveGrid {
            camera: camera.to_owned(),
            json: json.to_owned(),
            frozen,
        })
    }

    /// Forgets a camera's region grid.
    pub fn delete_grid(&self, camera: &str) -> Result<()> {
        self.post_rare(Op::DeleteGrid {
            camera: camera.to_owned(),
        })
    }

    /// A camera's region grid.
    pub fn grid(&self, camera: &str) -> Result<Option<Grid>> {
        grids::load(&self.reader(), camera)
    }

    /// Forgets the grids and tasks of cameras that are not among `cameras`. Their events and media stay: they happened.
    pub fn retain(&self, cameras: &[String]) -> Result<()> {
        self.post_rare(Op::Retain {
            cameras: cameras.to_vec(),
        })
    }

    /// Moves grid, ids, events, media and tasks of a renamed camera to its new name. What the new name had already stays
    /// with it.
    pub fn rename_camera(&self, from: &str, to: &str) -> Result<()> {
        self.post_rare(Op::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }

    /// Marks an event to keep, or not any longer. Returns whether there is such an event.
    pub fn keep_event(&self, id: i64, keep: bool) -> Result<bool> {
        let (reply, answer) = sync_channel(1);
        self.writer
            .post_waiting(Op::KeepEvent { id, keep, reply })?;
        answer.recv().map_err(|_| Error::Closed)
    }

    /// Events, newest first, at most [`MAX_PAGE`] of them.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<ObjectEvent>> {
        events::query(&self.reader(), filter)
    }

    /// Events found by their start.
    pub(crate) fn search_events(&self, wanted: &EventSearch) -> Result<Vec<ObjectEvent>> {
        search::search(&self.reader(), wanted)
    }

    /// What is counted of the newest events.
    pub(crate) fn event_starts(&self) -> Result<Vec<Start>> {
        search::starts(&self.reader())
    }

    /// One event.
    pub fn event(&self, id: i64) -> Result<Option<ObjectEvent>> {
        events::get(&self.reader(), id)
    }

    /// Changes after `seq`, oldest first: what a listener that was away has missed. The newest some thousand are kept.
    pub fn changes_after(&self, seq: i64, limit: usize) -> Result<Vec<Change>> {
        changes::after(&self.reader(), seq, limit)
    }

    /// Adds a file of `folder`, and the size of its thumbnail, to the media index, or brings what is known of it up to date.
    /// It is on disk when this returns. Also answers whether it is new.
    pub(crate) fn add_media(
        &self,
        camera: &str,
        folder: &str,
        file: MediaFile,
        thumbnail_bytes: u64,
    ) -> Result<(MediaItem, bool)> {
        let (reply, answer) = sync_channel(1);
        let media = Box::new(media::NewMedia {
            camera: camera.to_owned(),
            folder: folder.to_owned(),
            file,
            thumbnail_bytes,
        });
        self.writer.post_waiting(Op::AddMedia { media, reply })?;
        answer.recv().map_err(|_| Error::Closed)
    }

    /// Takes files out of the media index.
    pub(crate) fn remove_media(&self, items: Vec<MediaItem>) -> Result<()> {
        // By the media keeper's own thread.
        self.writer.post_waiting(Op::RemoveMedia { items })
    }

    /// Media, newest first, at most [`MAX_PAGE`] of them.
    pub fn media(&self, filter: &MediaFilter) -> Result<Vec<MediaItem>> {
        media::query(&self.reader(), filter)
    }

    /// One file of the media index.
    pub fn media_item(&self, id: i64) -> Result<Option<MediaItem>> {
        media::get(&self.reader(), id)
    }

    /// The oldest media, oldest first; only what was taken before `before` where it is given.
    pub(crate) fn oldest_media(
        &self,
        before: Option<f64>,
        before_id: Option<i64>,
        limit: usize,
    ) -> Result<Vec<MediaItem>> {
        media::oldest(&self.reader(), before, before_id, limit)
    }

    /// How many files of each camera the media index has, and how large.
    pub fn media_totals(&self) -> Result<BTreeMap<String, MediaTotal>> {
        media::totals(&self.reader())
    }

    /// The folders the media index has files of.
    pub(crate) fn media_folders(&self) -> Result<Vec<String>> {
        media::folders(&self.reader())
    }

    /// All files the media index has of a folder.
    pub(crate) fn media_of_folder(&self, folder: &str) -> Result<Vec<MediaItem>> {
        media::of_folder(&self.reader(), folder)
    }

    /// Keeps a task that is to go on after a restart. Never waits.
    pub fn save_task(&self, task: TaskRow) -> Result<()> {
        self.post(Op::SaveTask(Box::new(task)))
    }

    /// A task has ended, and does not go on after a restart.
    pub fn forget_task(&self, camera: &str, id: TaskId) -> Result<()> {
        self.post_rare(Op::ForgetTasks {
            camera: camera.to_owned(),
            id: Some(id),
        })
    }

    /// A camera is gone: none of its tasks go on.
    pub fn forget_tasks(&self, camera: &str) -> Result<()> {
        self.post_rare(Op::ForgetTasks {
            camera: camera.to_owned(),
            id: None,
        })
    }

    /// Waits until everything recorded so far is on disk.
    pub fn flush(&self) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        self.writer.post_waiting(Op::Flush { reply })?;
        answer.recv().map_err(|_| Error::Closed)
    }

    /// Changes that were dropped because the disk did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn post(&self, op: Op) -> Result<()> {
        self.count(self.writer.post(op))
    }

    fn post_rare(&self, op: Op) -> Result<()> {
        self.count(self.writer.post_rare(op))
    }

    fn count(&self, posted: Result<()>) -> Result<()> {
        if matches!(posted, Err(Error::Busy)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        posted
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A panic while reading leaves the connection as it was.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SQL condition that the camera is one of these.
fn one_of(cameras: Option<&[String]>) -> (&'static str, Option<Value>) {
    let names = cameras.map(|cameras| Value::from(serde_json::json!(cameras).to_string()));
    ("camera IN (SELECT value FROM json_each(?))", names)
}

/// The SQL condition that all of these that have a value make, and the values.
fn all_of<const N: usize>(conditions: [(&'static str, Option<Value>); N]) -> (String, Vec<Value>) {
    let given = conditions
        .into_iter()
        .filter_map(|(condition, value)| Some((condition, value?)));
    let (conditions, values): (Vec<&str>, Vec<Value>) = given.unzip();
    match conditions.as_slice() {
        [] => ("1".into(), values),
        conditions => (conditions.join(" AND "), values),
    }
}

#[cfg(test)]
mod tests;
