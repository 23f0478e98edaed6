//! Object events: one for each object, from its first confirmation to its end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use detection::{BBox, TrackChange};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use schemars::JsonSchema;
use serde::Serialize;

use super::Result;

/// The most events one query answers.
pub const MAX_PAGE: usize = 1000;

/// Points kept of an object's path; of a longer one every second point goes.
pub(super) const MAX_PATH: usize = 256;

/// A point is worth keeping when the object has moved this far (of the frame) since the last one.
const PATH_STEP: f64 = 0.02;

/// A change of a track, as it comes from the analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackRecord {
    /// The camera.
    pub camera: String,
    /// The object's id, unique per camera.
    pub object_id: i64,
    /// What happened.
    pub change: TrackChange,
    /// Its class.
    pub label: String,
    /// Confidence, 0..=1.
    pub score: f64,
    /// Where, in fractions of the frame.
    pub bbox: BBox,
    /// Way so far, in fractions of the frame's width.
    pub path_length: f64,
    /// Seconds since 1970.
    pub first_seen: f64,
    /// Seconds since 1970.
    pub last_seen: f64,
    /// Zones it is in.
    pub zones: Vec<String>,
}

/// An object event as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Event {
    /// Number of the event, over all cameras; newer ones are higher.
    pub id: i64,
    /// The camera.
    pub camera: String,
    /// The object's id, unique per camera.
    pub object_id: i64,
    /// Its class.
    pub label: String,
    /// active, stationary, lost or ended.
    pub state: String,
    /// Seconds since 1970.
    pub start_time: f64,
    /// When it was last seen; seconds since 1970.
    pub last_time: f64,
    /// Seconds since 1970; null while it lasts.
    pub end_time: Option<f64>,
    /// The best confidence it had, 0..=1.
    pub score: f64,
    /// When that was; seconds since 1970.
    pub best_time: f64,
    /// Where it was then: x1, y1, x2, y2 in fractions of the frame.
    pub best_box: [f64; 4],
    /// All zones it has been in.
    pub zones: Vec<String>,
    /// Bottom centres [time, x, y] along its way, in fractions of the frame, thinned.
    pub path: Vec<[f64; 3]>,
    /// Length of its way, in fractions of the frame's width.
    pub path_length: f64,
}

/// Which events are wanted; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventFilter {
    /// Of this camera.
    pub camera: Option<String>,
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

const COLUMNS: &str = "id, camera, object_id, label, state, start_time, last_time, end_time, score, best_time, best_box, \
                       zones, path, path_length";

/// The events that are under way, so that a change of one does not read it from the database again, and several changes in
/// one batch write it once.
#[derive(Default)]
pub struct Live {
    /// By camera and object: the event, and whether it has changed since it was written.
    events: BTreeMap<(String, i64), (Event, bool)>,
}

impl Live {
    /// Brings an event up to date with a change of its track, or begins it. `None`: the change says nothing of a known
    /// event. It is in the database only after [`Live::write`].
    pub fn record(
        &mut self,
        connection: &Connection,
        track: &TrackRecord,
    ) -> Result<Option<&Event>> {
        let (event, changed) = match self.events.entry((track.camera.clone(), track.object_id)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let known = connection
                    .prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM events WHERE camera = ?1 AND object_id = ?2"
                    ))?
                    .query_row((&track.camera, track.object_id), read)
                    .optional()?;
                let event = match known {
                    Some(event) => event,
                    None if track.change == TrackChange::Ended => return Ok(None),
                    None => begin(track),
                };
                place.insert((event, false))
            }
        };
        advance(event, track);
        if event.id == 0 {
            event.id = insert(connection, event)?;
        } else {
            *changed = true;
        }
        Ok(Some(event))
    }

    /// Writes what has changed. What has ended is not kept here any longer.
    pub fn write(&mut self, connection: &Connection) -> Result<()> {
        for (event, changed) in self.events.values_mut().filter(|(_, changed)| *changed) {
            update(connection, event)?;
            *changed = false;
        }
        self.events.retain(|_, (event, _)| event.end_time.is_none());
        Ok(())
    }

    /// As [`Live::write`], and forgets everything: the database is about to be changed by others.
    pub fn give_back(&mut self, connection: &Connection) -> Result<()> {
        self.write(connection)?;
        self.events.clear();
        Ok(())
    }
}

// Not one upsert: SQLite uses up a number for each that ends in an update, and events would skip numbers.
fn insert(connection: &Connection, event: &Event) -> Result<i64> {
    let sql = "INSERT INTO events (camera, object_id, label, state, start_time, last_time, end_time, score, best_time,
                                   best_box, zones, path, path_length)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) RETURNING id";
    write_row(connection, sql, event)
}

fn update(connection: &Connection, event: &Event) -> Result<()> {
    let sql = "UPDATE events SET label = ?3, state = ?4, start_time = ?5, last_time = ?6, end_time = ?7, score = ?8,
                   best_time = ?9, best_box = ?10, zones = ?11, path = ?12, path_length = ?13
               WHERE camera = ?1 AND object_id = ?2 RETURNING id";
    write_row(connection, sql, event).map(drop)
}

fn write_row(connection: &Connection, sql: &str, event: &Event) -> Result<i64> {
    let json = |value: serde_json::Result<String>| value.unwrap_or_default(); // numbers and strings always serialise
    let id = connection.prepare_cached(sql)?.query_row(
        rusqlite::params![
            event.camera,
            event.object_id,
            event.label,
            event.state,
            event.start_time,
            event.last_time,
            event.end_time,
            event.score,
            event.best_time,
            json(serde_json::to_string(&event.best_box)),
            json(serde_json::to_string(&event.zones)),
            json(serde_json::to_string(&event.path)),
            event.path_length,
        ],
        |row| row.get(0),
    )?;
    Ok(id)
}

/// Ends what is under way at a camera, when it was last seen.
pub fn end_all(connection: &Connection, camera: &str) -> Result<Vec<Event>> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE camera = ?1 AND end_time IS NULL");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut events: Vec<Event> = statement
        .query_map([camera], read)?
        .collect::<rusqlite::Result<_>>()?;
    for event in &mut events {
        "ended".clone_into(&mut event.state);
        event.end_time = Some(event.last_time);
        update(connection, event)?;
    }
    Ok(events)
}

pub fn get(connection: &Connection, id: i64) -> Result<Option<Event>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?;
    Ok(statement.query_row([id], read).optional()?)
}

pub fn query(connection: &Connection, filter: &EventFilter) -> Result<Vec<Event>> {
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

fn begin(track: &TrackRecord) -> Event {
    Event {
        id: 0,
        camera: track.camera.clone(),
        object_id: track.object_id,
        label: track.label.clone(),
        state: String::new(),
        start_time: track.first_seen,
        last_time: track.last_seen,
        end_time: None,
        score: -1.0, // any score is better
        best_time: track.last_seen,
        best_box: [0.0; 4],
        zones: Vec::new(),
        path: Vec::new(),
        path_length: 0.0,
    }
}

fn advance(event: &mut Event, track: &TrackRecord) {
    event.label.clone_from(&track.label);
    event.last_time = event.last_time.max(track.last_seen);
    event.path_length = track.path_length;
    let state = match track.change {
        TrackChange::Updated if !matches!(event.state.as_str(), "" | "lost" | "ended") => None,
        TrackChange::Started | TrackChange::Moving | TrackChange::Updated => Some("active"),
        TrackChange::Stationary => Some("stationary"),
        TrackChange::Lost => Some("lost"),
        TrackChange::Ended => Some("ended"),
    };
    if let Some(state) = state {
        state.clone_into(&mut event.state);
    }
    event.end_time = (track.change == TrackChange::Ended).then_some(event.last_time);
    for zone in &track.zones {
        if !event.zones.contains(zone) {
            event.zones.push(zone.clone());
        }
    }
    if matches!(track.change, TrackChange::Lost | TrackChange::Ended) {
        return; // its box says where it was, not where it is
    }
    if track.score > event.score {
        event.score = track.score;
        event.best_time = track.last_seen;
        event.best_box = [track.bbox.x1, track.bbox.y1, track.bbox.x2, track.bbox.y2].map(place);
    }
    let (x, y) = track.bbox.bottom_centre();
    let (x, y) = (place(x), place(y));
    if event
        .path
        .last()
        .is_none_or(|[_, px, py]| (x - px).hypot(y - py) >= PATH_STEP)
    {
        event.path.push([milliseconds(track.last_seen), x, y]);
    }
    if event.path.len() > MAX_PATH {
        let mut keep = false;
        event.path.retain(|_| {
            keep = !keep;
            keep
        });
    }
}

/// A place in the frame without digits that mean nothing: a path is written, sent and read many times.
fn place(fraction: f32) -> f64 {
    (f64::from(fraction) * 1e5).round() / 1e5
}

fn milliseconds(time: f64) -> f64 {
    (time * 1e3).round() / 1e3
}

fn read(row: &Row) -> rusqlite::Result<Event> {
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
    Ok(Event {
        id: row.get(0)?,
        camera: row.get(1)?,
        object_id: row.get(2)?,
        label: row.get(3)?,
        state: row.get(4)?,
        start_time: row.get(5)?,
        last_time: row.get(6)?,
        end_time: row.get(7)?,
        score: row.get(8)?,
        best_time: row.get(9)?,
        best_box: serde_json::from_str(&json(10)?).map_err(bad(10))?,
        zones: serde_json::from_str(&json(11)?).map_err(bad(11))?,
        path: serde_json::from_str(&json(12)?).map_err(bad(12))?,
        path_length: row.get(13)?,
    })
}
