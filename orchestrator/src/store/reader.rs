//! A read connection that belongs to one owner, who never waits for another reader.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;

use super::{Grid, Result, TaskRow, grids, schema, tasks};

/// A connection of its own to the store.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            connection: schema::open_reader(path)?,
        })
    }

    /// A camera's region grid.
    pub fn grid(&self, camera: &str) -> Result<Option<Grid>> {
        grids::load(&self.connection, camera)
    }

    /// The tasks that are to go on, of all cameras.
    pub fn tasks(&self) -> Result<Vec<TaskRow>> {
        tasks::load(&self.connection, None)
    }

    /// The tasks of a camera that are to go on.
    pub fn tasks_of(&self, camera: &str) -> Result<Vec<TaskRow>> {
        tasks::load(&self.connection, Some(camera))
    }

    /// Cameras of which ids, a grid or tasks are known.
    pub fn cameras(&self) -> Result<BTreeSet<String>> {
        let mut names = self.connection.prepare(
            "SELECT camera FROM ids UNION SELECT camera FROM grids UNION SELECT camera FROM tasks",
        )?;
        let names = names.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }
}
