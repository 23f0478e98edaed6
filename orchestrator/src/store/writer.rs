//! The one thread that writes: takes operations from a bounded queue and commits them in batches.

use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use detection::TrackChange;
use rusqlite::{Connection, Transaction};
use serde::Serialize;
use tokio::sync::broadcast;

use super::events::Live;
use super::media::NewMedia;
use super::{
    Change, Event, ID_BLOCK, MediaItem, QUEUE, Result, TaskRow, TrackRecord, changes, events,
    grids, media, tasks,
};
use watchpost_pipelines::tasks::Task;

/// A batch is committed when it is this old: a kill -9 loses no more, and listeners of the stream wait no longer.
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
    EndEvents {
        camera: String,
    },
    DeleteEvents {
        before: f64,
    },
    AddMedia {
        media: Box<NewMedia>,
        reply: SyncSender<(MediaItem, bool)>,
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
            let mut live = Live::default();
            while let Some(batch) = collect(&queue) {
                if let Err(error) = write_batch(&mut connection, batch, &mut live, &listeners) {
                    // Disk full, most likely: this batch is lost, the next is tried.
                    tracing::error!("store: a batch could not be written: {error}");
                    live = Live::default();
                }
            }
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        })
}

/// What arrives within a batch's time; less where somebody waits for an answer. Nothing once all senders are gone.
fn collect(queue: &Receiver<Op>) -> Option<Vec<Op>> {
    let mut batch = vec![queue.recv().ok()?];
    let deadline = Instant::now() + BATCH_AGE;
    while batch.len() < QUEUE && !batch.last().is_some_and(Op::is_waited_for) {
        let left = deadline.saturating_duration_since(Instant::now());
        match queue.recv_timeout(left) {
            Ok(op) => batch.push(op),
            Err(_) => break,
        }
    }
    Some(batch)
}

impl Op {
    fn is_waited_for(&self) -> bool {
        matches!(
            self,
            Op::ReserveIds { .. } | Op::AddMedia { .. } | Op::Flush { .. }
        )
    }
}

/// A change of an event, as the stream tells it.
#[derive(Serialize)]
struct Told<'a> {
    change: TrackChange,
    event: &'a Event,
}

/// Writes a batch. Whoever waits for an answer gets it once all is committed.
fn write_batch(
    connection: &mut Connection,
    batch: Vec<Op>,
    live: &mut Live,
    listeners: &broadcast::Sender<Change>,
) -> Result<()> {
    let mut written = Vec::new();
    let mut answers: Vec<Box<dyn FnOnce()>> = Vec::new();
    let transaction = connection.transaction()?;
    for op in batch {
        if let Err(error) = apply(&transaction, op, live, &mut written, &mut answers) {
            tracing::error!("store: one change could not be written: {error}");
        }
    }
    live.write(&transaction)?;
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
    live: &mut Live,
    written: &mut Vec<Change>,
    answers: &mut Vec<Box<dyn FnOnce()>>,
) -> Result<()> {
    match op {
        Op::Track(track) => {
            if let Some(event) = live.record(transaction, &track)? {
                let told = Told {
                    change: track.change,
                    event,
                };
                written.push(changes::append(transaction, changes::TRACK, &told)?);
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
        Op::Rename { from, to } => {
            live.give_back(transaction)?;
            rename(transaction, &from, &to)?;
        }
        Op::EndEvents { camera } => {
            live.give_back(transaction)?;
            for event in events::end_all(transaction, &camera)? {
                let told = Told {
                    change: TrackChange::Ended,
                    event: &event,
                };
                written.push(changes::append(transaction, changes::TRACK, &told)?);
            }
        }
        Op::DeleteEvents { before } => {
            live.give_back(transaction)?;
            transaction.execute("DELETE FROM events WHERE end_time < ?1", [before])?;
        }
        Op::AddMedia { media, reply } => {
            let told = media.told;
            let (item, new) = media::add(transaction, *media)?;
            if told {
                let json = serde_json::json!({ "change": "added", "media": item });
                written.push(changes::append(transaction, changes::MEDIA, &json)?);
            }
            answers.push(Box::new(move || {
                let _ = reply.send((item, new));
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
