//! What outlives a run: region grids, object events, the ids objects were given. SQLite with a write-ahead log.
//!
//! One thread writes (`writer`), in batches that are committed at least every quarter of a second: a kill -9 at any
//! moment loses at most what came since, and never the file. Whoever reads has a connection of its own and waits for
//! nobody. The media index of camera tasks lives here too, once there is one.

mod changes;
mod events;
mod grids;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::broadcast;

pub use changes::Change;
pub use events::{Event, EventFilter, MAX_PAGE, TrackRecord};
pub use grids::Grid;

use writer::Op;

/// Name of the database in `data_dir`.
pub const FILE_NAME: &str = "watchpost.db";

/// Ids are handed out in blocks of this many, so that a crash can waste some but never repeat one.
pub const ID_BLOCK: i64 = 1000;

/// Changes waiting to be written. A batch of this many takes some tens of milliseconds.
const QUEUE: usize = 4096;

/// Changes a slow listener of the event stream may be behind before it has to ask the database again.
const STREAM: usize = 1024;

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
    ops: Option<SyncSender<Op>>,
    writer: Option<JoinHandle<()>>,
    reader: Mutex<Connection>,
    changes: broadcast::Sender<Change>,
    dropped: std::sync::atomic::AtomicU64,
}

impl Store {
    /// Opens the database in `data_dir`, making folder and file where they are missing. A file that is no sound database is
    /// put aside as `watchpost.db.damaged-SECONDS` and a new one begun: detecting goes on, and nothing is deleted.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        std::fs::create_dir_all(data_dir).map_err(|source| Error::Open {
            path: path.clone(),
            source,
        })?;
        let writing = schema::open(&path)?;
        let reader = schema::open_reader(&path)?;
        let (ops, queue) = sync_channel(QUEUE);
        let (changes, _) = broadcast::channel(STREAM);
        let writer = writer::spawn(writing, queue, changes.clone())
            .map_err(|source| Error::Open { path, source })?;
        Ok(Self {
            ops: Some(ops),
            writer: Some(writer),
            reader: Mutex::new(reader),
            changes,
            dropped: std::sync::atomic::AtomicU64::new(0),
        })
    }

    /// Records a change of a track. Never waits; [`Error::Busy`] says that it was dropped, and it is counted.
    pub fn record(&self, track: TrackRecord) -> Result<()> {
        self.post(Op::Track(Box::new(track)))
    }

    /// Reserves the next block of object ids of a camera and returns the first of its [`ID_BLOCK`]. It is on disk when this
    /// returns, so that no id is given twice, whatever happens.
    pub fn reserve_ids(&self, camera: &str) -> Result<i64> {
        let (reply, answer) = sync_channel(1);
        self.post_waiting(Op::ReserveIds {
            camera: camera.to_owned(),
            reply,
        })?;
        answer.recv().map_err(|_| Error::Closed)?
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
        self.post_waiting(Op::DeleteGrid {
            camera: camera.to_owned(),
        })
    }

    /// A camera's region grid.
    pub fn grid(&self, camera: &str) -> Result<Option<Grid>> {
        grids::load(&self.reader(), camera)
    }

    /// Forgets the grids of cameras that are not among `cameras`. Their events stay: they happened.
    pub fn retain_grids(&self, cameras: &[String]) -> Result<()> {
        self.post_waiting(Op::RetainGrids {
            cameras: cameras.to_vec(),
        })
    }

    /// Moves grid, ids and events of a renamed camera to its new name. What the new name had already stays with it.
    pub fn rename_camera(&self, from: &str, to: &str) -> Result<()> {
        self.post_waiting(Op::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }

    /// Deletes events that ended before `time` (seconds since 1970).
    pub fn delete_events_before(&self, time: f64) -> Result<()> {
        self.post_waiting(Op::DeleteEvents { before: time })
    }

    /// Events, newest first, at most [`MAX_PAGE`] of them.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<Event>> {
        events::query(&self.reader(), filter)
    }

    /// One event.
    pub fn event(&self, id: i64) -> Result<Option<Event>> {
        events::get(&self.reader(), id)
    }

    /// Changes after `seq`, oldest first: what a listener that was away has missed. The newest some thousand are kept.
    pub fn changes_after(&self, seq: i64, limit: usize) -> Result<Vec<Change>> {
        changes::after(&self.reader(), seq, limit)
    }

    /// Number of the newest change, 0 if there is none.
    pub fn newest_change(&self) -> Result<i64> {
        changes::newest(&self.reader())
    }

    /// Changes from now on, each once it is on disk. Subscribe first, then ask [`Store::changes_after`], and nothing is missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Waits until everything recorded so far is on disk.
    pub fn flush(&self) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        self.post_waiting(Op::Flush { reply })?;
        answer.recv().map_err(|_| Error::Closed)
    }

    /// Changes that were dropped because the disk did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn post(&self, op: Op) -> Result<()> {
        let ops = self.ops.as_ref().ok_or(Error::Closed)?;
        ops.try_send(op).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.dropped
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Error::Busy
            }
            TrySendError::Disconnected(_) => Error::Closed,
        })
    }

    /// For what must not be dropped and is rare: waits for room in the queue.
    fn post_waiting(&self, op: Op) -> Result<()> {
        let ops = self.ops.as_ref().ok_or(Error::Closed)?;
        ops.send(op).map_err(|_| Error::Closed)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A panic while reading leaves the connection as it was.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.ops = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
