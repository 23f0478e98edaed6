//! Which events start a hook. Pure.

use detection::TrackChange;
use watchpost_api::{Event, MediaChange, ZoneChange};

use crate::config::{HookEvent, HookFilter};

/// What hooks are chosen by.
#[derive(Debug, PartialEq)]
pub(super) struct Subject<'a> {
    pub(super) kind: HookEvent,
    pub(super) camera: Option<&'a str>,
    pub(super) label: Option<&'a str>,
    pub(super) zones: Vec<&'a str>,
}

impl<'a> Subject<'a> {
    /// The subject of an event; `None` for those that start no hook, which would come several times a second.
    pub(super) fn of(event: &'a Event) -> Option<Self> {
        let mut label = None;
        let mut zones = Vec::new();
        let kind = match event {
            Event::Track(track) => {
                label = Some(track.label.as_str());
                let ended = track.change == TrackChange::Ended;
                let of_object = if ended {
                    &track.event.zones
                } else {
                    &track.zones
                };
                zones.extend(of_object.iter().map(String::as_str));
                match track.change {
                    TrackChange::Started => HookEvent::ObjectStarted,
                    TrackChange::Stationary => HookEvent::ObjectStationary,
                    TrackChange::Moving => HookEvent::ObjectMoving,
                    TrackChange::Ended => HookEvent::ObjectEnded,
                    TrackChange::Updated | TrackChange::Lost => return None,
                }
            }
            Event::Zone(zone) => {
                label = Some(zone.label.as_str());
                zones.push(zone.zone.as_str());
                match zone.change {
                    ZoneChange::Entered => HookEvent::ZoneEntered,
                    ZoneChange::Left => HookEvent::ZoneLeft,
                }
            }
            Event::Motion(motion) if motion.active => HookEvent::MotionStarted,
            Event::Motion(_) => HookEvent::MotionEnded,
            Event::Media(media) => match media.change {
                MediaChange::Added => HookEvent::MediaAdded,
                MediaChange::Removed => HookEvent::MediaRemoved,
            },
            Event::Task(_) => HookEvent::TaskChanged,
            Event::Camera(_) => HookEvent::CameraChanged,
            Event::Configuration(_) => HookEvent::ConfigurationChanged,
        };
        Some(Self {
            kind,
            camera: event.camera(),
            label,
            zones,
        })
    }

    /// Whether a hook with this filter is started.
    pub(super) fn matches(&self, filter: &HookFilter) -> bool {
        let HookFilter {
            events,
            cameras,
            labels,
            zones,
        } = filter;
        (events.is_empty() || events.contains(&self.kind))
            && (cameras.is_empty() || self.camera.is_some_and(|name| cameras.contains(name)))
            && (labels.is_empty() || self.label.is_some_and(|label| labels.contains(label)))
            && (zones.is_empty() || self.zones.iter().any(|zone| zones.contains(*zone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use watchpost_api::{MotionEvent, ZoneEvent};

    fn filter(value: Value) -> HookFilter {
        serde_json::from_value(value).unwrap()
    }

    fn entered() -> Event {
        Event::Zone(ZoneEvent {
            camera: "front".into(),
            zone: "yard".into(),
            change: ZoneChange::Entered,
            time: 1.0,
            label: "person".into(),
            object_id: 1,
            event_id: 2,
            count: 1,
        })
    }

    #[test]
    fn an_event_matches_where_every_list_has_it() {
        let event = entered();
        let subject = Subject::of(&event).unwrap();
        for (chosen, expected) in [
            (json!({}), false),
            (json!({"events": []}), true),
            (json!({"events": ["zone_entered"]}), true),
            (json!({"events": ["zone_left"]}), false),
            (json!({"events": [], "cameras": ["front", "back"]}), true),
            (json!({"events": [], "cameras": ["back"]}), false),
            (json!({"events": [], "labels": ["person"]}), true),
            (json!({"events": [], "labels": ["car"]}), false),
            (json!({"events": [], "zones": ["yard"]}), true),
            (json!({"events": [], "zones": ["road"]}), false),
        ] {
            let filter = filter(chosen.clone());
            assert_eq!(subject.matches(&filter), expected, "{chosen}");
        }
    }

    #[test]
    fn motion_has_no_label() {
        let event = Event::Motion(MotionEvent {
            camera: "front".into(),
            active: false,
            time: 1.0,
        });
        let subject = Subject::of(&event).unwrap();
        assert_eq!(subject.kind, HookEvent::MotionEnded);
        assert!(!subject.matches(&filter(json!({"events": [], "labels": ["person"]}))));
    }
}
