//! The database's tables, their versions, and opening it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Error, Result};
use crate::clock::now;

/// One step per schema version, run in order on a file that has not had it. A step that was released is never edited.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE grids (
        camera  TEXT PRIMARY KEY,
        grid    TEXT NOT NULL,              -- JSON as regiondetect exports it
        frozen  INTEGER NOT NULL DEFAULT 0,
        updated REAL NOT NULL               -- seconds since 1970
    ) STRICT;
    CREATE TABLE ids (
        camera TEXT PRIMARY KEY,
        next   INTEGER NOT NULL             -- first object id that was not reserved yet
    ) STRICT;
    CREATE TABLE events (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        camera      TEXT NOT NULL,
        object_id   INTEGER NOT NULL,
        label       TEXT NOT NULL,
        state       TEXT NOT NULL,          -- active, stationary, lost or ended
        start_time  REAL NOT NULL,
        last_time   REAL NOT NULL,
        end_time    REAL,                   -- NULL while it lasts
        score       REAL NOT NULL,          -- the best one, and when and where it was
        best_time   REAL NOT NULL,
        best_box    TEXT NOT NULL,          -- JSON [x1, y1, x2, y2], fractions of the frame
        zones       TEXT NOT NULL,          -- JSON array: all zones it has been in
        path        TEXT NOT NULL,          -- JSON array of [time, x, y]: bottom centre, thinned
        path_length REAL NOT NULL,
        UNIQUE (camera, object_id)
    ) STRICT;
    CREATE INDEX events_by_time ON events (start_time);
    CREATE INDEX events_by_camera ON events (camera, start_time);
    CREATE TABLE changes (
        seq    INTEGER PRIMARY KEY AUTOINCREMENT,
        change TEXT NOT NULL                -- JSON as the event stream sends it
    ) STRICT;
",
    "
    CREATE TABLE media (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        camera        TEXT NOT NULL,        -- the name it has now
        folder        TEXT NOT NULL,        -- the name it had when the file was made: the folder the file stays in
        name          TEXT NOT NULL,        -- relative to the folder
        task          TEXT NOT NULL,
        media_type    TEXT NOT NULL,
        time          REAL NOT NULL,        -- of the first picture, seconds since 1970
        duration      REAL,
        bytes         INTEGER NOT NULL,
        width         INTEGER,
        height        INTEGER,
        thumbnail     TEXT,                 -- relative to the folder
        series        TEXT,
        series_number INTEGER,
        camera_config TEXT NOT NULL,        -- JSON
        UNIQUE (folder, name)
    ) STRICT;
    CREATE INDEX media_by_time ON media (time);
    CREATE INDEX media_by_camera ON media (camera, id, bytes);
    CREATE TABLE tasks (
        camera     TEXT NOT NULL,
        task       TEXT NOT NULL,
        parameters TEXT NOT NULL,           -- JSON
        progress   TEXT NOT NULL,           -- JSON, the task's own
        state      TEXT NOT NULL,
        PRIMARY KEY (camera, task)
    ) STRICT;
    ALTER TABLE changes ADD COLUMN kind TEXT NOT NULL DEFAULT 'track';
",
    "
    ALTER TABLE media ADD COLUMN thumbnail_bytes INTEGER NOT NULL DEFAULT 0;
",
    "
    ALTER TABLE events ADD COLUMN keep INTEGER NOT NULL DEFAULT 0; -- 1: retention does not delete it
    CREATE INDEX events_by_end ON events (end_time);
    CREATE TABLE marks (
        name  TEXT PRIMARY KEY,             -- what the store remembers of itself between runs
        value REAL NOT NULL
    ) STRICT;
",
];

/// Opens the database for writing and brings it to the newest schema.
pub fn open(path: &Path) -> Result<Connection> {
    match prepare(path) {
        Err(Error::Sqlite(error)) if is_damage(&error) => {
            let aside = put_aside(path)?;
            tracing::error!(
                "store {}: {error}; it was put aside as {} and a new one begun",
                path.display(),
                aside.display()
            );
            prepare(path)
        }
        result => result,
    }
}

/// A connection for reading beside the writer.
pub fn open_reader(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn prepare(path: &Path) -> Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // WAL with NORMAL: a commit survives the death of the process at once, that of the machine after the next checkpoint,
    // and the file is sound in both cases.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(damage, Some(sound)).into());
    }
    migrate(&mut connection, path)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if (1..known).contains(&found) {
        copy(connection, path, found);
    }
    for (version, step) in (1..).zip(MIGRATIONS).skip(found.max(0) as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    // What was under way when a run was cut off ended when it was last seen.
    connection.execute(
        "UPDATE events SET end_time = last_time, state = 'ended' WHERE end_time IS NULL",
        [],
    )?;
    Ok(())
}

/// Copies the database before its schema changes, for the way back to an older Watchpost.
fn copy(connection: &Connection, path: &Path, version: i64) {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".schema-{version}"));
    let copy = PathBuf::from(name);
    if copy.exists() {
        return;
    }
    match connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]) {
        Ok(_) => tracing::info!(
            "store {}: its schema changes; the file as it was is kept as {}",
            path.display(),
            copy.display()
        ),
        Err(error) => {
            tracing::warn!("store {}: cannot be copied: {error}", path.display());
            let _ = std::fs::remove_file(&copy); // a part of a copy is none
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}

fn put_aside(path: &Path) -> Result<PathBuf> {
    let seconds = now() as u64;
    let with_suffix = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with_suffix(&format!(".damaged-{seconds}"));
    std::fs::rename(path, &aside).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    // The log belongs to the file that was moved; a new database must not find it.
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::rename(
            with_suffix(suffix),
            with_suffix(&format!(".damaged-{seconds}{suffix}")),
        );
    }
    Ok(aside)
}

/// A file as it was at an earlier version.
#[cfg(test)]
pub fn open_at(path: &Path, version: usize) {
    let connection = Connection::open(path).unwrap();
    MIGRATIONS[..version]
        .iter()
        .for_each(|step| connection.execute_batch(step).unwrap());
    connection
        .pragma_update(None, "user_version", version as i64)
        .unwrap();
}
