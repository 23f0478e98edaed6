//! Region grids by camera.

use rusqlite::{Connection, OptionalExtension};

use super::Result;
use crate::clock::now;

/// A camera's region grid as it was last saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// JSON as regiondetect exports it.
    pub json: String,
    /// It is not learned any further.
    pub frozen: bool,
    /// Seconds since 1970.
    pub updated: f64,
}

pub fn load(connection: &Connection, camera: &str) -> Result<Option<Grid>> {
    let grid = connection.query_row(
        "SELECT grid, frozen, updated FROM grids WHERE camera = ?1",
        [camera],
        |row| {
            Ok(Grid {
                json: row.get(0)?,
                frozen: row.get(1)?,
                updated: row.get(2)?,
            })
        },
    );
    Ok(grid.optional()?)
}

pub fn save(connection: &Connection, camera: &str, json: &str, frozen: bool) -> Result<()> {
    connection.execute(
        "INSERT INTO grids (camera, grid, frozen, updated) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (camera) DO UPDATE SET grid = ?2, frozen = ?3, updated = ?4",
        (camera, json, frozen, now()),
    )?;
    Ok(())
}

pub fn delete(connection: &Connection, camera: &str) -> Result<()> {
    connection.execute("DELETE FROM grids WHERE camera = ?1", [camera])?;
    Ok(())
}

pub fn retain(connection: &Connection, cameras: &[String]) -> Result<()> {
    let names = serde_json::Value::from(cameras).to_string();
    connection.execute(
        "DELETE FROM grids WHERE camera NOT IN (SELECT value FROM json_each(?1))",
        [names],
    )?;
    Ok(())
}
