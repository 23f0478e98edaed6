//! The newest events as they were published, for listeners of the event stream that resume after a number.

use rusqlite::Connection;

use super::Result;
use crate::bus::Published;

/// How many changes are kept for replay: about a day of a busy camera.
const KEPT: i64 = 40_000;

/// An event as it was published.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The number the bus gave it; the stream's `id:`.
    pub seq: i64,
    /// The kind of event; the stream's `event:`.
    pub kind: String,
    /// The event.
    pub json: String,
}

pub fn append(connection: &Connection, published: &Published) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO changes (seq, kind, change) VALUES (?1, ?2, ?3)")?
        .execute((published.number, published.event.kind(), published.json()))?;
    Ok(())
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
