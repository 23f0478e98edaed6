//! The one thread that writes: takes operations from a bounded queue and commits them in batches.

use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};
use tokio::sync::broadcast;

use super::media::NewMedia;
use super::{
    Change, ID_BLOCK, MediaItem, Result, TaskRow, TrackRecord, changes, events, grids, media, tasks,
};
use watchpost_pipelines::tasks::Task;

/// A batch is committed when it is this old, so that a kill -9 loses no more.
const BATCH_AGE: Duration = Duration::from_millis(250);

/// Something to be written.
pub enum Op {
    Track(Box<TrackRecord>),
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
    },
    AddMedia {
        media: Box<NewMedia>,
        reply: SyncSender<MediaItem>,
    },
    RemoveMedia {
        items: Vec<MediaItem>,
        told: bool,
    },
    SaveTask(Box<TaskRow>),
    ForgetTasks {
        camera: String,
        /// Without it all of them.
        task: Option<Task>,
    },
    Note {
        kind: &'static str,
        json: serde_json::Value,
    },
    Flush {
        reply: SyncSender<()>,
    },
}

/// Starts the thread. It ends when all senders of `queue` are gone and everything in it is on disk.
pub fn spawn(
    mut connection: Connection,
    queue: Receiver<Op>,
    listeners: broadcast::Sender<Change>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("store".into())
        .spawn(move || {
            while let Ok(first) = queue.recv() {
                if let Err(error) = write_batch(&mut connection, first, &queue, &listeners) {
                    // Disk full, most likely: this batch is lost, the next is tried.
                    tracing::error!("store: a batch could not be written: {error}");
                }
            }
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        })
}

/// Writes `first` and what follows within the batch's time. Whoever waits for an answer gets it once all is committed.
fn write_batch(
    connection: &mut Connection,
    first: Op,
    queue: &Receiver<Op>,
    listeners: &broadcast::Sender<Change>,
) -> Result<()> {
    let deadline = Instant::now() + BATCH_AGE;
    let mut written = Vec::new();
    let mut answers: Vec<Box<dyn FnOnce()>> = Vec::new();
    let transaction = connection.transaction()?;
    let mut next = Some(first);
    while let Some(op) = next {
        if let Err(error) = apply(&transaction, op, &mut written, &mut answers) {
            tracing::error!("store: one change could not be written: {error}");
        }
        next = if answers.is_empty() {
            queue
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .ok()
        } else {
            None // somebody waits
        };
    }
    changes::prune(&transaction)?;
    transaction.commit()?;
    for change in written {
        let _ = listeners.send(change); // an error says that nobody listens
    }
    answers.into_iter().for_each(|answer| answer());
    Ok(())
}

fn apply(
    transaction: &Transaction,
    op: Op,
    written: &mut Vec<Change>,
    answers: &mut Vec<Box<dyn FnOnce()>>,
) -> Result<()> {
    match op {
        Op::Track(track) => {
            if let Some(event) = events::record(transaction, &track)? {
                let json = serde_json::json!({ "change": track.change, "event": event });
                written.push(changes::append(transaction, changes::TRACK, &json)?);
            }
        }
        Op::ReserveIds { camera, reply } => {
            let first = reserve_ids(transaction, &camera)?;
            answers.push(Box::new(move || {
                let _ = reply.send(Ok(first));
            }));
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
        Op::Rename { from, to } => rename(transaction, &from, &to)?,
        Op::DeleteEvents { before } => {
            transaction.execute("DELETE FROM events WHERE end_time < ?1", [before])?;
        }
        Op::AddMedia { media, reply } => {
            let told = media.told;
            let (item, new) = media::add(transaction, *media)?;
            if new && told {
                let json = serde_json::json!({ "change": "added", "media": item });
                written.push(changes::append(transaction, changes::MEDIA, &json)?);
            }
            answers.push(Box::new(move || {
                let _ = reply.send(item);
            }));
        }
        Op::RemoveMedia { items, told } => {
            for item in items {
                media::remove(transaction, item.id)?;
                if told {
                    let json = serde_json::json!({ "change": "removed", "media": item });
                    written.push(changes::append(transaction, changes::MEDIA, &json)?);
                }
            }
        }
        Op::SaveTask(row) => tasks::save(transaction, &row)?,
        Op::ForgetTasks { camera, task } => tasks::forget(transaction, &camera, task)?,
        Op::Note { kind, json } => written.push(changes::append(transaction, kind, &json)?),
        Op::Flush { reply } => answers.push(Box::new(move || {
            let _ = reply.send(());
        })),
    }
    Ok(())
}

fn reserve_ids(transaction: &Transaction, camera: &str) -> Result<i64> {
    let end: i64 = transaction.query_row(
        "INSERT INTO ids (camera, next) VALUES (?1, 1 + ?2)
         ON CONFLICT (camera) DO UPDATE SET next = next + ?2 RETURNING next",
        (camera, ID_BLOCK),
        |row| row.get(0),
    )?;
    Ok(end - ID_BLOCK)
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
    transaction.execute(
        "UPDATE OR IGNORE events SET camera = ?2 WHERE camera = ?1",
        (from, to),
    )?;
    Ok(())
}
