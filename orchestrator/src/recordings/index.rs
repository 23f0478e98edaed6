//! The index: one row per segment, gaps, review items as reasons to keep, and the paths in use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use watchpost_pipelines::record::{Group, SegmentReport};
use watchpost_recorder::review::{Item, Severity};
use watchpost_recorder::{Kind, Span};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS segments (
        id        INTEGER PRIMARY KEY,
        camera    TEXT NOT NULL,
        path      TEXT NOT NULL,            -- folder that the name is below
        name      TEXT NOT NULL,
        start     INTEGER NOT NULL,         -- milliseconds since 1970
        end       INTEGER NOT NULL,
        bytes     INTEGER NOT NULL,
        version   INTEGER NOT NULL,
        groups    BLOB NOT NULL,            -- per group of pictures: start (4 bytes), motion, objects
        reasons   TEXT NOT NULL,
        summary   INTEGER,                  -- place of the summary box; NULL while it is written
        recovered INTEGER NOT NULL,         -- 1: found without its reasons
        UNIQUE (path, name)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS segments_by_time ON segments (camera, start);
    CREATE TABLE IF NOT EXISTS gaps (
        camera TEXT NOT NULL,
        start  INTEGER NOT NULL,
        end    INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS gaps_by_time ON gaps (camera, start);
    CREATE TABLE IF NOT EXISTS items (
        id       TEXT PRIMARY KEY,
        camera   TEXT NOT NULL,
        start    INTEGER NOT NULL,
        end      INTEGER,                   -- NULL while it lasts
        severity TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS items_by_time ON items (camera, start);
    CREATE TABLE IF NOT EXISTS paths (path TEXT PRIMARY KEY) STRICT;
    CREATE TABLE IF NOT EXISTS removed (
        camera TEXT NOT NULL,
        start  INTEGER NOT NULL,
        end    INTEGER NOT NULL,
        bytes  INTEGER NOT NULL,
        rule   TEXT NOT NULL,
        time   INTEGER NOT NULL
    ) STRICT;
";

/// A segment in the index. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentRow {
    pub(super) id: i64,
    /// Folder that its name is below.
    pub path: PathBuf,
    /// Name.
    pub name: String,
    /// First picture.
    pub start: i64,
    /// End of the last complete fragment.
    pub end: i64,
    /// Bytes.
    pub bytes: u64,
    /// Activity.
    pub groups: Vec<Group>,
    /// Reasons, separated by commas.
    pub reasons: String,
    pub(super) complete: bool,
    pub(super) recovered: bool,
}

#[cfg(test)]
impl SegmentRow {
    /// A complete segment with this activity.
    pub fn of_test(start: i64, end: i64, groups: &[Group]) -> Self {
        Self {
            id: 1,
            path: PathBuf::new(),
            name: String::new(),
            start,
            end,
            bytes: 0,
            groups: groups.to_vec(),
            reasons: String::new(),
            complete: true,
            recovered: false,
        }
    }
}

/// Footage that is not there although it was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// First moment.
    pub start: i64,
    /// End.
    pub end: i64,
    /// Why.
    pub reason: String,
}

#[derive(Debug)]
pub(super) struct Index {
    connection: Connection,
}

impl Index {
    pub fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }

    /// Adds a segment, or brings its row up to date.
    pub fn put(&self, camera: &str, segment: &SegmentReport, recovered: bool) -> Result<()> {
        let path = segment.path.to_string_lossy();
        self.connection
            .execute("INSERT OR IGNORE INTO paths (path) VALUES (?1)", [&path])?;
        let mut put = self.connection.prepare_cached(
            "INSERT INTO segments (camera, path, name, start, end, bytes, version, groups, reasons, summary, recovered)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (path, name) DO UPDATE SET end = ?5, bytes = ?6, groups = ?8, summary = ?10",
        )?;
        put.execute(params![
            camera,
            path,
            segment.name,
            segment.start,
            segment.end,
            i64::try_from(segment.bytes).unwrap_or(i64::MAX),
            segment.version.cast_signed(),
            blob(&segment.groups),
            segment.reasons,
            segment.summary.map(u64::cast_signed),
            recovered,
        ])?;
        Ok(())
    }

    pub fn gap(&self, camera: &str, gap: &Gap) -> Result<()> {
        self.connection.execute(
            "INSERT INTO gaps (camera, start, end, reason) VALUES (?1, ?2, ?3, ?4)",
            params![camera, gap.start, gap.end, gap.reason],
        )?;
        Ok(())
    }

    pub fn item(&self, camera: &str, item: &Item) -> Result<()> {
        self.connection.execute(
            "INSERT INTO items (id, camera, start, end, severity) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET end = ?4, severity = ?5",
            params![
                item.id,
                camera,
                item.start,
                item.end,
                item.severity.kind().name()
            ],
        )?;
        Ok(())
    }

    /// Items that a killed daemon left open end with the footage that there is.
    pub fn close_items(&self, now: i64) -> Result<()> {
        self.connection.execute(
            "UPDATE items SET end = coalesce((SELECT max(end) FROM segments WHERE camera = items.camera \
             AND end >= items.start), ?1) WHERE end IS NULL",
            [now],
        )?;
        Ok(())
    }

    /// Kind and span of a camera's items that overlap a span when they are so much wider.
    pub fn items(&self, camera: &str, span: Span, wider: i64) -> Result<Vec<(Kind, Span)>> {
        let mut items = self.connection.prepare_cached(
            "SELECT severity, start, coalesce(end, 9223372036854) FROM items
             WHERE camera = ?1 AND start < ?3 AND coalesce(end, 9223372036854) >= ?2",
        )?;
        let from = span.start.saturating_sub(wider);
        let to = span.end.saturating_add(wider);
        let rows = items.query_map(params![camera, from, to], |row| {
            let alert = row.get::<_, String>(0)? == Severity::Alert.kind().name();
            let severity = if alert {
                Severity::Alert
            } else {
                Severity::Detection
            };
            Ok((severity.kind(), Span::new(row.get(1)?, row.get(2)?)))
        })?;
        rows.collect()
    }

    pub fn segments(&self, camera: &str, after: i64, before: i64) -> Result<Vec<SegmentRow>> {
        // No segment is longer than two minutes; the index on `start` bounds the search.
        let mut segments = self.connection.prepare_cached(
            "SELECT id, path, name, start, end, bytes, groups, reasons, summary IS NOT NULL, recovered FROM segments
             WHERE camera = ?1 AND start < ?3 AND start > ?2 - 600000 AND end > ?2 ORDER BY start",
        )?;
        let rows = segments.query_map(params![camera, after, before], row)?;
        rows.collect()
    }

    /// All segments of a camera, oldest first, one after the other.
    pub fn each(&self, camera: &str, mut each: impl FnMut(SegmentRow) -> Result<()>) -> Result<()> {
        let mut segments = self.connection.prepare_cached(
            "SELECT id, path, name, start, end, bytes, groups, reasons, summary IS NOT NULL, recovered FROM segments
             WHERE camera = ?1 ORDER BY start",
        )?;
        let mut rows = segments.query([camera])?;
        while let Some(next) = rows.next()? {
            each(row(next)?)?;
        }
        Ok(())
    }

    pub fn gaps(&self, camera: &str, after: i64, before: i64) -> Result<Vec<Gap>> {
        let mut gaps = self.connection.prepare_cached(
            "SELECT start, end, reason FROM gaps WHERE camera = ?1 AND start < ?3 AND end > ?2 ORDER BY start",
        )?;
        let rows = gaps.query_map(params![camera, after, before], |row| {
            Ok(Gap {
                start: row.get(0)?,
                end: row.get(1)?,
                reason: row.get(2)?,
            })
        })?;
        rows.collect()
    }

    pub fn cameras(&self) -> Result<Vec<String>> {
        let mut cameras = self
            .connection
            .prepare_cached("SELECT DISTINCT camera FROM segments")?;
        let rows = cameras.query_map([], |row| row.get(0))?;
        rows.collect()
    }

    /// Bytes, segments and the start of the oldest.
    pub fn totals(&self, camera: &str) -> Result<(u64, u64, Option<i64>)> {
        self.connection.query_row(
            "SELECT coalesce(sum(bytes), 0), count(*), min(start) FROM segments WHERE camera = ?1",
            [camera],
            |row| {
                let bytes: i64 = row.get(0)?;
                let count: i64 = row.get(1)?;
                Ok((bytes.cast_unsigned(), count.cast_unsigned(), row.get(2)?))
            },
        )
    }

    pub fn paths(&self) -> Result<Vec<PathBuf>> {
        let mut paths = self.connection.prepare("SELECT path FROM paths")?;
        let rows = paths.query_map([], |row| row.get::<_, String>(0).map(PathBuf::from))?;
        rows.collect()
    }

    /// Whether a segment is in the index, complete.
    pub fn is_complete(&self, path: &Path, name: &str) -> Result<bool> {
        let mut found = self.connection.prepare_cached(
            "SELECT summary IS NOT NULL FROM segments WHERE path = ?1 AND name = ?2",
        )?;
        let complete = found.query_row(params![path.to_string_lossy(), name], |row| row.get(0));
        Ok(complete.optional()?.unwrap_or(false))
    }

    /// The reasons a segment was begun for, as far as they are known.
    pub fn reasons(&self, path: &Path, name: &str) -> Result<Option<String>> {
        let mut found = self
            .connection
            .prepare_cached("SELECT reasons FROM segments WHERE path = ?1 AND name = ?2")?;
        let reasons = found.query_row(params![path.to_string_lossy(), name], |row| row.get(0));
        reasons.optional()
    }

    /// Takes a segment out, and notes why.
    pub fn remove(&self, camera: &str, segment: &SegmentRow, rule: &str, now: i64) -> Result<()> {
        self.connection
            .execute("DELETE FROM segments WHERE id = ?1", [segment.id])?;
        self.connection.execute(
            "INSERT INTO removed (camera, start, end, bytes, rule, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                camera,
                segment.start,
                segment.end,
                segment.bytes.cast_signed(),
                rule,
                now
            ],
        )?;
        Ok(())
    }
}

fn row(row: &Row<'_>) -> Result<SegmentRow> {
    let groups: Vec<u8> = row.get(6)?;
    Ok(SegmentRow {
        id: row.get(0)?,
        path: row.get::<_, String>(1)?.into(),
        name: row.get(2)?,
        start: row.get(3)?,
        end: row.get(4)?,
        bytes: row.get::<_, i64>(5)?.cast_unsigned(),
        groups: groups_of(&groups),
        reasons: row.get(7)?,
        complete: row.get(8)?,
        recovered: row.get(9)?,
    })
}

fn blob(groups: &[Group]) -> Vec<u8> {
    let mut out = Vec::with_capacity(groups.len() * 6);
    for group in groups {
        out.extend_from_slice(&group.at.to_le_bytes());
        out.extend_from_slice(&[u8::from(group.motion), group.objects]);
    }
    out
}

fn groups_of(blob: &[u8]) -> Vec<Group> {
    let (groups, _) = blob.as_chunks::<6>();
    let group = |bytes: &[u8; 6]| Group {
        at: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        motion: bytes[4] != 0,
        objects: bytes[5],
    };
    groups.iter().map(group).collect()
}
