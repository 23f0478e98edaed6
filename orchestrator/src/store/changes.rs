//! The numbered changes behind the event stream: a listener that was away names the last one it had.

use rusqlite::Connection;
use serde::Serialize;

use super::Result;

/// How many changes are kept for replay: about a day of a busy camera.
const KEPT: i64 = 20_000;

/// The kind of changes of object events.
pub const TRACK: &str = "track";
/// The kind of changes of the media index.
pub const MEDIA: &str = "media";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Grows by one; the stream's `id:`.
    pub seq: i64,
    /// The stream's `event:`: what the JSON tells of.
    pub kind: String,
    /// Of a track: {"change": word, "event": the event as `/api/events` gives it}.
    pub json: String,
}

pub fn append(connection: &Connection, kind: &str, change: &impl Serialize) -> Result<Change> {
    // Words, strings and numbers: that cannot fail.
    let json = serde_json::to_string(change).unwrap_or_default();
    let seq = connection
        .prepare_cached("INSERT INTO changes (kind, change) VALUES (?1, ?2) RETURNING seq")?
        .query_row([kind, &json], |row| row.get(0))?;
    let kind = kind.to_owned();
    Ok(Change { seq, kind, json })
}

pub fn prune(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?1")?
        .execute([KEPT])?;
    Ok(())
}

pub fn after(connection: &Connection, seq: i64, limit: usize) -> Result<Vec<Change>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT seq, kind, change FROM changes WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let rows = statement.query_map([seq, limit], |row| {
        Ok(Change {
            seq: row.get(0)?,
            kind: row.get(1)?,
            json: row.get(2)?,
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
