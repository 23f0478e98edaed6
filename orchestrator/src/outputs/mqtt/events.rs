//! Frigate's form of object events: `{type, before, after}`.

use std::time::Duration;

use detection::{FrameSize, TrackChange};
use serde_json::{Map, Value, json};
use watchpost_api::TrackEvent;

use crate::frigate;

/// A better picture alone is worth a message only so often.
const BETTER: Duration = Duration::from_secs(5);

/// What is remembered of an object for its next message.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The object as the last message has it.
    after: Value,
    stationary: bool,
    path_length: usize,
    best_score: f64,
    /// Capture time of the last message.
    time: f64,
    rests_since: Option<f64>,
    /// How often it began to move again.
    departures: u32,
}

/// The kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    New,
    Update,
    End,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::New, Self::Update, Self::End];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

/// The message that a change of a track means, if it is worth one. `told` is what the last message about the object
/// left, and becomes what this one leaves.
pub(super) fn message(
    track: &TrackEvent,
    told: &mut Option<Told>,
    size: Option<FrameSize>,
    fps: f64,
) -> Option<(Kind, Value)> {
    let kind = match (track.change, &told) {
        (TrackChange::Ended, None) => return None,
        (TrackChange::Ended, Some(_)) => Kind::End,
        (_, None) => Kind::New,
        (_, Some(told)) if is_worth_it(track, told) => Kind::Update,
        _ => return None,
    };
    let departs = track.change == TrackChange::Moving;
    let departures = told.as_ref().map_or(0, |told| told.departures) + u32::from(departs);
    let rests_since = track.stationary.then(|| {
        let known = told.as_ref().and_then(|told| told.rests_since);
        known.unwrap_or(track.time)
    });
    let after = object(track, size, fps, departures, rests_since);
    let before = match told.take() {
        Some(told) => told.after,
        None => {
            let mut before = after.clone();
            before["false_positive"] = Value::Bool(true);
            before
        }
    };
    *told = Some(Told {
        after: after.clone(),
        stationary: track.stationary,
        path_length: track.event.path.len(),
        best_score: track.event.score,
        time: track.time,
        rests_since,
        departures,
    });
    let message = json!({"type": kind.as_str(), "before": before, "after": after});
    Some((kind, message))
}

fn is_worth_it(track: &TrackEvent, told: &Told) -> bool {
    let better =
        track.event.score > told.best_score && track.time - told.time >= BETTER.as_secs_f64();
    better
        || !track.entered.is_empty()
        || !track.left.is_empty()
        || track.stationary != told.stationary
        || track.event.path.len() != told.path_length
}

fn object(
    track: &TrackEvent,
    size: Option<FrameSize>,
    fps: f64,
    departures: u32,
    rests_since: Option<f64>,
) -> Value {
    let event = &track.event;
    let frames = |seconds: f64| (seconds.max(0.0) * fps).round() as u64;
    let moved = u32::from(event.path.len() > 1);
    let path: Vec<Value> = event
        .path
        .iter()
        .map(|[time, x, y]| json!([[x, y], time]))
        .collect();
    let mut object = json!({
        "id": frigate::of_event(event),
        "camera": event.camera,
        "label": track.label,
        "sub_label": null,
        "start_time": event.start_time,
        "end_time": event.end_time,
        "frame_time": track.time,
        "snapshot": null,
        "thumbnail": null,
        "top_score": event.score,
        "score": track.score,
        "computed_score": track.score,
        "false_positive": false,
        "current_zones": track.zones,
        "entered_zones": event.zones,
        "has_snapshot": false,
        "has_clip": false,
        "active": !track.stationary,
        "stationary": track.stationary,
        "motionless_count": rests_since.map_or(0, |since| frames(track.time - since)),
        "position_changes": moved + departures,
        "attributes": {},
        "current_attributes": [],
        "max_severity": null,
        "pending_loitering": false,
        "path_data": path,
        "current_estimated_speed": 0.0,
        "average_estimated_speed": 0.0,
        "velocity_angle": 0.0,
        "recognized_license_plate": null,
    });
    if let Some(keys) = object.as_object_mut() {
        geometry(track, size, keys);
    }
    object
}

/// Box, region, area and ratio in pixels; null while the size of the analysed pictures is not known.
fn geometry(track: &TrackEvent, size: Option<FrameSize>, keys: &mut Map<String, Value>) {
    let Some(size) = size else {
        for key in ["box", "region", "area", "ratio"] {
            keys.insert(key.to_owned(), Value::Null);
        }
        return;
    };
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let [x1, y1, x2, y2] = track.bbox;
    let pixel = |share: f64, of: f64| (share * of).round().clamp(0.0, of) as u64;
    let (x1, y1) = (pixel(x1, width), pixel(y1, height));
    let (x2, y2) = (pixel(x2, width), pixel(y2, height));
    let (across, down) = (x2.saturating_sub(x1), y2.saturating_sub(y1));
    keys.insert("box".to_owned(), json!([x1, y1, x2, y2]));
    keys.insert("region".to_owned(), json!([0, 0, size.width, size.height]));
    keys.insert("area".to_owned(), json!(across * down));
    let ratio = across as f64 / down.max(1) as f64;
    keys.insert("ratio".to_owned(), json!((ratio * 100.0).round() / 100.0));
}

/// The message for Home Assistant's event entity.
pub(super) fn for_home_assistant(kind: Kind, after: &Value) -> Value {
    let mut event = json!({"event_type": kind.as_str()});
    for key in [
        "id",
        "label",
        "start_time",
        "end_time",
        "top_score",
        "current_zones",
        "entered_zones",
        "stationary",
    ] {
        event[key] = after[key].clone();
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::ObjectEvents;
    use crate::bus::tests::person;
    use detection::BBox;
    use watchpost_api::Event;

    const SIZE: FrameSize = FrameSize::new(640, 360);

    struct Object {
        objects: ObjectEvents,
        told: Option<Told>,
    }

    impl Object {
        fn next(
            &mut self,
            change: TrackChange,
            time: f64,
            edit: impl Fn(&mut crate::bus::Observation),
        ) -> Option<(Kind, Value)> {
            let mut observation = person(7, change, time);
            edit(&mut observation);
            let events = self.objects.observe("front", observation);
            let Event::Track(track) = &events[0] else {
                panic!("{events:?}")
            };
            message(track, &mut self.told, Some(SIZE), 5.0)
        }
    }

    #[test]
    fn an_object_is_new_then_updated_where_it_matters_and_ends_once() {
        let mut object = Object {
            objects: ObjectEvents::new(1295),
            told: None,
        };
        let (kind, first) = object.next(TrackChange::Started, 100.0, |_| {}).unwrap();
        assert_eq!(kind, Kind::New);
        assert_eq!(first["before"]["false_positive"], true);
        let after = &first["after"];
        assert_eq!(after["false_positive"], false);
        assert_eq!(after["id"], "100.000000-000100");
        assert_eq!(after["box"], json!([64, 36, 128, 180]));
        assert_eq!(
            (&after["area"], &after["ratio"]),
            (&json!(9216), &json!(0.44))
        );
        assert_eq!(
            (&after["active"], &after["position_changes"]),
            (&json!(true), &json!(0))
        );
        assert_eq!(after["end_time"], Value::Null);

        assert_eq!(
            object.next(TrackChange::Updated, 101.0, |_| {}),
            None,
            "nothing changed"
        );
        let better = |o: &mut crate::bus::Observation| o.score = 0.9;
        assert_eq!(
            object.next(TrackChange::Updated, 102.0, better),
            None,
            "too soon"
        );
        let (kind, update) = object.next(TrackChange::Updated, 105.0, better).unwrap();
        assert_eq!(
            (kind, &update["after"]["top_score"]),
            (Kind::Update, &json!(0.9))
        );
        assert_eq!(update["before"], *after);

        let zone = |o: &mut crate::bus::Observation| o.zones = vec!["yard".into()];
        let (_, entered) = object.next(TrackChange::Updated, 106.0, zone).unwrap();
        assert_eq!(entered["after"]["current_zones"], json!(["yard"]));
        assert_eq!(entered["before"]["current_zones"], json!([]));
        let (_, rests) = object.next(TrackChange::Stationary, 107.0, zone).unwrap();
        assert_eq!(
            (&rests["after"]["stationary"], &rests["after"]["active"]),
            (&json!(true), &json!(false))
        );
        let moved = |o: &mut crate::bus::Observation| {
            zone(o);
            o.bbox = BBox::new(0.5, 0.1, 0.6, 0.5);
        };
        let (_, moves) = object.next(TrackChange::Moving, 117.0, moved).unwrap();
        assert_eq!(moves["after"]["position_changes"], 2);

        let (kind, end) = object.next(TrackChange::Ended, 118.0, moved).unwrap();
        assert_eq!(kind, Kind::End);
        assert_eq!(end["after"]["end_time"], 118.0);
        assert_eq!(end["after"]["entered_zones"], json!(["yard"]));
        assert_eq!(for_home_assistant(kind, &end["after"])["event_type"], "end");
    }

    #[test]
    fn a_resting_object_counts_its_frames() {
        let mut object = Object {
            objects: ObjectEvents::new(0),
            told: None,
        };
        object.next(TrackChange::Started, 100.0, |_| {});
        object.next(TrackChange::Stationary, 101.0, |_| {}).unwrap();
        let (_, end) = object.next(TrackChange::Ended, 111.0, |_| {}).unwrap();
        assert_eq!(end["after"]["motionless_count"], 50);
    }
}
