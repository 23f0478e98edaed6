//! Object events found by their start, for clients that ask by time.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use watchpost_api::ObjectEvent;

use super::Result;
use super::events::{COLUMNS, read};
use crate::frigate::Start;

/// Starts that are counted at most.
const MOST_STARTS: usize = 200_000;

/// Which events are wanted; everything that is set must hold. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EventSearch {
    pub(crate) number: Option<i64>,
    pub(crate) cameras: Option<Vec<String>>,
    pub(crate) labels: Option<Vec<String>>,
    /// That have been in one of these zones.
    pub(crate) zones: Option<Vec<String>>,
    /// That began after this time.
    pub(crate) after: Option<f64>,
    /// That began before this time.
    pub(crate) before: Option<f64>,
    pub(crate) min_score: Option<f64>,
    pub(crate) max_score: Option<f64>,
    /// Seconds they lasted.
    pub(crate) min_length: Option<f64>,
    pub(crate) max_length: Option<f64>,
    /// Whether they last.
    pub(crate) in_progress: Option<bool>,
    /// Whether they are marked to keep.
    pub(crate) keep: Option<bool>,
    pub(crate) order: EventOrder,
    /// At most this many.
    pub(crate) limit: usize,
}

/// Which come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum EventOrder {
    #[default]
    Newest,
    Oldest,
    BestScore,
    WorstScore,
}

pub(super) fn search(connection: &Connection, wanted: &EventSearch) -> Result<Vec<ObjectEvent>> {
    // One parameter, however long the list.
    let list = |list: &Option<Vec<String>>| {
        let list = list.as_ref()?;
        Some(Value::from(serde_json::to_string(list).unwrap_or_default()))
    };
    let number = |number: Option<f64>| number.map(Value::from);
    let flag = |flag: Option<bool>| flag.map(Value::from);
    let conditions = [
        ("id = ?", wanted.number.map(Value::from)),
        (
            "camera IN (SELECT value FROM json_each(?))",
            list(&wanted.cameras),
        ),
        (
            "label IN (SELECT value FROM json_each(?))",
            list(&wanted.labels),
        ),
        (
            "EXISTS (SELECT 1 FROM json_each(zones) JOIN json_each(?) AS wanted ON json_each.value = wanted.value)",
            list(&wanted.zones),
        ),
        ("start_time > ?", number(wanted.after)),
        ("start_time < ?", number(wanted.before)),
        ("score >= ?", number(wanted.min_score)),
        ("score <= ?", number(wanted.max_score)),
        (
            "coalesce(end_time, last_time) - start_time >= ?",
            number(wanted.min_length),
        ),
        (
            "coalesce(end_time, last_time) - start_time <= ?",
            number(wanted.max_length),
        ),
        ("(end_time IS NULL) = ?", flag(wanted.in_progress)),
        ("keep = ?", flag(wanted.keep)),
    ];
    let (condition, values) = super::all_of(conditions);
    let order = match wanted.order {
        EventOrder::Newest => "start_time DESC, id DESC",
        EventOrder::Oldest => "start_time, id",
        EventOrder::BestScore => "score DESC, id DESC",
        EventOrder::WorstScore => "score, id DESC",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE {condition} ORDER BY {order} LIMIT {}",
        wanted.limit
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What is counted of the newest events.
pub(super) fn starts(connection: &Connection) -> Result<Vec<Start>> {
    let sql = format!(
        "SELECT camera, label, zones, start_time FROM events ORDER BY start_time DESC LIMIT {MOST_STARTS}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| {
        let zones: String = row.get(2)?;
        Ok(Start {
            camera: row.get(0)?,
            label: row.get(1)?,
            zones: serde_json::from_str(&zones).unwrap_or_default(),
            time: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::{events, schema};
    use super::*;
    use watchpost_api::EventState;

    fn event(id: i64, camera: &str, label: &str, start: f64) -> ObjectEvent {
        ObjectEvent {
            id,
            camera: camera.into(),
            object_id: id,
            label: label.into(),
            state: EventState::Ended,
            start_time: start,
            last_time: start + id as f64,
            end_time: (id != 3).then_some(start + id as f64),
            score: id as f64 / 10.0,
            best_time: start,
            best_box: [0.0, 0.0, 1.0, 1.0],
            zones: if id == 2 {
                vec!["yard".into(), "road".into()]
            } else {
                vec![]
            },
            path: vec![],
            path_length: 0.0,
            keep: None,
        }
    }

    #[test]
    fn everything_that_is_set_must_hold() {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open(&folder.path().join("events.db")).unwrap();
        for event in [
            event(1, "front", "person", 300.0),
            event(2, "back", "car", 200.0),
            event(3, "front", "car", 100.0),
        ] {
            events::save(&connection, &event).unwrap();
        }
        events::keep(&connection, 1, true).unwrap();
        let all = || EventSearch {
            limit: 10,
            ..EventSearch::default()
        };
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        for (wanted, expected) in [
            (all(), vec![1, 2, 3]),
            (EventSearch { limit: 1, ..all() }, vec![1]),
            (
                EventSearch {
                    order: EventOrder::Oldest,
                    ..all()
                },
                vec![3, 2, 1],
            ),
            (
                EventSearch {
                    order: EventOrder::BestScore,
                    ..all()
                },
                vec![3, 2, 1],
            ),
            (
                EventSearch {
                    number: Some(2),
                    ..all()
                },
                vec![2],
            ),
            (
                EventSearch {
                    cameras: names(&["front", "x"]),
                    ..all()
                },
                vec![1, 3],
            ),
            (
                EventSearch {
                    labels: names(&["car"]),
                    ..all()
                },
                vec![2, 3],
            ),
            (
                EventSearch {
                    zones: names(&["a", "road"]),
                    ..all()
                },
                vec![2],
            ),
            (
                EventSearch {
                    after: Some(100.0),
                    ..all()
                },
                vec![1, 2],
            ),
            (
                EventSearch {
                    before: Some(200.0),
                    ..all()
                },
                vec![3],
            ),
            (
                EventSearch {
                    min_score: Some(0.2),
                    max_score: Some(0.2),
                    ..all()
                },
                vec![2],
            ),
            (
                EventSearch {
                    min_length: Some(2.0),
                    max_length: Some(2.5),
                    ..all()
                },
                vec![2],
            ),
            (
                EventSearch {
                    in_progress: Some(true),
                    ..all()
                },
                vec![3],
            ),
            (
                EventSearch {
                    in_progress: Some(false),
                    ..all()
                },
                vec![1, 2],
            ),
            (
                EventSearch {
                    keep: Some(true),
                    ..all()
                },
                vec![1],
            ),
        ] {
            let found = search(&connection, &wanted).unwrap();
            let ids: Vec<i64> = found.iter().map(|event| event.id).collect();
            assert_eq!(ids, expected, "{wanted:?}");
        }
        let starts = starts(&connection).unwrap();
        assert_eq!(starts[1].zones, ["yard", "road"]);
        assert_eq!(starts.len(), 3);
    }
}
