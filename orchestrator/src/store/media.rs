//! The media index: what cameras' tasks made. The files themselves are the business of [`crate::media`].

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use watchpost_api::Media as MediaItem;
use watchpost_pipelines::tasks::{MediaFile, Task};

use super::tasks::{json, word};
use super::{MAX_PAGE, Result};

/// Which media are wanted; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MediaFilter {
    /// Of this camera.
    pub camera: Option<String>,
    /// Of one of these cameras.
    pub cameras: Option<Vec<String>>,
    /// Made by this task.
    pub task: Option<Task>,
    /// Of this series.
    pub series: Option<String>,
    /// Taken at this time or later (seconds since 1970).
    pub after: Option<f64>,
    /// Taken before this time (seconds since 1970).
    pub before: Option<f64>,
    /// With a lower number than this one: the next page.
    pub before_id: Option<i64>,
    /// At most this many (default 100, at most [`MAX_PAGE`]).
    pub limit: Option<usize>,
}

/// How many files there are, and how large together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaTotal {
    /// Files.
    pub files: u64,
    /// Their bytes, with those of their thumbnails.
    pub bytes: u64,
}

/// A file that comes into the index.
#[derive(Debug)]
pub struct NewMedia {
    pub camera: String,
    pub folder: String,
    pub file: MediaFile,
    pub thumbnail_bytes: u64,
}

const COLUMNS: &str = "id, camera, task, folder, name, media_type, time, duration, bytes, width, height, series, \
                       series_number, camera_config, thumbnail, thumbnail_bytes";

/// Adds a file, or brings what is known of it up to date. Also answers whether it is new.
pub fn add(connection: &Connection, new: NewMedia) -> Result<(MediaItem, bool)> {
    let NewMedia {
        camera,
        folder,
        file,
        thumbnail_bytes,
    } = new;
    let known: Option<i64> = connection
        .prepare_cached("SELECT id FROM media WHERE folder = ?1 AND name = ?2")?
        .query_row((&folder, &file.name), |row| row.get(0))
        .optional()?;
    // Not one upsert: SQLite uses up a number for each that ends in an update.
    let sql = if known.is_none() {
        "INSERT INTO media (camera, task, folder, name, media_type, time, duration, bytes, width, height, series,
                            series_number, camera_config, thumbnail, thumbnail_bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) RETURNING id"
    } else {
        "UPDATE media SET camera = ?1, task = ?2, media_type = ?5, time = ?6, duration = ?7, bytes = ?8, width = ?9,
             height = ?10, series = ?11, series_number = ?12, camera_config = ?13, thumbnail = ?14,
             thumbnail_bytes = ?15
         WHERE folder = ?3 AND name = ?4 RETURNING id"
    };
    let (series, series_number) = file.series.unzip();
    let known_size = |size: u32| (size > 0).then_some(size);
    let mut item = MediaItem {
        id: 0,
        camera,
        task: file.task,
        folder,
        name: file.name,
        media_type: file.media_type,
        time: file.time,
        duration: file.duration,
        size: file.bytes,
        width: known_size(file.width),
        height: known_size(file.height),
        series,
        series_number,
        camera_config: file.camera_config,
        thumbnail: file.thumbnail,
        thumbnail_size: thumbnail_bytes,
    };
    item.id = connection.prepare_cached(sql)?.query_row(
        rusqlite::params![
            item.camera,
            item.task.as_str(),
            item.folder,
            item.name,
            item.media_type,
            item.time,
            item.duration,
            signed(item.size),
            item.width,
            item.height,
            item.series,
            item.series_number.map(signed),
            item.camera_config.to_string(),
            item.thumbnail,
            signed(item.thumbnail_size),
        ],
        |row| row.get(0),
    )?;
    Ok((item, known.is_none()))
}

pub fn remove(connection: &Connection, id: i64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM media WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

pub fn get(connection: &Connection, id: i64) -> Result<Option<MediaItem>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM media WHERE id = ?1"))?;
    Ok(statement.query_row([id], read).optional()?)
}

pub fn query(connection: &Connection, filter: &MediaFilter) -> Result<Vec<MediaItem>> {
    let conditions = [
        ("camera = ?", filter.camera.clone().map(Value::from)),
        (
            "task = ?",
            filter
                .task
                .map(|task| Value::from(task.as_str().to_owned())),
        ),
        ("series = ?", filter.series.clone().map(Value::from)),
        ("time >= ?", filter.after.map(Value::from)),
        ("time < ?", filter.before.map(Value::from)),
        super::one_of(filter.cameras.as_deref()),
        ("id < ?", filter.before_id.map(Value::from)),
    ];
    let limit = filter.limit.unwrap_or(100).min(MAX_PAGE);
    let (condition, values) = super::all_of(conditions);
    let sql =
        format!("SELECT {COLUMNS} FROM media WHERE {condition} ORDER BY id DESC LIMIT {limit}");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The oldest ones, oldest first; those taken before `before` where it is given.
pub fn oldest(
    connection: &Connection,
    before: Option<f64>,
    before_id: Option<i64>,
    limit: usize,
) -> Result<Vec<MediaItem>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM media WHERE time < coalesce(?1, 9e999) AND (?2 IS NULL OR id < ?2)
         ORDER BY time, id LIMIT ?3"
    ))?;
    let rows = statement.query_map((before, before_id, signed(limit as u64)), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What each camera has.
pub fn totals(connection: &Connection) -> Result<BTreeMap<String, MediaTotal>> {
    let mut statement = connection.prepare_cached(
        "SELECT camera, count(*), sum(bytes + thumbnail_bytes) FROM media GROUP BY camera",
    )?;
    let rows = statement.query_map([], |row| {
        let total = MediaTotal {
            files: unsigned(row.get(1)?),
            bytes: unsigned(row.get(2)?),
        };
        Ok((row.get(0)?, total))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The folders there are files of.
pub fn folders(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT DISTINCT folder FROM media")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// All files of a folder, by name.
pub fn of_folder(connection: &Connection, folder: &str) -> Result<Vec<MediaItem>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM media WHERE folder = ?1 ORDER BY name"
    ))?;
    let rows = statement.query_map([folder], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// SQLite has no unsigned numbers.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn read(row: &Row) -> rusqlite::Result<MediaItem> {
    Ok(MediaItem {
        id: row.get(0)?,
        camera: row.get(1)?,
        task: word(row, 2)?,
        folder: row.get(3)?,
        name: row.get(4)?,
        media_type: row.get(5)?,
        time: row.get(6)?,
        duration: row.get(7)?,
        size: unsigned(row.get(8)?),
        width: row.get(9)?,
        height: row.get(10)?,
        series: row.get(11)?,
        series_number: row.get::<_, Option<i64>>(12)?.map(unsigned),
        camera_config: json(row, 13)?,
        thumbnail: row.get(14)?,
        thumbnail_size: unsigned(row.get(15)?),
    })
}
