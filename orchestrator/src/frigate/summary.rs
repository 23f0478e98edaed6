//! Events counted by camera, label, zones and day.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What is counted of an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Start {
    pub(crate) camera: String,
    pub(crate) label: String,
    pub(crate) zones: Vec<String>,
    /// Seconds since 1970.
    pub(crate) time: f64,
}

/// A time zone that a client names.
#[derive(Debug, Clone)]
pub(crate) struct TimeZone(glib::TimeZone);

impl TimeZone {
    /// The zone of this name, such as `Europe/Berlin`; UTC where this machine does not know it.
    pub(crate) fn named(name: &str) -> Self {
        Self(glib::TimeZone::new(Some(name)))
    }

    /// The day of a time, as `YYYY-MM-DD`.
    pub(crate) fn day(&self, time: f64) -> String {
        let local = glib::DateTime::from_unix_utc(time.floor() as i64);
        let local = local.and_then(|time| time.to_timezone(&self.0));
        let text = local.and_then(|time| time.format("%Y-%m-%d"));
        text.map_or_else(|_| String::new(), Into::into)
    }
}

/// The counts, newest days first.
pub(crate) fn summary(starts: impl IntoIterator<Item = Start>, zone: &TimeZone) -> Vec<Value> {
    let mut counts: BTreeMap<(String, String, String, Vec<String>), u64> = BTreeMap::new();
    for start in starts {
        let day = zone.day(start.time);
        *counts
            .entry((day, start.camera, start.label, start.zones))
            .or_default() += 1;
    }
    let entry = |((day, camera, label, zones), count)| {
        json!({
            "camera": camera,
            "label": label,
            "sub_label": null,
            "zones": zones,
            "day": day,
            "count": count,
            "data": {},
        })
    };
    counts.into_iter().rev().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(label: &str, time: f64) -> Start {
        Start {
            camera: "front".into(),
            label: label.into(),
            zones: vec!["yard".into()],
            time,
        }
    }

    #[test]
    fn events_are_counted_by_the_day_of_the_zone() {
        // 2026-11-30 23:30 and 2026-12-01 00:30 in UTC.
        let starts = [
            start("person", 1_796_081_400.0),
            start("person", 1_796_085_000.5),
            start("car", 1_796_085_000.0),
        ];
        let days = |zone: &str| {
            let zone = TimeZone::named(zone);
            let counts = summary(starts.clone(), &zone);
            let text = |value: &Value| {
                let day = value["day"].as_str().unwrap();
                format!(
                    "{day} {} {}",
                    value["label"].as_str().unwrap(),
                    value["count"]
                )
            };
            counts.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            days("UTC"),
            [
                "2026-12-01 person 1",
                "2026-12-01 car 1",
                "2026-11-30 person 1"
            ]
        );
        assert_eq!(
            days("Asia/Kolkata"),
            ["2026-12-01 person 2", "2026-12-01 car 1"]
        );
        assert_eq!(days("Nowhere/Land"), days("UTC"));
    }
}
