//! Tasks that go on after a restart: how they were started, and how far they are.

use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use watchpost_pipelines::tasks::{Parameters, TaskId, TaskState};

use super::Result;

/// A task that is to go on after a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// The camera.
    pub camera: String,
    /// Which task.
    pub id: TaskId,
    /// How it was started.
    pub parameters: Parameters,
    /// How far it is, as the task itself wants to know it again.
    pub progress: Value,
    /// Where it was: paused stays paused.
    pub state: TaskState,
}

pub fn save(connection: &Connection, row: &TaskRow) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO tasks (camera, task, parameters, progress, state) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (camera, task) DO UPDATE SET parameters = ?3, progress = ?4, state = ?5",
        )?
        .execute((
            &row.camera,
            row.id.to_string(),
            text(&row.parameters),
            row.progress.to_string(),
            text(&row.state),
        ))?;
    Ok(())
}

/// Forgets one task of a camera, or all of them.
pub fn forget(connection: &Connection, camera: &str, id: Option<TaskId>) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM tasks WHERE camera = ?1 AND task = coalesce(?2, task)")?
        .execute((camera, id.map(|id| id.to_string())))?;
    Ok(())
}

pub fn retain(connection: &Connection, cameras: &[String]) -> Result<()> {
    let names = Value::from(cameras).to_string();
    connection.execute(
        "DELETE FROM tasks WHERE camera NOT IN (SELECT value FROM json_each(?1))",
        [names],
    )?;
    Ok(())
}

/// All of them, or those of one camera. One that cannot be read (a newer Watchpost wrote it) is named and left out.
pub fn load(connection: &Connection, camera: Option<&str>) -> Result<Vec<TaskRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT camera, task, parameters, progress, state FROM tasks WHERE camera = coalesce(?1, camera)
         ORDER BY camera, task",
    )?;
    let rows = statement.query_map([camera], |row| Ok(read(row)))?;
    let mut found = Vec::new();
    for row in rows {
        match row? {
            Ok(row) => found.push(row),
            Err(error) => {
                tracing::warn!("store: a task cannot be read and does not go on: {error}")
            }
        }
    }
    Ok(found)
}

fn read(row: &Row) -> rusqlite::Result<TaskRow> {
    Ok(TaskRow {
        camera: row.get(0)?,
        id: word(row, 1)?,
        parameters: json(row, 2)?,
        progress: json(row, 3)?,
        state: json(row, 4)?,
    })
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() // numbers and strings always serialise
}

/// JSON in a column.
pub fn json<T: DeserializeOwned>(row: &Row, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| bad(column, error))
}

/// A task's word, or its key, in a column.
pub fn word<T: FromStr<Err = String>>(row: &Row, column: usize) -> rusqlite::Result<T> {
    row.get::<_, String>(column)?
        .parse()
        .map_err(|error: String| bad(column, error))
}

fn bad(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}
