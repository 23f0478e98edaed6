//! The objects of one camera, from what its tracker says: messages tell of changes, frames of places.

use detection::{BBox, TrackChange};
use detection_meta::TrackMessage;
use std::collections::BTreeMap;
use watchpost_api::{Object, ObjectState};

/// All objects alive.
#[derive(Debug, Default)]
pub struct Objects {
    alive: BTreeMap<i32, Object>,
}

/// An object's place in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Which object.
    pub id: i32,
    /// Confidence of the detection.
    pub score: f64,
    /// Where, in fractions of the frame.
    pub bbox: BBox,
}

impl Objects {
    /// Takes a change; `wall` turns the stream's time into seconds since 1970. Answers with the object after it.
    pub fn change(
        &mut self,
        message: &TrackMessage,
        size: (u32, u32),
        wall: impl Fn(gst::ClockTime) -> f64,
    ) -> Object {
        let seen = |time: Option<gst::ClockTime>| time.map_or(0.0, &wall);
        let before = self.alive.get(&message.id);
        let object = Object {
            id: message.id,
            label: message.label.clone(),
            score: message.score,
            bbox: pixels(&message.bbox, size),
            state: match message.change {
                TrackChange::Stationary => ObjectState::Stationary,
                TrackChange::Lost => ObjectState::Lost,
                TrackChange::Updated => before.map_or(ObjectState::Active, |o| match o.state {
                    // Told again, so it is found again.
                    ObjectState::Lost => ObjectState::Active,
                    state => state,
                }),
                TrackChange::Started | TrackChange::Moving | TrackChange::Ended => {
                    ObjectState::Active
                }
            },
            // Clocks of different machines drift, but the first moment of an object does not move.
            first_seen: before.map_or_else(|| seen(message.first_seen), |o| o.first_seen),
            last_seen: seen(message.last_seen),
            zones: message.zones.clone(),
        };
        if message.change == TrackChange::Ended {
            self.alive.remove(&message.id);
        } else {
            self.alive.insert(message.id, object.clone());
        }
        object
    }

    /// Takes the places of a frame.
    pub fn frame(&mut self, places: &[Place], size: (u32, u32), time: f64) {
        for place in places {
            if let Some(object) = self.alive.get_mut(&place.id) {
                object.bbox = pixels(&place.bbox, size);
                object.last_seen = time;
            }
        }
    }

    /// All that are alive.
    pub fn all(&self) -> Vec<Object> {
        self.alive.values().cloned().collect()
    }
}

fn pixels(bbox: &BBox, (width, height): (u32, u32)) -> [i32; 4] {
    let x = |v: f32| (v.clamp(0.0, 1.0) * width as f32).round() as i32;
    let y = |v: f32| (v.clamp(0.0, 1.0) * height as f32).round() as i32;
    [x(bbox.x1), y(bbox.y1), x(bbox.x2), y(bbox.y2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: TrackChange) -> TrackMessage {
        TrackMessage {
            change,
            id: 3,
            label: "person".into(),
            score: 0.75,
            bbox: BBox::from_xywh(0.25, 0.5, 0.25, 0.25),
            path_length: 0.0,
            first_seen: Some(gst::ClockTime::from_seconds(1)),
            last_seen: Some(gst::ClockTime::from_seconds(2)),
            zones: vec![],
            entered: vec![],
            left: vec![],
        }
    }

    fn wall(time: gst::ClockTime) -> f64 {
        1000.0 + time.seconds_f64()
    }

    #[test]
    fn an_object_lives_from_started_to_ended() {
        let mut objects = Objects::default();
        let mut tell = |change| objects.change(&message(change), (640, 360), wall);
        let object = tell(TrackChange::Started);
        assert_eq!(object.bbox, [160, 180, 320, 270]);
        assert_eq!((object.first_seen, object.last_seen), (1001.0, 1002.0));
        assert_eq!(object.state, ObjectState::Active);
        assert_eq!(tell(TrackChange::Stationary).state, ObjectState::Stationary);
        assert_eq!(tell(TrackChange::Updated).state, ObjectState::Stationary);
        assert_eq!(tell(TrackChange::Lost).state, ObjectState::Lost);
        assert_eq!(tell(TrackChange::Updated).state, ObjectState::Active);
        tell(TrackChange::Ended);
        assert!(objects.all().is_empty());
    }

    #[test]
    fn a_frame_moves_what_is_known_and_nothing_else() {
        let mut objects = Objects::default();
        objects.change(&message(TrackChange::Started), (100, 100), wall);
        let place = |id| Place {
            id,
            score: 0.5,
            bbox: BBox::from_xywh(0.5, 0.5, 0.5, 0.5),
        };
        objects.frame(&[place(3), place(4)], (100, 100), 1010.0);
        let all = objects.all();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].bbox, [50, 50, 100, 100]);
        assert_eq!(all[0].last_seen, 1010.0);
    }
}
