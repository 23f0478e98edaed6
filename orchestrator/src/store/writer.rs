//! The one thread that writes: takes operations from a bounded queue and commits them in batches.
//!
//! While a batch comes together the thread sleeps: an operation that nobody waits for does not wake it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Transaction};
use watchpost_api::{ConfigurationChange, ConfigurationEvent, Event};
use watchpost_pipelines::tasks::TaskId;

use super::media::NewMedia;
use super::{
    Error, ID_BLOCK, MediaItem, QUEUE, Result, TaskRow, changes, events, grids, marks, media, tasks,
};
use crate::bus::Published;

/// A batch is committed when it is this old: a kill -9 loses no more. Live events do not wait for it.
pub const BATCH_AGE: Duration = Duration::from_millis(250);

/// So many in the queue do not wait for the batch's age: there must be room for what comes.
const MANY: usize = QUEUE / 2;

/// Room that changes which come often leave to those that are rare and must not be lost.
const SPARE: usize = 1024;

/// Something to be written.
pub enum Op {
    /// An event of the bus.
    Event(Arc<Published>),
    ReserveIds {
        camera: String,
        reply: SyncSender<Result<i64>>,
    },
    SaveGrid {
        camera: String,
        json: String,
        frozen: bool,
    },
    DeleteGrid {
        camera: String,
    },
    Retain {
        cameras: Vec<String>,
    },
    Rename {
        from: String,
        to: String,
    },
    DeleteEvents {
        before: f64,
        limit: usize,
    },
    KeepEvent {
        id: i64,
        keep: bool,
        reply: SyncSender<bool>,
    },
    Mark {
        name: &'static str,
        value: f64,
    },
    AddMedia {
        media: Box<NewMedia>,
        reply: SyncSender<(MediaItem, bool)>,
    },
    RemoveMedia {
        items: Vec<MediaItem>,
    },
    SaveTask(Box<TaskRow>),
    ForgetTasks {
        camera: String,
        /// Without it all of them.
        id: Option<TaskId>,
    },
    Flush {
        reply: SyncSender<()>,
    },
}

/// The way to the thread. Dropping it ends the thread, once everything in the queue is on disk.
pub struct Writer {
    ops: Option<SyncSender<Op>>,
    /// Operations in the queue.
    queued: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. A batch is committed when it is `age` old.
    pub fn start(mut connection: Connection, age: Duration) -> std::io::Result<Self> {
        let (ops, queue) = sync_channel(QUEUE + SPARE);
        let queued = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            ops: queue,
            queued: queued.clone(),
        };
        let write = move || {
            let mut owed = BTreeMap::new();
            let mut failures = Failures::default();
            while let Some(batch) = queue.collect(age) {
                // Disk full, most likely: this batch is lost, the next is tried.
                let written = write_batch(&mut connection, batch, &mut owed);
                failures.note(&written, Instant::now());
            }
            if let Err(error) = marks::closed(&connection) {
                tracing::warn!("store: {error}");
            }
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        };
        let thread = std::thread::Builder::new().name("store".into());
        Ok(Self {
            ops: Some(ops),
            queued,
            thread: Some(thread.spawn(write)?),
        })
    }

    /// Never waits; [`Error::Busy`] says that the queue is full.
    pub fn post(&self, op: Op) -> Result<()> {
        self.send(op, |ops, op, queued| {
            if queued > QUEUE {
                return Err(Error::Busy);
            }
            try_send(ops, op)
        })
    }

    /// For what must not be dropped and is rare: finds room where [`Writer::post`] finds none. Never waits either, so that a
    /// disk that hangs does not hold up whoever looks after the cameras.
    pub fn post_rare(&self, op: Op) -> Result<()> {
        self.send(op, |ops, op, _| try_send(ops, op))
    }

    /// For who waits for the disk anyway: waits for room in the queue.
    pub fn post_waiting(&self, op: Op) -> Result<()> {
        self.send(op, |ops, op, _| ops.send(op).map_err(|_| Error::Closed))
    }

    fn send(
        &self,
        op: Op,
        send: impl FnOnce(&SyncSender<Op>, Op, usize) -> Result<()>,
    ) -> Result<()> {
        let ops = self.ops.as_ref().ok_or(Error::Closed)?;
        let is_urgent = op.is_waited_for();
        // Counted before it is there, so that it is never taken before it was counted.
        let queued = self.queued.fetch_add(1, Ordering::Relaxed) + 1;
        let sent = send(ops, op, queued);
        if sent.is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
        if is_urgent || queued >= MANY {
            self.wake();
        }
        sent
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ops = None;
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn try_send(ops: &SyncSender<Op>, op: Op) -> Result<()> {
    ops.try_send(op).map_err(|error| match error {
        TrySendError::Full(_) => Error::Busy,
        TrySendError::Disconnected(_) => Error::Closed,
    })
}

/// The thread's end of the queue.
struct Queue {
    ops: Receiver<Op>,
    queued: Arc<AtomicUsize>,
}

impl Queue {
    /// What arrives within a batch's time; less where somebody waits for an answer, or much has come. Nothing once all
    /// senders are gone.
    fn collect(&self, age: Duration) -> Option<Vec<Op>> {
        let mut batch = vec![self.taken(self.ops.recv().ok()?)];
        let deadline = Instant::now() + age;
        while batch.len() < QUEUE && !batch.last().is_some_and(Op::is_waited_for) {
            match self.ops.try_recv() {
                Ok(op) => batch.push(self.taken(op)),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    // Whoever cannot wait that long puts its operation into the queue first and wakes this thread then.
                    std::thread::park_timeout(left);
                }
            }
        }
        Some(batch)
    }

    fn taken(&self, op: Op) -> Op {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        op
    }
}

impl Op {
    fn is_waited_for(&self) -> bool {
        matches!(
            self,
            Op::ReserveIds { .. } | Op::KeepEvent { .. } | Op::AddMedia { .. } | Op::Flush { .. }
        )
    }
}

/// Object events that changed in a batch, by number: several changes are written once.
type Changed = BTreeMap<i64, Arc<Published>>;

/// Ids that were given without a reservation on disk, by camera: the next transaction that succeeds reserves them, before
/// any event with such an id is on disk. So none is given twice, and detection does not wait for room on the disk.
type Owed = BTreeMap<String, i64>;

/// Failed batches, so that a disk that stays full is not logged several times a second.
#[derive(Default)]
struct Failures {
    logged: Option<Instant>,
    /// Not logged yet.
    count: u64,
}

impl Failures {
    /// The time between two lines of the log about it.
    const PERIOD: Duration = Duration::from_secs(60);

    fn note(&mut self, written: &Result<()>, now: Instant) {
        let Err(error) = written else {
            if self.logged.take().is_some() {
                tracing::info!("store: batches can be written again");
            }
            self.count = 0;
            return;
        };
        self.count += 1;
        let is_due = |at: Instant| now.duration_since(at) >= Self::PERIOD;
        if self.logged.is_none_or(is_due) {
            let count = self.count;
            tracing::error!(
                "store: a batch could not be written: {error} ({count} since the last message); its events are not kept"
            );
            self.logged = Some(now);
            self.count = 0;
        }
    }
}

/// Writes a batch. Whoever waits for an answer gets it once all is committed; who waits for ids gets them all the same.
fn write_batch(connection: &mut Connection, mut batch: Vec<Op>, owed: &mut Owed) -> Result<()> {
    for op in &batch {
        if let Op::Rename { from, to } = op
            && let Some(ids) = owed.remove(from)
        {
            owed.insert(to.clone(), ids);
        }
    }
    // It ends a batch, since it is waited for.
    let reservation = match batch.pop() {
        Some(Op::ReserveIds { camera, reply }) => Some((camera, reply)),
        other => {
            batch.extend(other);
            None
        }
    };
    let camera = reservation.as_ref().map(|(camera, _)| camera.as_str());
    let (reserved, written) = match write(connection, batch, camera, owed) {
        Ok(reserved) => {
            owed.clear();
            (reserved, Ok(()))
        }
        Err(error) => (None, Err(error)),
    };
    if let Some((camera, reply)) = reservation {
        let first = reserved.unwrap_or_else(|| reserve_in_memory(connection, &camera, owed));
        let _ = reply.send(first);
    }
    written
}

/// Reserves the next block in memory, to be written when that is possible.
fn reserve_in_memory(connection: &Connection, camera: &str, owed: &mut Owed) -> Result<i64> {
    let next: Option<i64> = connection
        .query_row("SELECT next FROM ids WHERE camera = ?1", [camera], |row| {
            row.get(0)
        })
        .optional()?;
    let ahead = owed.entry(camera.to_owned()).or_default();
    let first = next.unwrap_or(1) + *ahead;
    *ahead += ID_BLOCK;
    Ok(first)
}

/// Writes a batch, and reserves the ids that are owed and those for `camera`. Answers with the first of the latter.
fn write(
    connection: &mut Connection,
    batch: Vec<Op>,
    camera: Option<&str>,
    owed: &Owed,
) -> Result<Option<Result<i64>>> {
    let mut changed = Changed::new();
    let mut answers: Vec<Box<dyn FnOnce()>> = Vec::new();
    let transaction = connection.transaction()?;
    for (camera, ids) in owed {
        reserve_ids(&transaction, camera, *ids)?;
    }
    for op in batch {
        if let Err(error) = apply(&transaction, op, &mut changed, &mut answers) {
            tracing::error!("store: one change could not be written: {error}");
        }
    }
    save(&transaction, &mut changed);
    changes::prune(&transaction)?;
    let first = match camera.map(|camera| reserve_ids(&transaction, camera, ID_BLOCK)) {
        Some(Err(error)) if is_disk_trouble(&error) => return Err(error),
        first => first,
    };
    transaction.commit()?;
    answers.into_iter().for_each(|answer| answer());
    Ok(first)
}

/// Whether it passes when the disk has room, or works, again.
fn is_disk_trouble(error: &Error) -> bool {
    use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
    let Error::Sqlite(error) = error else {
        return false;
    };
    matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure))
}

/// Writes the object events that changed so far.
fn save(transaction: &Transaction, changed: &mut Changed) {
    for published in std::mem::take(changed).into_values() {
        if let Event::Track(track) = &published.event
            && let Err(error) = events::save(transaction, &track.event)
        {
            let (camera, id) = (&track.camera, track.event.id);
            tracing::error!(camera, id, "store: an event could not be written: {error}");
        }
    }
}

fn apply(
    transaction: &Transaction,
    op: Op,
    changed: &mut Changed,
    answers: &mut Vec<Box<dyn FnOnce()>>,
) -> Result<()> {
    match op {
        Op::Event(published) => {
            changes::append(transaction, &published)?;
            match &published.event {
                Event::Track(track) => drop(changed.insert(track.event.id, published)),
                // Events that were still on the bus when the camera was renamed have its old name.
                Event::Configuration(ConfigurationEvent {
                    change: ConfigurationChange::Renamed,
                    camera: Some(to),
                    from: Some(from),
                }) => {
                    save(transaction, changed);
                    rename_events(transaction, from, to)?;
                }
                _ => {}
            }
        }
        // Taken from the end of the batch before.
        Op::ReserveIds { camera, .. } => {
            tracing::error!(camera, "store: ids were asked for within a batch");
        }
        Op::SaveGrid {
            camera,
            json,
            frozen,
        } => grids::save(transaction, &camera, &json, frozen)?,
        Op::DeleteGrid { camera } => grids::delete(transaction, &camera)?,
        Op::Retain { cameras } => {
            grids::retain(transaction, &cameras)?;
            tasks::retain(transaction, &cameras)?;
        }
        Op::Rename { from, to } => {
            save(transaction, changed);
            rename(transaction, &from, &to)?;
        }
        Op::DeleteEvents { before, limit } => {
            save(transaction, changed);
            events::delete_before(transaction, before, limit)?;
        }
        Op::KeepEvent { id, keep, reply } => {
            save(transaction, changed);
            let known = events::keep(transaction, id, keep)?;
            answers.push(Box::new(move || {
                let _ = reply.send(known);
            }));
        }
        Op::Mark { name, value } => marks::set(transaction, name, value)?,
        Op::AddMedia { media, reply } => {
            let answer = media::add(transaction, *media)?;
            answers.push(Box::new(move || {
                let _ = reply.send(answer);
            }));
        }
        Op::RemoveMedia { items } => {
            for item in items {
                media::remove(transaction, item.id)?;
            }
        }
        Op::SaveTask(row) => tasks::save(transaction, &row)?,
        Op::ForgetTasks { camera, id } => tasks::forget(transaction, &camera, id)?,
        Op::Flush { reply } => answers.push(Box::new(move || {
            let _ = reply.send(());
        })),
    }
    Ok(())
}

/// Reserves so many ids, and answers with the first.
fn reserve_ids(transaction: &Transaction, camera: &str, ids: i64) -> Result<i64> {
    let end: i64 = transaction.query_row(
        "INSERT INTO ids (camera, next) VALUES (?1, 1 + ?2)
         ON CONFLICT (camera) DO UPDATE SET next = next + ?2 RETURNING next",
        (camera, ids),
        |row| row.get(0),
    )?;
    Ok(end - ids)
}

fn rename(transaction: &Transaction, from: &str, to: &str) -> Result<()> {
    for table in ["grids", "ids", "tasks"] {
        transaction.execute(
            &format!("UPDATE OR IGNORE {table} SET camera = ?2 WHERE camera = ?1"),
            (from, to),
        )?;
        transaction.execute(&format!("DELETE FROM {table} WHERE camera = ?1"), [from])?;
    }
    transaction.execute("UPDATE media SET camera = ?2 WHERE camera = ?1", (from, to))?;
    rename_events(transaction, from, to)
}

fn rename_events(transaction: &Transaction, from: &str, to: &str) -> Result<()> {
    transaction.execute(
        "UPDATE OR IGNORE events SET camera = ?2 WHERE camera = ?1",
        (from, to),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;
    use std::sync::mpsc;

    /// A batch would take that long to come together by its age.
    const AGE: Duration = Duration::from_secs(86_400);
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A writer, and a connection that reads what it has written.
    fn writer(folder: &std::path::Path) -> (Writer, Connection) {
        let path = folder.join("test.db");
        let connection = schema::open(&path).unwrap();
        let reader = schema::open_reader(&path).unwrap();
        (Writer::start(connection, AGE).unwrap(), reader)
    }

    fn note(number: usize) -> Op {
        Op::SaveGrid {
            camera: number.to_string(),
            json: "{}".into(),
            frozen: false,
        }
    }

    fn is_written(reader: &Connection, camera: &str) -> bool {
        grids::load(reader, camera).unwrap().is_some()
    }

    #[test]
    fn an_operation_that_is_waited_for_ends_the_batch() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, _reader) = writer(folder.path());
        for number in 0..100 {
            writer.post(note(number)).unwrap();
            let (reply, answer) = mpsc::sync_channel(1);
            writer.post_waiting(Op::Flush { reply }).unwrap();
            answer.recv_timeout(PATIENCE).unwrap();
        }
    }

    #[test]
    fn ids_are_given_once_although_they_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let mut connection = schema::open(&path).unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        let (other, mut owed) = (Connection::open(&path).unwrap(), Owed::new());
        let reserve = |connection: &mut Connection, owed: &mut Owed| {
            let (reply, answer) = sync_channel(1);
            let camera = "front".into();
            let written = write_batch(connection, vec![Op::ReserveIds { camera, reply }], owed);
            (answer.recv().unwrap().unwrap(), written.is_ok())
        };
        assert_eq!(reserve(&mut connection, &mut owed), (1, true));
        // Stands for a full disk: nothing can be written.
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(reserve(&mut connection, &mut owed), (1001, false));
        assert_eq!(reserve(&mut connection, &mut owed), (2001, false));
        other.execute_batch("COMMIT").unwrap();
        // The first batch that is written also reserves these.
        write_batch(&mut connection, vec![note(0)], &mut owed).unwrap();
        let next: i64 = other
            .query_row("SELECT next FROM ids WHERE camera = 'front'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(next, 3001);
        assert_eq!(reserve(&mut connection, &mut owed), (3001, true));
    }

    #[test]
    fn a_full_batch_does_not_wait_for_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(folder.path());
        let deadline = Instant::now() + PATIENCE;
        for number in 0..2 * QUEUE {
            writer.post(note(number)).unwrap();
            // It is woken to take what is in the queue before that is full, so that nothing is dropped.
            while writer.queued.load(Ordering::Relaxed) >= MANY {
                assert!(Instant::now() < deadline, "the thread sleeps");
                std::thread::yield_now();
            }
        }
        while !is_written(&reader, "0") {
            assert!(Instant::now() < deadline, "the full batch was not written");
            std::thread::yield_now();
        }
    }

    #[test]
    fn while_the_disk_hangs_nobody_waits_and_what_is_rare_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(folder.path());
        let disk = Connection::open(folder.path().join("test.db")).unwrap();
        disk.execute_batch("BEGIN IMMEDIATE").unwrap();
        // One batch is at the disk, then the queue fills up.
        let deadline = Instant::now() + PATIENCE;
        let refused = (0..).find(|number| {
            assert!(Instant::now() < deadline, "the queue never fills up");
            writer.post(note(*number)).is_err()
        });
        assert!(refused.unwrap() >= QUEUE);
        let rare = Op::SaveGrid {
            camera: "rare".into(),
            json: "{}".into(),
            frozen: false,
        };
        writer.post_rare(rare).unwrap();
        // The batch for the disk may be taken out only now.
        let room = QUEUE + SPARE;
        let bound = (0..=room).find(|number| writer.post_rare(note(*number)).is_err());
        assert!(bound.is_some(), "a queue without a bound");
        disk.execute_batch("COMMIT").unwrap();
        drop(writer);
        assert!(is_written(&reader, "rare"), "what is rare was lost");
    }

    #[test]
    fn the_end_writes_what_waits_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(folder.path());
        writer.post(note(1)).unwrap();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            drop(writer);
            let _ = ended.send(());
        });
        end.recv_timeout(PATIENCE).unwrap();
        assert!(is_written(&reader, "1"));
    }
}
