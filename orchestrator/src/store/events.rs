//! Object events in the database. How they come about is decided in [`crate::bus`].

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use watchpost_api::ObjectEvent;

use super::Result;

/// The most events one query answers.
pub const MAX_PAGE: usize = 1000;

/// Which events are wanted; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventFilter {
    /// Of this camera.
    pub camera: Option<String>,
    /// Of one of these cameras.
    pub cameras: Option<Vec<String>>,
    /// Of this class.
    pub label: Option<String>,
    /// That have been in this zone.
    pub zone: Option<String>,
    /// That lasted until this time or later (seconds since 1970).
    pub after: Option<f64>,
    /// That started before this time (seconds since 1970).
    pub before: Option<f64>,
    /// With a lower number than this one: the next page.
    pub before_id: Option<i64>,
    /// At most this many (default 100, at most [`MAX_PAGE`]).
    pub limit: Option<usize>,
}

pub(super) const COLUMNS: &str = "id, camera, object_id, label, state, start_time, last_time, end_time, score, best_time, best_box, \
                       zones, path, path_length, keep";

/// Writes an event as it is now. A camera's later name and the mark to keep stay as they are.
pub fn save(connection: &Connection, event: &ObjectEvent) -> Result<()> {
    let json = |value: serde_json::Result<String>| value.unwrap_or_default(); // numbers and strings always serialise
    connection
        .prepare_cached(
            "INSERT INTO events (id, camera, object_id, label, state, start_time, last_time, end_time, score,
                                 best_time, best_box, zones, path, path_length)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (id) DO UPDATE SET label = ?4, state = ?5, start_time = ?6, last_time = ?7, end_time = ?8,
                 score = ?9, best_time = ?10, best_box = ?11, zones = ?12, path = ?13, path_length = ?14",
        )?
        .execute(rusqlite::params![
            event.id,
            event.camera,
            event.object_id,
            event.label,
            event.state.as_str(),
            event.start_time,
            event.last_time,
            event.end_time,
            event.score,
            event.best_time,
            json(serde_json::to_string(&event.best_box)),
            json(serde_json::to_string(&event.zones)),
            json(serde_json::to_string(&event.path)),
            event.path_length,
        ])?;
    Ok(())
}

/// What retention may delete: ended before a time, and not marked to keep.
const OVER: &str = "end_time < ?1 AND keep = 0";

/// How many events retention may delete.
pub fn count_before(connection: &Connection, time: f64) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM events WHERE {OVER}");
    let count: i64 = connection.query_row(&sql, [time], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Deletes the oldest events that retention may delete, at most `limit`.
pub fn delete_before(connection: &Connection, time: f64, limit: usize) -> Result<()> {
    let sql = format!(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE {OVER} ORDER BY end_time LIMIT {limit})"
    );
    connection.execute(&sql, [time])?;
    Ok(())
}

/// Marks an event to keep, or not any longer. Returns whether there is such an event.
pub fn keep(connection: &Connection, id: i64, keep: bool) -> Result<bool> {
    let changed = connection.execute("UPDATE events SET keep = ?2 WHERE id = ?1", (id, keep))?;
    Ok(changed > 0)
}

pub fn get(connection: &Connection, id: i64) -> Result<Option<ObjectEvent>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?;
    Ok(statement.query_row([id], read).optional()?)
}

pub fn query(connection: &Connection, filter: &EventFilter) -> Result<Vec<ObjectEvent>> {
    let conditions = [
        ("camera = ?", filter.camera.clone().map(Value::from)),
        ("label = ?", filter.label.clone().map(Value::from)),
        (
            "EXISTS (SELECT 1 FROM json_each(zones) WHERE value = ?)",
            filter.zone.clone().map(Value::from),
        ),
        (
            "coalesce(end_time, last_time) >= ?",
            filter.after.map(Value::from),
        ),
        ("start_time < ?", filter.before.map(Value::from)),
        super::one_of(filter.cameras.as_deref()),
        ("id < ?", filter.before_id.map(Value::from)),
    ];
    let (condition, values) = super::all_of(conditions);
    let limit = filter.limit.unwrap_or(100).min(MAX_PAGE);
    let sql =
        format!("SELECT {COLUMNS} FROM events WHERE {condition} ORDER BY id DESC LIMIT {limit}");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn read(row: &Row) -> rusqlite::Result<ObjectEvent> {
    let json = |index: usize| -> rusqlite::Result<String> { row.get(index) };
    let bad = |index: usize| {
        move |error: serde_json::Error| {
            rusqlite::Error::FromSqlConversionFailure(
                index,
                rusqlite::types::Type::Text,
                Box::new(error),
            )
        }
    };
    Ok(ObjectEvent {
        id: row.get(0)?,
        camera: row.get(1)?,
        object_id: row.get(2)?,
        label: row.get(3)?,
        state: row.get::<_, String>(4)?.parse().map_err(|error: String| {
            rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, error.into())
        })?,
        start_time: row.get(5)?,
        last_time: row.get(6)?,
        end_time: row.get(7)?,
        score: row.get(8)?,
        best_time: row.get(9)?,
        best_box: serde_json::from_str(&json(10)?).map_err(bad(10))?,
        zones: serde_json::from_str(&json(11)?).map_err(bad(11))?,
        path: serde_json::from_str(&json(12)?).map_err(bad(12))?,
        path_length: row.get(13)?,
        keep: Some(row.get(14)?),
    })
}
