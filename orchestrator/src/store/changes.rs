//! The numbered changes behind the event stream: a listener that was away names the last one it had.

use detection::TrackChange;
use rusqlite::Connection;
use serde::Serialize;

use super::{Event, Result};

/// How many changes are kept for replay: about a day of a busy camera.
const KEPT: i64 = 20_000;

/// One change of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Grows by one; the stream's `id:`.
    pub seq: i64,
    /// {"change": word, "event": the event as `/api/events` gives it}.
    pub json: String,
}

pub fn append(connection: &Connection, change: TrackChange, event: &Event) -> Result<Change> {
    let json = serde_json::json!({ "change": change, "event": event }).to_string();
    let seq = connection
        .prepare_cached("INSERT INTO changes (change) VALUES (?1) RETURNING seq")?
        .query_row([&json], |row| row.get(0))?;
    Ok(Change { seq, json })
}

pub fn prune(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?1")?
        .execute([KEPT])?;
    Ok(())
}

pub fn after(connection: &Connection, seq: i64, limit: usize) -> Result<Vec<Change>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection
        .prepare_cached("SELECT seq, change FROM changes WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let rows = statement.query_map([seq, limit], |row| {
        Ok(Change {
            seq: row.get(0)?,
            json: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn newest(connection: &Connection) -> Result<i64> {
    Ok(
        connection.query_row("SELECT coalesce(max(seq), 0) FROM changes", [], |row| {
            row.get(0)
        })?,
    )
}
