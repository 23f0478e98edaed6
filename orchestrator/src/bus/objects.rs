//! From tracks to object events and zone events: where a detection becomes an event.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use detection::{BBox, TrackChange};
use watchpost_api::{Event, EventState, ObjectEvent, TrackEvent, ZoneChange, ZoneEvent};

/// Points kept of an object's path; of a longer one every second point goes.
const MAX_PATH: usize = 256;

/// A point is worth keeping when the object has moved this far (of the frame) since the last one.
const PATH_STEP: f64 = 0.02;

/// A change of a track, as the analysis reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The object's id, unique per camera.
    pub object_id: i64,
    /// What happened.
    pub change: TrackChange,
    /// Its class.
    pub label: String,
    /// Confidence, 0..=1.
    pub score: f64,
    /// Where it is, in fractions of the frame.
    pub bbox: BBox,
    /// Way so far, in fractions of the frame's width.
    pub path_length: f64,
    /// Seconds since 1970.
    pub first_seen: f64,
    /// Seconds since 1970.
    pub last_seen: f64,
    /// Zones it is in.
    pub zones: Vec<String>,
    /// Zones it entered since the last change.
    pub entered: Vec<String>,
    /// Zones it left since the last change.
    pub left: Vec<String>,
}

/// The object events that are under way.
#[derive(Debug, Default)]
pub struct ObjectEvents {
    /// Number of the newest object event.
    newest: i64,
    under_way: BTreeMap<(String, i64), UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    event: ObjectEvent,
    last: Observation,
    stationary: bool,
}

impl ObjectEvents {
    /// The first object event gets the number after `newest`.
    pub fn new(newest: i64) -> Self {
        Self {
            newest,
            under_way: BTreeMap::new(),
        }
    }

    /// The events that a change of a track means: the track, then the zones it entered and left. Nothing
    /// for the end of an unknown object.
    pub fn observe(&mut self, camera: &str, mut observation: Observation) -> Vec<Event> {
        let key = (camera.to_owned(), observation.object_id);
        let ended = observation.change == TrackChange::Ended;
        let was_in = match self.under_way.get(&key) {
            Some(known) => known.last.zones.clone(),
            None if ended => return Vec::new(),
            None => Vec::new(),
        };
        if ended {
            observation.zones.clear();
        }
        // The difference also counts zones whose report was lost.
        let is_in = &observation.zones;
        let entered = union(
            &observation.entered,
            is_in.iter().filter(|z| !was_in.contains(z)),
        );
        let mut left = union(
            &observation.left,
            was_in.iter().filter(|z| !is_in.contains(z)),
        );
        left.retain(|zone| was_in.contains(zone) || entered.contains(zone));
        observation.entered = entered;
        observation.left = left;

        let known = match self.under_way.entry(key.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                self.newest += 1;
                vacant.insert(UnderWay {
                    event: begin(self.newest, camera, &observation),
                    last: observation.clone(),
                    stationary: false,
                })
            }
        };
        advance(&mut known.event, &observation);
        match observation.change {
            TrackChange::Stationary => known.stationary = true,
            TrackChange::Started | TrackChange::Moving => known.stationary = false,
            TrackChange::Updated | TrackChange::Lost | TrackChange::Ended => {}
        }
        known.last = observation;
        let track = track_event(known);
        if ended {
            self.under_way.remove(&key);
        }
        let zones = self.zone_events(&track);
        let mut events = vec![Event::Track(Box::new(track))];
        events.extend(zones);
        events
    }

    /// The objects of a camera are not tracked any longer: what is under way ended when it was last seen.
    pub fn end(&mut self, camera: &str) -> Vec<Event> {
        let ending: Vec<Observation> = self
            .under_way
            .range((camera.to_owned(), i64::MIN)..=(camera.to_owned(), i64::MAX))
            .map(|(_, known)| Observation {
                change: TrackChange::Ended,
                entered: Vec::new(),
                left: Vec::new(),
                ..known.last.clone()
            })
            .collect();
        ending
            .into_iter()
            .flat_map(|observation| self.observe(camera, observation))
            .collect()
    }

    fn zone_events(&self, track: &TrackEvent) -> Vec<Event> {
        let entered = track.entered.iter().map(|zone| (zone, ZoneChange::Entered));
        let left = track.left.iter().map(|zone| (zone, ZoneChange::Left));
        entered
            .chain(left)
            .map(|(zone, change)| {
                Event::Zone(ZoneEvent {
                    camera: track.camera.clone(),
                    zone: zone.clone(),
                    change,
                    time: track.time,
                    label: track.label.clone(),
                    object_id: track.event.object_id,
                    event_id: track.event.id,
                    count: self.count(&track.camera, zone, &track.label),
                })
            })
            .collect()
    }

    /// Objects of a class in a zone.
    fn count(&self, camera: &str, zone: &str, label: &str) -> u32 {
        let at_camera = (camera.to_owned(), i64::MIN)..=(camera.to_owned(), i64::MAX);
        let inside = self.under_way.range(at_camera).filter(|(_, known)| {
            known.event.label == label && known.last.zones.iter().any(|name| name == zone)
        });
        u32::try_from(inside.count()).unwrap_or(u32::MAX)
    }
}

fn union<'a>(known: &[String], more: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut all = known.to_vec();
    for zone in more {
        if !all.contains(zone) {
            all.push(zone.clone());
        }
    }
    all
}

fn begin(id: i64, camera: &str, observation: &Observation) -> ObjectEvent {
    ObjectEvent {
        id,
        camera: camera.to_owned(),
        object_id: observation.object_id,
        label: observation.label.clone(),
        state: EventState::Active,
        start_time: observation.first_seen,
        last_time: observation.last_seen,
        end_time: None,
        score: -1.0, // any score is better
        best_time: observation.last_seen,
        best_box: [0.0; 4],
        zones: Vec::new(),
        path: Vec::new(),
        path_length: 0.0,
        keep: None,
    }
}

fn advance(event: &mut ObjectEvent, track: &Observation) {
    event.label.clone_from(&track.label);
    event.last_time = event.last_time.max(track.last_seen);
    event.path_length = track.path_length;
    event.state = match track.change {
        TrackChange::Updated if event.state == EventState::Stationary => EventState::Stationary,
        TrackChange::Started | TrackChange::Moving | TrackChange::Updated => EventState::Active,
        TrackChange::Stationary => EventState::Stationary,
        TrackChange::Lost => EventState::Lost,
        TrackChange::Ended => EventState::Ended,
    };
    event.end_time = (track.change == TrackChange::Ended).then_some(event.last_time);
    for zone in track.zones.iter().chain(&track.entered) {
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
        event.best_box = fractions(track.bbox);
    }
    let (x, y) = track.bbox.bottom_centre();
    let (x, y) = (rounded(x), rounded(y));
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

fn track_event(known: &UnderWay) -> TrackEvent {
    let UnderWay {
        event,
        last,
        stationary,
    } = known;
    TrackEvent {
        camera: event.camera.clone(),
        change: last.change,
        time: last.last_seen,
        label: last.label.clone(),
        score: last.score,
        bbox: fractions(last.bbox),
        state: event.state,
        stationary: *stationary,
        zones: last.zones.clone(),
        entered: last.entered.clone(),
        left: last.left.clone(),
        event: event.clone(),
    }
}

fn fractions(bbox: BBox) -> [f64; 4] {
    [bbox.x1, bbox.y1, bbox.x2, bbox.y2].map(rounded)
}

/// Without digits that mean nothing: a path is written, sent and read many times.
fn rounded(fraction: f32) -> f64 {
    (f64::from(fraction) * 1e5).round() / 1e5
}

fn milliseconds(time: f64) -> f64 {
    (time * 1e3).round() / 1e3
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A person in the frame, first seen at 100.
    pub(crate) fn person(object_id: i64, change: TrackChange, time: f64) -> Observation {
        Observation {
            object_id,
            change,
            label: "person".into(),
            score: 0.5,
            bbox: BBox::new(0.1, 0.1, 0.2, 0.5),
            path_length: 0.25,
            first_seen: 100.0,
            last_seen: time,
            zones: vec![],
            entered: vec![],
            left: vec![],
        }
    }

    fn track(events: &[Event]) -> &TrackEvent {
        match &events[0] {
            Event::Track(track) => track,
            other => panic!("{other:?}"),
        }
    }

    fn zones(events: &[Event]) -> Vec<(String, ZoneChange, u32)> {
        let zone = |event: &Event| match event {
            Event::Zone(zone) => Some((zone.zone.clone(), zone.change, zone.count)),
            _ => None,
        };
        events.iter().filter_map(zone).collect()
    }

    #[test]
    fn an_event_lasts_from_start_to_end_and_keeps_its_best_box() {
        let mut objects = ObjectEvents::new(4);
        objects.observe("front", person(7, TrackChange::Started, 100.0));
        let best = Observation {
            score: 0.9,
            bbox: BBox::new(0.5, 0.25, 0.75, 0.5),
            ..person(7, TrackChange::Updated, 101.0)
        };
        objects.observe("front", best);
        let events = objects.observe("front", person(7, TrackChange::Ended, 103.0));
        let event = &track(&events).event;
        assert_eq!((event.id, event.state), (5, EventState::Ended));
        assert_eq!((event.start_time, event.end_time), (100.0, Some(103.0)));
        assert_eq!((event.score, event.best_time), (0.9, 101.0));
        assert_eq!(event.best_box, [0.5, 0.25, 0.75, 0.5]);
        assert_eq!(event.path.len(), 2);
        // It is over: a second end is not an event, and the next object has the next number.
        assert_eq!(
            objects.observe("front", person(7, TrackChange::Ended, 104.0)),
            []
        );
        let next = objects.observe("front", person(8, TrackChange::Started, 105.0));
        assert_eq!(track(&next).event.id, 6);
    }

    #[test]
    fn zones_are_entered_left_and_counted_by_class() {
        use ZoneChange::{Entered, Left};
        let mut objects = ObjectEvents::new(0);
        let inside = |id, change: TrackChange, entered: &[&str]| Observation {
            zones: vec!["yard".into()],
            entered: entered.iter().map(|z| (*z).to_owned()).collect(),
            ..person(id, change, 101.0)
        };
        let first = objects.observe("front", inside(1, TrackChange::Started, &["yard"]));
        assert_eq!(zones(&first), [("yard".into(), Entered, 1)]);
        assert_eq!(track(&first).entered, ["yard"]);
        // The report does not name the zone; the difference does.
        let second = objects.observe("front", inside(2, TrackChange::Started, &[]));
        assert_eq!(zones(&second), [("yard".into(), Entered, 2)]);
        let stays = objects.observe("front", inside(2, TrackChange::Updated, &[]));
        assert_eq!(zones(&stays), []);
        // Entered and left between two reports.
        let passed = Observation {
            entered: vec!["gate".into()],
            left: vec!["gate".into()],
            ..inside(2, TrackChange::Updated, &[])
        };
        let passed = objects.observe("front", passed);
        assert_eq!(
            zones(&passed),
            [("gate".into(), Entered, 0), ("gate".into(), Left, 0)]
        );
        assert_eq!(track(&passed).event.zones, ["yard", "gate"]);
        let left = Observation {
            left: vec!["yard".into()],
            ..person(1, TrackChange::Moving, 102.0)
        };
        assert_eq!(
            zones(&objects.observe("front", left)),
            [("yard".into(), Left, 1)]
        );
        let end = objects.end("front");
        assert_eq!(zones(&end), [("yard".into(), Left, 0)]);
    }

    #[test]
    fn the_end_of_tracking_ends_the_objects_of_that_camera() {
        let mut objects = ObjectEvents::new(0);
        objects.observe("front", person(1, TrackChange::Stationary, 104.0));
        objects.observe("back", person(1, TrackChange::Started, 104.0));
        let ended = objects.end("front");
        assert_eq!(ended.len(), 1);
        let ended = track(&ended);
        assert_eq!(
            (ended.change, ended.event.end_time),
            (TrackChange::Ended, Some(104.0))
        );
        assert!(ended.stationary);
        assert_eq!(objects.end("front"), []);
        assert_eq!(objects.end("back").len(), 1);
    }

    #[test]
    fn rest_outlasts_updates_and_ends_with_movement() {
        let mut objects = ObjectEvents::new(0);
        let mut next = |change| {
            let events = objects.observe("front", person(1, change, 104.0));
            let track = track(&events);
            (track.state, track.stationary)
        };
        assert_eq!(next(TrackChange::Started), (EventState::Active, false));
        assert_eq!(
            next(TrackChange::Stationary),
            (EventState::Stationary, true)
        );
        assert_eq!(next(TrackChange::Updated), (EventState::Stationary, true));
        assert_eq!(next(TrackChange::Lost), (EventState::Lost, true));
        assert_eq!(next(TrackChange::Moving), (EventState::Active, false));
    }

    #[test]
    fn a_long_path_is_thinned_not_cut() {
        let mut objects = ObjectEvents::new(0);
        let mut length = 0;
        for step in 0..2000 {
            let x = if step % 2 == 0 { 0.1 } else { 0.6 };
            let observation = Observation {
                bbox: BBox::new(x, 0.1, x + 0.1, 0.5),
                ..person(1, TrackChange::Updated, 100.0 + f64::from(step))
            };
            let events = objects.observe("front", observation);
            let path = &track(&events).event.path;
            assert_eq!(path[0][0], 100.0);
            length = path.len();
        }
        assert!((MAX_PATH / 2..=MAX_PATH).contains(&length), "{length}");
    }
}
