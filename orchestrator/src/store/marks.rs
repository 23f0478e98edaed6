//! What the store remembers of itself between runs: which numbers may have been given, and how it was closed.
//!
//! Events get their numbers before they are on disk. After a crash the newest ones are lost, but listeners
//! may have seen them: numbers then continue behind all that can have been given.

use rusqlite::{Connection, OptionalExtension};

use super::Result;

/// More numbers than can be given between two commits: the bus, the queue and a batch are all bounded.
const GAP: i64 = 16_384;

/// Newest numbers that may have been given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// Of the events on the bus.
    pub event: i64,
    /// Of the object events.
    pub object_event: i64,
}

/// The database was closed with everything written.
const CLOSED: &str = "closed";

/// A run begins: the numbers it continues from.
pub fn begin(connection: &Connection) -> Result<Newest> {
    // Version 0.1.0 gave a number only with the commit.
    let unclean = get(connection, "event")?.is_some() && get(connection, CLOSED)?.is_none();
    let gap = if unclean { GAP } else { 0 };
    let newest = |name: &str, table: &str| -> Result<i64> {
        let used: Option<i64> = connection
            .query_row(
                "SELECT seq FROM sqlite_sequence WHERE name = ?1",
                [table],
                |row| row.get(0),
            )
            .optional()?;
        let marked = get(connection, name)?.map_or(0, |value| value as i64);
        let newest = used.unwrap_or(0).max(marked) + gap;
        set(connection, name, newest as f64)?;
        Ok(newest)
    };
    let newest = Newest {
        event: newest("event", "changes")?,
        object_event: newest("object_event", "events")?,
    };
    connection.execute("DELETE FROM marks WHERE name = ?1", [CLOSED])?;
    Ok(newest)
}

/// A run ended with everything written.
pub fn closed(connection: &Connection) -> Result<()> {
    set(connection, CLOSED, 1.0)
}

pub fn get(connection: &Connection, name: &str) -> Result<Option<f64>> {
    let mut statement = connection.prepare_cached("SELECT value FROM marks WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

pub fn set(connection: &Connection, name: &str, value: f64) -> Result<()> {
    connection.execute(
        "INSERT INTO marks (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        (name, value),
    )?;
    Ok(())
}
